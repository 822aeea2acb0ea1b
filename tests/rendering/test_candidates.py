"""Candidates are made as searches ask for them: a world of Gaussian mixtures whose x0-predictions are exact."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from sampling_world import RATE, SIGMAS, SIZE, World
from torch import Tensor

from ttsr_studio.audio.windows import Window
from ttsr_studio.diffusion.noise import NoiseKey, draw, renoise
from ttsr_studio.diffusion.samplers.registry import get_sampler
from ttsr_studio.rendering.inference.candidates import segment_edges
from ttsr_studio.rendering.inference.sampling import Monitor, stochastic_step
from ttsr_studio.search.protocol import (
    Candidate,
    Problem,
    Rollout,
    Search,
    choose,
    resume,
    score,
    solve,
)
from ttsr_studio.search.scheduler import Task
from ttsr_studio.verifiers.signal.self_consistency import SelfConsistency


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-9, atol=1e-9)


SOLVERS = ("euler", "heun", "dpmpp-2m", "unipc")


def test_the_hidden_noise_scores_best_of_all() -> None:
    world = World(2, channels=2)

    def search(problem: Problem) -> Search:
        hidden = NoiseKey(99, position=problem.key.position)
        return (yield from choose((yield from solve([*problem.draws(20), Rollout(hidden)]))))

    runs = world.wander(search)
    assert [world.winner(run).index for run in runs] == [20, 20]
    assert world.values(runs) == pytest.approx([0.0, 0.0], abs=1e-20)
    assert max(world.batch.windows[0].scores["near"][:20]) < -0.01


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("preview", [0, 1])
def test_a_run_that_stops_to_be_previewed_is_the_whole_run(solver: str, preview: int) -> None:
    """In company that changes at every stop: candidates are pruned, and join others."""
    world = World(2, channels=2, solver=solver)

    def search(problem: Problem) -> Search:
        every = yield from solve(problem.draws(4), 1, preview)
        some = yield from solve(resume([every[3], every[1]]), 2, preview)
        return (yield from solve(resume(some)))[0]

    world.wander(search)
    made = list(world.finished())
    assert [key.lineage[0][1] for _, key, _ in made] == [1, 3, 1, 3]
    for window, key, audio in made:
        assert close(audio, world.again(window, key))


@pytest.mark.parametrize("guidance", [1.0, 1.5])
@pytest.mark.parametrize("solver", SOLVERS)
def test_renoised_and_walked_candidates_can_be_made_again_from_their_keys(solver: str, guidance: float) -> None:
    world = World(2, channels=2, solver=solver, guidance=guidance)

    def search(problem: Problem) -> Search:
        first = yield from solve(problem.draws(2), 2)
        up = yield from solve([Rollout(p.key.child("renoise", 7, 2, 1), p) for p in first], 3, 1)
        again = yield from solve([Rollout(p.key.child("renoise", 8, 3, 0), p) for p in up], 1, 1)
        walked = yield from solve([Rollout(p.key.child("walk", 9, 1, 0.6), p) for p in again], 2, 1)
        return (yield from solve(resume(walked)))[0]

    world.wander(search)
    made = list(world.finished())
    assert {tuple(move[0] for move in key.lineage) for _, key, _ in made} == {("draw", "renoise", "renoise", "walk")}
    assert len(made) == 4
    for window, key, audio in made:
        assert close(audio, world.again(window, key))


@dataclass(frozen=True)
class Road:
    """A way through a sampling plan.

    It stops `at` a step for a `preview`, leaves it by a `kind` of rollout that starts at `start`, and stops at `until`
    for one in the way `after`, before it goes to the end.
    """

    at: int
    preview: int
    kind: str
    start: int
    until: int
    after: int

    @property
    def taken(self) -> bool:
        """Whether it makes sense: a free preview is that of a step, a coarse run takes two, a stop is for something."""
        free = (self.preview or self.at > 0) and (self.after or self.until > self.start or self.kind == "resume")
        coarse = (self.preview < 2 or self.at < 3) and (self.after < 2 or self.until < 3)
        idle = self.kind == "resume" and self.until == self.start and self.after != 1
        return bool(free and coarse and not idle and self.until >= self.start)

    def rollout(self, first: Candidate) -> Rollout:
        if self.kind == "resume":
            return Rollout(first.key, first)
        return Rollout(first.key.child(self.kind, 0, self.at, self.start if self.kind == "renoise" else 0.5), first)


def roads() -> list[Road]:
    steps, previews = range(len(SIGMAS) - 1), range(3)
    stops = list(product(steps, previews, steps, previews))
    every = [Road(at, seen, "resume", at, until, after) for at, seen, until, after in stops]
    every += [Road(at, seen, "walk", at + 1, until, after) for at, seen, until, after in stops]
    every += [Road(at, seen, "renoise", k, until, after) for at, seen, until, after in stops for k in range(at + 1)]
    return [road for road in every if road.taken]


@pytest.mark.parametrize(("solver", "guidance"), [("euler", 1.0), ("heun", 1.5)])
def test_every_way_to_go_costs_what_its_rollout_says(solver: str, guidance: float) -> None:
    """A window for every way, on its own; what its rollouts were priced is what the network did for it."""
    ways = roads()
    world = World(len(ways), channels=2, solver=solver, guidance=guidance)

    def search(problem: Problem) -> Search:
        road = ways[world.keys.index(problem.key)]
        first = yield from solve(problem.draws(1), road.at, road.preview)
        second = yield from solve([road.rollout(first[0])], road.until, road.after)
        return (yield from solve(resume(second)))[0]

    runs, counted = world.wander(search, batch=1), world.spent()
    assert min(Counter(road.kind for road in ways).values()) > 20
    for window, (road, run) in enumerate(zip(ways, runs, strict=True)):
        assert [counted[window, channel] for channel in range(2)] == [run.nfe, run.nfe], road
    assert world.stages.network.nfe == 2 * sum(run.nfe for run in runs)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_previews_are_what_they_say(solver: str) -> None:
    """The prediction of the step before, a new one at where the candidate stands, or the end of a coarse run."""
    world = World(1, solver=solver)
    goal = world.again(0, world.best[0])

    def search(problem: Problem) -> Search:
        for preview in range(3):
            stopped = yield from solve(problem.draws(1), 2, preview)
            yield from score(stopped)
        return (yield from solve(resume(stopped)))[0]

    world.wander(search)
    denoise = world.denoiser(0)
    start = draw(world.keys[0].child("draw", 0), (SIZE,))[None].double() * SIGMAS[0]
    before = world.onward(denoise, start, 0, 1)
    there = world.onward(denoise, start, 0, 2)
    expected = [
        denoise(before, world.sigmas[1:2]),
        denoise(there, world.sigmas[2:3]),
        world.onward(denoise, there, 2, 4),
    ]
    said = [world.batch.windows[0].candidates[number].previews[0].scores["near"] for number in range(3)]
    assert said == pytest.approx([-float((x0 - goal).square().mean()) for x0 in expected], rel=1e-9)
    assert len(set(said)) == 3


def test_a_coarse_run_goes_over_levels_of_the_plan() -> None:
    world = World(1)

    def search(problem: Problem) -> Search:
        seen = yield from solve(problem.draws(1), 0, preview=2)
        return (yield from solve(resume(seen)))[0]

    world.wander(search)
    assert [one.sigma for one in world.seen] == [8.0, 0.5, *SIGMAS[1:-1]]


def test_channels_share_their_noise_at_the_start_and_at_every_turn() -> None:
    world = World(1, channels=2)
    world.lr[:] = world.lr[:, :1]
    world.batch.sampler.conditioning = world.engine.condition(world.lr, torch.zeros(1, 2), [])

    def search(problem: Problem) -> Search:
        first = yield from solve(problem.draws(1), 2)
        second = yield from solve([Rollout(first[0].key.child("renoise", 0, 2, 1), first[0])], 2, preview=1)
        third = yield from solve([Rollout(second[0].key.child("walk", 0, 2, 1.0), second[0])])
        return third[0]

    world.wander(search)
    left, right = world.batch.windows[0].audio[2]
    assert torch.equal(left, right)


@pytest.mark.parametrize("name", ["halving", "census", "screen"])
def test_early_predictions_outlive_stops(name: str) -> None:
    """A verifier of trajectories gets of a candidate that stopped on its way what it gets of one that did not."""
    cut, whole = World(2, also=[SelfConsistency()]), World(2, also=[SelfConsistency()])
    cut.search(name, 40)
    whole.search("random", 40 * 4)
    for mine, theirs in zip(cut.batch.windows, whole.batch.windows, strict=True):
        decoded = sorted(mine.audio)
        said = [mine.scores["self_consistency"][number] for number in decoded]
        assert said == pytest.approx([theirs.scores["self_consistency"][number] for number in decoded], rel=1e-9)


@pytest.mark.parametrize(("name", "settings"), [("steering", {}), ("paths", {"rise": 0.1, "fall": 0.2})])
def test_trajectories_with_turns_have_early_predictions(name: str, settings: dict[str, Any]) -> None:
    """Of the last time that they passed the level, or of what they descend from."""
    world = World(2, also=[SelfConsistency()], levels=(8.0, 2.0, 0.5, 0.25, 0.125, 0.06, 0.0))
    world.search(name, 60, **settings)
    for mine in world.batch.windows:
        assert all(-1 <= mine.scores["self_consistency"][number] <= 1 for number in mine.audio)


def test_what_is_given_up_leaves_no_trace_and_what_is_essential_goes_on() -> None:
    told = list[float]()
    world = World(1, monitor=Monitor(told.append, lambda: True))
    essential = Task(0, Rollout(world.keys[0]), Candidate(0, world.keys[0], 4), 0, 4, essential=True)
    assert not world.batch.solve([replace(essential, essential=False)])
    assert not world.batch.windows[0].candidates
    assert told == [0.25]
    assert world.batch.solve([essential])
    assert world.batch.windows[0].keys == [world.keys[0]]
    assert told == [0.25, 0.25, 0.5, 0.75, 1.0]


def test_a_run_at_its_last_step_is_not_given_up() -> None:
    world = World(1, monitor=Monitor(over=lambda: True))
    task = Task(0, Rollout(world.keys[0]), Candidate(0, world.keys[0], 3), 0, 3, essential=True)
    assert world.batch.solve([task])
    assert world.batch.solve(
        [replace(task, rollout=Rollout(world.keys[0], task.candidate), candidate=replace(task.candidate, step=4))]
    )
    assert list(world.batch.windows[0].audio) == [0]
    assert world.batch.windows[0].candidates[0].standing is None


def test_segments_cover_the_core_in_nearly_equal_parts() -> None:
    window = Window(0, 10, 110, 0, 120, 0, 0)
    assert segment_edges(window, 0) == (0, 100)
    assert segment_edges(window, 1000) == (0, 100)
    assert segment_edges(window, 30) == (0, 33, 66, 100)
    world = World(1, segment_seconds=2 / RATE)
    world.search("random", 12)
    parts = [each.segments["near"] for each in world.batch.windows[0].candidates]
    goal = world.again(0, world.best[0])[0]
    for number, audio in world.batch.windows[0].audio.items():
        expected = [-float((audio[0, i : i + 2] - goal[i : i + 2]).square().mean()) for i in (0, 2, 4)]
        assert parts[number] == pytest.approx(expected, rel=1e-12)


# What noise does to a distribution. All of it is affine in x and eps, so that means and variances need no samples.

Noising = Callable[[Tensor, Tensor], Tensor]


def slopes(noising: Noising) -> tuple[float, float, float]:
    """noising(x, eps) = a·x + b·eps + c -> a, b, c."""
    x, eps = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    c, a, b = noising(x, eps).tolist()
    return a - c, b - c, c


LEVELS = [(0.0, 0.3), (0.1, 0.1), (0.125, 8.0), (0.7, 5.3), (2.0, 80.0)]


@pytest.mark.parametrize(("low", "high"), LEVELS)
def test_renoising_brings_a_gaussian_to_the_marginal_of_the_new_level(low: float, high: float) -> None:
    """x = x0 + sigma·eps with x0 of N(m, v): mean m and variance v + sigma²."""
    a, b, c = slopes(lambda x, eps: renoise(x, low, high, eps))
    variance = 0.36
    assert (a, c) == (1.0, 0.0)
    assert variance + low**2 + b**2 == pytest.approx(variance + high**2, rel=1e-12)


@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize(("sigma", "after"), [(8.0, 2.0), (2.0, 0.5), (0.5, 0.49), (80.0, 0.01)])
def test_a_stochastic_step_with_the_truth_has_the_marginal_of_its_level(sigma: float, after: float, eta: float) -> None:
    """What makes DDIM's family one of samplers (Song et al. 2021, lemma 1): x0 + sigma·eps becomes x0 + after·eps."""
    x0 = 1.7
    truth = torch.tensor(x0, dtype=torch.float64)
    a, b, c = slopes(lambda x, eps: stochastic_step(x, truth, sigma, after, eps, eta))
    assert a * x0 + c == pytest.approx(x0, rel=1e-12)
    assert a**2 * sigma**2 + b**2 == pytest.approx(after**2, rel=1e-9)
    assert b > 0


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_a_stochastic_step_with_a_prediction_falls_short_by_what_the_prediction_does(eta: float) -> None:
    """Of x0 in N(m, v) the prediction lacks the posterior's spread; what that costs falls as the square of the step."""
    mean, variance, sigma = 1.7, 0.36, 0.5
    wide = variance + sigma**2
    lacking = []
    for after in (0.4, 0.45, 0.475, 0.4875):
        a, b, c = slopes(
            lambda x, eps, after=after: stochastic_step(  # type: ignore[misc]
                x, (variance * x + sigma**2 * mean) / wide, sigma, after, eps, eta
            )
        )
        assert a * mean + c == pytest.approx(mean, rel=1e-12)
        down = math.sqrt(after**2 - b**2)
        lacking.append(variance + after**2 - (a**2 * wide + b**2))
        assert lacking[-1] == pytest.approx(variance * (sigma - down) ** 2 / wide, rel=1e-9)
    orders = [math.log2(a / b) for a, b in pairwise(lacking)]
    assert orders == pytest.approx([2.0] * 3, abs=0.2)


def test_no_new_noise_is_the_solvers_own_step() -> None:
    """With eta towards 0 the step is Euler's, and with the levels equal it stands still."""
    world = World(1)
    denoise, x = world.denoiser(0), draw(NoiseKey(4), (1, SIZE)).double() * SIGMAS[0]
    eps = draw(NoiseKey(5), (1, SIZE)).double()
    x0 = denoise(x, world.sigmas[:1])
    euler, _ = get_sampler("euler")(denoise, x, world.sigmas[:2])
    assert torch.allclose(stochastic_step(x, x0, 8.0, 2.0, eps, 1e-9), euler, rtol=0, atol=1e-7)
    assert torch.allclose(stochastic_step(x, x0, 8.0, 8.0, eps, 1.0), x, rtol=0, atol=1e-12)
