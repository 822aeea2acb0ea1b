"""A watched folder for tests: stems, the command, what it says, what its queue has."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from helpers import Ttsr, below, save, started, voice

from ttsr_studio.engines.builtin import engine
from ttsr_studio.watch.context import ServiceContext, ServiceOptions
from ttsr_studio.watch.event_log import EventLog
from ttsr_studio.watch.filesystem.events import Wake
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.folder_config import FolderRule, FolderRules
from ttsr_studio.watch.policy import StopRequest
from ttsr_studio.watch.queue.clock import Clock
from ttsr_studio.watch.queue.jobs import Queue
from ttsr_studio.watch.queue.store import JobRecord
from ttsr_studio.watch.web.options import PageOptions
from ttsr_studio.watch.web.server import serve_page

QUICK = ("--once", "--settle", "0.3", "--no-page", "--json")
TINY = "candidates = 1\nsteps = 1\nverifier = 'continuity'\n"
ENDLESS = "candidates = 5000\nsteps = 20\nverifier = 'continuity'\n"
"""Settings by which a test that waits for a search to be under way cannot come too late."""


def stem(path: Path, seconds: float = 0.3, seed: int = 0, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return save(path, below(voice(seconds, seed=seed), 5000), **more)


def watch(ttsr: Ttsr, root: Path, *options: object, code: int | None = 0) -> list[dict[str, Any]]:
    """Run `ttsr watch --once`; the events it said."""
    (root / "ttsr-watch.toml").touch()
    if not (root / "ttsr-watch.toml").read_text():
        (root / "ttsr-watch.toml").write_text(TINY)
    result = ttsr("watch", root, *QUICK, *options)
    assert code is None or result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def said(events: list[dict[str, Any]], what: str) -> list[str]:
    return [event.get("file", "") for event in events if event["event"] == what]


def row(root: Path, path: str) -> JobRecord:
    with contextlib.closing(Queue(Root(root).database)) as queue:
        found = queue.find(path)
    assert found, f"{path} was never seen"
    return found


def counts(root: Path) -> dict[str, int]:
    with contextlib.closing(Queue(Root(root).database)) as queue:
        return {str(state): count for state, count in queue.counts().items()}


@contextlib.contextmanager
def running(
    root: Path, *options: object, settings: str = TINY, before: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    (root / "ttsr-watch.toml").write_text(settings)
    program = Path(__file__).with_name("quick_service.py")
    command = [*before, sys.executable, program, "watch", root, "--settle", "0.3", "--no-page", "--json", *options]
    tiny = {"TTSR_TEST_ENGINE": str(engine.WEIGHTS), "OMP_NUM_THREADS": "1"}
    with started(command, stdout=subprocess.PIPE, env=os.environ | tiny) as process:
        yield process


@contextlib.contextmanager
def service_context(root: Root, events: list[str], options: ServiceOptions | None = None) -> Iterator[ServiceContext]:
    """What the parts of a service share, without a service; names of events go to a list."""
    root.make()
    with contextlib.closing(EventLog(root.state / "test.log", lambda event, values: events.append(event))) as log:
        rules = FolderRules(root.path, FolderRule())
        given = options or ServiceOptions()
        yield ServiceContext("service-1-test", root, rules, given, log, StopRequest(), Wake(root), Clock())


@contextlib.contextmanager
def served(root: Root, said: list[str] | None = None, **page: Any) -> Iterator[str]:
    """The page of a root, without a service, at any free port; gives its address."""
    options = ServiceOptions(page=PageOptions(**{"port": 0, **page}))
    with service_context(root, [] if said is None else said, options) as context, serve_page(context) as address:
        yield address
