"""What came out of a tuning: settings ranked, compared with the engine's default, and the best as a preset.

A setting beats the default when the 95 % bootstrap interval of its paired difference, over clips, is above 0.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ttsr_studio import __version__
from ttsr_studio.errors import OptionError
from ttsr_studio.evaluation.reporting.bootstrap import (
    RESAMPLES,
    Difference,
    Estimate,
    bootstrap,
    mean_known,
    paired,
)
from ttsr_studio.evaluation.reporting.tables import interval, markdown_table
from ttsr_studio.evaluation.sweep import Case
from ttsr_studio.evaluation.tuning.space import SamplerSetting
from ttsr_studio.evaluation.tuning.study import TRUTH, Objective, Tuning, TuningTask

NARROW = 0.8
"""Share of the default's search range under which a setting leaves a search little to choose from."""

PRESET_MARK = "tuned by ttsr tune"
"""What a preset of this command is known by."""


@dataclass(frozen=True)
class SettingFigures:
    """A setting's figures, over clips.

    Attributes:
        objective: mean over clips of a single draw's; higher is better.
        distance: to the truth, LSD from the cutoff to the clip's edge, log10 power; lower is better.
        difference: of the objective to the baseline's on the same clips.
        spread: mean search range (equation 4), log10 power; NaN for one candidate.
        share: of the baseline's search range at the same places.
        whole: measured wherever the baseline is; False for what was stopped early or failed somewhere.
    """

    setting: SamplerSetting
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


def rank_settings(tuning: Tuning) -> list[SettingFigures]:
    """Every setting that was measured, best first; those that are not whole come last."""
    base = tuning.rows.get(tuning.baseline, {})
    if not base:
        return []
    objective = Objective(tuning.task.objective, list(base.values()))
    found = [figures_of(tuning, setting, objective) for setting, rows in tuning.rows.items() if rows]
    return sorted(found, key=order)


def order(figures: SettingFigures) -> tuple[bool, float, int]:
    """Order of the table: by objective, without rounding errors, then by cost."""
    mean = figures.objective.mean
    return not figures.whole, -round(mean, 6) if math.isfinite(mean) else math.inf, figures.setting.nfe


def figures_of(tuning: Tuning, setting: SamplerSetting, objective: Objective) -> SettingFigures:
    """Figures of one setting in the cases that the baseline is known of, too."""
    base, mine, seed = tuning.rows[tuning.baseline], tuning.rows[setting], tuning.task.seed
    cases = [case for case in base if case in mine]

    def by_clip(values: dict[Case, float]) -> np.ndarray:
        """Means over a clip's cutoffs [clips]."""
        clips = dict.fromkeys(clip for clip, _ in cases)
        return np.array([mean_known([values[case] for case in cases if case[0] == clip]) for clip in clips])

    figures = {case: objective.value(mine[case]) for case in cases}
    theirs = {case: objective.value(base[case]) if math.isfinite(figures[case]) else math.nan for case in cases}
    own, other = (mean_known([or_nan(rows[case]["range"]) for case in cases]) for rows in (mine, base))
    known = tuning.task.candidates > 1
    return SettingFigures(
        setting,
        bootstrap(by_clip(figures), seed),
        bootstrap(by_clip({case: -or_nan(mine[case]["scores"][TRUTH]) for case in cases}), seed),
        paired(by_clip(figures), by_clip(theirs), seed),
        own if known else math.nan,
        own / other if known and other else math.nan,
        len(cases) == len(base),
    )


def or_nan(value: float | None) -> float:
    """NaN for None, which JSON has for it."""
    return math.nan if value is None else value


@dataclass(frozen=True)
class Decision:
    """What is to be done: the setting that the preset holds, whether it beats the default, in words, with warnings."""

    chosen: SettingFigures
    better: bool
    words: str
    warnings: list[str]


def decide(tuning: Tuning, settings: Sequence[SettingFigures]) -> Decision:
    """The best of those that beat the default and that a render can be told; otherwise the default stays."""
    default = next(e for e in settings if e.setting == tuning.baseline)
    tried = sum(e.setting != tuning.baseline for e in settings)
    better = [e for e in settings if e.better]
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
    return Decision(chosen, best is not None, words, warnings)


def tuning_markdown(tuning: Tuning, settings: Sequence[SettingFigures], decision: Decision, title: str) -> list[str]:
    """The table of settings, best first, and what follows from it."""
    task = tuning.task
    lines = ["# Tuning", "", title, "", decision.words, *(f"\n**{warning}**" for warning in decision.warnings), ""]
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
        part = [e for e in settings if e.whole == whole]
        if not part:
            continue
        if not whole:
            lines += [
                "",
                "Not measured on every clip (stopped early, or failed there), compared on those that were:",
                "",
            ]
        cells = (setting_cells(tuning, e, distance) for e in part)
        lines += markdown_table(titles, cells, left=("solver", "schedule"))
    if tuning.above:
        lines += ["", f"{tuning.above} settings above the limit of {task.limit} were left out."]
    return lines


def per_cent(share: float) -> str:
    return f"{100 * share:.0f} %"


def unit(task: TuningTask) -> str:
    if len(task.objective) > 1:
        return "mean z-score, in standard deviations of the default over clips"
    return "minus LSD, log10 power" if task.objective == (TRUTH,) else "in its own unit"


def setting_cells(tuning: Tuning, figures: SettingFigures, distance: bool) -> list[str]:
    s, default = figures.setting, figures.setting == tuning.baseline
    return [
        f"{s.solver} (default)" if default else s.solver,
        str(s.steps),
        s.schedule if s.rho is None else f"{s.schedule} rho {s.rho:g}",
        f"{s.temperature:g}",
        f"{s.guidance:g}",
        str(s.nfe),
        interval(figures.objective, 3),
        str(figures.objective.n),
        "–" if default else interval(figures.difference.estimate, 3, "+"),
        "–" if math.isnan(figures.share) else f"{figures.spread:.3f} ({per_cent(figures.share)})",
        *([interval(figures.distance, 3)] if distance else []),
    ]


def preset_text(tuning: Tuning, decision: Decision) -> str:
    """The chosen setting as a preset of `ttsr render`."""
    task, chosen = tuning.task, decision.chosen
    s, n = chosen.setting, chosen.objective.n
    figure = f"objective {'+'.join(task.objective)} {chosen.objective.mean:.3f} on {n} clips"
    if decision.better:
        against = f"{interval(chosen.difference.estimate, 3, '+')} against the engine's default"
    else:
        against = "the engine's default stays, since no other setting is known to beat it"
    narrow = f"; search range only {per_cent(chosen.share)} of the default's" if chosen.share < NARROW else ""
    values = {
        "description": f"{PRESET_MARK}: {figure}; {against}; {s.nfe} evaluations a run{narrow}",
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


def check_target(target: Path) -> None:
    """Raise OptionError for a preset of the user's own, and for a name that `ttsr render` would not take for a file."""
    if target.suffix != ".toml":
        raise OptionError(f"--preset {target}: a preset is a .toml file")
    if target.exists() and PRESET_MARK not in target.read_text(encoding="utf-8", errors="replace"):
        raise OptionError(f"--preset {target}: exists already and is not of this command; choose another name")


def tuning_line(source: Path, tuning: Tuning, method: str) -> str:
    """One line for the head of the table: what the numbers were measured under."""
    task, left_out = tuning.task, len(tuning.clips) - len({clip.path for clip, _ in tuning.cases})
    cutoffs = ", ".join(f"{cutoff:g}" for cutoff in task.conditions.cutoffs)
    parts = [
        f"ttsr {__version__}",
        f"engine {task.engine}",
        f"at most {task.limit} network evaluations a run",
        method,
        f"clips of {source.name}, cutoff {cutoffs} Hz, told",
        *([f"{left_out} of {len(tuning.clips)} clips end at the cutoff and are left out"] if left_out else []),
        f"{task.candidates} candidates",
        f"seed {task.seed}",
    ]
    if task.conditions.seconds is not None:
        parts.append(f"first {task.conditions.seconds:g} s of each clip")
    return "; ".join(parts) + "."
