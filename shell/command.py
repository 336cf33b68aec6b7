"""What a row of the table of sub-commands says. Plain data; the rows are in commands.py."""

from __future__ import annotations

from shell.errors import INVALID_USAGE
from shell.invocations import Invocation
from shell.options import Option


class Operand:
    """An argument without a dash. `field`, `kind` and `choices` as in Option."""

    __slots__ = ("choices", "field", "kind", "optional", "value")

    def __init__(
        self,
        value: str,
        field: str,
        kind: str,
        *,
        optional: bool = False,
        choices: tuple[str, ...] = (),
    ) -> None:
        self.value = value
        self.field = field
        self.kind = kind
        self.optional = optional
        self.choices = choices


class Command:
    """A sub-command: all its spellings, the full one first.

    `conflicts` are pairs of options that exclude each other, `needs` pairs of which the first
    makes no sense without the second, `one_of` options of which exactly one must be given; all
    by full name, an operand by its value's name. `missing_code` goes with a missing operand and
    `conflict_code` with a conflict. `not_yet` says why the whole sub-command is refused.
    """

    __slots__ = (
        "about",
        "conflict_code",
        "conflicts",
        "invocation",
        "missing_code",
        "names",
        "needs",
        "not_yet",
        "one_of",
        "operands",
        "options",
        "ours",
    )

    def __init__(
        self,
        *names: str,
        about: str,
        invocation: type[Invocation] = Invocation,
        operands: tuple[Operand, ...] = (),
        options: tuple[Option, ...] = (),
        conflicts: tuple[tuple[str, str], ...] = (),
        conflict_code: str = INVALID_USAGE,
        needs: tuple[tuple[str, str], ...] = (),
        one_of: tuple[str, ...] = (),
        missing_code: str = INVALID_USAGE,
        not_yet: str = "",
        ours: bool = False,
    ) -> None:
        self.names = names
        self.about = about
        self.invocation = invocation
        self.operands = operands
        self.options = options
        self.conflicts = conflicts
        self.conflict_code = conflict_code
        self.needs = needs
        self.one_of = one_of
        self.missing_code = missing_code
        self.not_yet = not_yet
        self.ours = ours

    @property
    def name(self) -> str:
        """The full name."""
        return self.names[0]
