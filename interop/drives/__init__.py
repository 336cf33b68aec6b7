"""Windows drives in Linux: the host's FUSE-protocol server (docs/drives.md)."""
