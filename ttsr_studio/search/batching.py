"""The batcher: runs the searches of several windows side by side and merges what they ask for into device batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ttsr_studio.search.contract import Answer, Candidate, Request, Score, Search, Solve

Task = tuple[int, Candidate]
"""(which of the searches, candidate to render)."""

SolveBatch = Callable[[Sequence[Task]], None]
ScoreWindow = Callable[[int, Sequence[Candidate]], np.ndarray]


@dataclass
class _Run:
    search: Search
    request: Request | None
    rendered: int = 0
    winner: Candidate | None = None

    def answer(self, value: Answer) -> None:
        try:
            self.request = self.search.send(value)
        except StopIteration as finished:
            self.request, self.winner = None, finished.value


def drive(
    searches: Sequence[Search],
    solve: SolveBatch,
    score: ScoreWindow,
    *,
    batch: int,
    expired: Callable[[], bool] = lambda: False,
) -> list[Candidate]:
    """Run searches to their ends and return their winners in order.

    Args:
        solve: renders tasks of any windows as one device batch and keeps the results.
        score: compares candidates of one window.
        batch: the most tasks handed to `solve` at once.
        expired: asked before every batch; once true, no more is rendered than the first candidate of each window.
    """
    runs = [_Run(search, next(search)) for search in searches]
    while any(run.request for run in runs):
        for window, run in enumerate(runs):
            while isinstance(run.request, Score):
                run.answer(score(window, run.request.candidates))
        _solve_all(runs, solve, batch, expired)
    winners = [run.winner for run in runs]
    assert all(winner is not None for winner in winners)
    return [winner for winner in winners if winner is not None]


def _solve_all(runs: list[_Run], solve: SolveBatch, batch: int, expired: Callable[[], bool]) -> None:
    """Render what all searches wait for, first candidates first, and answer them."""
    asked: dict[int, list[Candidate]] = {}
    for window, run in enumerate(runs):
        if isinstance(run.request, Solve):
            asked[window] = [Candidate(run.rendered + i, key) for i, key in enumerate(run.request.keys)]
    tasks = [(window, candidate) for window, candidates in asked.items() for candidate in candidates]
    tasks.sort(key=lambda task: task[1].index > 0)
    done: dict[int, list[Candidate]] = {window: [] for window in asked}
    for start in range(0, len(tasks), batch):
        part = tasks[start : start + batch]
        if expired():
            part = [task for task in part if task[1].index == 0]
        if not part:
            break
        solve(part)
        for window, candidate in part:
            done[window].append(candidate)
    for window, candidates in done.items():
        runs[window].rendered += len(candidates)
        runs[window].answer(candidates)
