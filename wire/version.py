"""The project's version: one place for the client, the service and the image's agent."""

from __future__ import annotations

VERSION = "0.1.0"
