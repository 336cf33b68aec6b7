"""What all tests share: how hard hypothesis tries, and signals as a terminal's user has them.

`make test-unit` must stay under ten seconds, so an ordinary run tries few examples of each
property; HYPOTHESIS_PROFILE=thorough tries many, for a change to what is tested.
"""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# No deadline per example: the machine may be busy with virtual machines.
settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# A shell starts its background jobs with these ignored, and what is ignored stays so in every
# program started from here, where it is meant to work.
for number in (signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
if os.name == "posix" and signal.getsignal(signal.SIGQUIT) == signal.SIG_IGN:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
