"""The `wslpath` command as a function (docs/paths.md §5). Pure.

tests/data/wslpath_cases.json says what every implementation of it does.
"""

from __future__ import annotations

from wire.errors import PathError
from wire.mounts import Mounts
from wire.options import BadArgumentError, read_arguments
from wire.paths import Translator, with_slashes
from wire.strerror import strerror

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

USAGE = """\
Usage: wslpath [-a] [-u | -w | -m] PATH
Translate a path between Windows and Linux.

  -u      from Windows to Linux (the default)
  -w      from Linux to Windows
  -m      from Linux to Windows, with / for separators
  -a      make the result absolute
  --help  show this text

For example: wslpath 'C:\\Users'
"""

DISTRIBUTION_VARIABLE = "WSL_DISTRO_NAME"

_FLAGS = ("-u", "-w", "-m", "-a", "--help")


class Output:
    """What a command writes, and its exit status."""

    __slots__ = ("status", "stderr", "stdout")

    def __init__(self, stdout: str = "", stderr: str = "", status: int = 0) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.status = status


class FileSystem:
    """The functions of an operating system that wslpath calls. Each may raise OSError.

    `getcwd` and `realpath` are getcwd(3) and realpath(3); `distribution` asks for the
    distribution's name where the environment does not tell it, and gives "" if nobody knows.
    """

    __slots__ = ("distribution", "getcwd", "realpath")

    def __init__(
        self,
        *,
        getcwd: Callable[[], str],
        realpath: Callable[[str], str],
        distribution: Callable[[], str],
    ) -> None:
        self.getcwd = getcwd
        self.realpath = realpath
        self.distribution = distribution


def run_wslpath(
    argv: Sequence[str], environment: Mapping[str, str], mountinfo: str, files: FileSystem
) -> Output:
    """What `argv` (argv[0] is the command's own name) prints, given /proc/self/mountinfo's text."""
    mode = ""
    absolute = False
    path: str | None = None
    try:
        for flag, operand in read_arguments(argv, _FLAGS, operands=1):
            if not flag:
                path = operand
            elif flag == "-a":
                absolute = True
            elif mode:
                return Output(stderr=USAGE, status=1)
            else:
                mode = flag
    except BadArgumentError as error:
        return Output(stderr=error.message, status=1)
    if path is None or mode == "--help":
        return Output(stdout=USAGE, stderr=f"{argv[0]}: Invalid argument\n", status=1)
    distribution = environment.get(DISTRIBUTION_VARIABLE) or _ask_distribution(files)
    translator = Translator(Mounts.parse(mountinfo), distribution)
    try:
        result = _translate(translator, mode or "-u", path, files, absolute)
    except PathError as error:
        return Output(stderr=f"{argv[0]}: {path}: {strerror(error.number)}\n", status=1)
    return Output(stdout=result + "\n")


def _ask_distribution(files: FileSystem) -> str:
    try:
        return files.distribution()
    except OSError:
        return ""  # paths on drives can be translated without it


def _translate(
    translator: Translator, mode: str, path: str, files: FileSystem, absolute: bool
) -> str:
    if mode == "-u":
        return translator.to_linux(path, files.getcwd, absolute=absolute)
    result = translator.to_windows(path, files.getcwd, files.realpath, absolute=absolute)
    return with_slashes(result) if mode == "-m" else result
