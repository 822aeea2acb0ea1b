"""`ttsr queue`: look at a watch folder's jobs and steer them."""

import os
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from ttsr_studio.cli.command import ROOT, OneLineErrors
from ttsr_studio.cli.json_output import echo_json
from ttsr_studio.errors import OptionError, shown
from ttsr_studio.storage.home import from_home
from ttsr_studio.watch.filesystem.root import Root, find_root
from ttsr_studio.watch.publish import cancel_files
from ttsr_studio.watch.queue.jobs import Queue
from ttsr_studio.watch.queue.states import Happened, JobState
from ttsr_studio.watch.queue.status import job_to_json
from ttsr_studio.watch.queue.store import DamagedError


@click.group("queue")
def queue_group() -> None:
    """What a watched folder has seen, is doing, and did: `ttsr queue list ROOT`, or without ROOT within it."""


def open_watched(root: Path | None) -> tuple[Root, Queue]:
    """A watched root, the one around here without a name. Raises OptionError where there is none."""
    watched = find_root(root or around_here())
    try:
        return watched, Queue(watched.database)
    except DamagedError as error:
        raise OptionError(f"{error}; start `ttsr watch` on it, which makes a new one") from error


def root_and_files(words: Sequence[str]) -> tuple[Root, Queue, list[str]]:
    """A watched root and files of it; the root may be left out within it. Raises OptionError where there is none."""
    root = Path(from_home(words[0])) if words and Path(from_home(words[0])).is_dir() else None  # no file is a folder
    watched, queue = open_watched(root)
    return watched, queue, names_in(watched, queue, words[1:] if root else words)


def around_here() -> Path:
    """The watched root that the current folder is, or is in. Raises OptionError where it is in none."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if Root(folder).available:
            return folder
    raise OptionError(f"{shown(here)}: is in no watched folder; name one")


def names_in(watched: Root, queue: Queue, files: Sequence[str]) -> list[str]:
    """Paths in the tree, as they were typed: relative to the root, or to here. Raises OptionError for unknown ones."""
    found = []
    for name in files:
        inside = os.path.relpath(os.path.abspath(name), watched.path)
        known = [path for path in (name, inside) if queue.find(path)]
        if not known:
            raise OptionError(f"{shown(Path(name))}: not a file that was seen; `ttsr queue list` shows them")
        found.append(known[0])
    return found


@queue_group.command("list", cls=OneLineErrors)
@click.argument("root", type=ROOT, required=False)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([*(state.value for state in JobState), Happened.SKIPPED.value]),
    help="Only these; may be repeated. What was skipped is done, too.",
)
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file.")
def queue_list(root: Path | None, states: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Every file with its state, and why."""
    _, queue = open_watched(root)
    for row in map(job_to_json, queue.jobs(states or tuple(JobState), limit)):
        if as_json:
            echo_json(row)
        else:
            detail = row["progress"] or row["reason"] or (row["same_as"] and f"the same as {row['same_as']}")
            click.echo(f"{row['state']:8} {shown(Path(row['file']))}" + (f"  ({detail})" if detail else ""))


@queue_group.command("show", cls=OneLineErrors)
@click.argument("words", nargs=-1, required=True, metavar="[ROOT] FILE")
@click.option("--json", "as_json", is_flag=True)
def queue_show(words: tuple[str, ...], as_json: bool) -> None:
    """Everything known of a file, and what happened to it."""
    _, queue, files = root_and_files(words)
    row = queue.find(files[0]) if len(files) == 1 else None
    if row is None:
        raise OptionError("name one file")
    data = job_to_json(row) | {"history": queue.history(row)}
    if as_json:
        echo_json(data, indent=2)
        return
    history = data.pop("history")
    for name, value in data.items():
        if value is not None:
            text = at(value) if name.endswith("_at") else value
            click.echo(f"{name.removesuffix('_at'):9} {text}")
    for each in history:
        click.echo(f"{at(each['at'])} {each['what']}" + (f": {each['reason']}" if each["reason"] else ""))


def at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


@queue_group.command("retry", cls=OneLineErrors)
@click.argument("words", nargs=-1, metavar="[ROOT] [FILES]...")
def queue_retry(words: tuple[str, ...]) -> None:
    """Try again: all that failed, or these, whether failed, done or waiting."""
    _, queue, files = root_and_files(words)
    count = queue.retry(files or None)
    click.echo(f"{count} to be tried again")


@queue_group.command("cancel", cls=OneLineErrors)
@click.argument("words", nargs=-1, required=True, metavar="[ROOT] FILES...")
def queue_cancel(words: tuple[str, ...]) -> None:
    """Give up files that are pending or running; sources stay as they are."""
    watched, queue, files = root_and_files(words)
    if not files:
        raise OptionError("name the files to be given up")
    cancelled = cancel_files(watched, queue, files, "with `ttsr queue cancel`")
    click.echo(f"{len(cancelled)} cancelled")


@queue_group.command("priority", cls=OneLineErrors, context_settings={"ignore_unknown_options": True})
@click.argument("number", type=int)
@click.argument("words", nargs=-1, required=True, metavar="[ROOT] FILES...")
def queue_priority(number: int, words: tuple[str, ...]) -> None:
    """Give pending files a priority: those with more go first; 0 is the usual one, below it comes last."""
    _, queue, files = root_and_files(words)
    if not files:
        raise OptionError("name the files that are to have it")
    click.echo(f"{queue.prioritise(files, number)} with priority {number}")


@queue_group.command("pause", cls=OneLineErrors)
@click.argument("root", type=ROOT, required=False)
@click.option("--reason", default="paused by hand", show_default=True)
def queue_pause(root: Path | None, reason: str) -> None:
    """Begin no further job until `resume`; those at hand go on."""
    open_watched(root)[1].pause(reason)
    click.echo("paused")


@queue_group.command("resume", cls=OneLineErrors)
@click.argument("root", type=ROOT, required=False)
def queue_resume(root: Path | None) -> None:
    """Go on after `pause`."""
    open_watched(root)[1].pause(None)
    click.echo("resumed")


@queue_group.command("prune", cls=OneLineErrors)
@click.argument("root", type=ROOT, required=False)
@click.option("--days", type=float, default=30.0, show_default=True, help="Only what ended so long ago.")
def queue_prune(root: Path | None, days: float) -> None:
    """Forget finished files whose source is gone; renders and reports stay."""
    watched, queue = open_watched(root)
    count = queue.prune(lambda path: watched.signature_of(path) is None, time.time() - 86400 * days)
    click.echo(f"{count} forgotten")
