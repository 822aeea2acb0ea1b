"""The candidates of a group of windows: rendered in device batches, merged with the input, scored, kept."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.audio.crossover import Crossover
from ttsr_studio.audio.windows import Window
from ttsr_studio.diffusion.batches import BatchLimit
from ttsr_studio.diffusion.denoiser import Meter, MeteredDenoiser
from ttsr_studio.diffusion.guidance import Guidance
from ttsr_studio.diffusion.noise import NoiseKey, draw, normal
from ttsr_studio.diffusion.samplers import Sampler
from ttsr_studio.engines import Conditioning, Engine
from ttsr_studio.search.batching import Task
from ttsr_studio.search.contract import Candidate
from ttsr_studio.verifiers import Brief, Context, Glancing, Glimpse, Verifier, goes_by_input, judge
from ttsr_studio.verifiers.ensemble import Combined
from ttsr_studio.verifiers.panel import Panel

EARLY_SIGMA = 0.4
"""Where the early x0-prediction is taken (Ma et al. 2025, "Self-Supervised Verifiers")."""


@dataclass
class Stages:
    """Seconds by stage of a render, the network's own on its meter."""

    network: Meter = field(default_factory=Meter)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, began: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began


@dataclass(frozen=True)
class Recipe:
    """How candidates are made and judged, the same for all windows of a file.

    Attributes:
        look: level at which candidates are judged before decoding, None when all are decoded at once.
        top: candidates of a comparison that are then decoded.
    """

    engine: Engine
    sampler: Sampler
    sigmas: Tensor
    temperature: float
    crossover: Crossover
    panel: Panel
    brief: Brief
    limit: BatchLimit
    guidance: Guidance = field(default_factory=Guidance)
    look: str | None = None
    top: int = 0


@dataclass
class WindowPool:
    """One window's candidates so far, by number.

    Attributes:
        audio: cores [C, samples] float32 of those that are decoded.
        drawn: x0 [C, ...] of those that are not yet.
        keys: of all.
        scores: by verifier, of all; NaN from a verifier that has to hear, for those that are not decoded.
        looked: verifiers that judged before decoding, and by that alone.
        input_scores: what those that can say of the input itself, by column.
        cache: for what verifiers compute once for this window.
    """

    window: Window
    panel: Panel
    lr: Tensor
    reference: Tensor | None
    audio: dict[int, Tensor] = field(default_factory=dict)
    drawn: dict[int, Tensor] = field(default_factory=dict)
    keys: list[NoiseKey] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)
    looked: tuple[str, ...] = ()
    input_scores: dict[str, float] = field(default_factory=dict)
    cache: dict[str, Any] = field(default_factory=dict)

    def combined(self, chosen: Sequence[int]) -> Combined:
        """Ensemble scores of some candidates by number, compared with one another; -inf for unjudged ones."""
        if not self.scores:
            return Combined(np.zeros(len(chosen)), (), ())
        return self.panel.combine({name: np.array(values)[list(chosen)] for name, values in self.scores.items()})

    def ranking(self) -> list[int]:
        """Numbers of the candidates that are decoded, best first; the earliest of equals."""
        heard = sorted(self.audio)
        return [heard[i] for i in np.argsort(-self.combined(heard).values, kind="stable")]

    def fill(self) -> None:
        """Give every candidate an entry from every verifier, NaN where it has said nothing."""
        for known in self.scores.values():
            known += [math.nan] * (len(self.keys) - len(known))

    def promising(self, chosen: Sequence[int], top: int) -> list[int]:
        """Numbers of the `top` of some candidates by what was said of them before decoding, best first."""
        early = self.panel.combine({name: np.array(self.scores[name])[list(chosen)] for name in self.looked}).values
        return [chosen[i] for i in np.argsort(-early, kind="stable")[:top]]


class Pool:
    """Renders and judges the candidates of several windows.

    Args:
        lr: [W, channels, samples] at the engine's rate and input level, render regions with the engine's lookaround.
        keys: [W], one per window; all channels of a window share it.
        references: [W] ground truth of the render regions, or Nones.
    """

    def __init__(
        self,
        recipe: Recipe,
        windows: Sequence[Window],
        lr: Tensor,
        keys: Sequence[NoiseKey],
        references: Sequence[Tensor | None],
        stages: Stages,
    ) -> None:
        around = recipe.engine.lookaround
        heard, lr = lr, lr[..., around : lr.shape[-1] - around]
        self.recipe, self.lr, self.stages = recipe, lr, stages
        self.channels = lr.shape[1]
        self.windows = [
            WindowPool(w, recipe.panel, part[:, w.core], None if r is None else r[:, w.core])
            for w, part, r in zip(windows, lr, references, strict=True)
        ]
        began = time.perf_counter()
        cutoffs = torch.full((lr.shape[0] * self.channels,), recipe.crossover.cutoff_hz)
        rows = [key for key in keys for _ in range(self.channels)]
        self.conditioning = recipe.engine.condition(heard.flatten(0, 1), cutoffs, rows)
        stages.add("condition", began)
        self.ticked: Callable[[float], None] = lambda share: None
        """Told after every solver step which share of a batch is done."""
        self.expected: Tensor | None = None
        self.expected_pictures: Tensor | None = None
        if recipe.look:
            mean = self._mean_predictions(keys)
            self.expected_pictures = self._by_window(recipe.engine.look(mean, recipe.look, self.conditioning))
        elif any("expected" in verifier.needs for verifier in recipe.panel.everyone):
            raw = self._by_window(recipe.engine.decode(self._mean_predictions(keys), self.conditioning))
            self.expected = recipe.crossover.merge(self.lr, raw)

    def _by_window(self, rows: Tensor) -> Tensor:
        """[W x channels, ...] -> [W, channels, ...] on the CPU."""
        return rows.cpu().unflatten(0, (-1, self.channels))

    def _mean_predictions(self, keys: Sequence[NoiseKey]) -> Tensor:
        """What the engine expects of each window, x0 [W x channels, ...]: its prediction at the highest noise.

        The mean over a noise and its opposite, so that what the prediction still owes to the noise cancels.
        """
        engine, sigma = self.recipe.engine, float(self.recipe.sigmas[0])
        shape = engine.noise_shape(self.lr.shape[-1])
        noise = torch.stack([normal(key, "expected", shape) for key in keys])
        x = engine.start(noise, sigma).repeat_interleave(self.channels, dim=0)
        level = torch.full((len(x),), sigma, device=x.device)
        denoiser = MeteredDenoiser(engine, self.conditioning, self.stages.network, limit=self.recipe.limit)
        return 0.5 * (denoiser(x, level) + denoiser(-x, level))

    def solve(self, tasks: Sequence[Task]) -> None:
        """Render tasks as one batch of rows (candidate by candidate, its channels together) and judge them."""
        engine, recipe = self.recipe.engine, self.recipe
        shape = engine.noise_shape(self.lr.shape[-1])
        began = time.perf_counter()
        noise = torch.stack([draw(candidate.key, shape) for _, candidate in tasks]) * recipe.temperature
        x = engine.start(noise, float(recipe.sigmas[0])).repeat_interleave(self.channels, dim=0)
        rows = self._rows([w for w, _ in tasks])
        self.stages.add("noise", began)
        denoiser = MeteredDenoiser(
            engine, rows, self.stages.network, guidance=recipe.guidance, limit=recipe.limit
        )  # fmt: skip
        began, before = time.perf_counter(), self.stages.network.seconds
        x0, early = self._run(denoiser, x)
        self.stages.add("solver", began + self.stages.network.seconds - before)
        for window, candidate in tasks:
            assert candidate.index == len(self.windows[window].keys)
            self.windows[window].keys.append(candidate.key)
        if recipe.look:
            self._glance(tasks, x0, early, rows)
        else:
            self._hear(tasks, x0, early, rows)

    def _run(self, denoiser: MeteredDenoiser, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Sample -> x0, and the x0-prediction nearest to sigma 0.4 when a verifier needs it."""
        recipe = self.recipe
        needed = any("early" in verifier.needs for verifier in recipe.panel.everyone)
        # Not the last level: its prediction is the result.
        wanted = int((recipe.sigmas[:-2].log() - math.log(EARLY_SIGMA)).abs().argmin()) if needed else -1
        early: Tensor | None = None
        for number, (reached, state) in enumerate(recipe.sampler.steps(denoiser, x, recipe.sigmas)):
            x = reached
            self.ticked((number + 1) / (len(recipe.sigmas) - 1))
            if number == wanted:
                early = state.denoised[0]
        return x, early

    @property
    def _judges(self) -> tuple[Verifier, ...]:
        return self.recipe.panel.hearing("window")

    def _rows(self, windows: Sequence[int]) -> Conditioning:
        """The conditioning of all channels of windows by number, repeats allowed."""
        index = torch.tensor([w * self.channels + c for w in windows for c in range(self.channels)])
        return self.conditioning.rows(index)

    def _glance(self, tasks: Sequence[Task], x0: Tensor, early: Tensor | None, rows: Conditioning) -> None:
        """Keep candidates undecoded and note what verifiers say of them as they are."""
        assert self.recipe.look is not None
        assert self.expected_pictures is not None
        began = time.perf_counter()
        pictures = self._by_window(self.recipe.engine.look(x0, self.recipe.look, rows))
        parts = x0.unflatten(0, (len(tasks), self.channels))
        both = None if early is None else (self._by_window(early), self._by_window(x0))
        for i, (window, candidate) in enumerate(tasks):
            pool = self.windows[window]
            pool.drawn[candidate.index] = parts[i]
            pool.looked = tuple(verifier.name for verifier in self._judges if isinstance(verifier, Glancing))
            mine = None if both is None else (both[0][i : i + 1], both[1][i : i + 1])
            glimpse = Glimpse(pictures[i : i + 1], self.expected_pictures[window], mine)
            for verifier in self._judges:
                if isinstance(verifier, Glancing):
                    pool.scores.setdefault(verifier.name, []).append(float(verifier.glance(glimpse)))
        self.stages.add("glance", began)

    def decode(self, index: int, numbers: Sequence[int]) -> None:
        """Decode and judge candidates of one window, by number, that are not yet."""
        pool = self.windows[index]
        waiting = [number for number in numbers if number in pool.drawn]
        if waiting:
            x0 = torch.cat([pool.drawn.pop(number) for number in waiting])
            tasks = [(index, Candidate(number, pool.keys[number])) for number in waiting]
            self._hear(tasks, x0, None, self._rows([index] * len(waiting)))

    def _hear(self, tasks: Sequence[Task], x0: Tensor, early: Tensor | None, rows: Conditioning) -> None:
        """Decode candidates, merge them with their windows' input, and keep and score the cores."""
        began = time.perf_counter()
        raw = self._by_window(self.recipe.engine.decode(x0, rows))
        self.stages.add("decode", began)
        both = None if early is None else (self._by_window(early), self._by_window(x0))
        for window in dict.fromkeys(w for w, _ in tasks):
            mine = [i for i, (w, _) in enumerate(tasks) if w == window]
            trajectory = None if both is None else (both[0][mine], both[1][mine])
            self._keep(window, raw[mine], [tasks[i][1].index for i in mine], trajectory)

    def _keep(self, index: int, raw: Tensor, numbers: list[int], early: tuple[Tensor, Tensor] | None) -> None:
        pool = self.windows[index]
        began = time.perf_counter()
        core = pool.window.core
        merged = self.recipe.crossover.merge(self.lr[index][None], raw)[..., core].contiguous()
        self.stages.add("assemble", began)
        began = time.perf_counter()
        context = Context(
            sample_rate=self.recipe.engine.sample_rate,
            cutoff_hz=self.recipe.crossover.cutoff_hz,
            lr=pool.lr,
            raw=raw[..., core],
            expected=None if self.expected is None else self.expected[index][:, core],
            reference=pool.reference,
            early=early,
            brief=self.recipe.brief,
            cache=pool.cache,
        )
        if not pool.audio:
            self._hear_input(pool, context)
        for verifier in self._judges:
            if verifier.name in pool.looked:
                continue
            for name, said in judge(verifier, merged, context).items():
                known = pool.scores.setdefault(name, [])
                known += [math.nan] * (len(pool.keys) - len(known))
                for number, score in zip(numbers, said, strict=True):
                    known[number] = score
        self.stages.add("verify", began)
        pool.audio.update(zip(numbers, merged, strict=True))

    def _hear_input(self, pool: WindowPool, context: Context) -> None:
        """Let the judges that can score the window's input itself, to tell whether a render is worse than nothing."""
        same = replace(context, raw=pool.lr[None], early=None, _heard={})
        for verifier in self._judges:
            told = verifier.name in pool.looked or goes_by_input(verifier, context.brief)
            if "early" not in verifier.needs and not told:
                pool.input_scores |= {name: said[0] for name, said in judge(verifier, pool.lr[None], same).items()}

    def score(self, index: int, candidates: Sequence[Candidate]) -> np.ndarray:
        """Compare candidates of one window: float64 [len(candidates)]; -inf for those that a look has passed over."""
        recipe, pool = self.recipe, self.windows[index]
        numbers = [candidate.index for candidate in candidates]
        if recipe.look:
            self.decode(index, pool.promising(numbers, recipe.top))
            pool.fill()
        return pool.combined(numbers).values


def window_key(seed: int, window: Window, engine: Engine) -> NoiseKey:
    """The window's own key: noise is addressed by its absolute place in the file."""
    return NoiseKey(seed, position=window.render_start // engine.noise_hop() - engine.noise_lead())
