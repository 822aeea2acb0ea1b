"""Searches through the batcher, on problems whose best noise is known."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from ttsr_studio.diffusion.noise import NoiseKey, draw
from ttsr_studio.errors import OptionError
from ttsr_studio.search import SEARCHES, start_search
from ttsr_studio.search.batching import Task, drive
from ttsr_studio.search.contract import Budget, Candidate, Problem

SHAPE = (4, 16)


class Towards:
    """Candidates are their noise; the score is the cosine to a hidden direction of each window."""

    def __init__(self, windows: int) -> None:
        self.goals = [draw(NoiseKey(99, position=1000 * w), SHAPE).flatten() for w in range(windows)]
        self.made: list[dict[int, NoiseKey]] = [{} for _ in range(windows)]
        self.batches: list[int] = []

    def solve(self, tasks: Sequence[Task]) -> None:
        self.batches.append(len(tasks))
        for window, candidate in tasks:
            assert candidate.index not in self.made[window], "a candidate was rendered twice"
            self.made[window][candidate.index] = candidate.key

    def value(self, window: int, candidate: Candidate) -> float:
        noise = draw(candidate.key, SHAPE).flatten()
        goal = self.goals[window]
        return float(noise @ goal / (noise.norm() * goal.norm()))

    def score(self, window: int, candidates: Sequence[Candidate]) -> np.ndarray:
        return np.array([self.value(window, c) for c in candidates])

    def run(self, name: str, candidates: int, batch: int = 7, **settings: object) -> list[float]:
        problems = [Problem(NoiseKey(5, position=64 * w)) for w in range(len(self.goals))]
        searches = [start_search(name, p, Budget(candidates), settings) for p in problems]
        winners = drive(searches, self.solve, self.score, batch=batch)
        return [self.value(w, winner) for w, winner in enumerate(winners)]


@pytest.mark.parametrize("name", SEARCHES)
def test_more_budget_finds_better_candidates(name: str) -> None:
    few, many = (np.mean(Towards(24).run(name, n)) for n in (2, 40))
    assert many > few + 0.1


@pytest.mark.parametrize("name", SEARCHES)
def test_no_search_spends_more_than_its_budget(name: str) -> None:
    for budget in (1, 2, 3, 8):
        world = Towards(3)
        world.run(name, budget)
        assert [len(made) for made in world.made] == [budget] * 3


@pytest.mark.parametrize("name", SEARCHES)
def test_batch_size_changes_neither_candidates_nor_choice(name: str) -> None:
    worlds = [Towards(5) for _ in range(3)]
    results = [world.run(name, 9, batch=batch) for world, batch in zip(worlds, (1, 4, 64), strict=True)]
    assert results[0] == results[1] == results[2]
    assert worlds[0].made == worlds[1].made == worlds[2].made
    assert max(worlds[1].batches) <= 4


def test_batcher_fills_batches_across_windows() -> None:
    world = Towards(8)
    world.run("zero-order", 9, batch=16, neighbours=2)
    assert world.batches == [8, 16, 16, 16, 16]  # one pivot a window, then two neighbours a window and round


def test_random_search_returns_the_best_draw() -> None:
    world = Towards(4)
    winners = world.run("random", 12)
    for w, found in enumerate(winners):
        values = [world.value(w, Candidate(i, key)) for i, key in world.made[w].items()]
        assert found == max(values)


def test_elitist_pivot_never_gets_worse_and_the_papers_may() -> None:
    elitist = [np.mean(Towards(16).run("zero-order", n, cosine=0.9)) for n in (1, 5, 9, 21, 41)]
    assert all(a <= b for a, b in pairwise(elitist))
    world = Towards(16)
    literal = world.run("zero-order", 12, pivot="paper", cosine=0.5)
    best = [max(world.value(w, Candidate(i, k)) for i, k in world.made[w].items()) for w in range(16)]
    assert any(a < b for a, b in zip(literal, best, strict=True))


def test_papers_rule_starts_around_an_unheard_pivot_and_moves_every_round() -> None:
    world = Towards(1)
    world.run("zero-order", 6, pivot="paper", neighbours=2)
    depths = [len(key.lineage) for _, key in sorted(world.made[0].items())]
    assert depths == [2, 2, 3, 3, 4, 4]


def test_time_budget_leaves_every_window_at_least_one_candidate() -> None:
    world = Towards(3)
    problems = [Problem(NoiseKey(5, position=64 * w)) for w in range(3)]
    for name in SEARCHES:
        searches = [start_search(name, p, Budget(50), {}) for p in problems]
        world.made = [{} for _ in range(3)]
        winners = drive(searches, world.solve, world.score, batch=4, expired=lambda: True)
        assert [winner.index for winner in winners] == [0, 0, 0]


def test_unknown_searches_and_settings_are_refused_with_the_known_ones() -> None:
    problem = Problem(NoiseKey(0))
    with pytest.raises(OptionError, match="known: random, zero-order"):
        start_search("greedy", problem, Budget(1), {})
    with pytest.raises(OptionError, match="does not take cosine; its settings: none"):
        start_search("random", problem, Budget(1), {"cosine": 0.9})
    with pytest.raises(OptionError, match="at least 1 candidate"):
        Budget(0)
