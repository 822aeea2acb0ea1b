"""The tables of the benchmark: means with intervals by kind and cutoff, and paired differences to a baseline."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.evaluation.benchmark.metrics import METRICS, Metric
from ttsr_studio.evaluation.reporting.bootstrap import RESAMPLES, Difference, Estimate, bootstrap, paired
from ttsr_studio.evaluation.reporting.tables import by_kind_and_cutoff, csv_table, interval, markdown_table
from ttsr_studio.evaluation.sweep import Row


@dataclass(frozen=True)
class MetricEstimate:
    """One system's value of one metric on one kind at one cutoff; the difference is None without a baseline."""

    kind: str
    cutoff_hz: float
    system: str
    metric: Metric
    estimate: Estimate
    difference: Difference | None


def estimate_metrics(rows: Sequence[Row], baseline: str | None, seed: int) -> list[MetricEstimate]:
    """Estimates by kind (and over all kinds when there are several), cutoff, system and metric."""
    estimates = []
    for kind, cutoff, part in by_kind_and_cutoff(rows, together=True):
        systems = list(dict.fromkeys(row["system"] for row in part))
        clips = list(dict.fromkeys(row["clip"] for row in part))
        for metric in METRICS:
            columns = {system: by_clip(part, system, clips, metric.key) for system in systems}
            for system in systems:
                difference = None
                if baseline in columns and system != baseline:
                    difference = paired(columns[system], columns[baseline], seed)
                estimate = bootstrap(columns[system], seed)
                estimates.append(MetricEstimate(kind, cutoff, system, metric, estimate, difference))
    return estimates


def by_clip(rows: Sequence[Row], system: str, clips: Sequence[str], key: str) -> NDArray[np.float64]:
    """A system's values by clip, [clips], NaN where there is none."""
    values = {row["clip"]: row[key] for row in rows if row["system"] == system}
    return np.array([values.get(clip) for clip in clips], np.float64)


def metrics_csv(estimates: Sequence[MetricEstimate]) -> str:
    """All estimates, one line each, in full precision, with which way is better; empty where there is no value."""
    titles = ("kind", "cutoff_hz", "system", "metric", "n", "mean", "low", "high")
    differences = ("difference", "difference_low", "difference_high", "difference_percent", "pairs")
    rows = []
    for one in estimates:
        e, d = one.estimate, one.difference
        head = [one.kind, f"{one.cutoff_hz:g}", one.system, one.metric.key, e.n, e.mean, e.low, e.high]
        changed: list[float | str] = [""] * len(differences)
        if d is not None:
            percent = d.percent if one.metric.ratio else math.nan
            changed = [d.estimate.mean, d.estimate.low, d.estimate.high, percent, d.estimate.n]
        rows.append([*head, *changed, one.metric.better])
    return csv_table([*titles, *differences, "better"], rows)


def metrics_markdown(estimates: Sequence[MetricEstimate], baseline: str | None, title: str) -> list[str]:
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
    for kind, cutoff in dict.fromkeys((one.kind, one.cutoff_hz) for one in estimates):
        part = [one for one in estimates if (one.kind, one.cutoff_hz) == (kind, cutoff)]
        clips = max(one.estimate.n for one in part)
        lines += ["", f"## {kind}, cutoff {cutoff:g} Hz ({clips} clips)"]
        blocks = [[e for e in part if e.metric.group == group] for group in dict.fromkeys(m.group for m in METRICS)]
        for block in blocks:
            lines += systems_table(block, clips)
        if any(one.difference for one in part):
            lines += ["", f"Difference to {baseline}:"]
            for block in blocks:
                lines += systems_table(block, clips, differences=True)
    return lines


def systems_table(estimates: Sequence[MetricEstimate], clips: int, differences: bool = False) -> list[str]:
    """Lines of one Markdown table, an empty one first; without metrics that no system has a value of.

    Args:
        clips: how many values a metric has that lacks none.
    """
    metrics = list(dict.fromkeys(one.metric for one in estimates if one.estimate.n))
    metrics = [metric for metric in metrics if not differences or metric.better or metric.group == "cost"]
    shown = [one for one in estimates if not differences or one.difference is not None]
    if not metrics or not shown:
        return []
    rows = []
    for system in dict.fromkeys(one.system for one in shown):
        own = {one.metric: one for one in shown if one.system == system}
        cell = difference_cell if differences else estimate_cell
        rows.append([system, *(cell(own[metric], clips) for metric in metrics)])
    return ["", *markdown_table(["system", *(metric.heading for metric in metrics)], rows)]


def estimate_cell(one: MetricEstimate, clips: int) -> str:
    return interval(one.estimate, one.metric.digits) + count(one.estimate, clips)


def count(estimate: Estimate, clips: int) -> str:
    """ " (n 7)" where not every clip has a value."""
    return f" (n {estimate.n})" if 0 < estimate.n < clips else ""


def difference_cell(one: MetricEstimate, clips: int) -> str:
    if one.difference is None:
        return "–"
    text = interval(one.difference.estimate, one.metric.digits, sign="+")
    percent = one.difference.percent
    share = f" ({percent:+.1f} %)" if one.metric.ratio and math.isfinite(percent) else ""
    return text + share + count(one.difference.estimate, clips)
