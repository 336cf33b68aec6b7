"""Messages and frames of the shell-service and service-agent links. Standard library only, no I/O."""
