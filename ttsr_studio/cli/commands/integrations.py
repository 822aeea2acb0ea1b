"""`ttsr integrations`: scripts for DAWs and units for services, put where they belong."""

import os
import shutil
from pathlib import Path

import click

from ttsr_studio.cli import completing
from ttsr_studio.cli.command import OneLineErrors, UserPath
from ttsr_studio.errors import OptionError, shown, unknown
from ttsr_studio.integrations.installer import INTEGRATIONS, FileChange, changes_of, found, install_files
from ttsr_studio.integrations.plan import Wish, own_program

FOLDER = UserPath(file_okay=False, path_type=Path)
DONE = {"write": "wrote", "replace": "replaced", "remove": "removed", "keep": "unchanged"}
PLANNED = {name: "unchanged" if name == "keep" else f"would {name}" for name in DONE}


@click.group("integrations")
def integrations_group() -> None:
    """Scripts for DAWs and units for services that come with ttsr: `ttsr integrations install reaper`."""


@integrations_group.command("list")
def integrations_list() -> None:
    """What can be installed, and where it is already."""
    wish = Wish(Path("ttsr"), root=Path("/"), administrator=is_root(), system=is_root())
    for name, integration in INTEGRATIONS.items():
        places = ", ".join(shown(path) for path in found(name, wish))
        click.echo(f"{name:8} {integration.summary}" + (f"; installed in {places}" if places else ""))


@integrations_group.command("install", cls=OneLineErrors)
@click.argument("name", shell_complete=completing.integrations)
@click.option("--into", type=FOLDER, help="The folder for the files.  [default: where the other program looks]")
@click.option("--root", type=FOLDER, help="systemd, launchd: the folder to watch.")
@click.option("--system", is_flag=True, help="systemd: for the machine, in /etc/systemd/system; as root.")
@click.option("--run-as", default="ttsr", show_default=True, help="systemd --system: the user that it runs as.")
@click.option("--ttsr", "program", help="The program to start.  [default: the one that runs this]")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and what to do then.")
def integrations_install(
    name: str, into: Path | None, root: Path | None, system: bool, run_as: str, program: str | None, dry_run: bool
) -> None:
    """Put the files of reaper, ardour, systemd or launchd where they belong, and say what to do next.

    A file that this did not write, or that was changed since, is never replaced. Run it again after an upgrade.
    """
    if name not in INTEGRATIONS:
        raise unknown("integration", name, INTEGRATIONS)
    refuse_unused(name, root is not None, system, run_as != "ttsr")
    folder, watched = (None if each is None else Path(os.path.abspath(each.expanduser())) for each in (into, root))
    wish = Wish(located(program), folder, watched, system, run_as, is_root())
    plans = INTEGRATIONS[name].plan(wish)
    planned = [(plan, changes_of(plan)) for plan in plans]  # what may not be replaced is said before anything is
    for plan, steps in planned:
        if not dry_run:
            install_files(plan, steps)
        say_changes(steps, PLANNED if dry_run else DONE)
    click.echo("next:" if not dry_run else "then:")
    for line in plans[0].next_steps:
        click.echo(f"  {line}")


def refuse_unused(name: str, root: bool, system: bool, run_as: bool) -> None:
    """Raise OptionError for options that would do nothing."""
    if root and not INTEGRATIONS[name].service:
        raise OptionError(f"--root: {name} watches no folder; it is for systemd and launchd")
    if system and name != "systemd":
        raise OptionError(f"--system: is for systemd, not for {name}")
    if run_as and not system:
        raise OptionError("--run-as: is for `systemd --system`; your own service runs as you")


def say_changes(steps: list[FileChange], words: dict[str, str]) -> None:
    for step in steps:
        click.echo(f"{words[step.what]} {shown(step.path)}")


def located(program: str | None) -> Path:
    """The whole path of a program. Raises OptionError for one that is not there."""
    if program is None:
        return own_program()
    path = shutil.which(Path(program).expanduser())
    if path is None:
        raise OptionError(f"--ttsr {program}: no such program")
    return Path(os.path.abspath(path))


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
