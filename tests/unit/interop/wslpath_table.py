"""Makes tests/data/wslpath_cases.json: what every implementation of `wslpath` does.

`python -m tests.unit.interop.wslpath_table` writes the file anew. Each case is one run in a
world: a mount table, an environment, a current directory, and what realpath(3) answers. Nothing
here calls the translator: one half of the cases is written by hand (wslpath_written.py), and the
generated half puts both paths of a pair together from the same names.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests.unit.interop.wslpath_worlds import WORLDS
from tests.unit.interop.wslpath_written import COMMAND_LINES, REFUSED, TRANSLATED

TABLE = Path(__file__).resolve().parents[2] / "data" / "wslpath_cases.json"

ABOUT = """\
Runs of wslpath. `world` names an entry of `worlds`: the text of /proc/self/mountinfo, the
environment, and what the query for the distribution's name answers where the environment has
none. `cwd` is what getcwd(3) gives, or the name of its error. `realpath` is what realpath(3)
gives for the operand, or the name of its error; null: it must not be called. Text is UTF-8, a
byte that is not is U+DC00 + byte. Made by tests/unit/interop/wslpath_table.py."""

Case = dict[str, Any]


def case(
    world: str, cwd: str, argv: list[str], realpath: str | None, out: str, err: str, status: int
) -> Case:
    return {
        "world": world,
        "cwd": cwd,
        "realpath": realpath,
        "argv": ["wslpath", *argv],
        "stdout": out,
        "stderr": err,
        "status": status,
    }


def written_cases() -> list[Case]:
    """The cases of wslpath_written.py."""
    cases = []
    for world, cwd, options, operand, realpath, line in TRANSLATED:
        argv = [*filter(None, [options]), operand]
        cases.append(case(world, cwd, argv, realpath, f"{line}\n", "", 0))
    for world, cwd, options, operand, realpath, text in REFUSED:
        error = f"wslpath: {operand}: {text}\n"
        cases.append(case(world, cwd, [options, operand], realpath, "", error, 1))
    for argv, out, err, status in COMMAND_LINES:
        cases.append(case("ours", "/mnt/c/Users", argv, None, out, err, status))
    return cases


# Generated cases: the same names on both sides.

PLACES = [
    # Windows directory, Linux directory
    ("C:", "/mnt/c"),
    ("D:", "/mnt/d"),
    ("E:", "/mnt/my drive"),
    ("\\\\server\\share", "/mnt/share"),
    ("D:\\data\\sets", "/data"),
    ("C:\\Users\\me\\projects", "/srv/projects"),
    ("\\\\wsl.localhost\\Debian", ""),
]
OWN = PLACES[-1]
PLAIN = "abzAZ019 .-_~!#$%&'()+,;=@[]^`{}éßЖ中😀"
FORBIDDEN = "".join(map(chr, range(1, 32))) + '"*:<>?\\|'


def make_name(dice: random.Random, alphabet: str) -> str:
    """A name that is no "." or ".." and begins with none of the mount points below "/"."""
    return "n" + "".join(dice.choices(alphabet, k=dice.randrange(6)))


def in_windows(name: str) -> str:
    """`name` with what Windows forbids moved to the private use area."""
    return "".join(chr(0xF000 + ord(c)) if c in FORBIDDEN else c for c in name)


def add_noise(dice: random.Random, names: list[str], separators: str) -> str:
    """`names` as a path below a directory, written in a roundabout way."""
    text = ""
    for name in names:
        text += dice.choice(separators) * dice.choice([1, 1, 2, 3])
        detour = dice.randrange(6)
        if detour == 0:
            text += "." + dice.choice(separators)
        elif detour == 1:
            text += "nowhere" + dice.choice(separators) + ".." + dice.choice(separators)
        text += name
    return text


def to_linux_case(dice: random.Random) -> Case:
    windows, linux = dice.choice(PLACES)
    own = (windows, linux) == OWN
    names = [
        make_name(dice, PLAIN + (FORBIDDEN if own else "")) for _ in range(dice.randrange(1, 5))
    ]
    start = "".join(dice.choice([c.lower(), c.upper()]) for c in windows)
    if own and dice.randrange(2):
        start = start.replace(start[2:15], "wsl$")
    if windows[1] == ":" and dice.randrange(4) == 0:
        start = "\\\\?\\" + start
    operand = start + add_noise(dice, [*map(in_windows, names)], "\\/")
    return case("ours", "/", ["-u", operand], None, linux + "/" + "/".join(names) + "\n", "", 0)


def to_windows_case(dice: random.Random) -> Case:
    windows, linux = dice.choice(PLACES)
    names = [make_name(dice, PLAIN + FORBIDDEN) for _ in range(dice.randrange(1, 5))]
    translated = windows + "\\" + "\\".join(map(in_windows, names))
    mode = dice.choice(["-w", "-m"])
    if mode == "-m":
        translated = translated.replace("\\", "/")
    clean = linux + "/" + "/".join(names)
    if dice.randrange(2):
        return case("ours", "/", [mode, "link"], clean, translated + "\n", "", 0)
    operand = linux + add_noise(dice, names, "/")
    return case("ours", "/", [mode, operand], "ENOENT", translated + "\n", "", 0)


def relative_case(dice: random.Random) -> Case:
    windows, linux = dice.choice(PLACES)
    names = [make_name(dice, PLAIN) for _ in range(dice.randrange(2, 6))]
    depth = dice.randrange(1, len(names))
    here, there = names[:depth], names[depth:]
    cwd = linux + "/" + "/".join(here)
    absolute = dice.choice(["", "a"])
    if dice.randrange(2):
        operand = add_noise(dice, there, "\\/").lstrip("\\/")
        line = "/".join([cwd, *there]) if absolute else "/".join(there)
        return case("ours", cwd, [f"-u{absolute}", operand], None, line + "\n", "", 0)
    operand = add_noise(dice, there, "/").lstrip("/")
    line = "\\".join([windows, *here, *there]) if absolute else "\\".join(there)
    return case("ours", cwd, [f"-{absolute}w", operand], "ENOENT", line + "\n", "", 0)


def generated_cases() -> list[Case]:
    """The same cases on every run and version of Python."""
    dice = random.Random(0x697374686D7573)
    makers = [to_linux_case, to_windows_case, relative_case]
    return [maker(dice) for maker in makers for _ in range(80)]


def make_table() -> dict[str, Any]:
    """The whole of the file."""
    return {
        "about": " ".join(ABOUT.split()),
        "worlds": WORLDS,
        "cases": written_cases() + generated_cases(),
    }


def format_table(table: dict[str, Any]) -> str:
    """A line for each case, so that a change shows as one."""
    head = {key: value for key, value in table.items() if key != "cases"}
    lines = ",\n".join("  " + json.dumps(entry) for entry in table["cases"])
    return json.dumps(head, indent=1)[:-2] + ',\n "cases": [\n' + lines + "\n ]\n}\n"


if __name__ == "__main__":
    TABLE.write_text(format_table(make_table()), encoding="ascii")
