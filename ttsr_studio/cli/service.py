"""What `ttsr watch` and `ttsr app` share: options of the page, and a service that runs until it is stopped."""

import math
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click

from ttsr_studio.cli.help import grouped
from ttsr_studio.cli.interrupt import left_at_once
from ttsr_studio.cli.json_output import echo_json
from ttsr_studio.config import presets
from ttsr_studio.config.resolve import resolve
from ttsr_studio.errors import OptionError, shown, unknown
from ttsr_studio.watch.context import ServiceOptions
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.folder_config import FolderRule, FolderRules
from ttsr_studio.watch.queue.store import DamagedError
from ttsr_studio.watch.service import Service
from ttsr_studio.watch.web.options import PageOptions

PORT = 8470
PAGE_VALUES = ("port", "host", "page_names", "behind_proxy", "tls_cert", "tls_key", "most_upload")


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


def page_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that serves the page."""
    options = (
        grouped(
            "Page", "--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="Port of the page."
        ),
        grouped(
            "Page",
            "--host",
            default="127.0.0.1",
            show_default=True,
            help="Address of the page. Another than this machine's own takes --tls-cert or --behind-proxy.",
        ),
        grouped(
            "Page",
            "--page-name",
            "page_names",
            multiple=True,
            callback=host_names,
            metavar="HOST",
            help="A name that the page answers to as well, as behind a proxy. May be repeated.",
        ),
        grouped(
            "Page",
            "--behind-proxy",
            is_flag=True,
            help="Something in front of the page keeps others off: a reverse proxy with TLS, or a container's port.",
        ),
        grouped(
            "Page",
            "--tls-cert",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Serve the page by https, with this certificate.",
        ),
        grouped(
            "Page",
            "--tls-key",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Key of the certificate.",
        ),
        grouped(
            "Page",
            "--most-upload",
            type=float,
            default=8.0,
            show_default=True,
            callback=positive,
            metavar="GB",
            help="Largest file that the page takes.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def page_of(values: dict[str, Any], show_token: bool, required: bool = False) -> PageOptions:
    """How the page is to be served. Raises OptionError where others could listen.

    Args:
        values: of the options, by name.
    """
    certificate = values["tls_cert"], values["tls_key"]
    if (certificate[0] is None) != (certificate[1] is None):
        raise OptionError("--tls-cert and --tls-key go together: a certificate and its key")
    page = PageOptions(
        values["host"],
        values["port"],
        values["page_names"],
        None if certificate[0] is None else certificate,
        values["behind_proxy"],
        int(values["most_upload"] * 1e9),
        show_token,
        required,
    )
    page.refuse_exposed()
    return page


def other(values: dict[str, Any]) -> dict[str, Any]:
    """Values of options that are not the page's."""
    return {name: value for name, value in values.items() if name not in PAGE_VALUES}


def watched_root(path: Path, state: Path | None) -> Root:
    """The root at a path; its database may be elsewhere already."""
    return Root(path, state or Root(path).marked())


def rules_of(root: Root, named: Sequence[str], device: str | None) -> FolderRules:
    """The rules of a root; what is wrong at the root is said before anything starts. Raises OptionError.

    Args:
        device: that renders run on; None for those of a farm.
    """
    with left_at_once():  # this takes seconds to load, and no other command here needs it
        from ttsr_studio.engines.device import resolve_device

    if device:
        resolve_device(device)
    rules = FolderRules(root.path, base_rule(named))
    rules.of("x.wav")
    resolve(rules.base.preset, rules.base.values)
    return rules


def run_service(root: Root, rules: FolderRules, options: ServiceOptions, tell: "EventPrinter") -> int:
    """Run a service with its page until it ends; returns how many files failed or still wait. Raises OptionError."""
    from ttsr_studio.watch.web.server import serve_page

    service = Service(root, rules, options, tell, serve_page)
    try:
        with stop_on_signals(service):
            return service.run()
    except DamagedError as error:
        raise OptionError(str(error)) from error


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
            echo_json({"event": event, **values})
            return
        values = dict(values)
        parts = [shown(Path(values.pop(name))) for name in ("file", "folder") if name in values]
        parts += [str(values.pop(name)) for name in ("said", "reason") if values.get(name)]
        if counts := values.pop("counts", None):
            parts.append(", ".join(f"{count} {state}" for state, count in counts.items()))
        parts += [f"{name} {value}" for name, value in values.items() if name != "attempt" and value is not None]
        when = datetime.now().strftime("%H:%M:%S")
        click.echo(f"{when} {event}: {'; '.join(parts)}" if parts else f"{when} {event}")
