"""Which sampler settings suit an engine? All that stay under a limit of network evaluations, measured on clips.

The survey's search over solver, order, steps, schedule and guidance (Zhu et al., "A review on score-based generative
models for audio applications", 2025: section V, tables II and IV), for any engine and any objective.

- limit: evaluations of one run of one window and channel, guidance included; a setting above it is never run.
- objective of a clip: what a verifier says of a single draw, mean over windows and candidates, so that no lucky draw
  decides; higher is better. "lsd" is minus the log-spectral distance to the truth, from the cutoff to the clip's own
  edge, in log10 power. One verifier counts in its own unit; of several ("a+b") it is the mean of z-scores, in standard
  deviations of the baseline over the clips of a cutoff. Scales of one verifier share its vote.
- baseline: the engine's own settings, with as many steps as the limit allows where its own are too many.
- range: the candidates' search range (equation 4 of the paper). Nearest to the truth on average is the mean of all that
  could be true, so an objective may favour settings whose candidates are all alike, which leaves a search nothing.

All settings draw the same noises, and renders are told the cutoff.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ttsr_studio import __version__
from ttsr_studio.diffusion.model import Engine
from ttsr_studio.engines.device import resolve_device
from ttsr_studio.engines.registry import load_engine
from ttsr_studio.errors import InputError, MissingError, OptionError, OutputError, TtsrError, unknown
from ttsr_studio.evaluation.benchmark.dataset import Clip
from ttsr_studio.evaluation.benchmark.runner import Conditions, Progress, Results, Row, UnreadableError, finite, key_of
from ttsr_studio.evaluation.benchmark.systems import Item, weights_of
from ttsr_studio.evaluation.tuning.space import Axes, Setting, suggest
from ttsr_studio.evaluation.verifier_study.accuracy import LEAST_BAND_HZ, Scored, scored_windows
from ttsr_studio.options import RenderOptions
from ttsr_studio.render.inference.session import Session
from ttsr_studio.verifiers.registry import VERIFIERS

if TYPE_CHECKING:
    import optuna

Place = tuple[str, float]
"""A clip's name and a cutoff, Hz."""

TUNING = 1
"""Raised when a figure's meaning changes."""

MATTERS = ("engine", "solver", "temperature", "guidance", "candidates", "verifiers", "seed", "batch")
"""Options of a render that a row depends on; the rest is of what is done with the candidates."""

TRUTH = "lsd"
UNHEARD = ("lowband",)
"""Asked where no verifier is to be: a render needs one, and this one is cheap."""


@dataclass(frozen=True)
class Task:
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
                said = [row["scores"][column] for row in baseline if row["cutoff_hz"] == cutoff]
                known = np.array([score for score in said if score is not None])
                if len(known) < 2 or known.std() <= 1e-12:
                    raise OptionError(
                        f"--objective {'+'.join(names)}: scores are made comparable by their spread over clips at the "
                        f"engine's default, and {column} has none at {cutoff:g} Hz; give more clips, or one verifier"
                    )
                self.scales[cutoff, column] = float(known.mean()), float(known.std())

    def value(self, row: Row) -> float:
        """NaN where a verifier has said nothing."""
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
        rows: what is known so far, by setting and place.
        above: settings that were asked for and are above the limit.
    """

    def __init__(self, task: Task, clips: Sequence[Clip]) -> None:
        for name in task.objective:
            if name not in VERIFIERS:
                raise unknown("verifier in --objective", name, VERIFIERS)
        Session.check_names(RenderOptions(engine=task.engine, verifiers=task.objective))
        self.task = task
        self.device = resolve_device(task.device)
        self.engine = engine = engine_for(task.engine, self.device)
        self.heard = tuple(name for name in task.objective if name != TRUTH) or UNHEARD
        own = Setting(
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
        self.places = list(in_turns(clips, task.conditions.cutoffs))
        if not self.places:
            raise OptionError(f"no clip holds {LEAST_BAND_HZ} Hz above a --cutoff: nothing to measure")
        self.rows: dict[Setting, dict[Place, Row]] = {}
        self.above = 0
        self._same: dict[tuple[Any, ...], Setting] = {}
        self._broken: set[Path] = set()
        self._digests: dict[Path, str] = {}
        judges = self.session(self.known(self.baseline), self.heard).panel
        clipwise = [verifier.name for verifier in judges.search if verifier not in judges.choosing("window")]
        if clipwise:
            raise OptionError(
                f"--objective {clipwise[0]}: it judges whole clips, and tuning hears windows; leave it out"
            )

    def session(self, setting: Setting, verifiers: Sequence[str]) -> Session:
        """A session that draws this way, on the engine that is loaded."""
        engine, task = self.engine, self.task
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
            verifiers=tuple(verifiers),
            seed=task.seed,
            device=task.device,
        )
        session = Session(options, engine)
        assert session.plan.run == setting.nfe
        return session

    def known(self, setting: Setting) -> Setting:
        """The first setting that takes the same course: two steps, say, visit the same levels on any schedule.

        It goes by the engine's own schedule where that is the same, so that a preset says no more than it has to.

        Raises OptionError for a setting that cannot run here, whatever the verifiers.
        """
        own = replace(setting, schedule=self.engine.default_schedule, rho=None)
        for named in (own, setting):
            levels = tuple(f"{sigma:.6g}" for sigma in self.session(named, UNHEARD).plan.sigmas)
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
            self.session(tried, UNHEARD)
        self.session(replace(own, steps=min(axes.steps, default=own.steps)), self.heard)

    def measure(
        self, setting: Setting, results: Results, progress: Progress, failed: Callable[[str], None]
    ) -> Iterator[Row]:
        """Rows of a setting, found or measured now, in the order of the places; what fails is told and left out.

        Raises OutputError when the results cannot be written.
        """
        mine = self.rows.setdefault(setting, {})
        session = self.session(setting, self.heard)
        weights = weights_of(session)
        for clip, cutoff in self.places:
            progress(str(setting), clip.name)
            if clip.path in self._broken:
                continue
            try:
                if clip.path not in self._digests:
                    self._digests[clip.path] = clip.digest()
                key = row_key(session, weights, self._digests[clip.path], clip, cutoff, self.task.conditions)
                if key not in results.rows:
                    results.add(self._compute(key, setting, session, clip, cutoff))
                row = mine[clip.name, cutoff] = results.rows[key]
            except OutputError:
                raise
            except UnreadableError as error:
                self._broken.add(clip.path)
                failed(f"{clip.name}: {error}")
            except (TtsrError, OSError) as error:
                failed(f"{setting}: {clip.name}, {cutoff:g} Hz: {error}")
            else:
                yield row

    def _compute(self, key: str, setting: Setting, session: Session, clip: Clip, cutoff_hz: float) -> Row:
        conditions = self.task.conditions
        with tempfile.TemporaryDirectory(prefix="ttsr-tune-") as folder:
            try:
                item = Item.make(clip, cutoff_hz, conditions.low_pass, conditions.seconds, Path(folder))
            except (TtsrError, OSError) as error:
                raise UnreadableError(str(error)) from error
            windows = list(scored_windows(session, item))
        return {
            "key": key,
            "clip": clip.name,
            "kind": clip.kind,
            "cutoff_hz": cutoff_hz,
            "engine": self.task.engine,
            **vars(setting),
            "nfe": session.plan.run,
            "candidates": session.candidates,
            "windows": len(windows),
            "scores": mean_scores(windows, [name for name in self.task.objective if name != TRUTH]),
            "range": finite(float(np.mean([spread for _, _, spread in windows]))) if windows else None,
            "version": __version__,
        }


def in_turns(clips: Sequence[Clip], cutoffs: Sequence[float]) -> Iterator[tuple[Clip, float]]:
    """Clips at cutoffs that leave something to judge, kinds taking turns, so that the first few are of all kinds."""
    kinds = [[clip for clip in clips if clip.kind == kind] for kind in dict.fromkeys(clip.kind for clip in clips)]
    for clip in chain.from_iterable(zip_longest(*kinds)):
        for cutoff in cutoffs:
            if clip is not None and (clip.edge_hz is None or clip.edge_hz - cutoff >= LEAST_BAND_HZ):
                yield clip, cutoff


def mean_scores(windows: Sequence[Scored], names: Sequence[str]) -> dict[str, float | None]:
    """Mean score of a draw by column, over windows and candidates, with minus the distance to the truth as "lsd"."""
    columns: dict[str, list[float]] = {TRUTH: []}
    for distance, scores, _ in windows:
        columns[TRUTH].append(-float(distance.mean()))
        for column, said in scores.items():
            if column.split("/")[0] in names:
                columns.setdefault(column, []).append(float(said.mean()))
    return {column: finite(float(np.mean(said))) if said else None for column, said in columns.items()}


def row_key(
    session: Session, weights: dict[str, str], digest: str, clip: Clip, cutoff_hz: float, conditions: Conditions
) -> str:
    """The key of a clip's row."""
    own: dict[str, Any] = {name: getattr(session.options, name) for name in MATTERS}
    own |= {"tuning": TUNING, "levels": session.plan.sigmas, "device": session.device, "weights": weights}
    return key_of(digest, clip, cutoff_hz, conditions, **own)


Measure = Callable[[Setting], Iterator[Row]]


def measure_baseline(tuning: Tuning, measure: Measure) -> Objective:
    """Measure the baseline first. Raises InputError or OptionError when nothing can be compared with it."""
    rows = list(measure(tuning.baseline))
    if not rows:
        raise InputError("no clip could be measured with the engine's default")
    return Objective(tuning.task.objective, rows)


def search_grid(tuning: Tuning, axes: Axes, measure: Measure) -> None:
    """Measure every setting of the grid once, after the baseline."""
    settings, tuning.above = axes.grid(tuning.task.limit)
    measure_baseline(tuning, measure)
    for setting in dict.fromkeys(tuning.known(setting) for setting in settings):
        if setting != tuning.baseline:
            for _ in measure(setting):
                pass


def search_optuna(tuning: Tuning, axes: Axes, measure: Measure, trials: int) -> None:
    """Measure the baseline, then what a tree-structured Parzen estimator suggests (Bergstra et al. 2011, as in Optuna).

    A trial is stopped early when its mean so far is below the median of the others' at the same clip. The study is not
    stored: with its seed and the same rows it takes the same way again, and then goes on.

    Raises MissingError when Optuna is not installed.
    """
    tools = load_optuna()
    objective = measure_baseline(tuning, measure)
    turn = len({clip.kind for clip, _ in tuning.places}) * len(tuning.task.conditions.cutoffs)

    def run(trial: "optuna.Trial") -> float:
        setting = suggest(trial, axes, tuning.task.limit)
        if setting is None:
            tuning.above += 1
            raise tools.TrialPruned
        values: list[float] = []
        for row in measure(tuning.known(setting)):
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
    study.optimize(run, n_trials=trials)


def load_optuna() -> Any:
    """The package. Raises MissingError when it is not installed."""
    try:
        return import_module("optuna")
    except ModuleNotFoundError as error:
        raise MissingError(
            "--method optuna needs the package 'optuna': pip install 'ttsr-studio[tune]'; --method grid needs nothing"
        ) from error


def mean_known(values: Sequence[float]) -> float:
    """Mean of what is not NaN; NaN for nothing."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan
