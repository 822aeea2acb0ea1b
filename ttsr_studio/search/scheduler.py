"""The scheduler: runs the searches of several windows side by side and merges what they ask for into device batches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from ttsr_studio.search.protocol import Answer, Budget, Candidate, Request, Rollout, SamplingPlan, Score, Search, Solve


class SearchFaultError(RuntimeError):
    """A search that asks for what cannot be, spends more than its budget, or ends without a candidate."""


@dataclass(frozen=True)
class Task:
    """One rollout of one window.

    Attributes:
        window: which of the searches.
        candidate: what it will be when it is done.
        preview: see `Solve`; 0 for a finished candidate.
        nfe: evaluations of a row that it takes.
        essential: to be done whatever the clock says.
        gradient: see `Solve`.
    """

    window: int
    rollout: Rollout
    candidate: Candidate
    preview: int
    nfe: int
    essential: bool
    gradient: bool = False

    @property
    def shape(self) -> tuple[str, int, int, int, int, bool, bool]:
        """Tasks of one shape make one batch."""
        origin = self.rollout.origin
        return (
            self.rollout.kind,
            self.rollout.start,
            self.candidate.step,
            self.preview,
            origin.began if origin is not None else 0,
            origin is not None and origin.ahead,
            self.gradient,
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
        self._take(next(self.search))

    def _take(self, request: Request) -> None:
        """Raises SearchFaultError for a request that is none, which would never be answered."""
        if why := self._misasked(request):
            raise SearchFaultError(f"the search asked for {why}")
        self.request = request

    def _misasked(self, request: object) -> str | None:
        """Why something is no request, None when it is one."""
        if isinstance(request, Score):
            strange = [c for c in request.candidates if not isinstance(c, Candidate) or not 0 <= c.index < self.made]
            return f"a score of {strange[0]!r}, no candidate of this window" if strange else None
        if not isinstance(request, Solve):
            return f"{request!r}, neither a Solve nor a Score"
        if odd := [each for each in request.rollouts if not isinstance(each, Rollout)]:
            return f"{odd[0]!r}, no Rollout"
        until = self.plan.steps if request.until is None else request.until
        if not isinstance(until, int) or any(not each.start <= until <= self.plan.steps for each in request.rollouts):
            return f"rollouts until step {until!r}, which is not between their start and {self.plan.steps}"
        if not isinstance(request.preview, int) or request.preview < 0 or (until == 0 and not request.preview):
            return f"a preview of {request.preview!r} at step {until}; 0 needs a step that was made"
        if request.gradient and any(each.kind not in ("draw", "ascend") for each in request.rollouts):
            return "the gradient of a rollout that does not start from noise"
        return None

    def answer(self, value: Answer) -> None:
        try:
            self._take(self.search.send(value))
        except StopIteration as finished:
            self.request = None
            if not isinstance(finished.value, Candidate) or finished.value.step != self.plan.steps:
                raise SearchFaultError(f"the search ended with {finished.value!r}, no finished candidate") from None
            self.winner = finished.value

    def refuse_excess(self, tasks: Sequence[Task]) -> None:
        """Raise SearchFaultError when tasks take more than what is left of the budget."""
        spent = self.nfe + sum(task.nfe for task in tasks)
        if spent > self.budget.nfe:
            raise SearchFaultError(f"a search asked for {spent} of {self.budget.nfe} evaluations")

    def take(self, task: Task) -> None:
        """A task is done."""
        self.made = max(self.made, task.candidate.index + 1)
        self.nfe += task.nfe

    def tasks(self, window: int, request: Solve) -> list[Task]:
        """The rollouts of a request as tasks; new candidates have no number yet."""
        until = self.plan.steps if request.until is None else request.until
        preview = 0 if until == self.plan.steps else request.preview
        tasks = []
        for number, rollout in enumerate(request.rollouts):
            index = rollout.origin.index if rollout.origin is not None and rollout.kind == "resume" else NEW
            candidate = Candidate(index, rollout.key, until, ahead=preview > 0)
            essential = number < request.essential
            nfe = rollout.price(self.plan, until, preview, request.gradient)
            tasks.append(Task(window, rollout, candidate, preview, nfe, essential, request.gradient))
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

    Raises SearchFaultError for a search that asks for more than its budget, or returns no candidate.
    """
    while any(run.request for run in runs):
        for window, run in enumerate(runs):
            while isinstance(run.request, Score):
                run.answer(score(window, run.request.candidates))
        _solve_all(runs, solve, batch, halt, room)


@dataclass(frozen=True)
class _Waiting:
    """A task that was asked for, and its place in the request of its window."""

    place: int
    task: Task


def _solve_all(runs: Sequence[Run], solve: SolveBatch, batch: int, halt: Halt, room: Callable[[], float]) -> None:
    """Render what all searches wait for, what is essential first, and answer them."""
    asked = {w: run.tasks(w, run.request) for w, run in enumerate(runs) if isinstance(run.request, Solve)}
    for window, tasks in asked.items():
        runs[window].refuse_excess(tasks)
    waiting = _in_turn(asked)
    done: dict[int, dict[int, Candidate]] = {window: {} for window in asked}
    while waiting := _without_stopped(waiting, runs, halt):
        part = _numbered(_next_batch(waiting, batch, room()), runs)
        if not part or not solve([each.task for each in part]):
            for each in waiting:
                run = runs[each.task.window]
                run.cut = run.cut or halt(each.task.window) or "time"
            break
        taken = {(each.task.window, each.place) for each in part}
        waiting = [each for each in waiting if (each.task.window, each.place) not in taken]
        for each in part:
            runs[each.task.window].take(each.task)
            done[each.task.window][each.place] = each.task.candidate
    for window, candidates in done.items():
        runs[window].answer([candidates[place] for place in sorted(candidates)])


def _in_turn(asked: Mapping[int, Sequence[Task]]) -> list[_Waiting]:
    """What is essential first, then evenly over the windows: time that runs out cuts none short more than others."""
    waiting = [_Waiting(place, task) for tasks in asked.values() for place, task in enumerate(tasks)]
    return sorted(waiting, key=lambda each: (not each.task.essential, each.place, each.task.window))


def _without_stopped(waiting: Sequence[_Waiting], runs: Sequence[Run], halt: Halt) -> list[_Waiting]:
    """What is left to do when windows that have to stop get no more than what is essential."""
    stopped = {w: reason for w in {each.task.window for each in waiting} if (reason := halt(w))}
    for each in waiting:
        if each.task.window in stopped and not each.task.essential:
            run = runs[each.task.window]
            run.cut = run.cut or stopped[each.task.window]
    return [each for each in waiting if each.task.essential or each.task.window not in stopped]


def _next_batch(waiting: Sequence[_Waiting], batch: int, room: float) -> list[_Waiting]:
    """The first task and others of its shape, as many as fit in a batch and in the time; what is essential always."""
    first = waiting[0].task
    part = list(islice((each for each in waiting if each.task.shape == first.shape), batch))
    fits = room / max(1, first.nfe)
    return [each for place, each in enumerate(part, 1) if each.task.essential or place <= fits]


def _numbered(part: Sequence[_Waiting], runs: Sequence[Run]) -> list[_Waiting]:
    """Tasks with the numbers that their new candidates take when they are done."""
    counts = {window: run.made for window, run in enumerate(runs)}
    result = []
    for each in part:
        task = each.task
        if task.candidate.index == NEW:
            task = replace(task, candidate=replace(task.candidate, index=counts[task.window]))
            counts[task.window] += 1
        result.append(_Waiting(each.place, task))
    return result
