"""The one background process per user; the only meeting point of vm, interop and netbridge."""
