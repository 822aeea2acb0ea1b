"""A world of Gaussian mixtures whose x0-predictions are exact, searched with the real candidate batch."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.crossover import MapCrossover
from ttsr_studio.audio.windows import Window
from ttsr_studio.diffusion.batch_limit import BatchLimit
from ttsr_studio.diffusion.denoiser import Meter, MeteredDenoiser
from ttsr_studio.diffusion.guidance import Guidance
from ttsr_studio.diffusion.model import Conditioning, Engine
from ttsr_studio.diffusion.noise import NoiseKey, draw, normal
from ttsr_studio.diffusion.samplers.registry import get_sampler
from ttsr_studio.rendering.inference.candidates import CandidateBatch
from ttsr_studio.rendering.inference.sampling import Monitor
from ttsr_studio.rendering.inference.state import SamplingConfig, WindowInputs
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.search.protocol import (
    Budget,
    Candidate,
    Problem,
    SamplingPlan,
    Search,
)
from ttsr_studio.search.registry import start_search
from ttsr_studio.search.scheduler import Run, Task, drive
from ttsr_studio.verifiers.panel import Panel
from ttsr_studio.verifiers.protocol import Annotations, Context, Need, Scope, Verifier

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
        self.ways_back: list[Centres] = []
        """Of what the ways back were that gradients took, call by call."""

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
        self.asked.append((x.detach().clone(), float(sigma[0]), conditioning))
        x0 = posterior_mean(x, sigma, conditioning.centre)
        if x0.requires_grad:
            x0.register_hook(lambda _: self.ways_back.append(conditioning))
        return x0

    def preview(self, x0: Tensor, level: str, conditioning: Conditioning) -> Tensor:
        raise AssertionError("decoding is the only preview there is")

    def decode(self, x0: Tensor, conditioning: Conditioning) -> Tensor:
        return x0


def posterior_mean(x: Tensor, sigma: Tensor, centre: Tensor) -> Tensor:
    """E[x0 | x] [N, SIZE] for x = x0 + sigma·eps and x0 of the mixture about each row's centre."""
    wide = VARIANCES + sigma.double()[:, None] ** 2
    away = (x - centre)[:, None] - OFFSETS
    logits = WEIGHTS.log() - 0.5 * SIZE * wide.log() - away.pow(2).sum(-1) / (2 * wide)
    means = OFFSETS + (VARIANCES / wide)[..., None] * away
    return centre + (logits.softmax(1)[..., None] * means).sum(1)


class NothingKept(MapCrossover):
    """Leaves the engine's output as it is, so that tests see it."""

    def merge(self, lr: Tensor, generated: Tensor, start: int = 0) -> Tensor:
        return generated


class Near(Verifier):
    """How near the engine's output is to the ground truth: minus the mean square of what is between them."""

    name = "near"
    unit = ""
    scope: Scope = "window"
    needs: frozenset[Need] = frozenset({"reference"})
    licence = ""
    differentiable = True

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
    """Windows to search as renders do. The best noise of each is known: the goal is what its run ends in."""

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
        monitor: Monitor | None = None,
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
            self.engine, self.sampler, self.sigmas, self.coarse, 1.0, NothingKept(BandwidthMap.constant(2000.0), RATE),
            Panel((Near(),), held_out=tuple(also)), Annotations(), BatchLimit(), self.guidance,
            segment_seconds=segment_seconds,
        )  # fmt: skip
        self.engine.asked.clear()
        inputs = WindowInputs(places, self.lr, self.keys, goals)
        self.batch = CandidateBatch(config, inputs, self.stages, monitor)
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
        """Have the batch do it, and write down what the network was given for whom."""
        first = len(self.engine.asked)
        done = self.batch.solve(tasks)
        self.batches.append(len(tasks))
        calls = self.engine.asked[first:]
        for call, (x, sigma, centres) in enumerate(calls):
            rows = zip(x.numpy(), centres.number.tolist(), centres.free.tolist(), strict=True)
            # Gradients are found for one candidate after the other.
            own = [tasks[call * len(tasks) // len(calls)]] if tasks[0].gradient else tasks
            for row, (given, number, free) in enumerate(rows):
                task = own[row % (len(own) * self.channels) // self.channels]
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
        drive(runs, self.solve, self.batch.score, batch=batch, **options)
        return runs

    def wander(self, search: Callable[[Problem], Search], batch: int = 64) -> list[Run]:
        """Drive a search that is written in a test, in every window."""
        plenty = Budget(10**6)
        return self.finish([Run(search(Problem(key, self.plan)), plenty, self.plan) for key in self.keys], batch)

    def values(self, runs: Sequence[Run]) -> list[float]:
        """What the verifier gave the winners."""
        return [self.value(w, self.winner(run)) for w, run in enumerate(runs)]

    def value(self, window: int, candidate: Candidate) -> float:
        return self.batch.windows[window].scores["near"][candidate.index]

    @staticmethod
    def winner(run: Run) -> Candidate:
        assert run.winner is not None
        return run.winner

    def spent(self) -> Counter[tuple[int, int]]:
        """Evaluations by window and channel, as the network saw them; a way back is two."""
        back = (divmod(number, self.channels) for each in self.engine.ways_back for number in each.number.tolist())
        return Counter([*((one.window, one.channel) for one in self.seen), *(each for each in back for _ in range(2))])

    def finished(self) -> Iterator[tuple[int, NoiseKey, Tensor]]:
        """Window, key and audio of every candidate that came to its end."""
        for w, mine in enumerate(self.batch.windows):
            for number, audio in mine.audio.items():
                yield w, mine.keys[number], audio
