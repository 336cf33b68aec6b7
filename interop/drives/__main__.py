"""A drive's server as a process: `python -m interop.drives`, started by the service.

Its exit status says whether another one may take over: OVER the mount is over, MALFORMED its kernel
cannot be talked to, anything else is an accident. So is 0, which a killed program has under Wine.
"""

from __future__ import annotations

import argparse
import sys

from interop.drives.errors import DriveError, ProtocolError, VersionError
from interop.drives.metadata import Options

MALFORMED = 3
"""Exit status: what came from the guest is no FUSE request, or a version that is not spoken."""

OVER = 4
"""Exit status: the guest has unmounted it, or the machine is gone."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m interop.drives", description=__doc__)
    parser.add_argument("--fd", type=int, help="the port, a connected socket (POSIX hosts)")
    parser.add_argument("--root", required=True, help="the directory to serve")
    parser.add_argument("--options", default="", help="the mount's options, by commas")
    parser.add_argument("--nonce", required=True, help="what to greet with, in hexadecimal")
    parser.add_argument("--first-node", type=int, default=2, help="the first node's number")
    parser.add_argument("--bulk", help="the file by which large contents may pass (POSIX hosts)")
    parser.add_argument(
        "--recovering", action="store_true", help="another server has served this mount before"
    )
    return parser.parse_args()


def main() -> int:
    """Serve one mount until it is over; returns the exit status."""
    arguments = _arguments()
    options = Options.parse(arguments.options)
    try:
        if sys.platform == "linux":
            from interop.drives.serving_posix import serve

            serve(arguments, options)
        elif sys.platform == "win32":
            from interop.drives.serving_windows import serve

            serve(arguments, options)
        else:
            raise DriveError("only Linux and Windows hosts can serve drives")
    except (ProtocolError, VersionError) as error:
        print(error, file=sys.stderr)
        return MALFORMED
    except DriveError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename or arguments.root}: {error.strerror}", file=sys.stderr)
        return 1
    return OVER


if __name__ == "__main__":
    sys.exit(main())
