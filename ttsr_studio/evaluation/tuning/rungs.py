"""Which rungs suit `--search halving`? Every schedule of them, replayed on draws that were scored after every step.

- draws: of every window by traced random search (`census`), as many as the widest schedule starts, kept in rungs.jsonl,
  which `ttsr replay` reads too.
- gain: less distance to the truth (LSD from the cutoff to the clip's edge, log10 power) than a random draw has,
  expected over which draws are made; the difference to random search at the same evaluations is paired by clip.
- decision: a schedule that leads on one half of the clips is measured on the other, and the other way round, so that
  leading by chance does not count. The schedule that leads on all is advised if that difference is clear of 0.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from pathlib import Path

import numpy as np

from ttsr_studio import __version__
from ttsr_studio.errors import InputError, OptionError
from ttsr_studio.evaluation.benchmark.dataset import Clip
from ttsr_studio.evaluation.replay.collect import ScoreCollection
from ttsr_studio.evaluation.replay.estimate import replay
from ttsr_studio.evaluation.replay.policy import Policy, starts
from ttsr_studio.evaluation.replay.score_file import ScoreFile, gather, parse_line
from ttsr_studio.evaluation.reporting.bootstrap import Difference, Estimate, bootstrap, mean_known, paired
from ttsr_studio.evaluation.reporting.tables import interval, markdown_table
from ttsr_studio.evaluation.sweep import Case, EvaluationRun, cases_with_band, sweep
from ttsr_studio.evaluation.tuning.report import PRESET_MARK
from ttsr_studio.evaluation.tuning.study import TRUTH
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.search.protocol import SamplingPlan

KEEPS = (0.25, 0.5, 0.75)
SHARES = (0.25, 0.5, 0.75)
"""Of the way, after which candidates may be compared."""

ORDERS = 200
"""Subsets of the draws that every schedule is tried on."""

LEAST_CLIPS = 4
"""Two for each half: fewer say nothing of other clips."""


@dataclass(frozen=True)
class RungTask:
    """What is asked: the verifiers that choose, evaluations of a window and channel, and the seed."""

    engine: str
    device: str
    verifiers: tuple[str, ...]
    budget: int
    seed: int


@dataclass(frozen=True)
class RungFigures:
    """A schedule's figures, over clips.

    Attributes:
        by_clip: gain, [clips].
        starts: draws that it begins with.
    """

    policy: Policy
    by_clip: np.ndarray
    starts: int
    gain: Estimate
    difference: Difference


@dataclass(frozen=True)
class RungAdvice:
    """What came out: random search first, then schedules, best first; and whether the best is known to be better."""

    task: RungTask
    figures: tuple[RungFigures, ...]
    crossed: Estimate
    words: str

    @property
    def best(self) -> RungFigures | None:
        """The schedule to take; None where random search stays."""
        return self.figures[1] if self.crossed.low > 0 else None


def schedules(task: RungTask, plan: SamplingPlan) -> list[Policy]:
    """Random search, and every set of rungs with every part to keep, that fit the budget.

    Raises OptionError where the budget takes no whole run, or a run has no middle.
    """
    if plan.steps < 2:
        raise OptionError("halving needs two steps or more: with one there is nothing to go on with")
    first = Policy("random", task.verifiers, nfe=task.budget, ensemble="zsum")
    if task.budget < (least := plan.run + first.overhead):
        mean = f", {first.overhead} of them of the mean render" if first.overhead else ""
        raise OptionError(f"--rungs {task.budget}: at least {least}, the evaluations of one candidate{mean}")
    places = sorted({min(plan.steps - 1, max(1, round(share * plan.steps))) / plan.steps for share in SHARES})
    sets = chain.from_iterable(combinations(places, size) for size in range(1, len(places) + 1))
    every = [
        replace(first, name=f"{rungs} {keep}", search="halving", rungs=rungs, keep=keep)
        for rungs in sets
        for keep in KEEPS
    ]
    return [first, *every]


def cases_for_rungs(clips: Sequence[Clip], cutoffs: Sequence[float]) -> list[Case]:
    """Every clip at every cutoff that leaves something to score. Raises InputError for too few clips."""
    cases = cases_with_band(clips, cutoffs)
    if (count := len({clip.path for clip, _ in cases})) < LEAST_CLIPS:
        raise InputError(
            f"rungs are chosen on one half of the clips and checked on the other: give {LEAST_CLIPS} or more, "
            f"not {count}"
        )
    return cases


def study_for_rungs(task: RungTask) -> ScoreCollection:
    """What draws as many candidates as the widest schedule starts.

    Raises OptionError where the budget is too small, and what `Session` raises.
    """
    options = RenderOptions(
        search="census", candidates=1, engine=task.engine, device=task.device, verifiers=task.verifiers,
        scope="window", choice="window", seed=task.seed,
    )  # fmt: skip
    session = Session(options)
    most = max(starts(policy, session.plan, 1) for policy in schedules(task, session.plan))
    return ScoreCollection(session.with_options(replace(options, candidates=most)))


def draw_for_rungs(study: ScoreCollection, cases: Sequence[Case], run: EvaluationRun) -> ScoreFile:
    """Draws of all cases, kept in rungs.jsonl. Raises InputError when nothing could be drawn."""
    run.reporter.expect(len(cases))
    lines = list(sweep(study, cases, run))
    if not lines:
        raise InputError("nothing could be drawn: see what failed above")
    return gather([parse_line(line) for line in lines])


def advise_rungs(task: RungTask, file: ScoreFile) -> RungAdvice:
    """Replay every schedule and say which is to be taken."""
    policies = schedules(task, file.plan)
    rows = replay(policies, file, TRUTH, ORDERS, task.seed)
    clips = list(dict.fromkeys(row["clip"] for row in rows))

    def by_clip(policy: Policy) -> np.ndarray:
        mine = [row for row in rows if row["policy"] == policy.name]
        return np.array([mean_known([row["gain"] for row in mine if row["clip"] == clip]) for clip in clips])

    base = by_clip(policies[0])
    found = [
        RungFigures(policy, own, starts(policy, file.plan, 1), bootstrap(own, task.seed), paired(own, base, task.seed))
        for policy in policies
        for own in [by_clip(policy)]
    ]
    first, *others = found
    others.sort(key=lambda one: -one.gain.mean)
    crossed = bootstrap(halves_crossed(others, base), task.seed)
    best = others[0]
    what = f"rungs {shares(best.policy)}, keep {best.policy.keep:g}"
    said = f"{interval(crossed, 3, '+')} on {crossed.n} clips, led on one half and measured on the other"
    if crossed.low > 0:
        words = f"Halving with {what} gains more of the truth than random search at {task.budget} evaluations: {said}."
    else:
        words = f"No schedule of rungs is known to gain more than random search at {task.budget} evaluations: {said}."
        words += f" {what.capitalize()} leads, which the interval of its own row does not know."
    return RungAdvice(task, (first, *others), crossed, words)


def halves_crossed(others: Sequence[RungFigures], base: np.ndarray) -> np.ndarray:
    """Difference to random search by clip, each of the schedule that leads on the half that the clip is not in."""
    apart = np.stack([one.by_clip for one in others]) - base
    number = np.arange(apart.shape[1])
    found = np.full(apart.shape[1], np.nan)
    for half in (0, 1):
        leader = int(np.nanmean(apart[:, number % 2 != half], axis=1).argmax())
        found[number % 2 == half] = apart[leader, number % 2 == half]
    return found


def shares(policy: Policy) -> str:
    return ",".join(f"{rung:g}" for rung in policy.rungs)


def rungs_markdown(advice: RungAdvice, source: Path) -> list[str]:
    """The table, best first."""
    task = advice.task
    head = f"ttsr {__version__}; engine {task.engine}; clips of {source.name}; chosen by {'+'.join(task.verifiers)}; "
    rows = [
        [
            "random" if one.policy.search == "random" else shares(one.policy),
            "–" if one.policy.search == "random" else f"{one.policy.keep:g}",
            str(one.starts),
            interval(one.gain, 3),
            "–" if one is advice.figures[0] else interval(one.difference.estimate, 3, "+"),
        ]
        for one in advice.figures
    ]
    note = "Less LSD to the truth than a random draw, log10 power, means over clips with 95 % bootstrap intervals."
    titles = ["rungs", "keep", "starts", "gain", "against random, paired"]
    return [
        "# Rungs of halving",
        "",
        f"{head}seed {task.seed}.",
        "",
        advice.words,
        "",
        note,
        "",
        *markdown_table(titles, rows),
    ]


def rungs_preset(advice: RungAdvice) -> str:
    """The advice as a preset of `ttsr render`."""
    task, best = advice.task, advice.best
    chosen = best or advice.figures[0]
    values: dict[str, object] = {
        "description": f"{PRESET_MARK}: {chosen.policy.search}, {task.budget} evaluations; gains "
        f"{chosen.gain.mean:.3f} of LSD on {chosen.gain.n} clips",
        "engine": task.engine,
        "search": chosen.policy.search,
        "budget": f"{task.budget}nfe",
        "verifier": list(task.verifiers),
        "ensemble": "zsum",
        **({"set": [f"rungs={shares(best.policy)}", f"keep={best.policy.keep:g}"]} if best else {}),
    }
    head = f"# How candidates are searched for. ttsr {__version__}\n"
    return head + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
