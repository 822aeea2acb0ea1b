"""The candidates of a group of windows: rendered in device batches, merged with the input, scored, kept."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.audio.crossover import Crossover
from ttsr_studio.audio.windows import Window
from ttsr_studio.diffusion.denoiser import BatchLimit, Meter, MeteredDenoiser
from ttsr_studio.diffusion.noise import NoiseKey, draw, normal
from ttsr_studio.diffusion.samplers import Sampler
from ttsr_studio.engines import Engine
from ttsr_studio.search.batching import Task
from ttsr_studio.search.contract import Candidate
from ttsr_studio.verifiers import Context, Verifier
from ttsr_studio.verifiers.ensemble import Rule, combine


@dataclass
class Stages:
    """Seconds by stage of a render, the network's own on its meter."""

    network: Meter = field(default_factory=Meter)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, began: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began


@dataclass(frozen=True)
class Recipe:
    """How candidates are made and judged, the same for all windows of a file."""

    engine: Engine
    sampler: Sampler
    sigmas: Tensor
    temperature: float
    crossover: Crossover
    verifiers: tuple[Verifier, ...]
    rule: Rule
    limit: BatchLimit


@dataclass
class WindowPool:
    """One window's candidates so far: cores [C, samples] float32 by number, scores by verifier, keys."""

    window: Window
    lr: Tensor
    reference: Tensor | None
    audio: list[Tensor] = field(default_factory=list)
    keys: list[NoiseKey] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)

    def combined(self, rule: Rule, chosen: Sequence[int]) -> np.ndarray:
        """Ensemble scores, float64, of some candidates by number, compared with one another."""
        return combine({name: np.array(values)[list(chosen)] for name, values in self.scores.items()}, rule).values


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
            WindowPool(w, part[:, w.core], None if r is None else r[:, w.core])
            for w, part, r in zip(windows, lr, references, strict=True)
        ]
        began = time.perf_counter()
        cutoffs = torch.full((lr.shape[0] * self.channels,), recipe.crossover.cutoff_hz)
        rows = [key for key in keys for _ in range(self.channels)]
        self.conditioning = recipe.engine.condition(heard.flatten(0, 1), cutoffs, rows)
        stages.add("condition", began)
        wanted = any("expected" in verifier.needs for verifier in recipe.verifiers)
        self.expected = self._mean_renders(keys) if wanted else None

    def _mean_renders(self, keys: Sequence[NoiseKey]) -> Tensor:
        """What the engine expects of each window, [W, channels, samples]: its x0-prediction at the highest noise.

        The mean over a noise and its opposite, so that what the prediction still owes to the noise cancels.
        """
        engine, sigma = self.recipe.engine, float(self.recipe.sigmas[0])
        shape = engine.noise_shape(self.lr.shape[-1])
        noise = torch.stack([normal(key, "expected", shape) for key in keys])
        x = engine.start(noise).repeat_interleave(self.channels, dim=0) * sigma
        level = torch.full((len(x),), sigma, device=x.device)
        denoiser = MeteredDenoiser(engine, self.conditioning, self.stages.network, limit=self.recipe.limit)
        x0 = 0.5 * (denoiser(x, level) + denoiser(-x, level))
        raw = engine.decode(x0, self.conditioning).cpu().unflatten(0, (len(keys), self.channels))
        return self.recipe.crossover.merge(self.lr, raw)

    def solve(self, tasks: Sequence[Task]) -> None:
        """Render tasks as one batch of rows (candidate by candidate, its channels together) and judge them."""
        engine, recipe = self.recipe.engine, self.recipe
        shape = engine.noise_shape(self.lr.shape[-1])
        began = time.perf_counter()
        noise = torch.stack([draw(candidate.key, shape) for _, candidate in tasks])
        scale = float(recipe.sigmas[0]) * recipe.temperature
        x = engine.start(noise).repeat_interleave(self.channels, dim=0) * scale
        index = torch.tensor([w * self.channels + c for w, _ in tasks for c in range(self.channels)])
        self.stages.add("noise", began)
        rows = self.conditioning.rows(index)
        denoiser = MeteredDenoiser(engine, rows, self.stages.network, limit=recipe.limit)
        began, before = time.perf_counter(), self.stages.network.seconds
        x0, _ = recipe.sampler(denoiser, x, recipe.sigmas)
        self.stages.add("solver", began + self.stages.network.seconds - before)
        began = time.perf_counter()
        raw = engine.decode(x0, rows).cpu().unflatten(0, (len(tasks), self.channels))
        self.stages.add("decode", began)
        for window in dict.fromkeys(w for w, _ in tasks):
            mine = [i for i, (w, _) in enumerate(tasks) if w == window]
            self._keep(window, raw[mine], [tasks[i][1] for i in mine])

    def _keep(self, index: int, raw: Tensor, candidates: list[Candidate]) -> None:
        """Merge raw renders [N, C, samples] of one window with its input; keep and score the cores."""
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
        )
        for verifier in self.recipe.verifiers:
            pool.scores.setdefault(verifier.name, []).extend(verifier.score(merged, context).tolist())
        self.stages.add("verify", began)
        pool.audio.extend(merged)
        pool.keys.extend(candidate.key for candidate in candidates)

    def score(self, index: int, candidates: Sequence[Candidate]) -> np.ndarray:
        """Compare candidates of one window: float64 [len(candidates)]."""
        return self.windows[index].combined(self.recipe.rule, [candidate.index for candidate in candidates])


def window_key(seed: int, window: Window, engine: Engine) -> NoiseKey:
    """The window's own key: noise is addressed by its absolute place in the file."""
    return NoiseKey(seed, position=window.render_start // engine.noise_hop() - engine.noise_lead())
