"""What goes on in a watched tree, as plain data for the command line and the page."""

import json
from pathlib import Path
from typing import Any

from ttsr_studio.errors import shown
from ttsr_studio.watch.queue import Entry, Queue
from ttsr_studio.watch.slots import living
from ttsr_studio.watch.tree import Tree


def status_of(tree: Tree, queue: Queue, many: int = 20) -> dict[str, Any]:
    """What goes on, as plain data."""
    pending = [row for row in queue.entries(["pending"]) if row.held or row.reason]
    return {
        "root": str(tree.root),
        "services": living(tree.state),
        "counts": queue.counts(),
        "paused": queue.fact("paused"),
        "waiting": queue.fact("waiting"),
        "running": [plain(row) for row in queue.entries(["running"])],
        "failed": [plain(row) for row in queue.entries(["failed"], many, newest=True)],
        "waiting_files": [plain(row) for row in pending[:many]],
        "done": [plain(row) for row in queue.entries(["done"], many, newest=True)],
    }


def plain(row: Entry) -> dict[str, Any]:
    """A file as people and programs get it."""
    return {
        "file": shown(Path(row.path)),
        "state": row.state,
        "reason": row.held or row.reason,
        "progress": in_words(row.progress),
        "priority": row.priority,
        "attempts": row.attempts,
        "output": row.output and shown(Path(row.output)),
        "report": row.report and shown(Path(row.report)),
        "same_as": row.twin and shown(Path(row.twin)),
        "sha256": row.sha256,
        "queued_at": row.queued_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def in_words(progress: str | None) -> str | None:
    """Where a render stands: '{"stage": "searching", ...}' -> "searching 40 %"."""
    if progress is None:
        return None
    values = json.loads(progress)
    share = f" {100 * values['done'] / values['total']:.0f} %" if values["total"] else ""
    return f"{values['stage']}{share}"
