"""The search of a group of windows: plain data in, plain data out, so that it runs here or on another machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ttsr_studio.audio.windows import Window
from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.budget import GroupBudget, TimeShare
from ttsr_studio.rendering.inference.candidates import CandidateBatch
from ttsr_studio.rendering.inference.progress import CancellationToken
from ttsr_studio.rendering.inference.sampling import Monitor, window_key
from ttsr_studio.rendering.inference.scoring import ScoringSetup
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.state import Scores, WindowCandidates, WindowInputs
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.search.protocol import Budget, Candidate, Problem
from ttsr_studio.search.registry import SEARCHES
from ttsr_studio.search.scheduler import Run, SearchFaultError, SolveBatch, Task, drive


@dataclass(frozen=True)
class GroupRequest:
    """What the search of a group of windows depends on, besides weights; it pickles.

    Attributes:
        options: of the session that it is for.
        setup: what scores depend on besides the windows.
        windows: [W], none of them silent.
        lr: float32 [W, channels, samples], their render regions with the engine's lookaround, at its input level.
        references: float32 [W, channels, samples] ground truth of the render regions, or None.
        share: what they may take of a budget in seconds.
    """

    options: RenderOptions
    setup: ScoringSetup
    windows: tuple[Window, ...]
    lr: NDArray[np.float32]
    references: NDArray[np.float32] | None = None
    share: TimeShare = field(default_factory=TimeShare)


@dataclass(frozen=True)
class GroupResult:
    """What came of a request; it pickles.

    Attributes:
        windows: [W], their candidates.
        winners: [W], numbers of the ones that the search chose, decoded.
        stages: what it took.
    """

    windows: tuple[WindowCandidates, ...]
    winners: tuple[int, ...]
    stages: Stages


Reached = Callable[[float, int], None]
"""Told after every solver step how many evaluations of windows are done, and how many each window may take."""


def search_group(
    request: GroupRequest,
    session: Session,
    stop: CancellationToken | None = None,
    reached: Reached = lambda spent, per_window: None,
) -> GroupResult:
    """Search the windows of a group.

    Args:
        session: with `request.options`; a worker makes it once and keeps it.
        stop: where the user says that it is enough.
    """
    stages, plan = Stages(), session.plan
    budget = GroupBudget(
        plan, session.window_nfe, request.share, stages.network, request.lr.shape[1], stop or CancellationToken()
    )
    progress = GroupProgress(reached)
    keys = [window_key(request.options.seed, window, session.engine) for window in request.windows]
    truths = [None] * len(keys) if request.references is None else [*torch.from_numpy(request.references)]
    tied = request.options.choice == "clip"
    batch = CandidateBatch(
        session.sampling_config(request.setup),
        WindowInputs(request.windows, torch.from_numpy(request.lr), keys, truths),
        stages,
        Monitor(progress.step) if tied else Monitor(progress.step, budget.over),
    )
    if session.limit.rows is None:
        session.limit.rows = batch.fitting_rows((session.engine.precision, str(session.options.window)))
    if budget.unknown:
        batch.rehearse()
    each = budget.of_windows(len(keys))
    progress.per_window = each.nfe
    search = search_together if tied else search_windows_apart
    try:
        runs = search(session, batch, budget, each, progress.watched)
    except SearchFaultError as error:
        plugin = SEARCHES.plugin(request.options.search)
        if plugin:
            raise plugin.fault(str(error)) from error
        raise
    short = budget.timed and each.nfe < 2 * plan.run <= session.window_nfe
    winners = []
    for number, (window, run) in enumerate(zip(batch.windows, runs, strict=True)):
        if run.winner is None:
            raise RuntimeError("a search ended without a winner")
        window.cut = run.cut or ("time" if short else None)
        winners.append(run.winner.index)
        batch.decode(number, [run.winner.index])
        batch.scorer.compare(number)
    for window in batch.windows:
        window.release()
    return GroupResult(tuple(batch.windows), tuple(winners), stages)


class GroupProgress:
    """How many evaluations of windows a group has spent."""

    def __init__(self, reached: Reached) -> None:
        self.per_window, self._reached = 0, reached
        self._spent, self._batch = 0.0, 0

    def watched(self, solve: SolveBatch) -> SolveBatch:
        """The same, reporting progress."""

        def solving(tasks: Sequence[Task]) -> bool:
            self._batch = sum(task.nfe for task in tasks)
            done = solve(tasks)
            self._spent += self._batch if done else 0
            self._reached(self._spent, self.per_window)
            return done

        return solving

    def step(self, share: float) -> None:
        """Such a share of the batch in hand is done."""
        self._reached(self._spent + share * self._batch, self.per_window)


Watched = Callable[[SolveBatch], SolveBatch]


def search_windows_apart(
    session: Session, batch: CandidateBatch, budget: GroupBudget, each: Budget, watched: Watched
) -> list[Run]:
    """Search every window for itself, side by side."""
    options, panel = session.options, session.panel
    runs = [Run(session.start(Problem(key, session.plan), each), each, session.plan) for key in batch.keys]
    halt = budget.halt(dict(options.targets), lambda window: batch.windows[window].best_scores(panel))
    rows = max(1, session.rows // batch.channels)
    drive(runs, watched(batch.solve), batch.score, batch=rows, halt=halt, room=budget.room)
    return runs


def search_together(
    session: Session, batch: CandidateBatch, budget: GroupBudget, each: Budget, watched: Watched
) -> list[Run]:
    """Search all windows of a clip as one problem: one run, which stands for every window."""
    options, rows = session.options, max(1, session.rows // batch.channels)
    tied = Tied(batch, rows)
    run = Run(session.start(Problem(batch.keys[0], session.plan), each), each, session.plan)
    halt = budget.halt(dict(options.targets), tied.best)
    drive(
        [run], watched(tied.solve), tied.score, batch=max(1, rows // len(batch.keys)), halt=halt, room=budget.room
    )  # fmt: skip
    return [run] * len(batch.keys)


class Tied:
    """All windows of a clip as one problem: a candidate is the same draw in every window, its score their mean."""

    def __init__(self, batch: CandidateBatch, rows: int) -> None:
        self.batch, self.rows = batch, rows

    def solve(self, tasks: Sequence[Task]) -> bool:
        every = [self._there(task, window) for task in tasks for window in range(len(self.batch.keys))]
        for start in range(0, len(every), self.rows):
            self.batch.solve(every[start : start + self.rows])
        return True

    def _there(self, task: Task, window: int) -> Task:
        """A task of the first window as it is in another."""

        def moved(key: NoiseKey) -> NoiseKey:
            return replace(self.batch.keys[window], lineage=key.lineage)

        origin = task.rollout.origin
        there = None if origin is None else replace(origin, key=moved(origin.key))
        rollout = replace(task.rollout, key=moved(task.rollout.key), origin=there)
        candidate = replace(task.candidate, key=moved(task.candidate.key))
        return replace(task, window=window, rollout=rollout, candidate=candidate)

    def score(self, _window: int, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        return self.batch.config.panel.combine(self._columns([c.index for c in candidates])).values

    def _columns(self, numbers: Sequence[int]) -> dict[str, NDArray[np.float64]]:
        parts = [window.columns(numbers) for window in self.batch.windows]
        columns: dict[str, NDArray[np.float64]] = {}
        for name in dict.fromkeys(name for part in parts for name in part):
            known = [part[name] for part in parts if name in part and np.isfinite(part[name]).any()]
            # A window in which a verifier scores nothing has no say; a candidate that it leaves out has lost.
            columns[name] = np.mean(known, axis=0) if known else np.full(len(numbers), np.nan)
        return columns

    def best(self, _window: int) -> Scores:
        """Scores of the best decoded candidate, by column; empty when there is none."""
        decoded = list(self.batch.windows[0].audio)
        columns = self._columns(decoded) if decoded else {}
        if not columns:
            return {}
        best = int(self.batch.config.panel.combine(columns).values.argmax())
        return {name: float(values[best]) for name, values in columns.items()}
