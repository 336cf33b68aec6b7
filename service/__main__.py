"""`python -m service`."""

from __future__ import annotations

import sys

from service.main import main

sys.exit(main())
