"""`python -m service`."""

from __future__ import annotations

import sys

from service.entry import main

if __name__ == "__main__":  # a process started by service.apart imports this module as well
    sys.exit(main())
