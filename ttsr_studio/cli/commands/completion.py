"""`ttsr completion`: what makes the Tab key of a shell complete commands, options, presets, verifiers and files."""

import os
import shlex
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from ttsr_studio.cli.command import OneLineErrors
from ttsr_studio.errors import OptionError, OutputError, shown
from ttsr_studio.storage.atomic import write_atomic

SHELLS = ("bash", "zsh", "fish")
MARK = "# completion of ttsr"
SHELL = click.argument("shell", type=click.Choice(SHELLS), required=False)


@click.group("completion")
def completion_group() -> None:
    """Let the Tab key complete commands, options, presets, verifiers and files: `ttsr completion install`."""


@completion_group.command("show", cls=OneLineErrors)
@SHELL
def completion_show(shell: str | None) -> None:
    """Print the script for bash, zsh or fish.  [default: the shell that you use]"""
    click.echo(script_of(shell or own_shell()))


@completion_group.command("install", cls=OneLineErrors)
@SHELL
def completion_install(shell: str | None) -> None:
    """Write the script for bash, zsh or fish, and have the shell read it.  [default: the shell that you use]

    Of bash and zsh a line is added to ~/.bashrc or ~/.zshrc, once. To undo it, remove that line and the script.
    """
    shell = shell or own_shell()
    path, start = place_of(shell)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{shown(path.parent)}: cannot be made ({error.strerror})") from error
    write_atomic(path, f"{script_of(shell)}\n".encode())
    click.echo(f"wrote {shown(path)}")
    if start is not None:
        add_line(start, reading(shell, path))
    click.echo(f"Open a new terminal, or: source {shlex.quote(str(path))}")


def own_shell() -> str:
    """The shell that SHELL names. Raises OptionError where that is another."""
    name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise OptionError(f"the shell is {name or 'unknown'}; name one of {', '.join(SHELLS)}")
    return name


def script_of(shell: str) -> str:
    """What a shell reads, as click writes it."""
    from ttsr_studio.cli.main import main

    completion = get_completion_class(shell)
    assert completion is not None
    return completion(main, {}, "ttsr", "_TTSR_COMPLETE").source().strip()


def place_of(shell: str) -> tuple[Path, Path | None]:
    """Where a shell's script goes, and the file that has to read it; None where the shell finds it by itself."""
    home = Path.home()
    if shell == "fish":
        return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish/completions/ttsr.fish", None
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    if shell == "bash":  # the package bash-completion looks there as well
        return data / "bash-completion/completions/ttsr", home / ".bashrc"
    return data / "ttsr/completion.zsh", Path(os.environ.get("ZDOTDIR") or home) / ".zshrc"


def reading(shell: str, path: Path) -> str:
    """The line that has a shell read a script, if it is there."""
    file = shlex.quote(str(path))
    first = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }; " if shell == "zsh" else ""
    return f"[ ! -r {file} ] || {{ {first}. {file}; }}  {MARK}"


def add_line(start: Path, line: str) -> None:
    """Add a line to a file that a shell reads at its start, where it is not there yet; nothing else is changed.

    Raises OutputError where that cannot be.
    """
    try:
        text = start.read_text(encoding="utf-8", errors="surrogateescape") if start.exists() else ""
        if line in text.splitlines():
            click.echo(f"{shown(start)} reads it already")
            return
        with start.open("a", encoding="utf-8") as file:  # it may be a link
            file.write(("" if not text or text.endswith("\n") else "\n") + line + "\n")
    except OSError as error:
        raise OutputError(f"{shown(start)}: {error.strerror}; add this line to it yourself: {line}") from error
    click.echo(f"added a line to {shown(start)}")
