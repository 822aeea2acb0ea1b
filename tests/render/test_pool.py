"""The pool makes candidates as searches ask for them: a world of Gaussian mixtures whose x0-predictions are exact."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from ttsr_studio.audio.crossover import Audio, Crossover
from ttsr_studio.audio.windows import Window
from ttsr_studio.diffusion.batch_limit import BatchLimit
from ttsr_studio.diffusion.denoiser import Meter, MeteredDenoiser
from ttsr_studio.diffusion.guidance import Guidance
from ttsr_studio.diffusion.model import Conditioning, Engine
from ttsr_studio.diffusion.noise import NoiseKey, draw, normal, renoise, renoise_flow, renoise_vp
from ttsr_studio.diffusion.samplers.registry import get_sampler
from ttsr_studio.render.inference.candidates import CandidateBatch, segment_edges
from ttsr_studio.render.inference.sampling import stochastic_step
from ttsr_studio.render.inference.state import SamplingConfig
from ttsr_studio.render.inference.timing import Stages
from ttsr_studio.search.protocol import (
    Budget,
    Candidate,
    Problem,
    Rollout,
    SamplingPlan,
    Search,
    choose,
    resume,
    score,
    solve,
)
from ttsr_studio.search.registry import start_search
from ttsr_studio.search.scheduler import Run, Task, drive
from ttsr_studio.verifiers.panel import Panel
from ttsr_studio.verifiers.protocol import Annotations, Context, Need, Scope, Verifier
from ttsr_studio.verifiers.signal.self_consistency import SelfConsistency

SIZE = 6
RATE = 8000
SIGMAS = (8.0, 2.0, 0.5, 0.125, 0.0)

WEIGHTS = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
VARIANCES = torch.tensor([0.7, 0.5, 0.6], dtype=torch.float64) ** 2
OFFSETS = 1.5 * torch.randn(3, SIZE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@dataclass(frozen=True)
class Centres:
    """A conditioning: where each row's mixture lies, the row's number, and whether it stands for no condition."""

    centre: Tensor
    number: Tensor
    free: Tensor

    def __len__(self) -> int:
        return len(self.centre)

    def rows(self, index: Tensor) -> "Centres":
        return Centres(self.centre[index], self.number[index], self.free[index])

    def join(self, other: "Centres") -> "Centres":
        return Centres(*(torch.cat(pair) for pair in zip(self.parts, other.parts, strict=True)))

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.centre, self.number, self.free


class Mixture(Engine):
    """The exact denoiser of a mixture of three Gaussians about the input; its audio is x0 itself."""

    name = "mixture"
    sample_rate = RATE
    hop = 1
    core_seconds = SIZE / RATE
    context_seconds = 0.0
    lookaround = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    window_seconds = None
    sigma_range = (SIGMAS[-2], SIGMAS[0])
    guided = True
    default_guidance = 1.0
    times = None
    previews = ()
    early_preview = None
    default_steps = len(SIGMAS) - 1
    default_solver = "euler"
    default_schedule = "log-linear"
    default_temperature = 1.0
    input_rms = 1.0
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.schedule_options: dict[str, float] = {}
        self.asked: list[tuple[Tensor, float, Centres]] = []
        """What the network was given, call by call: x, the level of all its rows, their conditioning."""

    def weights(self) -> dict[str, str]:
        return {}

    def condition(self, lr: Tensor, cutoff_hz: Tensor, keys: Sequence[NoiseKey]) -> Centres:
        rows = lr.double().flatten(0, 1)
        return Centres(rows, torch.arange(len(rows)), torch.zeros(len(rows), dtype=torch.bool))

    def unconditional(self, conditioning: Centres) -> Centres:
        return replace(conditioning, centre=0 * conditioning.centre, free=~conditioning.free)

    def noise_shape(self, samples: int) -> tuple[int, ...]:
        return (samples,)

    def noise_hop(self) -> int:
        return 1

    def noise_lead(self) -> int:
        return 0

    def start(self, noise: Tensor, sigma: float) -> Tensor:
        return noise.double() * sigma

    def denoise(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        assert isinstance(conditioning, Centres)
        assert (sigma == sigma[0]).all()
        self.asked.append((x.clone(), float(sigma[0]), conditioning))
        return posterior_mean(x, sigma, conditioning.centre)

    def preview(self, x0: Tensor, level: str, conditioning: Conditioning) -> Tensor:
        raise AssertionError("decoding is the only look there is")

    def decode(self, x0: Tensor, conditioning: Conditioning) -> Tensor:
        return x0


def posterior_mean(x: Tensor, sigma: Tensor, centre: Tensor) -> Tensor:
    """E[x0 | x] [N, SIZE] for x = x0 + sigma·eps and x0 of the mixture about each row's centre."""
    wide = VARIANCES + sigma.double()[:, None] ** 2
    away = (x - centre)[:, None] - OFFSETS
    logits = WEIGHTS.log() - 0.5 * SIZE * wide.log() - away.pow(2).sum(-1) / (2 * wide)
    means = OFFSETS + (VARIANCES / wide)[..., None] * away
    return centre + (logits.softmax(1)[..., None] * means).sum(1)


class NothingKept(Crossover):
    """Leaves the engine's output as it is, so that tests see it."""

    def merge(self, lr: Audio, generated: Audio) -> Audio:
        return generated


class Near(Verifier):
    """How near the engine's output is to the ground truth: minus the mean square of what is between them."""

    name = "near"
    unit = ""
    scope: Scope = "window"
    needs: frozenset[Need] = frozenset({"reference"})
    licence = ""

    def __init__(self) -> None:
        self.weights: dict[str, str] = {}

    def score(self, audio: Tensor, context: Context) -> Tensor:
        assert context.raw is not None
        assert context.reference is not None
        return -(context.raw - context.reference).square().mean((1, 2))


@dataclass(frozen=True)
class Evaluation:
    """One row of one call of the network: whose it is, and what it was given."""

    window: int
    channel: int
    candidate: int
    sigma: float
    free: bool
    x: bytes


class World:
    """Windows to search with the real pool. The best noise of each is known: the goal is what its run ends in."""

    def __init__(
        self,
        windows: int = 3,
        *,
        channels: int = 1,
        solver: str = "euler",
        guidance: float = 1.0,
        levels: Sequence[float] = SIGMAS,
        also: Sequence[Verifier] = (),
        segment_seconds: float = 0.0,
    ) -> None:
        self.engine, self.channels, self.sampler = Mixture(), channels, get_sampler(solver)
        self.sigmas = torch.tensor(levels, dtype=torch.float64)
        self.guidance, self.stages = Guidance(guidance), Stages()
        self.plan = SamplingPlan(tuple(levels), self.sampler.evaluations, 1 if guidance == 1.0 else 2)
        self.keys = [NoiseKey(5, position=64 * w) for w in range(windows)]
        self.best = [NoiseKey(99, position=64 * w) for w in range(windows)]
        self.lr = torch.stack([normal(key, "input", (channels, SIZE)).double() for key in self.keys])
        goals = [self.again(w, key) for w, key in enumerate(self.best)]
        places = [Window(w, w * SIZE, (w + 1) * SIZE, w * SIZE, (w + 1) * SIZE, 0, 0) for w in range(windows)]
        config = SamplingConfig(
            self.engine, self.sampler, self.sigmas, self.coarse, 1.0, NothingKept(2000.0, RATE),
            Panel((Near(),), held_out=tuple(also)), Annotations(), BatchLimit(), self.guidance,
            segment_seconds=segment_seconds,
        )  # fmt: skip
        self.engine.asked.clear()
        self.pool = CandidateBatch(config, places, self.lr, self.keys, goals, self.stages)
        self.batches: list[int] = []
        self.seen: list[Evaluation] = []

    def coarse(self, sigma: float, steps: int) -> Tensor:
        first = int((self.sigmas - sigma).abs().argmin())
        return self.sigmas[np.linspace(first, len(self.sigmas) - 1, steps + 1).round().astype(int)]

    def denoiser(self, window: int) -> MeteredDenoiser:
        """Of the rows of one window, on a meter of its own."""
        centres = self.engine.condition(self.lr[window][None], torch.zeros(1, self.channels), [])
        return MeteredDenoiser(self.engine, centres, Meter(), guidance=self.guidance)

    def again(self, window: int, key: NoiseKey) -> Tensor:
        """A candidate made from its key alone, [channels, SIZE], by the formulas as papers have them."""
        denoise, step = self.denoiser(window), 0
        x = draw(key.origin, (SIZE,)).double().repeat(self.channels, 1) * self.sigmas[0]
        for depth in range(len(key.origin.lineage), len(key.lineage)):
            here = replace(key, lineage=key.lineage[: depth + 1])
            name, _, at, value = here.lineage[-1]
            eps = normal(here, str(name), (SIZE,)).double()
            at = int(at)
            x = self.onward(denoise, x, step, at)
            if name == "renoise":
                step = int(value)
                x = x + (self.sigmas[step] ** 2 - self.sigmas[at] ** 2).sqrt() * eps
            else:
                step = at + 1
                x = self.ddim(denoise, x, at, float(value), eps)
        return self.onward(denoise, x, step, len(self.sigmas) - 1)

    def onward(self, denoise: MeteredDenoiser, x: Tensor, start: int, stop: int) -> Tensor:
        return self.sampler(denoise, x, self.sigmas[start : stop + 1])[0] if stop > start else x

    def ddim(self, denoise: MeteredDenoiser, x: Tensor, at: int, eta: float, eps: Tensor) -> Tensor:
        """Song et al. (2021), equation 12 with the sigma of equation 16, in variance-preserving coordinates."""
        kept, after = (1 / (1 + self.sigmas[step] ** 2) for step in (at, at + 1))
        x0 = denoise(x, self.sigmas[at].expand(len(x)))
        predicted = (kept.sqrt() * x - kept.sqrt() * x0) / (1 - kept).sqrt()
        new = eta * ((1 - after) / (1 - kept)).sqrt() * (1 - kept / after).sqrt()
        return (after.sqrt() * x0 + (1 - after - new**2).sqrt() * predicted + new * eps) / after.sqrt()

    def solve(self, tasks: Sequence[Task]) -> bool:
        """Have the pool do it, and write down what the network was given for whom."""
        first = len(self.engine.asked)
        done = self.pool.solve(tasks)
        self.batches.append(len(tasks))
        for x, sigma, centres in self.engine.asked[first:]:
            rows = zip(x.numpy(), centres.number.tolist(), centres.free.tolist(), strict=True)
            for row, (given, number, free) in enumerate(rows):
                task = tasks[row % (len(tasks) * self.channels) // self.channels]
                window, channel = divmod(number, self.channels)
                assert task.window == window
                self.seen.append(Evaluation(window, channel, task.candidate.index, sigma, free, given.tobytes()))
        return done

    def start(self, name: str, budget: int, **settings: Any) -> list[Run]:
        problems = [Problem(key, self.plan) for key in self.keys]
        return [Run(start_search(name, p, Budget(budget), settings), Budget(budget), self.plan) for p in problems]

    def search(self, name: str, budget: int, *, batch: int = 64, **settings: Any) -> list[Run]:
        return self.finish(self.start(name, budget, **settings), batch=batch)

    def finish(self, runs: list[Run], batch: int = 64, **options: Any) -> list[Run]:
        drive(runs, self.solve, self.pool.score, batch=batch, **options)
        for mine in self.pool.windows:
            mine.fill()
        return runs

    def wander(self, search: Callable[[Problem], Search], batch: int = 64) -> list[Run]:
        """Drive a search that is written in a test, in every window."""
        plenty = Budget(10**6)
        return self.finish([Run(search(Problem(key, self.plan)), plenty, self.plan) for key in self.keys], batch)

    def values(self, runs: Sequence[Run]) -> list[float]:
        """What the judge said of the winners."""
        return [self.value(w, self.winner(run)) for w, run in enumerate(runs)]

    def value(self, window: int, candidate: Candidate) -> float:
        return self.pool.windows[window].scores["near"][candidate.index]

    @staticmethod
    def winner(run: Run) -> Candidate:
        assert run.winner is not None
        return run.winner

    def spent(self) -> Counter[tuple[int, int]]:
        """Evaluations by window and channel, as the network saw them."""
        return Counter((one.window, one.channel) for one in self.seen)

    def finished(self) -> Iterator[tuple[int, NoiseKey, Tensor]]:
        """Window, key and audio of every candidate that came to its end."""
        for w, mine in enumerate(self.pool.windows):
            for number, audio in mine.audio.items():
                yield w, mine.keys[number], audio


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
    assert max(world.pool.windows[0].scores["near"][:20]) < -0.01


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("look", [0, 1])
def test_a_run_that_stops_to_be_looked_at_is_the_whole_run(solver: str, look: int) -> None:
    """In company that changes at every stop: candidates are pruned, and join others."""
    world = World(2, channels=2, solver=solver)

    def search(problem: Problem) -> Search:
        every = yield from solve(problem.draws(4), 1, look)
        some = yield from solve(resume([every[3], every[1]]), 2, look)
        return (yield from solve(resume(some)))[0]

    world.wander(search)
    made = list(world.finished())
    assert [key.lineage[0][1] for _, key, _ in made] == [3, 1, 3, 1]
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
    """A way through a course.

    It stops `at` a step to `look`, leaves it by a `kind` of leg that starts at `start`, and stops at `until` to look in
    the way `after`, before it goes to the end.
    """

    at: int
    look: int
    kind: str
    start: int
    until: int
    after: int

    @property
    def taken(self) -> bool:
        """Whether it makes sense: a free look is that of a step, a coarse run takes two, a stop is for something."""
        free = (self.look or self.at > 0) and (self.after or self.until > self.start or self.kind == "resume")
        coarse = (self.look < 2 or self.at < 3) and (self.after < 2 or self.until < 3)
        idle = self.kind == "resume" and self.until == self.start and self.after != 1
        return bool(free and coarse and not idle and self.until >= self.start)

    def rollout(self, first: Candidate) -> Rollout:
        if self.kind == "resume":
            return Rollout(first.key, first)
        return Rollout(first.key.child(self.kind, 0, self.at, self.start if self.kind == "renoise" else 0.5), first)


def roads() -> list[Road]:
    steps, previews = range(len(SIGMAS) - 1), range(3)
    stops = list(product(steps, previews, steps, previews))
    every = [Road(at, look, "resume", at, until, after) for at, look, until, after in stops]
    every += [Road(at, look, "walk", at + 1, until, after) for at, look, until, after in stops]
    every += [Road(at, look, "renoise", k, until, after) for at, look, until, after in stops for k in range(at + 1)]
    return [road for road in every if road.taken]


@pytest.mark.parametrize(("solver", "guidance"), [("euler", 1.0), ("heun", 1.5)])
def test_every_way_to_go_costs_what_its_leg_says(solver: str, guidance: float) -> None:
    """A window for every way, on its own; what its legs were priced is what the network did for it."""
    ways = roads()
    world = World(len(ways), channels=2, solver=solver, guidance=guidance)

    def search(problem: Problem) -> Search:
        road = ways[world.keys.index(problem.key)]
        first = yield from solve(problem.draws(1), road.at, road.look)
        second = yield from solve([road.rollout(first[0])], road.until, road.after)
        return (yield from solve(resume(second)))[0]

    runs, counted = world.wander(search, batch=1), world.spent()
    assert min(Counter(road.kind for road in ways).values()) > 20
    for window, (road, run) in enumerate(zip(ways, runs, strict=True)):
        assert [counted[window, channel] for channel in range(2)] == [run.nfe, run.nfe], road
    assert world.stages.network.nfe == 2 * sum(run.nfe for run in runs)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_looks_are_what_they_say(solver: str) -> None:
    """The prediction of the step before, a new one at where the candidate stands, or the end of a coarse run."""
    world = World(1, solver=solver)
    goal = world.again(0, world.best[0])

    def search(problem: Problem) -> Search:
        for look in range(3):
            stopped = yield from solve(problem.draws(1), 2, look)
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
    said = [world.pool.windows[0].previews[number][0].scores["near"] for number in range(3)]
    assert said == pytest.approx([-float((x0 - goal).square().mean()) for x0 in expected], rel=1e-9)
    assert len(set(said)) == 3


def test_a_coarse_run_goes_over_levels_of_the_course() -> None:
    world = World(1)

    def search(problem: Problem) -> Search:
        seen = yield from solve(problem.draws(1), 0, look=2)
        return (yield from solve(resume(seen)))[0]

    world.wander(search)
    assert [one.sigma for one in world.seen] == [8.0, 0.5, *SIGMAS[1:-1]]


def test_channels_share_their_noise_at_the_start_and_at_every_turn() -> None:
    world = World(1, channels=2)
    world.lr[:] = world.lr[:, :1]
    world.pool.conditioning = world.engine.condition(world.lr, torch.zeros(1, 2), [])

    def search(problem: Problem) -> Search:
        first = yield from solve(problem.draws(1), 2)
        second = yield from solve([Rollout(first[0].key.child("renoise", 0, 2, 1), first[0])], 2, look=1)
        third = yield from solve([Rollout(second[0].key.child("walk", 0, 2, 1.0), second[0])])
        return third[0]

    world.wander(search)
    left, right = world.pool.windows[0].audio[2]
    assert torch.equal(left, right)


@pytest.mark.parametrize("name", ["halving", "census", "screen"])
def test_early_predictions_outlive_stops(name: str) -> None:
    """A verifier of trajectories hears of a candidate that stopped on its way what it hears of one that did not."""
    cut, whole = World(2, also=[SelfConsistency()]), World(2, also=[SelfConsistency()])
    cut.search(name, 40)
    whole.search("random", 40 * 4)
    for mine, theirs in zip(cut.pool.windows, whole.pool.windows, strict=True):
        heard = sorted(mine.audio)
        said = [mine.scores["self_consistency"][number] for number in heard]
        assert said == pytest.approx([theirs.scores["self_consistency"][number] for number in heard], rel=1e-9)


@pytest.mark.parametrize(("name", "settings"), [("steering", {}), ("paths", {"rise": 0.1, "fall": 0.2})])
def test_trajectories_with_turns_have_early_predictions(name: str, settings: dict[str, Any]) -> None:
    """Of the last time that they passed the level, or of what they descend from."""
    world = World(2, also=[SelfConsistency()], levels=(8.0, 2.0, 0.5, 0.25, 0.125, 0.06, 0.0))
    world.search(name, 60, **settings)
    for mine in world.pool.windows:
        assert all(-1 <= mine.scores["self_consistency"][number] <= 1 for number in mine.audio)


def test_what_is_given_up_leaves_no_trace_and_what_is_essential_goes_on() -> None:
    world, told = World(1), list[float]()
    world.pool.given_up, world.pool.ticked = lambda: True, told.append
    essential = Task(0, Rollout(world.keys[0]), Candidate(0, world.keys[0], 4), 0, 4, essential=True)
    assert not world.pool.solve([replace(essential, essential=False)])
    assert not world.pool.windows[0].keys
    assert told == [0.25]
    assert world.pool.solve([essential])
    assert world.pool.windows[0].keys == [world.keys[0]]
    assert told == [0.25, 0.25, 0.5, 0.75, 1.0]


def test_a_run_at_its_last_step_is_not_given_up() -> None:
    world = World(1)
    world.pool.given_up = lambda: True
    task = Task(0, Rollout(world.keys[0]), Candidate(0, world.keys[0], 3), 0, 3, essential=True)
    assert world.pool.solve([task])
    assert world.pool.solve(
        [replace(task, rollout=Rollout(world.keys[0], task.candidate), candidate=replace(task.candidate, step=4))]
    )
    assert list(world.pool.windows[0].audio) == [0]
    assert not world.pool.windows[0].running


def test_segments_cover_the_core_in_nearly_equal_parts() -> None:
    window = Window(0, 10, 110, 0, 120, 0, 0)
    assert segment_edges(window, 0) == (0, 100)
    assert segment_edges(window, 1000) == (0, 100)
    assert segment_edges(window, 30) == (0, 33, 66, 100)
    world = World(1, segment_seconds=2 / RATE)
    world.search("random", 12)
    parts = world.pool.windows[0].segments["near"]
    goal = world.again(0, world.best[0])[0]
    for number, audio in world.pool.windows[0].audio.items():
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
@pytest.mark.parametrize("coordinates", ["VE", "VP", "flow"])
def test_renoising_brings_a_gaussian_to_the_marginal_of_the_new_level(
    coordinates: str, low: float, high: float
) -> None:
    """x = signal·x0 + noise·eps with x0 of N(m, v): mean signal·m and variance signal²·v + noise²."""
    kept = [1 / (1 + sigma**2) for sigma in (low, high)]
    times = [sigma / (1 + sigma) for sigma in (low, high)]
    signal, noise, noising = {
        "VE": ([1.0, 1.0], [low, high], lambda x, eps: renoise(x, low, high, eps)),
        "VP": (
            [math.sqrt(bar) for bar in kept],
            [math.sqrt(1 - bar) for bar in kept],
            lambda x, eps: renoise_vp(x, kept[0], kept[1], eps),
        ),
        "flow": ([1 - t for t in times], times, lambda x, eps: renoise_flow(x, times[0], times[1], eps)),
    }[coordinates]
    a, b, c = slopes(noising)
    mean, variance = 1.7, 0.36
    assert c == 0.0
    assert a * signal[0] * mean == pytest.approx(signal[1] * mean, rel=1e-12)
    there = signal[1] ** 2 * variance + noise[1] ** 2
    assert a**2 * (signal[0] ** 2 * variance + noise[0] ** 2) + b**2 == pytest.approx(there, rel=1e-12)


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
