"""What the service's page shows."""

import json
import os
import re
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from ttsr_studio.errors import TtsrError, shown
from ttsr_studio.report.paths import beside, report_names
from ttsr_studio.watch.filesystem.root import Root, regular
from ttsr_studio.watch.queue.states import JobState
from ttsr_studio.watch.queue.status import job_to_json, report_facts, status_of
from ttsr_studio.watch.queue.store import JobRecord, Store
from ttsr_studio.watch.web.forecast import Forecast, speed_of

MOST_FILES = 20
"""Files of a kind that the page shows."""

MOST_PENDING = 200
MOST_OTHERS = 9

FRESH_SECONDS = 1.0
"""For so long everybody gets the same status, however many look."""

READING = os.O_RDONLY
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # of which Windows has the last, and others do not
    READING |= getattr(os, _flag, 0)

MOST_BYTES = 256_000_000
"""Of a report."""

ABSOLUTE = re.compile(r"(https?://\S+)|(?<![^\s'\"(\[{=:,;|/])/(?:[^/\s'\":;,()]+/)*(?=[^/\s])")

NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


ReportKey = tuple[int, int, int]
"""Number of a file, and time of change and size of its report."""

BROKEN = (TtsrError, OSError, sqlite3.Error, ValueError, TypeError, LookupError, AttributeError, RuntimeError)
"""What a damaged database or report may lead to."""


class StatusBoard:
    """What the page shows of a root.

    Args:
        local: whether only this machine can see it; others are not told where the root lies.
        jobs: how many files are rendered at a time.

    Attributes:
        told: seconds that files were said to take, by path.
    """

    def __init__(self, root: Root, local: bool, jobs: int = 1) -> None:
        self.root, self.local, self.jobs = root, local, jobs
        self.told: dict[str, float] = {}
        self.lock = threading.Lock()
        self.made, self.made_at = b"", -FRESH_SECONDS
        self.facts: dict[ReportKey, dict[str, str]] = {}

    def status(self) -> bytes:
        """The status as JSON, not older than a moment."""
        with self.lock:
            if not self.made or time.monotonic() - self.made_at >= FRESH_SECONDS:
                self.made = as_json(self.read())
                self.made_at = time.monotonic()
            return self.made

    def read(self) -> dict[str, Any]:
        """The status now: what `ttsr watch --status` says, with links to reports and what they say in a few words."""
        with closing(Store(self.root.database, view=True)) as queue:
            status = status_of(self.root, queue, MOST_FILES) | self.ahead(queue)
            facts: dict[ReportKey, dict[str, str]] = {}
            for row in status["done"]:
                job = queue.get(row["id"])
                if job is not None:
                    row |= self.result_of(job, facts)
        self.facts = facts
        kinds = ("running", "next", "failed", "waiting_files", "done", "pending")
        for row in (status, *(row for kind in kinds for row in status[kind])):
            for name in ("paused", "waiting", "reason"):
                if row.get(name):
                    row[name] = self.plain_text(row[name])
        return status | {
            "root": shown(self.root.path) if self.local else None,
            "open": self.local,
            "at": time.time(),
            "many": MOST_FILES,
        }

    def ahead(self, queue: Store) -> dict[str, Any]:
        """What is under way and what waits, with places and the seconds until each is done."""
        done = queue.jobs([JobState.DONE], MOST_FILES, newest=True)
        forecast = Forecast(self.told, speed_of(done), time.time())
        running, pending = queue.jobs([JobState.RUNNING]), queue.jobs([JobState.PENDING], MOST_PENDING)
        takable = [row for row in pending if not row.held]
        ends = dict(zip((row.id for row in takable), self.ends(forecast, queue, running, takable), strict=True))
        places = {row.id: place for place, row in enumerate(takable, 1)}
        return {
            "running": [job_to_json(row) | {"eta_s": forecast.of_running(row)} for row in running],
            "pending": [job_to_json(row) | {"eta_s": ends.get(row.id), "place": places.get(row.id)} for row in pending],
        }

    def ends(
        self, forecast: Forecast, queue: Store, running: list[JobRecord], pending: list[JobRecord]
    ) -> list[float | None]:
        if queue.paused or queue.fact("waiting"):
            return [None] * len(pending)
        return forecast.of_pending(running, pending, self.jobs)

    def result_of(self, row: JobRecord, known: dict[ReportKey, dict[str, str]]) -> dict[str, Any]:
        """Links to what a finished file has, and what its report says; `known` keeps that for the next time."""
        links: dict[str, str] = {}
        facts: dict[str, str] = {}
        at = f"?at={row.finished_at or 0:.0f}"
        for kind, name in (("json", "report"), ("png", "picture")):
            path = self.locate(row, kind)
            there = None if path is None else regular(path)
            if path is None or there is None:
                continue
            links[name] = f"/report/{row.id}.{kind}{at}"
            if kind == "json":
                key = row.id, there.st_mtime_ns, there.st_size
                facts = known[key] = self.facts[key] if key in self.facts else facts_of(path)
        sounds = self.sounds(row)
        if "render" in sounds:
            links["render"] = f"/files/{row.id}/render{at}"
            if "report" in links and self.source(row) is not None:
                links["audition"] = f"/audition/{row.id}{at}"
        others = {name: f"/files/{row.id}/{name}{at}" for name in sounds if name != "render"}
        return {"links": links, "others": others, "facts": facts}

    def sounds(self, row: JobRecord) -> dict[str, Path]:
        """The audio of a finished file that is there, by name: its render, the next best, the random pick."""
        output = self.located(row.output) if row.output and row.state is JobState.DONE else None
        if output is None or regular(output) is None:
            return {}
        others = [f"top{rank}" for rank in range(1, MOST_OTHERS + 1)] + ["control"]
        found = {"render": output} | {name: beside(output, name) for name in others}
        return {name: path for name, path in found.items() if regular(path)}

    def source(self, row: JobRecord) -> Path | None:
        """Where the source of a file lies; None where it is gone, or not what was rendered."""
        for path in (self.root.path / row.path, self.root.done / row.path):
            there = regular(path)
            if there and there.st_size == row.size and path.resolve().is_relative_to(self.root.path.resolve()):
                return path
        return None

    def report(self, number: int, kind: str) -> bytes | None:
        """The report of a finished file, by its number; None when there is none."""
        row = self.row(number)
        path = None if row is None else self.locate(row, kind)
        content = None if path is None else content_of(path)
        if content is None or kind != "json":
            return content
        return as_json(self.without_paths(json.loads(content)))

    def row(self, number: int) -> JobRecord | None:
        """A file by its number."""
        with closing(Store(self.root.database, view=True)) as queue:
            return queue.get(number)

    def locate(self, row: JobRecord, kind: str) -> Path | None:
        """Where a report of a finished file lies; None where it would lie outside the folder of renders."""
        if row.state is not JobState.DONE or not row.output or not row.report:
            return None
        try:
            return self.located(row.report if kind == "json" else report_names(Path(row.output))[1])
        except ValueError:  # no name at all
            return None

    def located(self, name: str | Path) -> Path | None:
        """Where something lies in the folder of renders, None where that is elsewhere."""
        try:
            path = (self.root.path / name).resolve()
            return path if path.is_relative_to(self.root.renders.resolve()) else None
        except (ValueError, RuntimeError, OSError):  # no name at all; links that lead in circles
            return None

    def plain_text(self, text: str) -> str:
        """A text that names no place outside the root, nor the root's own."""
        return ABSOLUTE.sub(lambda match: match[1] or "…/", self.root.without_root(text))

    def without_paths(self, value: Any) -> Any:
        """JSON with every text as `plain_text` has it."""
        if isinstance(value, dict):
            return {key: self.without_paths(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.without_paths(item) for item in value]
        return self.plain_text(value) if isinstance(value, str) else value


def content_of(path: Path) -> bytes | None:
    """What a regular file holds, None when there is none of a size that a report has."""
    try:
        handle = os.open(path, READING)
    except OSError:
        return None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            return None
        with open(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def facts_of(path: Path) -> dict[str, str]:
    """What a report says in a few words; nothing when it cannot be read."""
    try:
        return report_facts(json.loads(content_of(path) or b""))
    except (ArithmeticError, *BROKEN):
        return {}


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"
