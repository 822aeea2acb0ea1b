"""Results as tables: means with intervals by kind and cutoff, and paired differences to a baseline."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.evaluation.benchmark.metrics import METRICS, Metric
from ttsr_studio.evaluation.benchmark.runner import Row
from ttsr_studio.evaluation.reporting.bootstrap import RESAMPLES, Difference, Estimate, bootstrap, paired

ALL = "all kinds"


@dataclass(frozen=True)
class Entry:
    """One system's value of one metric on one kind at one cutoff; the difference is None without a baseline."""

    kind: str
    cutoff_hz: float
    system: str
    metric: Metric
    estimate: Estimate
    difference: Difference | None


def summarise(rows: Sequence[Row], baseline: str | None, seed: int) -> list[Entry]:
    """Estimates by kind (and over all kinds when there are several), cutoff, system and metric."""
    entries = []
    for kind, cutoff, part in groups(rows):
        systems = list(dict.fromkeys(row["system"] for row in part))
        clips = list(dict.fromkeys(row["clip"] for row in part))
        for metric in METRICS:
            columns = {system: column(part, system, clips, metric.key) for system in systems}
            for system in systems:
                difference = None
                if baseline in columns and system != baseline:
                    difference = paired(columns[system], columns[baseline], seed)
                estimate = bootstrap(columns[system], seed)
                entries.append(Entry(kind, cutoff, system, metric, estimate, difference))
    return entries


def groups(rows: Sequence[Row]) -> Iterator[tuple[str, float, list[Row]]]:
    """Rows by kind and cutoff, in order of appearance; all kinds together last."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    for kind in [*kinds, *([ALL] if len(kinds) > 1 else [])]:
        for cutoff in sorted({row["cutoff_hz"] for row in rows}):
            part = [row for row in rows if kind in (ALL, row["kind"]) and row["cutoff_hz"] == cutoff]
            if part:
                yield kind, cutoff, part


def column(rows: Sequence[Row], system: str, clips: Sequence[str], key: str) -> NDArray[np.float64]:
    """A system's values by clip, NaN where there is none."""
    values = {row["clip"]: row[key] for row in rows if row["system"] == system}
    return np.array([math.nan if values.get(clip) is None else values[clip] for clip in clips], np.float64)


def to_csv(entries: Sequence[Entry]) -> str:
    """All entries, one line each, in full precision, with which way is better; empty where there is no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ("kind", "cutoff_hz", "system", "metric", "n", "mean", "low", "high")
    differences = ("difference", "difference_low", "difference_high", "difference_percent", "pairs")
    writer.writerow([*names, *differences, "better"])
    for entry in entries:
        e, d = entry.estimate, entry.difference
        cells: list[float] = [e.n, e.mean, e.low, e.high]
        if d is not None:
            percent = d.percent if entry.metric.ratio else math.nan
            cells += [d.estimate.mean, d.estimate.low, d.estimate.high, percent, d.estimate.n]
        head = [entry.kind, f"{entry.cutoff_hz:g}", entry.system, entry.metric.key]
        filled = ["" if math.isnan(cell) else f"{cell:.6g}" for cell in cells]
        writer.writerow([*head, *filled, *[""] * (9 - len(filled)), entry.metric.better])
    return text.getvalue()


def to_markdown(entries: Sequence[Entry], baseline: str | None, title: str) -> str:
    """Tables by kind and cutoff, systems down, metrics across."""
    lines = [
        "# Evaluation",
        "",
        title,
        "",
        f"Means over clips with 95 % bootstrap intervals ({RESAMPLES:,} resamples of clips). "
        "Differences are paired by clip. ↑ higher is better, ↓ lower is better, →0 nearer to zero is better; n where "
        "not every clip has a value.",
    ]
    for kind, cutoff in dict.fromkeys((entry.kind, entry.cutoff_hz) for entry in entries):
        part = [entry for entry in entries if (entry.kind, entry.cutoff_hz) == (kind, cutoff)]
        clips = max(entry.estimate.n for entry in part)
        lines += ["", f"## {kind}, cutoff {cutoff:g} Hz ({clips} clips)"]
        blocks = [[e for e in part if e.metric.group == group] for group in dict.fromkeys(m.group for m in METRICS)]
        for block in blocks:
            lines += table(block, clips)
        if any(entry.difference for entry in part):
            lines += ["", f"Difference to {baseline}:"]
            for block in blocks:
                lines += table(block, clips, differences=True)
    return "\n".join(lines) + "\n"


def table(entries: Sequence[Entry], clips: int, differences: bool = False) -> list[str]:
    """Lines of one Markdown table, an empty one first; without metrics that no system has a value of.

    Args:
        clips: how many values a metric has that lacks none.
    """
    metrics = list(dict.fromkeys(entry.metric for entry in entries if entry.estimate.n))
    metrics = [metric for metric in metrics if not differences or metric.better or metric.group == "cost"]
    shown = [entry for entry in entries if not differences or entry.difference is not None]
    if not metrics or not shown:
        return []
    lines = [
        "",
        "| system | " + " | ".join(metric.heading for metric in metrics) + " |",
        "|---|" + "---:|" * len(metrics),
    ]
    for system in dict.fromkeys(entry.system for entry in shown):
        own = [entry for entry in shown if entry.system == system]
        cells = {e.metric: difference_cell(e, clips) if differences else cell(e, clips) for e in own}
        lines.append(f"| {system.replace('|', '&#124;')} | " + " | ".join(cells[m] for m in metrics) + " |")
    return lines


def cell(entry: Entry, clips: int) -> str:
    return interval(entry.estimate, entry.metric.digits) + count(entry.estimate, clips)


def count(estimate: Estimate, clips: int) -> str:
    """ " (n 7)" where not every clip has a value."""
    return f" (n {estimate.n})" if 0 < estimate.n < clips else ""


def difference_cell(entry: Entry, clips: int) -> str:
    if entry.difference is None:
        return "–"
    text = interval(entry.difference.estimate, entry.metric.digits, sign="+")
    percent = entry.difference.percent
    share = f" ({percent:+.1f} %)" if entry.metric.ratio and math.isfinite(percent) else ""
    return text + share + count(entry.difference.estimate, clips)


def interval(estimate: Estimate, digits: int, sign: str = "") -> str:
    """ "1.234 [1.1, 1.3]"; a dash for no value, no interval for one clip."""
    if math.isnan(estimate.mean):
        return "–"
    mean = f"{estimate.mean:{sign}.{digits}f}"
    if math.isnan(estimate.low):
        return mean
    return f"{mean} [{estimate.low:{sign}.{digits}f}, {estimate.high:{sign}.{digits}f}]"
