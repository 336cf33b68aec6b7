"""What all tests share: how hard hypothesis tries.

`make test-unit` must stay under ten seconds, so an ordinary run tries few examples of each
property; HYPOTHESIS_PROFILE=thorough tries many, for a change to what is tested.
"""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline per example: the machine may be busy with virtual machines.
settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
