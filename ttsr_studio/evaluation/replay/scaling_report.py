"""Scaling as tables, a figure in the manner of the paper's Figure 3, and the N that is recommended for presets."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ttsr_studio.evaluation.replay.estimate import ORACLE
from ttsr_studio.evaluation.replay.overoptimization import (
    EARLY,
    LEAST_CLIPS,
    TransferCheck,
    check_transfer,
    find_knee,
    knee_gains,
    ratio,
)
from ttsr_studio.evaluation.replay.policy import Policy
from ttsr_studio.evaluation.replay.recommend import advice_table, advise
from ttsr_studio.evaluation.replay.scaling import (
    Curve,
    Group,
    clip_groups,
    estimates,
    kinds_alone,
    relative_change,
    trace,
)
from ttsr_studio.evaluation.replay.score_file import gather, parse_line
from ttsr_studio.evaluation.reporting.bootstrap import Estimate
from ttsr_studio.evaluation.reporting.figures import legend_above, plain_style, set_axis
from ttsr_studio.evaluation.reporting.tables import ALL, csv_table, interval, markdown_table, write_text
from ttsr_studio.evaluation.sweep import Row

SCALING_HEAD = """\
# Scaling

{title}

What the best of N draws by a guide comes to, window by window, expected over which N of {draws} draws are made;
means over clips with 95 % bootstrap intervals. Scores are higher is better, `lsd` is minus the distance to the truth.
The *knee* is the smallest N above 1 for which twice the draws add less than a fifth to the gain so far, measured on
{measured}; 1 where nothing is gained. *Transfer* is the gain of a held-out verifier over the guide's own, both in
standard deviations; the alarm is an interval below 0 of its change from N = 8 to the largest N. Presets that choose
by segment are replayed without the price of seams.
"""


@dataclass(frozen=True)
class Point:
    """A guide's choice among N draws by the score of a column; the transfer is None for the guide's own columns."""

    group: Group
    guide: str
    column: str
    size: int
    value: Estimate
    relative: Estimate
    gain: Estimate
    transfer: Estimate | None


def write_scaling(out: Path, rows: Sequence[Row], guides: Sequence[str], seed: int, title: str) -> list[str]:
    """Write scaling.md, scaling.csv and scaling.png from lines of scores; returns the alarms, in words.

    Raises OutputError when one cannot be written.
    """
    file = gather([parse_line(row) for row in rows])
    curves = [trace(Policy(guide, tuple(guide.split("+")), ensemble="zsum"), file, seed) for guide in guides]
    parts = clip_groups(file)
    points = [point for curve in curves for group in parts for point in point_rows(curve, group, seed)]
    checks = [check for curve in curves for group in parts for check in check_transfer(curve, group, seed)]
    advice = list(advise(file, parts, seed))
    text = [SCALING_HEAD.format(title=title, draws=curves[0].sizes[-1], measured=knee_gains(curves[0])[0])]
    text += [*knee_table(curves, parts, seed), *advice_table(advice), *alarm_lines(checks, parts)]
    text += [line for group in parts for curve in curves for line in section(curve, group, points, checks)]
    write_text(out / "scaling.md", text)
    write_text(out / "scaling.csv", points_csv(points))
    draw_scaling(curves, parts, points).savefig(out / "scaling.png")
    return alarms(checks, parts)


def point_rows(curve: Curve, group: Group, seed: int) -> Iterator[Point]:
    """All columns and sizes of a guide on some clips."""
    searched = group.by_clip(curve.searched)
    for column in curve.gains:
        values, gains = group.by_clip(curve.values[column]), group.by_clip(curve.gains[column])
        held_out = column in curve.held_out
        every = zip(
            curve.sizes,
            estimates([values], lambda mean: mean, seed),
            relative_change(values, seed),
            estimates([gains], lambda mean: mean, seed),
            estimates([gains, searched], ratio, seed),
            strict=True,
        )
        for size, value, change, gain, transfer in every:
            yield Point(group, curve.policy.name, column, size, value, change, gain, transfer if held_out else None)


def group_title(group: Group) -> str:
    return f"{group.kind}, " + ("all cutoffs" if group.cutoff_hz is None else f"cutoff {group.cutoff_hz:g} Hz")


def fall(check: TransferCheck) -> str:
    """ "0.41 at N = 8, 0.30 at N = 128 (-0.11 [-0.15, -0.07])"."""
    early, late = check.sizes
    return (
        f"{check.early.mean:.2f} of its gain at N = {early}, {check.late.mean:.2f} at N = {late} "
        f"({interval(check.change, 2, '+')})"
    )


def knee_table(curves: Sequence[Curve], parts: Sequence[Group], seed: int) -> list[str]:
    """The N for every kind and guide, all cutoffs together."""
    rows = []
    for group in kinds_alone(parts):
        for curve in curves:
            knee = find_knee(curve, group, seed)
            rows.append(
                [group.kind, str(knee.gain.n), curve.policy.name, knee.words, knee.span, interval(knee.gain, 2)]
            )
    titles = ["kind", "clips", "guide", "N (knee)", "95 %", "gain there, sd"]
    return ["## Recommended N", "", *markdown_table(titles, rows, left=("kind", "guide"))]


def alarms(checks: Sequence[TransferCheck], parts: Sequence[Group]) -> list[str]:
    """What falls, in words; of kinds with all their cutoffs together."""
    return [
        f"alarm: {group_title(v.group)}, guided by {v.guide}: {v.column} follows less, with {fall(v)}"
        for v in checks
        if v.alarm and v.group in kinds_alone(parts)
    ]


def alarm_lines(checks: Sequence[TransferCheck], parts: Sequence[Group]) -> list[str]:
    known = [v for v in checks if not math.isnan(v.change.high) and v.change.n >= LEAST_CLIPS]
    mine = [v for v in known if v.group in kinds_alone(parts)]
    note = f"Of {len(mine)} comparisons; by chance alone about one in 20 falls."
    if not mine:
        note = f"Not known: that takes {LEAST_CLIPS} clips, more than {EARLY} draws, and a verifier that is held out."
    return ["", "## Alarms", "", note, *(f"- {text}" for text in alarms(checks, parts))]


def section(curve: Curve, group: Group, points: Sequence[Point], checks: Sequence[TransferCheck]) -> list[str]:
    """A guide on some clips: relative changes of all columns by N, and the transfer to those that are held out."""
    mine = [point for point in points if (point.group, point.guide) == (group, curve.policy.name)]
    sizes, clips = curve.sizes[1:], max(point.value.n for point in mine)
    lines = ["", f"## {group_title(group)} ({clips} clips), guided by {curve.policy.name}", ""]
    rows = []
    for column in curve.gains:
        role = "" if column in curve.members else " (oracle)" if column == ORACLE else " (held out)"
        changes = [interval(p.relative, 2, "+") for p in mine if p.column == column and p.size > 1]
        rows.append([f"{column}{role}", *changes])
    lines += [*markdown_table(["change against N = 1, %", *(f"N = {size}" for size in sizes)], rows), ""]
    rows = []
    for check in (v for v in checks if (v.group, v.guide) == (group, curve.policy.name)):
        cells = [interval(p.transfer, 2) for p in mine if p.column == check.column and p.size > 1 and p.transfer]
        rows.append([check.column, *cells, interval(check.change, 2, "+"), check.words])
    titles = ["transfer", *(f"N = {size}" for size in sizes), "from 8 to the largest", ""]
    return [*lines, *markdown_table(titles, rows, left=("transfer", ""))]


def points_csv(points: Sequence[Point]) -> str:
    """All points, one line each; empty where there is no value."""
    figures = ("value", "relative_percent", "gain_sd", "transfer")
    ends = [f"{figure}{end}" for figure in figures for end in ("", "_low", "_high")]
    rows = []
    for p in points:
        role = "guide" if p.transfer is None else "oracle" if p.column == ORACLE else "held out"
        cutoff = "all" if p.group.cutoff_hz is None else f"{p.group.cutoff_hz:g}"
        estimates = (p.value, p.relative, p.gain, p.transfer)
        cells = [x for e in estimates for x in ((e.mean, e.low, e.high) if e else (math.nan,) * 3)]
        rows.append([p.group.kind, cutoff, p.guide, p.column, role, p.size, p.value.n, *cells])
    return csv_table(["kind", "cutoff_hz", "guide", "column", "role", "n", "clips", *ends], rows)


def draw_scaling(curves: Sequence[Curve], parts: Sequence[Group], points: Sequence[Point]) -> Figure:
    """Relative change of every column against N, all cutoffs together: kinds down, guides across."""
    rows = [group for group in kinds_alone(parts) if group.kind != ALL]
    colours = {column: f"C{i}" for i, column in enumerate(c for c in curves[0].gains if c != ORACLE)} | {
        ORACLE: "black"
    }
    with plain_style():
        figure = Figure(figsize=(3.6 * len(curves) + 0.4, 2.8 * len(rows) + 0.8), dpi=120, layout="constrained")
        panels = figure.subplots(len(rows), len(curves), squeeze=False)
        for panel, (group, curve) in zip(panels.flat, ((g, c) for g in rows for c in curves), strict=True):
            for column in curve.gains:
                place = (group, curve.policy.name, column)
                changes = [p.relative for p in points if (p.group, p.guide, p.column) == place]
                mean, low, high = (np.array([getattr(e, end) for e in changes]) for end in ("mean", "low", "high"))
                style = {"color": colours[column], "linestyle": "-" if column in curve.members else "--"}
                panel.plot(curve.sizes, mean, marker="o", markersize=3, label=column, **style)
                panel.fill_between(curve.sizes, low, high, color=colours[column], alpha=0.15, linewidth=0)
            panel.axhline(0, color="gray", linewidth=0.6)
            set_axis(panel, list(curve.sizes))
            panel.set_title(f"{group.kind}, guided by {curve.policy.name}")
        figure.supxlabel("candidates N")
        figure.supylabel("change against N = 1, % (up is better)")
        legend_above(figure, panels[0][0], 4)
    return figure
