"""Which sampler settings suit an engine? All that stay under a limit of network evaluations, measured on clips.

The survey's search over solver, order, steps, schedule and guidance (Zhu et al., "A review on score-based generative
models for audio applications", 2025: section V, tables II and IV), for any engine and any objective.

- limit: evaluations of one run of one window and channel, guidance included; a setting above it is never run.
- objective of a clip: a verifier's score of a single draw, mean over windows and candidates, so that no lucky draw
  decides; higher is better. "lsd" is minus the log-spectral distance to the truth, from the cutoff to the clip's own
  edge, in log10 power. One verifier counts in its own unit; of several ("a+b") it is the mean of z-scores, in standard
  deviations of the baseline over the clips of a cutoff. Scales of one verifier share its vote.
- baseline: the engine's own settings, with as many steps as the limit allows where its own are too many.
- range: the candidates' search range (equation 4 of the paper). Nearest to the truth on average is the mean of all that
  could be true, so an objective may favour settings whose candidates are all alike, which leaves a search nothing.

All settings draw the same noises, and renders are told the cutoff.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from ttsr_studio import __version__
from ttsr_studio.diffusion.model import Engine
from ttsr_studio.engines.device import resolve_device
from ttsr_studio.engines.registry import load_engine
from ttsr_studio.errors import InputError, MissingError, OptionError, pip_install, unknown
from ttsr_studio.evaluation.benchmark.dataset import Clip
from ttsr_studio.evaluation.benchmark.degradation import Conditions, Item
from ttsr_studio.evaluation.benchmark.systems import weights_of
from ttsr_studio.evaluation.reporting.bootstrap import mean_known
from ttsr_studio.evaluation.sweep import LEAST_BAND_HZ, Case, EvaluationRun, Row, finite, leaves_a_band, sweep
from ttsr_studio.evaluation.tuning.space import Axes, SamplerSetting, suggest
from ttsr_studio.evaluation.verifier_study.candidates import WindowScores, scored_windows
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.verifiers.registry import VERIFIERS

if TYPE_CHECKING:
    import optuna

TUNING = 1
"""Raised when a figure's meaning changes."""

MATTERS = ("engine", "solver", "temperature", "guidance", "candidates", "verifiers", "seed", "batch")
"""Options of a render that a row depends on; the rest is of what is done with the candidates."""

TRUTH = "lsd"
CHEAPEST = ("lowband",)
"""Scores where no verifier is to: a render needs one, and this one is cheap."""


@dataclass(frozen=True)
class TuningTask:
    """What is tuned: `objective` are names of verifiers, `limit` network evaluations of a run."""

    engine: str
    device: str
    objective: tuple[str, ...]
    limit: int
    candidates: int
    seed: int
    conditions: Conditions


@lru_cache(maxsize=1)
def engine_for(name: str, device: str) -> Engine:
    """A loaded engine as it comes, the same for all settings; only the latest is kept in memory."""
    return load_engine(name, device)


class Objective:
    """A row's figure by its verifiers, in units of the baseline where there are several.

    Args:
        names: of the verifiers.
        baseline: the baseline's rows.

    Raises OptionError when the baseline gives no scale.
    """

    def __init__(self, names: Sequence[str], baseline: Sequence[Row]) -> None:
        every = dict.fromkeys(column for row in baseline for column in row["scores"])
        self.columns = {name: [c for c in every if c.split("/")[0] == name] for name in names}
        self.scales: dict[tuple[float, str], tuple[float, float]] = {}
        if len(names) == 1 and len(self.columns[names[0]]) <= 1:
            return
        for cutoff in {row["cutoff_hz"] for row in baseline}:
            for column in chain.from_iterable(self.columns.values()):
                scores = [row["scores"][column] for row in baseline if row["cutoff_hz"] == cutoff]
                known = np.array([score for score in scores if score is not None])
                if len(known) < 2 or known.std() <= 1e-12:
                    raise OptionError(
                        f"--objective {'+'.join(names)}: scores are made comparable by their spread over clips at the "
                        f"engine's default, and {column} has none at {cutoff:g} Hz; give more clips, or one verifier"
                    )
                self.scales[cutoff, column] = float(known.mean()), float(known.std())

    def value(self, row: Row) -> float:
        """NaN where a verifier has no score."""
        votes = [[self._scaled(row, column) for column in columns] for columns in self.columns.values()]
        return float(np.mean([sum(vote) / len(vote) if vote else math.nan for vote in votes]))

    def _scaled(self, row: Row, column: str) -> float:
        score = row["scores"].get(column)
        mean, spread = self.scales.get((row["cutoff_hz"], column), (0.0, 1.0))
        return math.nan if score is None else (score - mean) / spread


class Tuning:
    """Measures settings on clips; what the results hold already is not measured again.

    Raises OptionError or MissingError when something cannot be had, before anything is measured.

    Attributes:
        baseline: the engine's own setting, within the limit.
        rows: what is known so far, by setting and case.
        above: settings that were asked for and are above the limit.
    """

    def __init__(self, task: TuningTask, clips: Sequence[Clip]) -> None:
        for name in task.objective:
            if name not in VERIFIERS:
                raise unknown("verifier in --objective", name, VERIFIERS)
        Session.check_names(RenderOptions(engine=task.engine, verifiers=task.objective))
        if len(task.objective) > 1 and len(clips) < 2:
            raise OptionError(
                "--objective of several verifiers scales them by their spread over clips; give two clips or more"
            )
        self.task, self.clips = task, clips
        self.device = resolve_device(task.device)
        self.engine = engine = engine_for(task.engine, self.device)
        self.scoring = tuple(name for name in task.objective if name != TRUTH) or CHEAPEST
        own = SamplerSetting(
            engine.default_solver,
            engine.default_steps,
            engine.default_schedule,
            engine.default_temperature,
            engine.default_guidance,
        )
        most = own.most_steps(task.limit)
        if not most:
            cheapest = replace(own, steps=1).nfe
            raise OptionError(f"--nfe {task.limit}: one step of {task.engine} takes {cheapest}; allow at least that")
        self.cut_short = own.steps > most
        self.baseline = replace(own, steps=min(own.steps, most))
        self.cases = list(in_turns(clips, task.conditions.cutoffs))
        if not self.cases:
            raise OptionError(f"no clip holds {LEAST_BAND_HZ} Hz above a --cutoff: nothing to measure")
        self.rows: dict[SamplerSetting, dict[Case, Row]] = {}
        self.above = 0
        self._same: dict[tuple[Any, ...], SamplerSetting] = {}
        panel = self.session(self.known(self.baseline), self.scoring).panel
        clipwise = [verifier.name for verifier in panel.search if verifier not in panel.choosing("window")]
        if clipwise:
            raise OptionError(
                f"--objective {clipwise[0]}: it scores whole clips, and tuning scores windows; leave it out"
            )

    def session(self, setting: SamplerSetting, verifiers: Sequence[str]) -> Session:
        """A session that draws this way, on the engine that is loaded."""
        return session_of(self.task, setting, tuple(verifiers), self.engine)

    def known(self, setting: SamplerSetting) -> SamplerSetting:
        """The first setting that follows the same sampling plan: two steps, say, visit the same levels on any schedule.

        It goes by the engine's own schedule where that is the same, so that a preset says no more than it has to.

        Raises OptionError for a setting that cannot run here, whatever the verifiers.
        """
        own = replace(setting, schedule=self.engine.default_schedule, rho=None)
        for named in (own, setting):
            levels = tuple(f"{sigma:.6g}" for sigma in self.session(named, CHEAPEST).plan.sigmas)
            found = self._same.setdefault((named.solver, levels, named.temperature, named.guidance), named)
        return found

    def check(self, axes: Axes) -> None:
        """Raise OptionError for a value of an axis that is not there, or not for this engine and these verifiers."""
        own = self.baseline
        for tried in [
            *(replace(own, solver=solver) for solver in axes.solvers),
            *(replace(own, schedule=schedule) for schedule in axes.schedules),
            *(replace(own, temperature=temperature) for temperature in axes.temperatures),
            *(replace(own, guidance=guidance) for guidance in axes.guidances),
            *(replace(own, schedule="edm", rho=rho) for rho in axes.rhos if rho is not None),
        ]:
            self.session(tried, CHEAPEST)
        self.session(replace(own, steps=min(axes.steps, default=own.steps)), self.scoring)

    def measure(self, setting: SamplerSetting, run: EvaluationRun) -> Iterator[Row]:
        """Rows of a setting, found or measured now, in the order of the cases; what fails is reported and left out.

        Raises OutputError when the results cannot be written.
        """
        session, mine = self.session(setting, self.scoring), self.rows.setdefault(setting, {})
        by_name = {clip.name: clip for clip, _ in self.cases}
        for row in sweep(SettingStudy(self.task, setting, session, weights_of(session)), self.cases, run):
            mine[by_name[row["clip"]], row["cutoff_hz"]] = row
            yield row


def session_of(task: TuningTask, setting: SamplerSetting, verifiers: tuple[str, ...], engine: Engine) -> Session:
    """A session that draws this way, on an engine that is loaded."""
    if setting.rho is not None:
        engine = copy(engine)  # shares the networks
        engine.default_schedule, engine.schedule_options = "edm", {"rho": setting.rho}
    options = RenderOptions(
        engine=task.engine,
        solver=setting.solver,
        steps=setting.steps,
        schedule=setting.schedule,
        temperature=setting.temperature,
        guidance=setting.guidance,
        candidates=task.candidates,
        verifiers=verifiers,
        seed=task.seed,
        device=task.device,
    )
    return Session(options, engine)


@lru_cache(maxsize=1)
def session_there(task: TuningTask, setting: SamplerSetting, verifiers: tuple[str, ...]) -> Session:
    """The same where a study was sent to; only the latest is kept in memory."""
    return session_of(task, setting, verifiers, engine_for(task.engine, resolve_device(task.device)))


def study_there(
    task: TuningTask, setting: SamplerSetting, verifiers: tuple[str, ...], weights: dict[str, str]
) -> "SettingStudy":
    """A study, where it was sent to."""
    return SettingStudy(task, setting, session_there(task, setting, verifiers), weights)


@dataclass(frozen=True)
class SettingStudy:
    """A setting, measured: its session scores with the objective's verifiers. It pickles without its session."""

    task: TuningTask
    setting: SamplerSetting
    session: Session
    weights: dict[str, str]

    portable = True

    def __reduce__(self) -> tuple[Any, ...]:
        return study_there, (self.task, self.setting, self.session.options.verifiers, self.weights)

    @property
    def name(self) -> str:
        return str(self.setting)

    def find(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> list[Row] | None:
        return run.results.find([self.key(clip, cutoff_hz, run)])

    def measure(self, item: Item, run: EvaluationRun) -> Iterable[Row]:
        windows = list(scored_windows(self.session, item))
        spread = [window.search_range for window in windows]
        yield {
            "key": self.key(item.clip, item.cutoff_hz, run),
            "clip": item.clip.name,
            "kind": item.clip.kind,
            "cutoff_hz": item.cutoff_hz,
            "engine": self.task.engine,
            **vars(self.setting),
            "nfe": self.session.plan.run,
            "candidates": self.session.candidates,
            "windows": len(windows),
            "scores": mean_scores(windows, [name for name in self.task.objective if name != TRUTH]),
            "range": finite(float(np.mean(spread))) if windows else None,
            "version": __version__,
        }

    def key(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> str:
        session = self.session
        own: dict[str, Any] = {name: getattr(session.options, name) for name in MATTERS}
        own |= {"tuning": TUNING, "levels": session.plan.sigmas, "device": session.device, "weights": self.weights}
        return run.row_key(clip, cutoff_hz, **own)


def in_turns(clips: Sequence[Clip], cutoffs: Sequence[float]) -> Iterator[Case]:
    """Clips at cutoffs that leave something to score, kinds taking turns, so that the first few are of all kinds."""
    kinds = [[clip for clip in clips if clip.kind == kind] for kind in dict.fromkeys(clip.kind for clip in clips)]
    for clip in chain.from_iterable(zip_longest(*kinds)):
        for cutoff in cutoffs:
            if clip is not None and leaves_a_band(clip, cutoff):
                yield clip, cutoff


def mean_scores(windows: Sequence[WindowScores], names: Sequence[str]) -> dict[str, float | None]:
    """Mean score of a draw by column, over windows and candidates, with minus the distance to the truth as "lsd"."""
    columns: dict[str, list[float]] = {TRUTH: []}
    for window in windows:
        columns[TRUTH].append(-float(window.distances.mean()))
        for column, scores in window.scores.items():
            if column.split("/")[0] in names:
                columns.setdefault(column, []).append(float(scores.mean()))
    return {column: finite(float(np.mean(means))) if means else None for column, means in columns.items()}


def measure_baseline(tuning: Tuning, run: EvaluationRun) -> Objective:
    """Measure the baseline first. Raises InputError or OptionError when nothing can be compared with it."""
    rows = list(tuning.measure(tuning.baseline, run))
    if not rows:
        raise InputError("no clip could be measured with the engine's default")
    return Objective(tuning.task.objective, rows)


def search_grid(tuning: Tuning, axes: Axes, run: EvaluationRun) -> None:
    """Measure every setting of the grid once, after the baseline."""
    settings, tuning.above = axes.grid(tuning.task.limit)
    run.reporter.expect(len(settings) * len(tuning.cases))
    measure_baseline(tuning, run)
    for setting in dict.fromkeys(tuning.known(setting) for setting in settings):
        if setting != tuning.baseline:
            for _ in tuning.measure(setting, run):
                pass


def search_optuna(tuning: Tuning, axes: Axes, run: EvaluationRun, trials: int) -> None:
    """Measure the baseline, then what a tree-structured Parzen estimator suggests (Bergstra et al. 2011, as in Optuna).

    A trial is stopped early when its mean so far is below the median of the others' at the same clip. The study is not
    stored: with its seed and the same rows it takes the same way again, and then goes on.

    Raises MissingError when Optuna is not installed.
    """
    tools = load_optuna()
    run.reporter.expect((trials + 1) * len(tuning.cases))
    objective = measure_baseline(tuning, run)
    turn = len({clip.kind for clip, _ in tuning.cases}) * len(tuning.task.conditions.cutoffs)

    def value_of(trial: "optuna.Trial") -> float:
        setting = suggest(trial, axes, tuning.task.limit)
        if setting is None:
            tuning.above += 1
            raise tools.TrialPruned
        values: list[float] = []
        for row in tuning.measure(tuning.known(setting), run):
            values.append(objective.value(row))
            so_far = mean_known(values)
            if math.isfinite(so_far):
                trial.report(so_far, len(values))
                if trial.should_prune():
                    raise tools.TrialPruned
        return mean_known(values)

    tools.logging.set_verbosity(tools.logging.ERROR)
    study = tools.create_study(
        direction="maximize",
        sampler=tools.samplers.TPESampler(seed=tuning.task.seed),
        pruner=tools.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=max(2, turn)),
    )
    study.optimize(value_of, n_trials=trials)


def load_optuna() -> Any:
    """The package. Raises MissingError when it is not installed."""
    try:
        return import_module("optuna")
    except ModuleNotFoundError as error:
        raise MissingError(
            f"--method optuna needs the package 'optuna': {pip_install('ttsr-studio[tune]')}; "
            "--method grid needs nothing"
        ) from error
