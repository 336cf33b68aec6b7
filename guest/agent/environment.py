"""The environment a session starts with (wsl-compatible names). Pure."""

from __future__ import annotations

from collections.abc import Mapping

from guest.agent.users import User

STANDARD_PATH = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games:/usr/local/games"
)
DEFAULT_LANGUAGE = "C.UTF-8"
"""Where the distribution names none: the one UTF-8 locale that needs no generated files.

WSL says en_US.UTF-8, which makes perl and apt complain in every minimal root file system.
"""


def compose_environment(
    user: User, distribution: str, language: str, extra: Mapping[str, str]
) -> dict[str, str]:
    """Variables for a process of `user` in `distribution`; `extra` comes from the host, and wins.

    The host may not set what says who and where the process is.
    """
    return {
        "HOSTTYPE": "x86_64",
        "LANG": language or DEFAULT_LANGUAGE,
        "PATH": STANDARD_PATH,
        "TERM": "xterm-256color",
        **extra,
        "HOME": user.home,
        "LOGNAME": user.name,
        "NAME": distribution,
        "SHELL": user.shell,
        "USER": user.name,
        "WSL_DISTRO_NAME": distribution,
    }


def language_of(locale_file: str) -> str:
    """The LANG of /etc/default/locale or /etc/locale.conf (locale.conf(5)); "" if it has none."""
    for line in locale_file.split("\n"):
        name, _, value = line.strip().partition("=")
        if name == "LANG":
            value = value.strip("\"'")
            return value if value.isascii() and value.isprintable() else ""
    return ""


def command_line(user: User, line: str | None, argv: tuple[str, ...], login: bool) -> list[str]:
    """argv with argv[0] as the process sees it; the program itself is `program_of`."""
    if argv:
        return list(argv)
    name = user.shell.rpartition("/")[2]
    if line is None:
        return ["-" + name]  # login(1): a leading dash makes a login shell
    return [user.shell, *(["-l"] if login else []), "-c", line]


def program_of(user: User, argv: tuple[str, ...]) -> str:
    """The file to execute for `command_line`."""
    return argv[0] if argv else user.shell
