"""What belonged to the render that a new one takes the place of."""

import contextlib
from collections.abc import Collection
from pathlib import Path

from ttsr_studio.errors import InputError
from ttsr_studio.report.paths import page_name, report_paths
from ttsr_studio.report.schema import Report
from ttsr_studio.report.validate import load_report
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.storage.names import FileKeys


def clear_earlier(
    target: Path, earlier: Report | None, report: Report, page: Path | None, inputs: Collection[Path]
) -> None:
    """Remove what belonged to the render that was replaced: its next best and control, as they were, and its page.

    Args:
        earlier: the report of that render, None where there was none.
        report, page: of the new one.
        inputs: files that are never removed, whatever they were.
    """
    if earlier is None:
        return
    keys = FileKeys()
    kept = {keys.of(target.with_name(other.name)) for other in report.written()}
    kept |= {keys.of(path) for path in (target, *inputs)}
    for other in earlier.written():
        with contextlib.suppress(OSError, ValueError):  # a name that is none
            path = target.with_name(other.name)
            if keys.of(path) not in kept and sha256(path) == other.sha256:
                path.unlink()
    if page is None:
        with contextlib.suppress(OSError):
            page_name(target).unlink()


def earlier_report(target: Path) -> Report | None:
    """The report of the render that bears a name now; None where there is none."""
    try:
        return load_report(report_paths(target)[0])
    except InputError:
        return None
