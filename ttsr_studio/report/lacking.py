"""What of a render is not there, though its report says that it was asked for: whoever wrote it was ended before."""

import json
from pathlib import Path
from typing import Any

from ttsr_studio.report.paths import page_name, report_paths
from ttsr_studio.report.writing import UNREADABLE, unfinished_files
from ttsr_studio.storage.checksum import sha256


def is_unfinished(target: Path, report: bool) -> bool:
    """Whether an output is a render that Ctrl-C ended before its search was through, or that lacks some of its files.

    So is one whose writing was ended by force, whatever is wanted of reports.

    Args:
        report: whether reports are wanted; where they are not, nothing is missed of one.
    """
    if was_cut_off(target):
        return True
    try:
        found = raw_report(target)
        early = bool(found["search"]["cut"].get("interrupted"))
        return (early and unchanged(found, target)) or (report and bool(lacking(target)))
    except UNREADABLE:
        return False


def was_cut_off(target: Path) -> bool:
    """Whether an output is what a render left that was killed before all that belongs to it was written."""
    return is_orphan(target) or (target in unfinished_files(target) and bool(lacking(target)))


def is_orphan(target: Path) -> bool:
    """Whether an output is what a render left that did not get to its report."""
    if target not in unfinished_files(target):
        return False
    try:
        return not unchanged(raw_report(target), target)
    except UNREADABLE:
        return True


def lacking(target: Path) -> list[Path]:
    """Files that an output's report says are its own and that are not there; none where it is another file now."""
    try:
        found = raw_report(target)
        missing = [path for path in belonging(target, found) if not path.exists()]
        return missing if missing and unchanged(found, target) else []
    except UNREADABLE:
        return []


def raw_report(target: Path) -> dict[str, Any]:
    """The report of an output as it lies there, of whichever version. Raises what is in `UNREADABLE`."""
    found: dict[str, Any] = json.loads(report_paths(target)[0].read_text(encoding="utf-8"))
    return found


def unchanged(report: dict[str, Any], target: Path) -> bool:
    """Whether an output is still what its report says. Raises what is in `UNREADABLE`."""
    return bool(report["output"]["sha256"] == sha256(target))


def belonging(target: Path, report: dict[str, Any]) -> list[Path]:
    """What a render leaves beside its output and report: picture, arrays, page, and its other audio."""
    _, picture, arrays = report_paths(target)
    page = [page_name(target)] if report["tool"]["options"].get("page") else []
    others = [*report.get("best", ()), *filter(None, [report.get("random_baseline")])]
    return [picture, arrays, *page, *(target.with_name(other["name"]) for other in others)]
