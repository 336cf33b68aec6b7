"""Command lines that a POSIX host's shell has already split into words. Pure.

wsl.exe sees its command line as one text and hands the rest of it on as it is. Here the words
are all there is, so the text has to be made again (docs/commands.md, "From a POSIX shell"):

- one word is the shell line itself: `isthmus 'echo $HOME | wc'`;
- of several, each is quoted if the Linux shell would otherwise split it or take it for syntax,
  so that word boundaries survive: `isthmus sh -c 'uname -a; date'`;
- expansions ($, *, ?, [, {, ~) stay unquoted, so that they still happen in Linux, as with
  wsl.exe: `isthmus echo '$HOME'`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Sequence

_BREAKING = frozenset(" \t\n\r\v\f'\"\\`;&|<>()#!")
"""Characters that end a word or change the line's structure (POSIX.1-2024 XCU 2.2, 2.3)."""


def quote_word(word: str) -> str:
    """`word` as the Linux shell must read it to see one word, but for expansions."""
    if word and _BREAKING.isdisjoint(word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def join_words(words: Sequence[str]) -> str:
    """The shell line that `words`, at least one, stand for."""
    return words[0] if len(words) == 1 else " ".join(map(quote_word, words))


class PosixLine:
    """A reader over argv, without the program's name. See WindowsLine for the other host."""

    __slots__ = ("_at", "_words")

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._at = 0

    def peek(self) -> str | None:
        """The next word; None at the end."""
        return self._words[self._at] if self._at < len(self._words) else None

    def advance(self) -> None:
        """Go past the word that peek has shown."""
        self._at += 1

    def take_value(self, *, quotes: bool = False) -> str | None:
        """The next word as an option's value, None at the end. Quotes are gone already."""
        word = self.peek()
        self._at += 1
        return word

    def shell_line(self) -> str | None:
        """The rest as a line for the Linux shell; None where there is no rest."""
        words = self._words[self._at :]
        return join_words(words) if words else None

    def program(self) -> list[str]:
        """The rest as program and arguments."""
        return list(self._words[self._at :])

    def arguments(self) -> list[str]:
        """The rest as arguments of a sub-command."""
        return list(self._words[self._at :])
