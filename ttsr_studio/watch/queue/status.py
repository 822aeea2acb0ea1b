"""What goes on in a watched root, as plain data for the command line and the page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttsr_studio.errors import shown
from ttsr_studio.report.upgrade import upgrade
from ttsr_studio.watch.filesystem.instance_lock import living
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.queue.clock import Clock
from ttsr_studio.watch.queue.states import JobState
from ttsr_studio.watch.queue.store import JobRecord, Store

MOST_SCORES = 6
MOST_LETTERS = 80


def status_of(root: Root, store: Store, many: int = 20) -> dict[str, Any]:
    """What goes on, as plain data; times that are to come are guessed by what the newest renders took."""
    with store.snapshot():
        running, ahead = store.jobs([JobState.RUNNING]), store.next_up()
        pace = store.pace()
        each = None if pace is None or store.fact("paused") else pace / max(1, len(running))
        return {
            "root": str(root.path),
            "services": living(root.state),
            "counts": store.counts(),
            "skipped": store.skipped(),
            "paused": store.fact("paused"),
            "waiting": store.fact("waiting"),
            "running": [job_to_json(row) for row in running],
            "next": [
                job_to_json(row) | {"place": place, "begins_in_s": each and round(each * (place - 1 + bool(running)))}
                for place, row in enumerate(ahead[:many], 1)
            ],
            "next_count": len(ahead),
            "left_s": each and round(each * (len(ahead) + len(running) / 2)),
            "failed": [job_to_json(row) for row in store.jobs([JobState.FAILED], many, newest=True)],
            "waiting_files": [job_to_json(row) for row in store.held_up(many)],
            "done": [job_to_json(row) for row in store.jobs([JobState.DONE], many, newest=True)],
        }


def job_to_json(row: JobRecord) -> dict[str, Any]:
    """A file as people and programs get it."""
    return {
        "id": row.id,
        "file": shown(Path(row.path)),
        "state": row.state,
        "reason": row.held or row.reason,
        "again_in_s": seconds_until(row),
        "progress": progress_text(row.progress),
        "share": progress_share(row.progress),
        "priority": row.priority,
        "attempts": row.attempts,
        "output": row.output and shown(Path(row.output)),
        "report": row.report and shown(Path(row.report)),
        "same_as": row.duplicate_of and shown(Path(row.duplicate_of)),
        "sha256": row.sha256,
        "queued_at": row.queued_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def seconds_until(row: JobRecord) -> int | None:
    """When a file that waits is tried again, None when it does not wait."""
    now = Clock().now()
    waits = row.state is JobState.PENDING and row.reason and not row.held and row.boot == now.boot
    return max(0, round(row.until - now.steady)) if waits else None


def progress_text(progress: str | None) -> str | None:
    """Where a render stands: '{"stage": "searching", ...}' -> "searching 40 %"; what follows 100 % is scoring."""
    if progress is None:
        return None
    share = progress_share(progress)
    if share is not None and share >= 1 and json.loads(progress)["stage"] == "searching":
        return "scoring"
    return str(json.loads(progress)["stage"]) + ("" if share is None else f" {100 * share:.0f} %")


def progress_share(progress: str | None) -> float | None:
    """How much of its stage a render has done, 0 to 1; None when that is not known."""
    values = json.loads(progress) if progress else {}
    return values["done"] / values["total"] if values.get("total") else None


def report_facts(report: Mapping[str, Any]) -> dict[str, str]:
    """What is worth knowing of a render at a glance, from its report, by name; what could not be measured is left out.

    Raises LookupError, TypeError, ValueError or AttributeError when it is no report.
    """
    report = upgrade(report)
    before, after, unsure = report["input"], report["output"], report["uncertainty"]
    windows, tried = len(report["windows"]), max((len(each["candidates"]) for each in report["windows"]), default=0)
    words = {
        "preset": report["tool"]["preset"],
        "input": formatted("band to {:.1f} kHz", before["cutoff_hz"] and before["cutoff_hz"] / 1000),
        "loudness": formatted("{:.1f} → {:.1f} LUFS", before["lufs"], after["lufs"]),
        "candidates": f"{tried} in {windows} window{'' if windows == 1 else 's'}" if tried else None,
        "evaluations": formatted("{:.0f} NFE", report["timing"]["nfe"]),
        "uncertainty": formatted("{:.1f} dB on average", unsure["mean_db"]),
        "less certain": ", ".join(f"{each['start_s']:.1f} to {each['stop_s']:.1f} s" for each in unsure["regions"]),
        **{name: score_text(report, name) for name in list(report["scores"])[:MOST_SCORES]},
    }
    return {name[:MOST_LETTERS]: shorter(str(text)) for name, text in words.items() if text}


def score_text(report: Mapping[str, Any], name: str) -> str | None:
    """What a verifier gave the choice, and all candidates on average; None when it gave nothing."""
    scores = report["scores"][name]
    unit = report["verifiers"].get(name.partition("/")[0], {}).get("unit", "")
    chosen, mean = formatted("{:.2f}", scores["chosen"]), formatted("{:.2f}", scores["mean"])
    if chosen is None:
        return None
    beside = "" if mean in (None, chosen) else f", mean {mean}"
    return f"{chosen} {unit}".rstrip() + beside + (", held out" if scores["role"] == "held-out" else "")


def formatted(text: str, *values: float | None) -> str | None:
    """A text with numbers in it, None when one of them is not known."""
    return None if None in values else text.format(*values)


def shorter(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
