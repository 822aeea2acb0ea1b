"""Tables as Markdown and CSV, the same for every room: cells of intervals, rows by kind and cutoff."""

import csv
import io
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ttsr_studio.errors import OutputError, shown
from ttsr_studio.evaluation.reporting.bootstrap import Estimate
from ttsr_studio.storage.atomic import write_atomic

ALL = "all kinds"


def markdown_table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[str] | None = None
) -> list[str]:
    """Lines of a Markdown table.

    Args:
        rows: cells of texts; a bar in one is shown as it is.
        left: titles of the columns that are flush left, the others being flush right; the first one by default.
    """
    left = titles[:1] if left is None else left
    rules = "".join("---|" if title in left else "---:|" for title in titles)
    lines = [" | ".join(cell.replace("|", "&#124;") for cell in row) for row in rows]
    return [f"| {' | '.join(titles)} |", f"|{rules}", *(f"| {line} |" for line in lines)]


def csv_table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV with a line of titles: numbers in six digits, empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows([_csv_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def _csv_cell(cell: Any) -> Any:
    if not isinstance(cell, float):
        return cell
    return "" if math.isnan(cell) else f"{cell:.6g}"


def by_kind_and_cutoff(rows: Sequence[Any], together: bool = False) -> Iterator[tuple[str, float, list[Any]]]:
    """Rows by kind, in order of appearance, and cutoff, from low to high.

    Args:
        rows: mappings with `kind` and `cutoff_hz`.
        together: all kinds at once come last, where there are several.
    """
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    for kind in [*kinds, *([ALL] if together and len(kinds) > 1 else [])]:
        for cutoff in sorted({row["cutoff_hz"] for row in rows}):
            part = [row for row in rows if kind in (ALL, row["kind"]) and row["cutoff_hz"] == cutoff]
            if part:
                yield kind, cutoff, part


def interval(estimate: Estimate, digits: int, sign: str = "") -> str:
    """ "1.234 [1.1, 1.3]"; a dash for no value, no interval for one clip."""
    if math.isnan(estimate.mean):
        return "–"
    mean = f"{estimate.mean:{sign}.{digits}f}"
    if math.isnan(estimate.low):
        return mean
    return f"{mean} [{estimate.low:{sign}.{digits}f}, {estimate.high:{sign}.{digits}f}]"


def write_text(path: Path, text: str | Sequence[str]) -> Path:
    """Write a text, or lines of one, and return where. Raises OutputError when it cannot be written."""
    content = text if isinstance(text, str) else "\n".join(text) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{shown(path)}: {error.strerror or error}") from error
    write_atomic(path, content.encode())
    return path
