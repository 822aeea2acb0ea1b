"""What came out of a tuning: settings ranked, compared with the engine's default, and the best as a preset.

A setting beats the default when the 95 % bootstrap interval of its paired difference, over clips, is above 0.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ttsr_studio import __version__
from ttsr_studio.evaluation.benchmark.runner import Row
from ttsr_studio.evaluation.reporting.bootstrap import RESAMPLES, Difference, Estimate, bootstrap, paired
from ttsr_studio.evaluation.reporting.tables import interval
from ttsr_studio.evaluation.tuning.space import Setting
from ttsr_studio.evaluation.tuning.study import TRUTH, Objective, Place, Task, Tuning, mean_known

NARROW = 0.8
"""Share of the default's search range under which a setting leaves a search little to choose from."""

WORDS = "tuned by ttsr tune"
"""What a preset of this command is known by."""


@dataclass(frozen=True)
class Entry:
    """A setting's figures, over clips.

    Attributes:
        objective: mean over clips of a single draw's; higher is better.
        distance: to the truth, LSD from the cutoff to the clip's edge, log10 power; lower is better.
        difference: of the objective to the baseline's on the same clips.
        spread: mean search range (equation 4), log10 power; NaN for one candidate.
        share: of the baseline's search range at the same places.
        whole: measured wherever the baseline is; False for what was stopped early or failed somewhere.
    """

    setting: Setting
    objective: Estimate
    distance: Estimate
    difference: Difference
    spread: float
    share: float
    whole: bool

    @property
    def better(self) -> bool:
        """Whether it beats the baseline, with an interval clear of 0."""
        return self.whole and self.difference.estimate.low > 0

    @property
    def renderable(self) -> bool:
        """Whether options of a render say it all."""
        return self.setting.rho is None


def summarise(tuning: Tuning) -> list[Entry]:
    """Every setting that was measured, best first; those that are not whole come last."""
    base = tuning.rows.get(tuning.baseline, {})
    if not base:
        return []
    objective = Objective(tuning.task.objective, list(base.values()))
    entries = [entry(tuning, setting, objective) for setting, rows in tuning.rows.items() if rows]
    return sorted(entries, key=order)


def order(entry: Entry) -> tuple[bool, float, int]:
    """Order of the table: by objective, without rounding errors, then by cost."""
    mean = entry.objective.mean
    return not entry.whole, -round(mean, 6) if math.isfinite(mean) else math.inf, entry.setting.nfe


def entry(tuning: Tuning, setting: Setting, objective: Objective) -> Entry:
    """Figures of one setting at the places where the baseline is known, too."""
    base, mine, seed = tuning.rows[tuning.baseline], tuning.rows[setting], tuning.task.seed
    places = [place for place in base if place in mine]

    def by_clip(values: dict[Place, float]) -> np.ndarray:
        """Means over a clip's cutoffs [clips]."""
        return np.array(
            [mean_known([values[p] for p in places if p[0] == c]) for c in dict.fromkeys(c for c, _ in places)]
        )

    figures = {place: objective.value(mine[place]) for place in places}
    theirs = {place: objective.value(base[place]) if math.isfinite(figures[place]) else math.nan for place in places}
    spreads = [(number(mine[place]["range"]), number(base[place]["range"])) for place in places]
    own, other = (mean_known(part) for part in zip(*spreads, strict=True)) if spreads else (math.nan, math.nan)
    known = tuning.task.candidates > 1
    return Entry(
        setting,
        bootstrap(by_clip(figures), seed),
        bootstrap(by_clip({place: -number(mine[place]["scores"][TRUTH]) for place in places}), seed),
        paired(by_clip(figures), by_clip(theirs), seed),
        own if known else math.nan,
        own / other if known and other else math.nan,
        len(places) == len(base),
    )


def number(value: float | None) -> float:
    return math.nan if value is None else value


@dataclass(frozen=True)
class Verdict:
    """What is to be done: the entry that the preset holds, whether it beats the default, in words, with warnings."""

    chosen: Entry
    better: bool
    words: str
    warnings: list[str]


def judge(tuning: Tuning, entries: Sequence[Entry]) -> Verdict:
    """The best of those that beat the default and that a render can be told; otherwise the default stays."""
    default = next(e for e in entries if e.setting == tuning.baseline)
    tried = sum(e.setting != tuning.baseline for e in entries)
    better = [e for e in entries if e.better]
    best = next((e for e in better if e.renderable), None)
    what = f"the engine's default ({default.setting})"
    if tuning.cut_short:
        what = f"the engine's default, with no more steps than the limit allows ({default.setting})"
    if best is None:
        n = default.objective.n
        why = "one clip has no interval" if n < 2 else "none has a difference whose interval is clear of 0"
        words = f"None of {tried} other settings is known to beat {what} on {n} clips: {why}. The default stays."
    else:
        words = (
            f"{best.setting} beats {what} by {interval(best.difference.estimate, 3, '+')} on "
            f"{best.difference.estimate.n} clips; the interval is clear of 0. It is the best of {tried}, "
            "which the interval does not know: measure it on other clips before you rely on it."
        )
    chosen = best or default
    warnings = []
    if better and better[0] is not chosen:
        warnings.append(f"{better[0].setting} is better still, but `ttsr render` has no option for its rho.")
    if tuning.task.candidates < 2:
        warnings.append(
            "With one candidate nobody sees whether candidates become alike; --candidates 2 or more shows it."
        )
    if chosen.share < NARROW:
        wide = next((e for e in better if e.renderable and e.share >= NARROW), None)
        other = f"no setting above {per_cent(NARROW)} beats the default"
        if wide:
            by = interval(wide.difference.estimate, 3, "+")
            other = f"of those above {per_cent(NARROW)}, {wide.setting} is the best ({by})"
        warnings.append(
            f"The candidates of {chosen.setting} differ less: their search range is {per_cent(chosen.share)} of the "
            "default's, so a search among them has less to gain, and the objective may just favour the mean of all "
            f"draws; {other}."
        )
    return Verdict(chosen, best is not None, words, warnings)


def to_markdown(tuning: Tuning, entries: Sequence[Entry], verdict: Verdict, title: str) -> str:
    """The table of settings, best first, and what follows from it."""
    task = tuning.task
    lines = ["# Tuning", "", title, "", verdict.words, *(f"\n**{warning}**" for warning in verdict.warnings), ""]
    lines += [
        f"Objective {'+'.join(task.objective)} of a single draw ({unit(task)}), means over clips with 95 % bootstrap "
        f"intervals ({RESAMPLES:,} resamples of clips); differences to the default are paired by clip. Search range: "
        f"equation 4, of {task.candidates} candidates, mean over windows, log10 power, and in per cent of the "
        "default's. LSD: from the cutoff to the clip's edge.",
        "",
    ]
    distance = task.objective != (TRUTH,)
    titles = ["solver", "steps", "schedule", "temperature", "guidance", "NFE", "objective", "clips", "difference"]
    titles += ["search range", *(["LSD"] if distance else [])]
    for whole in (True, False):
        part = [e for e in entries if e.whole == whole]
        if not part:
            continue
        if not whole:
            lines += [
                "",
                "Not measured on every clip (stopped early, or failed there), compared on those that were:",
                "",
            ]
        lines += ["| " + " | ".join(titles) + " |", "|---|---:|---|" + "---:|" * (len(titles) - 3)]
        lines += ["| " + " | ".join(cells(tuning, e, distance)) + " |" for e in part]
    if tuning.above:
        lines += ["", f"{tuning.above} settings above the limit of {task.limit} were left out."]
    return "\n".join(lines) + "\n"


def per_cent(share: float) -> str:
    return f"{100 * share:.0f} %"


def unit(task: Task) -> str:
    if len(task.objective) > 1:
        return "mean z-score, in standard deviations of the default over clips"
    return "minus LSD, log10 power" if task.objective == (TRUTH,) else "in its own unit"


def cells(tuning: Tuning, entry: Entry, distance: bool) -> list[str]:
    s, default = entry.setting, entry.setting == tuning.baseline
    return [
        f"{s.solver} (default)" if default else s.solver,
        str(s.steps),
        s.schedule if s.rho is None else f"{s.schedule} rho {s.rho:g}",
        f"{s.temperature:g}",
        f"{s.guidance:g}",
        str(s.nfe),
        interval(entry.objective, 3),
        str(entry.objective.n),
        "–" if default else interval(entry.difference.estimate, 3, "+"),
        "–" if math.isnan(entry.share) else f"{entry.spread:.3f} ({per_cent(entry.share)})",
        *([interval(entry.distance, 3)] if distance else []),
    ]


def to_preset(tuning: Tuning, verdict: Verdict) -> str:
    """The chosen setting as a preset of `ttsr render`."""
    task, chosen = tuning.task, verdict.chosen
    s, n = chosen.setting, chosen.objective.n
    figure = f"objective {'+'.join(task.objective)} {chosen.objective.mean:.3f} on {n} clips"
    if verdict.better:
        against = f"{interval(chosen.difference.estimate, 3, '+')} against the engine's default"
    else:
        against = "the engine's default stays, since no other setting is known to beat it"
    narrow = f"; search range only {per_cent(chosen.share)} of the default's" if chosen.share < NARROW else ""
    values = {
        "description": f"{WORDS}: {figure}; {against}; {s.nfe} evaluations a run{narrow}",
        "engine": task.engine,
        "solver": s.solver,
        "steps": s.steps,
        "schedule": s.schedule,
        "temperature": s.temperature,
        **({"guidance": s.guidance} if tuning.engine.guided else {}),
    }
    head = f"# How candidates are drawn. Add candidates, search and verifiers as you like. ttsr {__version__}\n"
    # A JSON value of plain ASCII is the same in TOML.
    return head + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def rows_of(tuning: Tuning) -> list[Row]:
    """All rows of this run."""
    return [row for rows in tuning.rows.values() for row in rows.values()]
