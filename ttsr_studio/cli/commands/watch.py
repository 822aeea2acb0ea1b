"""`ttsr watch`: the service of a folder."""

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ttsr_studio.cli import completing
from ttsr_studio.cli.command import ROOT, OneLineErrors
from ttsr_studio.cli.farm_flags import FarmFlags, farm_flags, farm_of
from ttsr_studio.cli.help import GroupedCommand, grouped
from ttsr_studio.cli.json_output import echo_json
from ttsr_studio.cli.render_options import device_flag
from ttsr_studio.cli.service import (
    EventPrinter,
    default_memory,
    other,
    page_of,
    page_options,
    positive,
    rules_of,
    run_service,
    watched_root,
)
from ttsr_studio.errors import OptionError, shown
from ttsr_studio.rendering.tasks import Limits, RenderWorker
from ttsr_studio.report.numbers import roughly
from ttsr_studio.watch.context import ServiceOptions
from ttsr_studio.watch.filesystem.root import Root, find_root
from ttsr_studio.watch.health import health
from ttsr_studio.watch.policy import WatchPolicy
from ttsr_studio.watch.queue.clock import Clock
from ttsr_studio.watch.queue.status import status_of
from ttsr_studio.watch.queue.store import Store

MOST_WORKERS = 64
"""Of a farm, unless told otherwise; those that there is no room for do nothing."""


def program(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> list[str]:
    """The words of a command line. Raises BadParameter for what cannot be run."""
    if text is None:
        return []
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {str(error).lower()}") from error
    if not words or not shutil.which(words[0]):
        raise click.BadParameter(f"{words[0] if words else text!r}: no such program; pass its whole path")
    return words


class WatchCommand(GroupedCommand, OneLineErrors):
    """A command with groups of options, whose errors are one line."""


@click.command(
    "watch",
    cls=WatchCommand,
    examples=(
        ("ttsr watch stems/", "until Ctrl-C; page at 127.0.0.1:8470"),
        ("ttsr watch stems/ --once", "what is there, and end"),
        ("ttsr watch stems/ --preset fx=sfx", "stems/fx/ with the preset sfx"),
        ("ttsr watch stems/ --status", "what goes on there"),
        ("ttsr watch stems/ --farm auto", "on all machines of a farm"),
    ),
    first=("Basics", "Page"),
    more=("Files", "Workers", "Farm", "Other programs"),
)
@click.argument("root", type=ROOT)
@grouped(
    "Basics",
    "--preset",
    "named",
    shell_complete=completing.presets,
    multiple=True,
    metavar="NAME or FOLDER=NAME",
    help="Preset of what lies in no folder that is named after one, or of what lies in FOLDER. May be repeated.  "
    "[default: general]",
)
@grouped(
    "Files",
    "--poll",
    type=float,
    callback=positive,
    metavar="SECONDS",
    help="Look through all folders every so many seconds instead of waiting for the system to tell of changes.  "
    "[default: wait, and look every 60; on a network share look every 10]",
)
@grouped(
    "Files",
    "--settle",
    type=float,
    default=5.0,
    show_default=True,
    callback=positive,
    metavar="SECONDS",
    help="Take a file for complete when it has not changed for so long.",
)
@grouped(
    "Basics",
    "--once",
    is_flag=True,
    help="End when everything is rendered, with exit code 1 when something failed, or failed earlier and still lies "
    "there.",
)
@grouped(
    "Basics", "--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="How many renders run at a time."
)
@device_flag
@grouped(
    "Workers",
    "--cpu/--no-cpu",
    default=True,
    show_default=True,
    help="Whether a render goes to the CPU when the device failed twice.",
)
@grouped(
    "Workers",
    "--memory",
    type=float,
    callback=positive,
    metavar="GB",
    help="End a worker that takes more memory.  [default: three quarters of the machine's, shared by --jobs]",
)
@grouped(
    "Workers",
    "--hang",
    type=float,
    default=900.0,
    show_default=True,
    callback=positive,
    metavar="SECONDS",
    help="End a worker that makes no progress for so long.",
)
@grouped(
    "Files",
    "--keep-free",
    type=int,
    default=500,
    show_default=True,
    metavar="MB",
    help="Begin nothing while less disk is free.",
)
@grouped(
    "Workers",
    "--grace",
    type=float,
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long renders at hand may go on when the service is stopped; then they are handed back.",
)
@grouped(
    "Workers",
    "--lease",
    type=float,
    default=60.0,
    show_default=True,
    callback=positive,
    metavar="SECONDS",
    help="Take over the jobs of another service that has not answered for so long.",
)
@grouped(
    "Files",
    "--state",
    type=ROOT,
    help="Folder for the database and the logs; on a local disk when ROOT is a network share.  [default: ROOT/_work]",
)
@page_options
@grouped("Page", "--no-page", is_flag=True, help="Serve no page.")
@grouped(
    "Other programs",
    "--notify",
    callback=program,
    metavar="COMMAND",
    help="Run this program after every file, with the path of its report, or of the note on its failure, "
    "as last argument.",
)
@grouped("Other programs", "--json", "as_json", is_flag=True, help="Print events, or the status, as JSON.")
@farm_flags
@grouped("Basics", "--status", "only_status", is_flag=True, help="Only say what goes on at ROOT.")
@grouped(
    "Basics",
    "--health",
    "only_health",
    is_flag=True,
    help="Only say in a line whether a service runs on ROOT and looks through it; exit code 1 when none does.",
)
def watch_command(
    root: Path,
    named: tuple[str, ...],
    memory: float | None,
    hang: float,
    keep_free: int,
    device: str,
    cpu: bool,
    state: Path | None,
    no_page: bool,
    notify: list[str],
    as_json: bool,
    only_status: bool,
    only_health: bool,
    jobs: int,
    **values: Any,
) -> None:
    """Render what is dropped into a folder, for as long as it runs.

    \b
    ROOT/speech/a.wav      a stem, in a folder named after a preset
    ROOT/_renders/speech/  its render and report
    ROOT/_failed/speech/   a note that says why there is none
    ROOT/_work/            database, logs, work in progress

    Sources stay where they are; what was rendered is remembered by content. A ttsr-watch.toml in any folder sets preset
    and options for it, a stem's NAME.ttsr.toml for that stem. The first Ctrl-C, or SIGTERM, ends the service when jobs
    at hand are done; the second one hands them back at once.
    """
    if only_status or only_health:
        return show_health(root) if only_health else show_status(find_root(root), as_json)
    farm = FarmFlags.of(values)
    refuse_both_counts(farm)
    values = {name: value for name, value in values.items() if not name.startswith("farm")}
    most = int(memory * 1e9) if memory else None if farm else default_memory(jobs)
    policy = WatchPolicy(cpu, keep_free * 1_000_000, notify, Limits(hang, most, sharing=jobs), device)
    page = None if no_page else page_of(values, show_token=sys.stdout.isatty())
    options = ServiceOptions(jobs=jobs, page=page, policy=policy, **other(values))
    watched, tell = watched_root(root, state), EventPrinter(as_json)
    rules = rules_of(watched, named, None if farm else device)
    with ExitStack() as stack:
        if farm:
            workers = stack.enter_context(farm_workers_of(watched, farm, options, tell))
            options = replace(options, jobs=farm.workers or MOST_WORKERS, workers=workers)
        failed = run_service(watched, rules, options, tell)
    if failed and options.once:
        sys.exit(1)


def refuse_both_counts(farm: FarmFlags | None) -> None:
    """Raise OptionError for workers of this machine besides those of a farm."""
    given = click.get_current_context().get_parameter_source("jobs")
    if farm and given is ParameterSource.COMMANDLINE:
        raise OptionError("--jobs: are workers of this machine; with --farm pass --farm-workers")


@contextmanager
def farm_workers_of(
    root: Root, flags: FarmFlags, options: ServiceOptions, tell: EventPrinter
) -> Iterator[Callable[[Path], RenderWorker]]:
    """What makes workers of a farm, for as long as this lasts. Raises OptionError with --once and no farm."""
    from ttsr_studio.farm.farm import REACHED
    from ttsr_studio.farm.workers import FarmWorker

    def heard(line: str) -> None:
        tell("farm reached" if line.startswith(REACHED) else "machine not used", {"reason": line})

    with farm_of(flags, heard, shown(root.path)) as farm:
        away = farm.trouble() if options.once else None
        if away:
            raise OptionError(f"--farm {flags.address}: {away}; or leave --once out to wait for it")
        mark = root.share_mark()
        yield lambda log: FarmWorker(farm, options.policy.limits, mark)


# Status


def show_health(root: Path) -> None:
    """Say in a line whether a service runs on a root; ends with exit code 1 where none does."""
    well, line = health(root, Clock())
    click.echo(line, err=not well)
    if not well:
        sys.exit(1)


def show_status(watched: Root, as_json: bool) -> None:
    status = status_of(watched, Store(watched.database))
    if as_json:
        echo_json(status, indent=2)
        return
    services = len(status["services"])
    click.echo(f"{services} service{'' if services == 1 else 's'} running on {shown(watched.path)}")
    skipped = f" ({status['skipped']} of the done skipped: nothing to add)" if status["skipped"] else ""
    click.echo(", ".join(f"{count} {state}" for state, count in status["counts"].items()) + skipped)
    if status["next_count"] and status["left_s"]:
        click.echo(f"{status['next_count']} next; {roughly(status['left_s'])} for all, as the newest renders took")
    for name in ("paused", "waiting"):
        if status[name]:
            click.echo(f"{name}: {status[name]}")
    for row in status["running"]:
        click.echo(f"  running  {shown(Path(row['file']))}  {row['progress'] or ''}")
    for row in status["failed"]:
        click.echo(f"  failed   {shown(Path(row['file']))}: {row['reason']}")
    for row in status["waiting_files"]:
        again = "" if row["again_in_s"] is None else f"; tried again in {row['again_in_s']} s"
        click.echo(f"  waiting  {shown(Path(row['file']))}: {row['reason']}{again}")
