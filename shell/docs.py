"""docs/commands.md, made from the tables: `python -m shell.docs` writes it. A developer's tool.

A test fails while the file differs from what this makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shell import exitcodes
from shell.command import Command
from shell.commands import COMMANDS, HELP
from shell.options import RUN_OPTIONS, Option
from shell.usage import RUN_SYNOPSES, spelling, synopsis

TARGET = Path(__file__).resolve().parents[1] / "docs" / "commands.md"

_OPENING = """\
<!-- Made by `python -m shell.docs` from shell/options.py and shell/commands.py. Do not edit. -->

# The command line

`isthmus`, or `lx` in short, has the grammar of wsl.exe. Options marked *ours* are additions;
"Differences from wsl.exe" at the end lists what is not the same.

```text
{synopses}
```

## Running commands

`isthmus` alone starts the login shell of the default distribution's default user. A command line
goes to that user's shell as `$SHELL -c LINE`. `--exec` starts the program itself: no shell, no
expansion. The command's standard input, output, error and exit status are the caller's.

The first argument may be a distribution's GUID, the next one `~`: start in the home directory.
Options end at the first argument that does not begin with `-`, or at `--`.
"""

_READING = """\
### From a Windows shell

The command line is read as one text, as wsl.exe reads it. Options are separated by blanks and
quotes mean nothing among them, except around the value of `--cd`. What follows the options is
given to the Linux shell verbatim, quotes included; what follows `--exec`, and the arguments of
sub-commands, are split by the rules of `CommandLineToArgvW`.

### From a POSIX shell

That shell has already split the line into words and removed its quotes, so the text for the
Linux shell is made again:

- A single word is the line itself: `isthmus 'echo $HOME | wc -c'`.
- Of several words, a word is quoted if it is empty or holds a blank, a newline, a quote, a
  backslash, a backtick or one of `; & | < > ( ) # !`. Words stay words:
  `isthmus sh -c 'uname -a; cat /etc/os-release'`.
- `$`, `*`, `?`, `[`, `{` and `~` are not quoted, so they expand in Linux, as with wsl.exe:
  `isthmus echo '$HOME'`, `isthmus ls '/etc/*.conf'`.

`--exec` passes words unchanged. The shell expands a bare `~` itself: write `isthmus '~'`.
"""

_SUBCOMMANDS = """\
## Sub-commands

Operands may stand anywhere among a sub-command's options; `--` ends the options; short options
without a value may be joined (`--list -qo`); a lone `-` is an operand. A size is a whole number
with one of the units B, K or KB, M or MB, G or GB, T or TB (powers of 1024). A distribution's name
has 1 to 256 of the characters `A-Z a-z 0-9 . _ -` and is not `Legacy`. Every sub-command has
`--help`.
"""

_ERRORS = """\
## Errors

A failure is written to standard error: what failed, what to do about it, and where there is one a
line such as `Error code: Wsl/Service/WSL_E_DISTRO_NOT_FOUND`, with wsl.exe's names. Names that
begin with `ISTHMUS_E_` are failures wsl.exe has no name for.

## Exit status
"""

_DIFFERENCES = """\
## Differences from wsl.exe

| | wsl.exe | Isthmus |
| --- | --- | --- |
| output | UTF-16LE unless `WSL_UTF8=1` | UTF-8 |
| error messages | standard output | standard error |
| own failures | -1 | 255, and the other statuses above |
| death by signal n | the raw wait status | 128+n |
| `--help` | status -1 | status 0; also after a sub-command |
| a wrong combination of options | the whole help | what is wrong, and one line of help |
| run options before a sub-command (`-d X --shutdown`) | ignored | refused |
| too many operands, an option given twice | ignored or the last one | refused |
| `--distribution-id` after `-d` | replaces it | refused, as a second `-d` is |
| quotes around a sub-command's name operand | part of the name | removed |
| `--list --verbose --running` | `--running` is ignored | running distributions only |
| `--list` heading | names the Windows component | `Isthmus Distributions:` |
| `--parent-console` | internal | not there |

## Not supported yet
"""


def markdown() -> str:
    """The whole page."""
    done = [command for command in COMMANDS if not command.not_yet]
    missing = [command for command in COMMANDS if command.not_yet]
    parts = [
        _OPENING.format(synopses="\n".join(RUN_SYNOPSES)),
        _option_table(RUN_OPTIONS),
        _READING,
        _SUBCOMMANDS,
        *map(_section, done),
        _ERRORS,
        _table(
            ("status", "name", "meaning"),
            [(value, name and f"`{name}`", about) for value, name, about in exitcodes.TABLE],
        ),
        _DIFFERENCES,
        _table(("sub-command", "why"), [(f"`{item.name}`", item.not_yet) for item in missing]),
    ]
    return "\n".join(parts)


def _section(command: Command) -> str:
    heading = ", ".join(f"`{name}`" for name in command.names)
    lines = [f"### {heading}{' (ours)' if command.ours else ''}", "", command.about, ""]
    lines += ["```text", synopsis(command.name), "```", ""]
    options = [option for option in command.options if option is not HELP]
    return "\n".join(lines) + (f"\n{_option_table(options)}" if options else "")


def _option_table(options: tuple[Option, ...] | list[Option]) -> str:
    rows = []
    for option in options:
        notes = " *Accepted, and without effect.*" if option.ignored else ""
        notes += " *(ours)*" if option.ours else ""
        rows.append((f"`{spelling(option.names, option.value)}`", option.about + notes))
    return _table(("option", "meaning"), rows)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


if __name__ == "__main__":
    TARGET.write_text(markdown(), encoding="utf-8", newline="\n")
    print(TARGET)
