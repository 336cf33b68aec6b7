"""The `wslinfo` command as a function (docs/paths.md §5). Pure."""

from __future__ import annotations

from wire.options import BadArgumentError, read_arguments
from wire.wslpath import Output

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USAGE = """\
Usage: wslinfo [-n] OPTION
Print one fact about the machine that this distribution runs in.

  --networking-mode   nat, bridged, mirrored, consomme or none
  --msal-proxy-path   the Windows program that signs in to Microsoft accounts, as a Linux path
  --version           Isthmus' version (also --wsl-version)
  --vm-id             the virtual machine's identity
  -n                  print no line end
  --help              show this text
"""

_SUBJECTS = {
    "--networking-mode": "networking-mode",
    "--msal-proxy-path": "msal-proxy-path",
    "--version": "version",
    "--wsl-version": "version",
    "--vm-id": "vm-id",
}
"""Options and the names of the facts they ask for."""


def run_wslinfo(argv: Sequence[str], facts: Mapping[str, str]) -> Output:
    """What `argv` prints; `facts` holds what is known, by the values of `_SUBJECTS`."""
    subject = ""
    newline = "\n"
    try:
        for flag, _ in read_arguments(argv, (*_SUBJECTS, "-n", "--help"), operands=0):
            if flag == "-n":
                newline = ""
            elif flag in _SUBJECTS:
                if subject:
                    return Output(stderr=USAGE, status=1)
                subject = _SUBJECTS[flag]
    except BadArgumentError as error:
        return Output(stderr=error.message, status=1)
    if not subject:
        return Output(stderr=USAGE, status=1)
    if not facts.get(subject):
        return Output(stderr=f"{argv[0]}: no value is known for {subject}\n", status=1)
    return Output(stdout=facts[subject] + newline)
