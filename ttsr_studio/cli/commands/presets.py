"""`ttsr presets`: presets listed, shown and checked."""

import sys

import click

from ttsr_studio.cli import completing
from ttsr_studio.cli.command import OneLineErrors
from ttsr_studio.config import presets
from ttsr_studio.config.resolve import resolve
from ttsr_studio.errors import TtsrError, on_one_line, shown


@click.group("presets")
def presets_group() -> None:
    """Presets: verifiers, search and budget by content type."""


@presets_group.command("list")
def presets_list() -> None:
    """All presets with their descriptions; your own folder comes first."""
    for name, path in presets.available().items():
        click.echo(f"{name:15} {presets.description(path)}")
    click.echo(f"\nyour own go to {shown(presets.folders()[0])}")


@presets_group.command("show", cls=OneLineErrors)
@click.argument("name", shell_complete=completing.presets_or_files)
def presets_show(name: str) -> None:
    """Print a preset, in the form in which your own may be written."""
    path = presets.locate(name)
    click.echo(f"# {shown(path)}\n{path.read_text(encoding='utf-8')}", nl=False)


@presets_group.command("check")
@click.argument("names", nargs=-1, shell_complete=completing.presets_or_files)
def presets_check(names: tuple[str, ...]) -> None:
    """Check presets (all, or those named): keys, values, names. Exit code 1 when one is wrong."""
    wrong = 0
    for name in names or presets.available():
        try:
            resolve(name, {})
        except TtsrError as error:
            wrong += 1
            click.echo(on_one_line(f"{name}: {error}"), err=True)
        else:
            click.echo(on_one_line(f"{name}: ok"))
    if wrong:
        sys.exit(1)
