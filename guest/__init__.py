"""What runs inside the virtual machine: the agent and, in native/, the little C there is."""
