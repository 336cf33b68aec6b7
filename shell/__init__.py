"""The commands a user types: argv to request, terminal, stdio relay, rendering, exit codes."""
