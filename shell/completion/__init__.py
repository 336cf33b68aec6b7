"""Completion scripts, made from the tables of options and sub-commands. Pure."""

from __future__ import annotations


def script(shell: str) -> str:
    """The completion script for "bash", "zsh", "fish" or "powershell"."""
    if shell == "bash":
        from shell.completion.bash import bash_script as make
    elif shell == "zsh":
        from shell.completion.zsh import zsh_script as make
    elif shell == "fish":
        from shell.completion.fish import fish_script as make
    else:
        from shell.completion.powershell import powershell_script as make
    return make()
