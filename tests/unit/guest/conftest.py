"""The agent's tests run the agent's own code, which needs Linux."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    collect_ignore_glob = ["test_agent_*"]
else:
    from tests.unit.guest.agent_fixtures import linked, loop, synchronised

    __all__ = ["linked", "loop", "synchronised"]
