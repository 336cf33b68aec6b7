"""`python -m service`."""

from __future__ import annotations

import gc
import sys

gc.disable()  # there is no garbage among what modules make, only a lot to look through

from service.main import main  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":  # a process started by service.apart imports this module as well
    sys.exit(main())
