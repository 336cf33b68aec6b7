"""The completion scripts, run by the shells they are for.

Needs zsh and fish (`apt-get install zsh fish`); without them these tests fail, as they should.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shell.commands import COMMANDS, SHELLS
from shell.completion import model, script
from shell.options import RUN_OPTIONS

HOSTILE_NAME = "$(touch pwned)"
CANDIDATES: list[tuple[list[str], set[str]]] = [
    (["isthmus", "--sta"], {"--status"}),
    (["lx", "--set-d"], {"--set-default", "--set-default-version"}),
    (["isthmus", "-d", "De"], {"Debian", "Debian-12"}),
    (["isthmus", "--distribution", "A"], {"Alpine"}),
    (["isthmus", "-d", "Debian", "--shell-t"], {"--shell-type"}),
    (["isthmus", "-u", "root", "--shell-type", ""], {"standard", "login", "none"}),
    (["isthmus", "-u", "--list", "--stat"], {"--status"}),
    (["isthmus", "~", "--stat"], {"--status"}),
    (["isthmus", "--terminate", "Al"], {"Alpine"}),
    (["isthmus", "-t", "Al"], {"Alpine"}),
    (["isthmus", "-t", "Alpine", ""], set()),
    (["isthmus", "--list", "--r"], {"--running"}),
    (["isthmus", "--list", "--running", "--v"], {"--verbose"}),
    (["isthmus", "-l", "--j"], {"--json"}),
    (["isthmus", "--export", "Alpine", "x.tar", "--format", "tar."], {"tar.gz", "tar.xz"}),
    (["isthmus", "--export", "--format", "tar", "Al"], {"Alpine"}),
    (["isthmus", "--manage", "Alpine", "--set-sparse", ""], {"true", "false"}),
    (["isthmus", "--manage", "--set-default-user", "me", "Al"], {"Alpine"}),
    (["isthmus", "--install", "--fr"], {"--from-file"}),
    (["isthmus", "--set-default-version", ""], {"2"}),
    (["isthmus", "--completion", ""], set(SHELLS)),
    (["isthmus", "--help", "--imp"], {"--import", "--import-in-place"}),
    (["isthmus", "--cd", "some-d"], {"some-directory"}),
    (["isthmus", "--exec", "--stat"], set()),
]


def test_every_word_is_offered_somewhere() -> None:
    offered = {word for words in model.words().values() for word, _ in words}
    for option in RUN_OPTIONS:
        assert set(option.names) <= offered
    for command in COMMANDS:
        assert set(command.names).isdisjoint(offered) == bool(command.not_yet)
        kept = [option for option in command.options if not option.ignored]
        if not command.not_yet:
            words = {word for word, _ in model.words()[command.name]}
            assert {option.names[0] for option in kept} - {"--enable-wsl1"} <= words


@pytest.mark.parametrize("shell", SHELLS)
def test_no_hole_of_a_template_is_left(shell: str) -> None:
    text = script(shell)
    assert not any(f"@{hole}@" in text for hole in ("VALUES", "WORDS", "ENDS", "PLACES"))
    assert "--set-default-user" in text


if sys.platform == "win32":

    def test_powershell_completes(tmp_path: Path) -> None:
        (tmp_path / "isthmus.ps1").write_text(script("powershell"), encoding="utf-8")
        line = "isthmus --sta"
        program = (
            f". '{tmp_path / 'isthmus.ps1'}'; "
            f"(TabExpansion2 -inputScript '{line}' -cursorColumn {len(line)})"
            ".CompletionMatches.CompletionText"
        )
        output = subprocess.run(
            ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", program],
            check=True,
            stdout=subprocess.PIPE,
            timeout=60,
        ).stdout
        assert output.decode().split() == ["--status"]

else:
    import pty
    import select
    import signal
    import time

    DEADLINE_S = 30.0

    @pytest.fixture
    def place(tmp_path: Path) -> Path:
        """A directory with a stand-in for isthmus that knows names and notes its arguments."""
        program = tmp_path / "bin" / "isthmus"
        program.parent.mkdir()
        program.write_text(
            "#!/bin/sh\n"
            'if [ "$*" = "--list --quiet" ]; then\n'
            f"    printf '%s\\n' Debian Debian-12 Alpine '{HOSTILE_NAME}'\n"
            "else\n"
            "    printf '%s\\n' \"$@\" >noted.part && mv noted.part noted\n"
            "fi\n"
        )
        program.chmod(0o755)
        (program.parent / "lx").symlink_to("isthmus")
        (tmp_path / "some-directory").mkdir()
        for shell in SHELLS:
            (tmp_path / f"script.{shell}").write_text(script(shell))
        return tmp_path

    def environment(place: Path) -> dict[str, str]:
        path = f"{place / 'bin'}:/usr/bin:/bin"
        return {"PATH": path, "HOME": str(place), "TERM": "dumb", "LC_ALL": "C.UTF-8"}

    def output_of(place: Path, argv: list[str], program: str) -> str:
        result = subprocess.run(
            [*argv, program],
            cwd=place,
            env=environment(place),
            check=True,
            capture_output=True,
            timeout=60,
        )
        assert result.stderr == b""
        assert not (place / "pwned").exists()
        return result.stdout.decode()

    def split_answers(output: str) -> list[set[str]]:
        """What was offered for each of CANDIDATES, between lines that say "next"."""
        return [set(part.split("\n")) - {""} for part in output.split("next\n")[1:]]

    def test_bash_completes(place: Path) -> None:
        program = ["source ./script.bash", "compopt() { :; }"]
        for words, _ in CANDIDATES:
            quoted = " ".join(f"'{word}'" for word in words)
            program += [
                f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}",
                f"echo next; _isthmus {words[0]} '{words[-1]}' '{words[-2]}'",
                "((${#COMPREPLY[@]})) && printf '%s\\n' \"${COMPREPLY[@]}\"",
            ]
        argv = ["bash", "--norc", "--noprofile", "-c"]
        answers = split_answers(output_of(place, argv, "\n".join([*program, "true"])))
        assert answers == [expected for _, expected in CANDIDATES]

    def test_bash_quotes_names_it_inserts(place: Path) -> None:
        program = (
            "source ./script.bash; COMP_WORDS=(isthmus -d '$') COMP_CWORD=2; "
            "_isthmus isthmus '$' -d; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        argv = ["bash", "--norc", "--noprofile", "-c"]
        assert output_of(place, argv, program) == "\\$\\(touch\\ pwned\\)\n"

    def test_bash_registers_both_programs(place: Path) -> None:
        argv = ["bash", "--norc", "--noprofile", "-c"]
        assert output_of(place, argv, "source ./script.bash; complete -p isthmus lx") == (
            "complete -F _isthmus isthmus\ncomplete -F _isthmus lx\n"
        )

    def test_fish_completes(place: Path) -> None:
        program = ["source ./script.fish"]
        for words, _ in CANDIDATES:
            program += ["echo next", f"complete -C '{' '.join(words)}'"]
        output = output_of(place, ["fish", "--no-config", "-c"], "\n".join(program))
        answers = [
            {line.partition("\t")[0].rstrip("/") for line in answer}
            for answer in split_answers(output)
        ]
        # fish offers every candidate that contains what was typed, and files after --exec.
        for (words, expected), answer in zip(CANDIDATES, answers, strict=True):
            assert {word for word in answer if word.startswith(words[-1])} == expected

    def test_zsh_completes(place: Path) -> None:
        # The completion system's own functions need its widgets; these stand at the border.
        program = [
            "compdef() { :; }",
            '_call_program() { shift; eval "$@"; }',
            '_describe() { print -rl -- "${(@)${(@P)3}%%:*}"; }',
            'compadd() { if [[ $1 == -a ]]; then print -rl -- "${(@P)2}"; '
            'else shift; print -rl -- "$@"; fi; }',
            "_files() { [[ $1 == -/ ]] && print -rl -- *(/); }",
            "source ./script.zsh",
        ]
        for words, _ in CANDIDATES:
            quoted = " ".join(f"'{word}'" for word in words)
            program += [f"words=({quoted}) CURRENT={len(words)}", "print next; _isthmus"]
        output = output_of(place, ["zsh", "-f", "-c"], "\n".join([*program, "true"]))
        # Which candidates match is the completion system's part, so it is done here.
        for (words, expected), answer in zip(CANDIDATES, split_answers(output), strict=True):
            assert {word for word in answer if word.startswith(words[-1])} == expected

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_syntax(place: Path, shell: str) -> None:
        subprocess.run([shell, "-n", f"script.{shell}"], cwd=place, check=True, timeout=60)

    class Terminal:
        """An interactive shell on a pseudo-terminal, ended with the test."""

        def __init__(self, place: Path, argv: list[str]) -> None:
            self.pid, self.fd = pty.fork()
            if self.pid == 0:
                os.chdir(place)
                os.execvpe(argv[0], argv, environment(place))
            self.seen = b""

        def type(self, text: str) -> None:
            os.write(self.fd, text.encode())

        def wait(self, text: str) -> None:
            """Until the terminal has shown `text` since the last wait."""
            deadline = time.monotonic() + DEADLINE_S
            while (at := self.seen.find(text.encode())) < 0:
                left = deadline - time.monotonic()
                assert left > 0 and select.select([self.fd], [], [], left)[0], self.seen
                self.seen += os.read(self.fd, 4096)
            self.seen = self.seen[at + len(text) :]

        def close(self) -> None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.fd)

    @pytest.fixture
    def terminals() -> Iterator[list[Terminal]]:
        opened: list[Terminal] = []
        yield opened
        for terminal in opened:
            terminal.close()

    @pytest.mark.parametrize(
        ("argv", "start"),
        [
            (["bash", "--norc", "--noprofile", "-i"], "source ./script.bash"),
            (
                ["zsh", "-f", "-i"],
                "autoload -Uz compinit && compinit -u -D && source ./script.zsh",
            ),
        ],
        ids=["bash", "zsh"],
    )
    def test_the_tab_key(
        place: Path, terminals: list[Terminal], argv: list[str], start: str
    ) -> None:
        terminal = Terminal(place, argv)
        terminals.append(terminal)
        terminal.type(f"PS1='rea''dy '\n{start}; echo star''ted\n")
        terminal.wait("started")
        terminal.wait("ready ")
        terminal.type("isthmus -d Al\t--sys\tid; echo do''ne\n")
        terminal.wait("done")
        assert (place / "noted").read_text().split() == ["-d", "Alpine", "--system", "id"]
        assert not (place / "pwned").exists()
