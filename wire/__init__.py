"""Messages and frames of both links. Standard library only, no I/O."""
