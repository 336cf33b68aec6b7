"""The option grammar of wslpath and wslinfo (docs/paths.md §5). Pure.

Flags only, no values: `--` ends them, one-letter flags group (`-aw`), a lone `-` is an operand.
"""

from __future__ import annotations

from wire.errors import WireError

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence


class BadArgumentError(WireError):
    """A command has no use for one of its arguments. `message` is for stderr."""

    def __init__(self, program: str, argument: str) -> None:
        super().__init__(argument)
        self.message = (
            f"Invalid command line argument: {argument}\n"
            f"Please use '{program} --help' to see those it takes.\n"
        )


def read_arguments(
    argv: Sequence[str], flags: Collection[str], operands: int
) -> Iterator[tuple[str, str]]:
    """Pairs of a flag ("-a", "--help") and "", or of "" and an operand, in argv's order.

    argv[0] is the program's name. Lazy, so that of two mistakes the first is told. Raises
    BadArgumentError at an unknown flag, and at an operand beyond `operands`.
    """
    only_operands = False
    for argument in argv[1:]:
        if not only_operands and argument == "--":
            only_operands = True
        elif only_operands or argument == "-" or not argument.startswith("-"):
            operands -= 1
            if operands < 0:
                raise BadArgumentError(argv[0], argument)
            yield "", argument
        elif argument.startswith("--") or len(argument) == 2:
            if argument not in flags:
                raise BadArgumentError(argv[0], argument)
            yield argument, ""
        else:
            for letter in argument[1:]:
                if f"-{letter}" not in flags:
                    raise BadArgumentError(argv[0], argument)
                yield f"-{letter}", ""
