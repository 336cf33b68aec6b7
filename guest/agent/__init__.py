"""The agent: the one process of the utility VM that the host talks to (docs/protocol.md)."""
