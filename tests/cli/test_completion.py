"""Completion: installed by one command, and used by the Tab key of a real bash."""

import os
import pty
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import LONGEST, Ttsr

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, with ttsr among the programs."""
    program = tmp_path / "bin" / "ttsr"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m ttsr_studio "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SHELL", "/bin/bash")
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


class Terminal:
    """An interactive bash in a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self.handle, there = pty.openpty()
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "-i"], stdin=there, stdout=there, stderr=there, cwd=folder, start_new_session=True,
            env={**os.environ, "TERM": "dumb", "PS1": "> "},
        )  # fmt: skip
        os.close(there)

    def shown_after(self, keys: str, text: str) -> str:
        """Type, and read until a text is there."""
        os.write(self.handle, keys.encode())
        seen, end = "", time.monotonic() + LONGEST
        while text not in seen:
            assert time.monotonic() < end, f"{text!r} is not in {seen!r}"
            seen += os.read(self.handle, 4096).decode(errors="replace")
        return seen

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.handle)


@pytest.fixture
def terminal(home: Path, ttsr: Ttsr) -> Iterator[Terminal]:
    """A bash whose start file `ttsr completion install` wrote."""
    (home / ".bashrc").write_text("set +o history")  # without an end of line
    installed = ttsr("completion", "install")
    assert installed.exit_code == 0, installed.output
    opened = Terminal(home)
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_tab_completes_commands_presets_verifiers_and_files_in_bash(terminal: Terminal, home: Path) -> None:
    (home / "vocals of Ann.wav").touch()
    terminal.shown_after("tt", "tt")
    assert "render " in terminal.shown_after("sr rend\t", "render ")
    terminal.shown_after("--pres\t", "--preset ")
    terminal.shown_after("spee\t", "speech ")
    terminal.shown_after("--verifier cont\t", "continuity ")
    terminal.shown_after("voc\t", "vocals\\ of\\ Ann.wav ")


def test_the_line_is_added_once_and_nothing_else_changes(home: Path, ttsr: Ttsr) -> None:
    (home / "dotfiles").mkdir()
    start = home / "dotfiles" / "zshrc"
    start.write_bytes(b"alias m='caf\xe9'\n")
    (home / ".zshrc").symlink_to(start)
    assert "added a line" in ttsr("completion", "install", "zsh").output
    once = start.read_bytes()
    assert once.startswith(b"alias m='caf\xe9'\n[ ! -r ")
    assert "reads it already" in ttsr("completion", "install", "zsh").output
    assert start.read_bytes() == once
    assert (home / ".zshrc").is_symlink()
    fish = ttsr("completion", "install", "fish")
    assert (home / ".config/fish/completions/ttsr.fish").read_text() == ttsr("completion", "show", "fish").output
    assert "added a line" not in fish.output


def test_a_shell_that_is_not_known_is_named(home: Path, ttsr: Ttsr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/nu")
    refused = ttsr("completion", "install")
    assert (refused.exit_code, re.findall("the shell is .*", refused.output)) == (
        2, ["the shell is nu; name one of bash, zsh, fish"]
    )  # fmt: skip
    assert not (home / ".bashrc").exists()
