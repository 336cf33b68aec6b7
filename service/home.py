"""Whose files, and who may serve them: which platform's file knows."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from service.home_windows import current_user, make_home, sole
else:
    from service.home_posix import current_user, make_home, sole

__all__ = ["current_user", "make_home", "sole"]
