"""The batcher: runs the searches of several windows side by side and merges what they ask for into device batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from ttsr_studio.search.protocol import Answer, Budget, Candidate, Request, Rollout, SamplingPlan, Score, Search, Solve


@dataclass(frozen=True)
class Task:
    """One leg of one window.

    Attributes:
        window: which of the searches.
        candidate: what it will be when it is done.
        look: see `Solve`; 0 for a finished candidate.
        nfe: evaluations of a row that it takes.
        essential: to be done whatever the clock says.
    """

    window: int
    rollout: Rollout
    candidate: Candidate
    look: int
    nfe: int
    essential: bool

    @property
    def shape(self) -> tuple[str, int, int, int, bool]:
        """Tasks of one shape make one batch."""
        origin = self.rollout.origin
        return (
            self.rollout.kind,
            self.rollout.start,
            self.candidate.step,
            self.look,
            origin is not None and origin.ahead,
        )


NEW = -1
"""Number of a candidate that has none yet."""

SolveBatch = Callable[[Sequence[Task]], bool]
"""Render tasks of one shape as one batch; False when it was given up, which needs none of them to be essential."""

ScoreWindow = Callable[[int, Sequence[Candidate]], np.ndarray]
Halt = Callable[[int], str | None]
"""Why a window should stop searching, None to go on."""


@dataclass
class Run:
    """A search under way, and what came of it.

    Attributes:
        nfe: evaluations of a row that it has spent.
        made: candidates so far, finished or not.
        cut: why it had to stop before its budget was spent; None when it did not.
    """

    search: Search
    budget: Budget
    plan: SamplingPlan
    request: Request | None = None
    nfe: int = 0
    made: int = 0
    winner: Candidate | None = None
    cut: str | None = None

    def __post_init__(self) -> None:
        self.request = next(self.search)

    def answer(self, value: Answer) -> None:
        try:
            self.request = self.search.send(value)
        except StopIteration as finished:
            self.request, self.winner = None, finished.value

    def tasks(self, window: int, request: Solve) -> list[Task]:
        """The legs of a request as tasks; new candidates have no number yet."""
        until = self.plan.steps if request.until is None else request.until
        look = 0 if until == self.plan.steps else request.look
        tasks = []
        for number, rollout in enumerate(request.rollouts):
            index = rollout.origin.index if rollout.origin is not None and rollout.kind == "resume" else NEW
            candidate = Candidate(index, rollout.key, until, ahead=look > 0)
            essential = number < request.essential
            tasks.append(Task(window, rollout, candidate, look, rollout.price(self.plan, until, look), essential))
        return tasks


def drive(
    runs: Sequence[Run],
    solve: SolveBatch,
    score: ScoreWindow,
    *,
    batch: int,
    halt: Halt = lambda window: None,
    room: Callable[[], float] = lambda: float("inf"),
) -> None:
    """Run searches to their ends; every run then has its winner.

    Args:
        solve: renders tasks of any windows and keeps the results.
        score: compares candidates of one window.
        batch: the most tasks handed to `solve` at once.
        halt: asked before every batch; a window that has to stop gets no more than what is essential.
        room: evaluations of a row that there is time for, of all windows together.

    Raises AssertionError for a search that asks for more than its budget: a fault of the search.
    """
    while any(run.request for run in runs):
        for window, run in enumerate(runs):
            while isinstance(run.request, Score):
                run.answer(score(window, run.request.candidates))
        _solve_all(runs, solve, batch, halt, room)
    assert all(run.winner is not None for run in runs)


@dataclass
class _Asked:
    """What one window asked for, and what is done of it."""

    tasks: list[Task]
    done: dict[int, Candidate] = field(default_factory=dict)


def _solve_all(runs: Sequence[Run], solve: SolveBatch, batch: int, halt: Halt, room: Callable[[], float]) -> None:
    """Render what all searches wait for, what is essential first, and answer them."""
    asked = {w: _Asked(run.tasks(w, run.request)) for w, run in enumerate(runs) if isinstance(run.request, Solve)}
    for window, wanted in asked.items():
        spent = runs[window].nfe + sum(task.nfe for task in wanted.tasks)
        assert spent <= runs[window].budget.nfe, f"a search asked for {spent} of {runs[window].budget.nfe} evaluations"
    waiting = [(number, task) for wanted in asked.values() for number, task in enumerate(wanted.tasks)]
    # Evenly over the windows, so that time that runs out cuts none of them short more than the others.
    waiting.sort(key=lambda pair: (not pair[1].essential, pair[0], pair[1].window))
    while waiting:
        stopped = {window: reason for window in asked if (reason := halt(window))}
        for _, task in waiting:
            if task.window in stopped and not task.essential:
                runs[task.window].cut = runs[task.window].cut or stopped[task.window]
        waiting = [pair for pair in waiting if pair[1].essential or pair[1].window not in stopped]
        if not waiting:
            break
        first, shape = waiting[0][1], waiting[0][1].shape
        part = list(islice((pair for pair in waiting if pair[1].shape == shape), batch))
        fits = room() / max(1, first.nfe)
        part = [pair for place, pair in enumerate(part) if pair[1].essential or place + 1 <= fits]
        part = numbered(part, runs)
        if not part or not solve([task for _, task in part]):
            for _, task in waiting:
                runs[task.window].cut = runs[task.window].cut or halt(task.window) or "time"
            break
        taken = {(number, task.window) for number, task in part}
        waiting = [(number, task) for number, task in waiting if (number, task.window) not in taken]
        for number, task in part:
            runs[task.window].made = max(runs[task.window].made, task.candidate.index + 1)
            asked[task.window].done[number] = task.candidate
            runs[task.window].nfe += task.nfe
    for window, wanted in asked.items():
        runs[window].answer([wanted.done[number] for number in sorted(wanted.done)])


def numbered(part: Sequence[tuple[int, Task]], runs: Sequence[Run]) -> list[tuple[int, Task]]:
    """Tasks with the numbers that their new candidates take when they are done."""
    counts = {window: run.made for window, run in enumerate(runs)}
    result = []
    for number, task in part:
        if task.candidate.index == NEW:
            task = replace(task, candidate=replace(task.candidate, index=counts[task.window]))
            counts[task.window] += 1
        result.append((number, task))
    return result
