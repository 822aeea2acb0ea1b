"""`ttsr watch`: the service of a folder."""

import json
import math
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click
from click.core import ParameterSource

from ttsr_studio.cli import completing
from ttsr_studio.cli.command import ROOT, OneLineErrors
from ttsr_studio.cli.farm_flags import FarmFlags, farm_flags, farm_of, refuse_farm_settings
from ttsr_studio.cli.help import GroupedCommand, grouped
from ttsr_studio.cli.interrupt import left_at_once
from ttsr_studio.cli.render_options import device_flag
from ttsr_studio.config import presets
from ttsr_studio.config.resolve import resolve
from ttsr_studio.errors import OptionError, shown, unknown
from ttsr_studio.rendering.tasks import Limits, RenderWorker
from ttsr_studio.report.numbers import roughly
from ttsr_studio.watch.context import ServiceOptions
from ttsr_studio.watch.filesystem.root import Root, find_root
from ttsr_studio.watch.folder_config import FolderRule, FolderRules
from ttsr_studio.watch.health import health
from ttsr_studio.watch.policy import WatchPolicy
from ttsr_studio.watch.queue.clock import Clock
from ttsr_studio.watch.queue.status import status_of
from ttsr_studio.watch.queue.store import DamagedError, Store
from ttsr_studio.watch.service import Service
from ttsr_studio.watch.web.server import serve_page

PORT = 8470
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


def host_names(_ctx: click.Context, _parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of hosts, in small letters. Raises BadParameter for an address with a scheme, a port or a path."""
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise click.BadParameter(f"{name!r}: the name of a host alone, such as ttsr.studio.lan")
    return tuple(name.lower().removesuffix(".") for name in names)


def positive(_ctx: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter("a number above 0")
    return value


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
    first=("Basics", "Status page"),
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
@grouped(
    "Status page",
    "--port",
    type=click.IntRange(1, 65535),
    default=PORT,
    show_default=True,
    help="Port of the status page.",
)
@grouped(
    "Status page",
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address of the status page, which has no password.",
)
@grouped(
    "Status page",
    "--page-name",
    "page_names",
    multiple=True,
    callback=host_names,
    metavar="HOST",
    help="A name that the status page answers to as well, as behind a proxy. May be repeated.",
)
@grouped("Status page", "--no-page", is_flag=True, help="Serve no status page.")
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
    port: int,
    no_page: bool,
    notify: list[str],
    as_json: bool,
    only_status: bool,
    only_health: bool,
    jobs: int,
    farm: str | None,
    farm_gpus: float | None,
    farm_workers: int | None,
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
    with left_at_once():  # this takes seconds to load, and no other command here needs it
        from ttsr_studio.engines.device import resolve_device

    refuse_farm_settings(farm, farm_gpus, farm_workers)
    refuse_both_counts(farm)
    if not farm:
        resolve_device(device)
    most = int(memory * 1e9) if memory else None if farm else default_memory(jobs)
    policy = WatchPolicy(cpu, keep_free * 1_000_000, notify, Limits(hang, most, sharing=jobs), device)
    options = ServiceOptions(jobs=jobs, port=None if no_page else port, policy=policy, **values)
    watched = Root(root, state)
    if state is None:
        watched = Root(root, watched.marked())  # its database may be elsewhere
    rules = FolderRules(watched.path, base_rule(named))
    rules.of("x.wav")  # what is wrong at the root is said before anything starts
    resolve(rules.base.preset, rules.base.values)
    flags = FarmFlags(farm, farm_gpus, farm_workers) if farm else None
    failed = run_service(watched, rules, options, flags, EventPrinter(as_json))
    if failed and options.once:
        sys.exit(1)


def run_service(
    root: Root, rules: FolderRules, options: ServiceOptions, farm: FarmFlags | None, tell: "EventPrinter"
) -> int:
    """Run a service until it ends; returns how many files failed or still wait. Raises OptionError."""
    try:
        with ExitStack() as stack:
            if farm:
                workers = stack.enter_context(farm_workers_of(root, farm, options, tell))
                options = replace(options, jobs=farm.workers or MOST_WORKERS, workers=workers)
            service = Service(root, rules, options, tell, serve_page)
            stack.enter_context(stop_on_signals(service))
            return service.run()
    except DamagedError as error:
        raise OptionError(str(error)) from error


def refuse_both_counts(farm: str | None) -> None:
    """Raise OptionError for workers of this machine besides those of a farm."""
    given = click.get_current_context().get_parameter_source("jobs")
    if farm and given is ParameterSource.COMMANDLINE:
        raise OptionError("--jobs: are workers of this machine; with --farm pass --farm-workers")


@contextmanager
def farm_workers_of(
    root: Root, flags: FarmFlags, options: ServiceOptions, tell: "EventPrinter"
) -> Iterator[Callable[[Path], RenderWorker]]:
    """What makes workers of a farm, for as long as this lasts. Raises OptionError with --once and no farm."""
    from ttsr_studio.farm.workers import FarmWorker

    with farm_of(flags, lambda line: tell("machine not used", {"reason": line}), root.share_mark()) as farm:
        away = farm.reach() if options.once else None
        if away:
            raise OptionError(f"--farm {flags.address}: {away}; start its head, or leave --once out to wait for it")
        yield lambda log: FarmWorker(farm, options.policy.limits)


def base_rule(named: Sequence[str]) -> FolderRule:
    """The rule at the root. Raises OptionError for presets that are not there."""
    plain = [text for text in named if "=" not in text]
    folders = dict(text.split("=", 1) for text in named if "=" in text)
    if len(plain) > 1:
        raise OptionError(f"--preset {plain[1]}: one preset for the root; for a sub-folder, FOLDER={plain[1]}")
    for name in (*plain, *folders.values()):
        if name not in presets.available():
            raise unknown("preset", name, presets.available())
    return FolderRule(plain[0] if plain else "general", folders=folders)


def default_memory(jobs: int) -> int:
    import psutil

    return int(0.75 * psutil.virtual_memory().total / jobs)


@contextmanager
def stop_on_signals(service: Service) -> Iterator[None]:
    """The first signal ends the service when jobs are done, the second one now."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        service.interrupt()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class EventPrinter:
    """Says events as they come: a line each, for people or for programs."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def __call__(self, event: str, values: dict[str, Any]) -> None:
        if self.as_json:
            click.echo(json.dumps({"event": event, **values}, default=str))
            return
        values = dict(values)
        parts = [shown(Path(values.pop(name))) for name in ("file", "folder") if name in values]
        parts += [str(values.pop(name)) for name in ("said", "reason") if values.get(name)]
        if counts := values.pop("counts", None):
            parts.append(", ".join(f"{count} {state}" for state, count in counts.items()))
        parts += [f"{name} {value}" for name, value in values.items() if name != "attempt" and value is not None]
        when = datetime.now().strftime("%H:%M:%S")
        click.echo(f"{when} {event}: {'; '.join(parts)}" if parts else f"{when} {event}")


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
        click.echo(json.dumps(status, indent=2))
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
