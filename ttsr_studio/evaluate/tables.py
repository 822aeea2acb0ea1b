"""Results as tables: means with intervals by kind and cutoff, and paired differences to a baseline."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.evaluate.metrics import METRICS, Metric
from ttsr_studio.evaluate.runner import Row
from ttsr_studio.evaluate.statistics import RESAMPLES, Difference, Estimate, bootstrap, paired

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
    """All entries, one line each, in full precision; empty where there is no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ("kind", "cutoff_hz", "system", "metric", "n", "mean", "low", "high")
    writer.writerow([*names, "difference", "difference_low", "difference_high", "difference_percent", "pairs"])
    for entry in entries:
        e, d = entry.estimate, entry.difference
        cells: list[float] = [e.n, e.mean, e.low, e.high]
        if d is not None:
            percent = d.percent if entry.metric.ratio else math.nan
            cells += [d.estimate.mean, d.estimate.low, d.estimate.high, percent, d.estimate.n]
        head = [entry.kind, f"{entry.cutoff_hz:g}", entry.system, entry.metric.key]
        filled = ["" if math.isnan(cell) else f"{cell:.6g}" for cell in cells]
        writer.writerow(head + filled + [""] * (9 - len(filled)))
    return text.getvalue()


def to_markdown(entries: Sequence[Entry], baseline: str | None, title: str) -> str:
    """Tables by kind and cutoff, systems down, metrics across."""
    lines = [
        "# Evaluation",
        "",
        title,
        "",
        f"Means over clips with 95 % bootstrap intervals ({RESAMPLES:,} resamples of clips). "
        "Differences are paired by clip.",
    ]
    for kind, cutoff in dict.fromkeys((entry.kind, entry.cutoff_hz) for entry in entries):
        part = [entry for entry in entries if (entry.kind, entry.cutoff_hz) == (kind, cutoff)]
        clips = max(entry.estimate.n for entry in part)
        lines += ["", f"## {kind}, cutoff {cutoff:g} Hz ({clips} clips)", "", *table(part)]
        if any(entry.difference for entry in part):
            lines += ["", f"Difference to {baseline}:", "", *table(part, differences=True)]
    return "\n".join(lines) + "\n"


def table(entries: Sequence[Entry], differences: bool = False) -> list[str]:
    """Lines of one Markdown table."""
    metrics = list(dict.fromkeys(entry.metric for entry in entries))
    shown = [entry for entry in entries if not differences or entry.difference is not None]
    lines = [
        "| system | " + " | ".join(metric.title for metric in metrics) + " |",
        "|---|" + "---:|" * len(metrics),
    ]
    for system in dict.fromkeys(entry.system for entry in shown):
        cells = {e.metric: difference_cell(e) if differences else cell(e) for e in shown if e.system == system}
        lines.append(f"| {system.replace('|', '&#124;')} | " + " | ".join(cells[m] for m in metrics) + " |")
    return lines


def cell(entry: Entry) -> str:
    return interval(entry.estimate, entry.metric.digits)


def difference_cell(entry: Entry) -> str:
    if entry.difference is None:
        return "–"
    text = interval(entry.difference.estimate, entry.metric.digits, sign="+")
    percent = entry.difference.percent
    return f"{text} ({percent:+.1f} %)" if entry.metric.ratio and math.isfinite(percent) else text


def interval(estimate: Estimate, digits: int, sign: str = "") -> str:
    """ "1.234 [1.1, 1.3]"; a dash for no value, no interval for one clip."""
    if math.isnan(estimate.mean):
        return "–"
    mean = f"{estimate.mean:{sign}.{digits}f}"
    if math.isnan(estimate.low):
        return mean
    return f"{mean} [{estimate.low:{sign}.{digits}f}, {estimate.high:{sign}.{digits}f}]"
