"""What the service's page shows."""

import json
import os
import re
import sqlite3
import stat
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttsr_studio.errors import TtsrError, shown
from ttsr_studio.report.paths import report_names
from ttsr_studio.watch.filesystem.root import Root, regular
from ttsr_studio.watch.queue.states import JobState
from ttsr_studio.watch.queue.status import report_facts, status_of
from ttsr_studio.watch.queue.store import JobRecord, Store

MOST_FILES = 20
"""Files of a kind that the page shows."""

FRESH_SECONDS = 1.0
"""For so long everybody gets the same status, however many look."""

READING = os.O_RDONLY
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # of which Windows has the last, and others do not
    READING |= getattr(os, _flag, 0)

MOST_BYTES = 256_000_000
"""Of a report."""

ABSOLUTE = re.compile(r"(https?://\S+)|(?<![^\s'\"(\[{=:,;|/])/(?:[^/\s'\":;,()]+/)*(?=[^/\s])")

HTML, JSON, PNG, TEXT = "text/html; charset=utf-8", "application/json", "image/png", "text/plain; charset=utf-8"

NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


ReportKey = tuple[int, int, int]
"""Number of a file, and time of change and size of its report."""

BROKEN = (TtsrError, OSError, sqlite3.Error, ValueError, TypeError, LookupError, AttributeError, RuntimeError)
"""What a damaged database or report may lead to."""


@dataclass(frozen=True)
class Response:
    """What a client gets: status code, content type and body."""

    code: int
    kind: str = TEXT
    body: bytes = b""
    policy: str = NOTHING_ELSE


class StatusBoard:
    """What the page shows of a root.

    Args:
        local: whether only this machine can see it; others are not told where the root lies.
    """

    def __init__(self, root: Root, local: bool) -> None:
        self.root, self.local = root, local
        self.lock = threading.Lock()
        self.made, self.made_at = b"", -FRESH_SECONDS
        self.facts: dict[ReportKey, dict[str, str]] = {}

    def status(self) -> bytes:
        """The status as JSON, not older than a moment."""
        with self.lock:
            if not self.made or time.monotonic() - self.made_at >= FRESH_SECONDS:
                self.made = as_json(self.read()).body
                self.made_at = time.monotonic()
            return self.made

    def read(self) -> dict[str, Any]:
        """The status now: what `ttsr watch --status` says, with links to reports and what they say in a few words."""
        with closing(Store(self.root.database, view=True)) as queue:
            status = status_of(self.root, queue, MOST_FILES)
            facts: dict[ReportKey, dict[str, str]] = {}
            for row in status["done"]:
                job = queue.get(row["id"])
                if job is not None:
                    row |= self.result_of(job, facts)
        self.facts = facts
        for row in (
            status,
            *status["running"],
            *status["next"],
            *status["failed"],
            *status["waiting_files"],
            *status["done"],
        ):
            for name in ("paused", "waiting", "reason"):
                if row.get(name):
                    row[name] = self.plain_text(row[name])
        return status | {"root": shown(self.root.path) if self.local else None, "at": time.time(), "many": MOST_FILES}

    def result_of(self, row: JobRecord, known: dict[ReportKey, dict[str, str]]) -> dict[str, Any]:
        """Links to what a finished file has, and what its report says; `known` keeps that for the next time."""
        links, facts = {}, {}
        for kind, name in (("json", "report"), ("png", "picture")):
            path = self.locate(row, kind)
            there = None if path is None else regular(path)
            if path is None or there is None:
                continue
            links[name] = f"/report/{row.id}.{kind}?at={row.finished_at or 0:.0f}"
            if kind == "json":
                key = row.id, there.st_mtime_ns, there.st_size
                facts = known[key] = self.facts[key] if key in self.facts else facts_of(path)
        return {"links": links, "facts": facts}

    def report(self, number: int, kind: str) -> Response | None:
        """The report of a finished file, by its number; None when there is none."""
        with closing(Store(self.root.database, view=True)) as queue:
            row = queue.get(number)
        path = None if row is None else self.locate(row, kind)
        content = None if path is None else content_of(path)
        if content is None:
            return None
        return Response(200, PNG, content) if kind == "png" else as_json(self.without_paths(json.loads(content)))

    def locate(self, row: JobRecord, kind: str) -> Path | None:
        """Where a report of a finished file lies; None where it would lie outside the folder of renders."""
        if row.state is not JobState.DONE or not row.output or not row.report:
            return None
        try:
            name = Path(row.report) if kind == "json" else report_names(Path(row.output))[1]
            path = (self.root.path / name).resolve()
            return path if path.is_relative_to(self.root.renders.resolve()) else None
        except (ValueError, RuntimeError):  # no name at all; links that lead in circles
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


def as_json(value: Any, code: int = 200) -> Response:
    return Response(code, JSON, json.dumps(value).encode() + b"\n")
