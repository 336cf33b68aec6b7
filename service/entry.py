"""Entry point of the service: who is to serve, and with what QEMU; then the service itself.

Loaded before anything else, so it imports little.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys

from service.home import current_user, make_home, sole
from wire.places import AHEAD, Places, find_places

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from vm.ahead import Begun


def main() -> int:
    """Run `python -m service`; returns the exit status."""
    environment = dict(os.environ)
    home = _home_of(sys.argv[1:])
    if home:
        environment["ISTHMUS_HOME"] = home
    places = find_places(environment, sys.platform, current_user())
    os.umask(0o077)
    try:
        make_home(places.home)
        with sole(places.lock) as is_sole:
            if not is_sole:
                tell_starter("running")
                return 0
            return _serve(places, _begin(places) if os.environ.pop(AHEAD, "") else None)
    except OSError as error:
        tell_starter(
            f"{error.filename or places.home}: {error.strerror}. Make it usable for you, or set "
            "ISTHMUS_HOME to another directory."
        )
        return 1


def _serve(places: Places, begun: Begun | None) -> int:
    gc.disable()  # there is no garbage among what modules make, only a lot to look through
    from service.main import serve_user

    gc.freeze()
    gc.enable()
    return serve_user(places, begun)


def _begin(places: Places) -> Begun | None:
    """Start QEMU ahead, unless it is to go on with a suspended machine, or another may run yet."""
    if sys.platform != "win32":
        from vm.ahead_posix import begin

        if not os.path.exists(places.suspended) and not os.path.exists(places.pid_file):
            return begin(places.ahead)
    return None


def _home_of(arguments: Sequence[str]) -> str:
    """What `--home` names. Ends the process if the arguments are wrong, or ask for help."""
    if len(arguments) == 2 and arguments[0] == "--home":  # what every client says
        return arguments[1]
    import argparse

    parser = argparse.ArgumentParser(prog="python -m service", description=__doc__)
    parser.add_argument("--home", default="", help="where to keep state (ISTHMUS_HOME)")
    return str(parser.parse_args(arguments).home)


def tell_starter(answer: str) -> None:
    """Answer the command that has started us, which reads one line of our standard output."""
    with contextlib.suppress(OSError):
        os.write(1, (answer.replace("\n", " ") + "\n").encode())
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
