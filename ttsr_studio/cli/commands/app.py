"""`ttsr app`: the page of a folder, to drop files on, hear what came out, and choose."""

from pathlib import Path
from typing import Any

import click

from ttsr_studio.cli import completing
from ttsr_studio.cli.command import ROOT, OneLineErrors
from ttsr_studio.cli.help import GroupedCommand, grouped
from ttsr_studio.cli.render_options import device_flag
from ttsr_studio.cli.service import (
    EventPrinter,
    default_memory,
    page_of,
    page_options,
    rules_of,
    run_service,
    watched_root,
)
from ttsr_studio.errors import OptionError, shown
from ttsr_studio.rendering.tasks import Limits
from ttsr_studio.watch.context import ServiceOptions
from ttsr_studio.watch.filesystem.root import find_root
from ttsr_studio.watch.policy import WatchPolicy

HERE = "TTSR"
"""Folder in the user's own that is taken where none is named."""


class AppCommand(GroupedCommand, OneLineErrors):
    """A command with groups of options, whose errors are one line."""


@click.command(
    "app",
    cls=AppCommand,
    examples=(
        ("ttsr app", "a page for the folder TTSR in your own"),
        ("ttsr app stems/ --preset music", "for a folder of stems"),
        ("ttsr app stems/ --show-token", "the address again, with its token"),
    ),
    first=("Basics", "Page"),
)
@click.argument("root", type=ROOT, required=False)
@grouped(
    "Basics",
    "--preset",
    "named",
    shell_complete=completing.presets,
    multiple=True,
    metavar="NAME or FOLDER=NAME",
    help="Preset of what is in no folder that is named after one.  [default: general]",
)
@grouped(
    "Basics", "--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="How many renders run at a time."
)
@device_flag
@page_options
@grouped("Basics", "--show-token", is_flag=True, help="Only print the address with the token, and end.")
@grouped("Basics", "--json", "as_json", is_flag=True, help="Print events as JSON.")
def app_command(
    root: Path | None,
    named: tuple[str, ...],
    jobs: int,
    device: str,
    show_token: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Serve a page to drop files on, see them rendered, hear and choose, and take the renders back.

    It is the page of a watched folder: what is dropped on it lands in ROOT, and renders come to ROOT/_renders, as with
    `ttsr watch ROOT`. To change anything the page asks for a token, which is shown once, when it is made, and kept in
    ROOT/_work. Ctrl-C ends it when the render at hand is done, a second one at once; what waits goes on when it is
    started again.
    """
    folder = root or Path.home() / HERE
    if show_token:
        return print_token(folder, values)
    page = page_of(values, show_token=True, required=True)
    if not folder.exists() and folder.parent.is_dir():
        folder.mkdir()
    watched = watched_root(folder, None)
    rules = rules_of(watched, named, device)
    limits = Limits(memory=default_memory(jobs), sharing=jobs)
    options = ServiceOptions(jobs=jobs, page=page, policy=WatchPolicy(limits=limits, device=device))
    run_service(watched, rules, options, EventPrinter(as_json))


def print_token(folder: Path, values: dict[str, Any]) -> None:
    """Print the address with the token. Raises OptionError where there is none."""
    from ttsr_studio.watch.web.server import address_of, link
    from ttsr_studio.watch.web.token import NAME, Token

    watched = find_root(folder)
    if not (watched.state / NAME).is_file():
        raise OptionError(f"{shown(folder)}: has no token yet; `ttsr app {shown(folder)}` makes one")
    click.echo(link(address_of(page_of(values, show_token=True), values["port"]), Token(watched.state).text))
