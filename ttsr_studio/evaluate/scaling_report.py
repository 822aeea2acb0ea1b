"""Scaling as tables, a figure in the manner of the paper's Figure 3, and the N that is recommended for presets."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ttsr_studio import presets
from ttsr_studio.errors import OptionError
from ttsr_studio.evaluate.figures import set_axis
from ttsr_studio.evaluate.policies import Policy
from ttsr_studio.evaluate.replay import ORACLE
from ttsr_studio.evaluate.rewardfile import Rewards, collect, parse
from ttsr_studio.evaluate.runner import Row
from ttsr_studio.evaluate.scaling import Curve, Group, estimates, groups, relative, trace
from ttsr_studio.evaluate.specs import make_options
from ttsr_studio.evaluate.statistics import Estimate
from ttsr_studio.evaluate.tables import ALL, interval
from ttsr_studio.evaluate.transfer import Knee, Verdict, find_knee, measured, ratio, verdicts

HEAD = """\
# Scaling

{title}

What the best of N draws by a guide comes to, window by window, expected over which N of {draws} draws are made;
means over clips with 95 % bootstrap intervals. Scores are higher is better, `lsd` is minus the distance to the truth.
The *knee* is the smallest N above 1 for which twice the draws add less than a fifth to the gain so far, measured on
{measured}; 1 where nothing is gained. *Transfer* is the gain of a held-out judge over the guide's own, both in
standard deviations; the alarm is an interval below 0 of its change from N = 8 to the largest N.
"""


@dataclass(frozen=True)
class Point:
    """What a column says of a guide's choice among N draws; the transfer is None of the guide's own columns."""

    group: Group
    guide: str
    column: str
    size: int
    value: Estimate
    relative: Estimate
    gain: Estimate
    transfer: Estimate | None


@dataclass(frozen=True)
class Advice:
    """The N for a preset, or why there is none."""

    preset: str
    judged_by: str
    kind: str
    now: str
    knee: Knee | None
    why_not: str = ""


def write_scaling(out: Path, rows: Sequence[Row], guides: Sequence[str], seed: int, title: str) -> list[str]:
    """Write scaling.md, scaling.csv and scaling.png from lines of rewards; returns the alarms, in words."""
    rewards = collect([parse(row) for row in rows])
    curves = [trace(Policy(guide, tuple(guide.split("+")), ensemble="zsum"), rewards, seed) for guide in guides]
    parts = groups(rewards)
    points = [point for curve in curves for group in parts for point in point_rows(curve, group, seed)]
    told = [verdict for curve in curves for group in parts for verdict in verdicts(curve, group, seed)]
    advice = list(advise(rewards, parts, seed))
    text = [HEAD.format(title=title, draws=curves[0].sizes[-1], measured=measured(curves[0])[0])]
    text += [*knee_table(curves, parts, seed), *advice_table(advice), *alarm_lines(told)]
    text += [line for group in parts for curve in curves for line in section(curve, group, points, told)]
    (out / "scaling.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    (out / "scaling.csv").write_text(to_csv(points), encoding="utf-8")
    draw(curves, parts, points).savefig(out / "scaling.png")
    return [f"{in_words(v.group)}: guided by {v.guide}, {v.column} follows less: {fall(v)}" for v in told if v.alarm]


def point_rows(curve: Curve, group: Group, seed: int) -> Iterator[Point]:
    """All columns and sizes of a guide on some clips."""
    searched = group.by_clip(curve.searched)
    for column in curve.gains:
        values, gains = group.by_clip(curve.values[column]), group.by_clip(curve.gains[column])
        held_out = column in curve.held_out
        every = zip(
            curve.sizes,
            estimates([values], lambda mean: mean, seed),
            relative(values, seed),
            estimates([gains], lambda mean: mean, seed),
            estimates([gains, searched], ratio, seed),
            strict=True,
        )
        for size, value, change, gain, transfer in every:
            yield Point(group, curve.policy.name, column, size, value, change, gain, transfer if held_out else None)


def advise(rewards: Rewards, parts: Sequence[Group], seed: int) -> Iterator[Advice]:
    """The knee for every preset of the built-in engine, by its own verifiers, on its own kind where there are clips."""
    here = {column.split("/")[0] for column in rewards.columns}
    curves: dict[Policy, Curve] = {}
    for name in sorted(presets.available()):
        try:
            options = make_options(name, {"preset": name}, seed, oracle=False)
        except OptionError as error:
            yield Advice(name, "", "", "", None, str(error))
            continue
        if options.engine != "builtin":
            continue
        asked = [v for v in options.verifiers if not v.endswith("?") or v.removesuffix("?") in here]
        names = tuple(v.removesuffix("?") for v in asked)
        kind = next((part.kind for part in parts if part.kind in name.split("-")), parts[-1].kind)
        told = Advice(name, "+".join(names), kind, str(options.candidates or options.budget), None)
        choice = "clip" if "clip" in (options.scope, options.choice) else options.choice
        policy = Policy("", names, ensemble=options.ensemble, choice=choice)
        why_not = {
            f"not judged here: {', '.join(n for n in names if n not in here)}": not set(names) <= here,
            f"takes {options.steps} steps, these draws {rewards.course.steps}": options.steps
            not in (None, rewards.course.steps),
            f"searches by {options.search}, which makes other draws": options.search != "random",
            "weighs its verifiers": bool(options.weights),
        }
        if reason := next((why for why, so in why_not.items() if so), ""):
            yield Advice(told.preset, told.judged_by, told.kind, told.now, None, reason)
        else:
            group = next(part for part in pooled(parts) if part.kind == kind)
            curve = curves.setdefault(policy, curves.get(policy) or trace(policy, rewards, seed))
            yield Advice(name, told.judged_by, kind, told.now, find_knee(curve, group, seed))


def in_words(group: Group) -> str:
    return f"{group.kind}, " + ("all cutoffs" if group.cutoff_hz is None else f"cutoff {group.cutoff_hz:g} Hz")


def fall(verdict: Verdict) -> str:
    """ "0.41 at N = 8, 0.30 at N = 128 (-0.11 [-0.15, -0.07])"."""
    early, late = verdict.sizes
    return (
        f"{verdict.early.mean:.2f} of its gain at N = {early}, {verdict.late.mean:.2f} at N = {late} "
        f"({interval(verdict.change, 2, '+')})"
    )


def knee_table(curves: Sequence[Curve], parts: Sequence[Group], seed: int) -> list[str]:
    """The N for every kind and guide, all cutoffs together."""
    lines = ["## Recommended N", "", "| kind | guide | N (knee) | 95 % | gain there, sd |", "|---|---|---:|---:|---:|"]
    for group in pooled(parts):
        for curve in curves:
            knee = find_knee(curve, group, seed)
            lines.append(
                f"| {group.kind} | {curve.policy.name} | {knee.words} | {span(knee)} | {interval(knee.gain, 2)} |"
            )
    return lines


def pooled(parts: Sequence[Group]) -> list[Group]:
    """By kind alone: the last group of a kind has all its cutoffs."""
    return list({part.kind: part for part in parts}.values())


def span(knee: Knee) -> str:
    return "–" if math.isnan(knee.low) else f"{knee.low:g} to {knee.high:g}"


def advice_table(advice: Sequence[Advice]) -> list[str]:
    lines = ["", "| preset | judged by | measured on | now | recommended N | 95 % |", "|---|---|---|---:|---:|---:|"]
    for one in advice:
        found = f"{one.knee.words} | {span(one.knee)}" if one.knee else f"– | {one.why_not}"
        lines.append(f"| {one.preset} | {one.judged_by} | {one.kind} | {one.now} | {found} |")
    return lines


def alarm_lines(told: Sequence[Verdict]) -> list[str]:
    alarms = [
        f"- {in_words(v.group)}: guided by {v.guide}, {v.column} follows less: {fall(v)}" for v in told if v.alarm
    ]
    if all(math.isnan(v.change.high) for v in told):
        alarms = ["Cannot be told: that takes several clips and more than 8 draws, and a held-out judge."]
    return ["", "## Alarms", "", *(alarms or ["None."])]


def section(curve: Curve, group: Group, points: Sequence[Point], told: Sequence[Verdict]) -> list[str]:
    """A guide on some clips: relative changes of all columns by N, and the transfer to those that are held out."""
    mine = [point for point in points if (point.group, point.guide) == (group, curve.policy.name)]
    sizes, clips = curve.sizes[1:], max(point.value.n for point in mine)
    lines = ["", f"## {in_words(group)} ({clips} clips), guided by {curve.policy.name}", ""]
    lines += ["| change against N = 1, % | " + " | ".join(f"N = {size}" for size in sizes) + " |"]
    lines += ["|---|" + "---:|" * len(sizes)]
    for column in curve.gains:
        cells = [interval(p.relative, 2, "+") for p in mine if p.column == column and p.size > 1]
        role = "" if column in curve.members else " (oracle)" if column == ORACLE else " (held out)"
        lines.append(f"| {column}{role} | " + " | ".join(cells) + " |")
    lines += ["", "| transfer | " + " | ".join(f"N = {size}" for size in sizes) + " | from 8 to the largest | |"]
    lines += ["|---|" + "---:|" * (len(sizes) + 1) + "---|"]
    for verdict in (v for v in told if (v.group, v.guide) == (group, curve.policy.name)):
        cells = [interval(p.transfer, 2) for p in mine if p.column == verdict.column and p.size > 1 and p.transfer]
        lines.append(
            f"| {verdict.column} | " + " | ".join([*cells, interval(verdict.change, 2, "+"), verdict.words]) + " |"
        )
    return lines


def to_csv(points: Sequence[Point]) -> str:
    """All points, one line each; empty where there is no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    figures = ("value", "relative_percent", "gain_sd", "transfer")
    ends = [f"{figure}{end}" for figure in figures for end in ("", "_low", "_high")]
    writer.writerow(["kind", "cutoff_hz", "guide", "column", "role", "n", "clips", *ends])
    for p in points:
        role = "guide" if p.transfer is None else "oracle" if p.column == ORACLE else "held out"
        cutoff = "all" if p.group.cutoff_hz is None else f"{p.group.cutoff_hz:g}"
        cells = [
            x
            for e in (p.value, p.relative, p.gain, p.transfer)
            for x in ((e.mean, e.low, e.high) if e else (math.nan,) * 3)
        ]
        head = [p.group.kind, cutoff, p.guide, p.column, role, p.size, p.value.n]
        writer.writerow([*head, *("" if math.isnan(cell) else f"{cell:.6g}" for cell in cells)])
    return text.getvalue()


def draw(curves: Sequence[Curve], parts: Sequence[Group], points: Sequence[Point]) -> Figure:
    """Relative change of every column against N, all cutoffs together: kinds down, guides across."""
    rows = [group for group in pooled(parts) if group.kind != ALL]
    colours = {column: f"C{i}" for i, column in enumerate(c for c in curves[0].gains if c != ORACLE)} | {
        ORACLE: "black"
    }
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(3.6 * len(curves) + 0.4, 2.8 * len(rows) + 0.8), dpi=120, layout="constrained")
        panels = figure.subplots(len(rows), len(curves), squeeze=False)
        for panel, (group, curve) in zip(panels.flat, ((g, c) for g in rows for c in curves), strict=True):
            for column in curve.gains:
                told = [
                    p.relative for p in points if (p.group, p.guide, p.column) == (group, curve.policy.name, column)
                ]
                mean, low, high = (np.array([getattr(e, end) for e in told]) for end in ("mean", "low", "high"))
                style = {"color": colours[column], "linestyle": "-" if column in curve.members else "--"}
                panel.plot(curve.sizes, mean, marker="o", markersize=3, label=column, **style)
                panel.fill_between(curve.sizes, low, high, color=colours[column], alpha=0.15, linewidth=0)
            panel.axhline(0, color="gray", linewidth=0.6)
            set_axis(panel, list(curve.sizes))
            panel.set_title(f"{group.kind}, guided by {curve.policy.name}")
        figure.supxlabel("candidates N")
        figure.supylabel("change against N = 1, % (up is better)")
        handles, names = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=min(4, len(names)), frameon=False)
    return figure
