"""Curves: a metric against candidates N, solver steps, and network evaluations, wherever a grid varied them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ttsr_studio.evaluation.benchmark.metrics import METRICS, Metric
from ttsr_studio.evaluation.benchmark.tables import MetricEstimate
from ttsr_studio.evaluation.reporting.figures import legend_above, plain_style, set_axis
from ttsr_studio.evaluation.sweep import Row

AXES = {
    "candidates": "candidates N",
    "steps": "solver steps",
    "window_nfe": "network evaluations of a window and channel",
}

Series = tuple[str, list[str]]
"""A label and its systems, in order along the axis."""


def draw_curves(rows: Sequence[Row], estimates: Sequence[MetricEstimate], folder: Path) -> list[Path]:
    """Write one PNG per metric and varied axis; a panel for each kind and cutoff.

    Returns the files written; none when nothing varies.
    """
    settings = {row["system"]: row["settings"] for row in rows if row["settings"]}
    written = []
    for axis, label in AXES.items():
        lines = find_lines(settings, axis)
        for metric in (metric for metric in METRICS if metric.curve and lines):
            figure = draw_curve(metric, axis, label, lines, settings, estimates)
            path = folder / f"{metric.key}-{axis.removeprefix('window_')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path)
            written.append(path)
    return written


def find_lines(settings: dict[str, dict[str, Any]], axis: str) -> list[Series]:
    """Systems that differ only along an axis, at least two in a line, labelled by what tells the lines apart."""
    if axis == "window_nfe":
        # evaluations follow from candidates and steps: one line for either
        return find_lines(settings, "candidates") or find_lines(settings, "steps")
    grouped: dict[str, list[str]] = {}
    for system, values in settings.items():
        rest = {key: value for key, value in values.items() if key not in (axis, "window_nfe", "preset")}
        grouped.setdefault(json.dumps(rest, sort_keys=True), []).append(system)
    lines = {key: sorted(names, key=lambda name: settings[name][axis]) for key, names in grouped.items()}
    found = {key: names for key, names in lines.items() if len({settings[name][axis] for name in names}) > 1}
    rests = [json.loads(key) for key in found]
    telling = [key for key in (rests[0] if rests else {}) if len({str(rest[key]) for rest in rests}) > 1]
    return [
        (", ".join(f"{key} {as_label(rest[key])}" for key in telling), names)
        for rest, names in zip(rests, found.values(), strict=True)
    ]


def as_label(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def draw_curve(
    metric: Metric,
    axis: str,
    label: str,
    lines: Sequence[Series],
    settings: dict[str, dict[str, Any]],
    estimates: Sequence[MetricEstimate],
) -> Figure:
    """One metric against one axis, with 95 % intervals."""
    values = {(e.kind, e.cutoff_hz, e.system): e.estimate for e in estimates if e.metric == metric}
    kinds = list(dict.fromkeys(kind for kind, _, _ in values))
    cutoffs = sorted({cutoff for _, cutoff, _ in values})
    with plain_style():
        figure = Figure(figsize=(3.6 * len(kinds), 2.8 * len(cutoffs) + 0.6), dpi=120, layout="constrained")
        panels = figure.subplots(len(cutoffs), len(kinds), squeeze=False)
        for i, cutoff in enumerate(cutoffs):
            for j, kind in enumerate(kinds):
                panel = panels[i][j]
                for name, systems in lines:
                    points = [
                        (settings[s][axis], values[kind, cutoff, s]) for s in systems if (kind, cutoff, s) in values
                    ]
                    means = [e.mean for _, e in points]
                    spread = [[e.mean - e.low for _, e in points], [e.high - e.mean for _, e in points]]
                    panel.errorbar(
                        [x for x, _ in points], means, spread, marker="o", markersize=4, capsize=3, label=name or None
                    )
                set_axis(panel, sorted({settings[s][axis] for _, systems in lines for s in systems}))
                panel.set_title(f"{kind}, cutoff {cutoff:g} Hz")
        figure.supxlabel(label)
        figure.supylabel(metric.heading)
        if any(name for name, _ in lines):
            legend_above(figure, panels[0][0], 3)
    return figure
