"""From starting noise to a finished candidate: what is random on the way, and addressed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ttsr_studio.audio.windows import Window
from ttsr_studio.diffusion.batch_limit import BatchLimit
from ttsr_studio.diffusion.denoiser import BACKWARD, Allowance, Checkpointed, Meter, MeteredDenoiser
from ttsr_studio.diffusion.model import Conditioning, Engine
from ttsr_studio.diffusion.noise import NoiseKey, ascended, draw, draw_all, normal, renoise
from ttsr_studio.diffusion.samplers.base import Denoise, State, peek
from ttsr_studio.rendering.inference.state import SamplingConfig, Slope, Standing
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.search.scheduler import Task

EARLY_SIGMA = 0.4
"""Where the early x0-prediction is taken (Ma et al. 2025, "Self-Supervised Verifiers")."""


@dataclass(frozen=True)
class Monitor:
    """Who watches a sampler between solver steps.

    Attributes:
        step: told which share of a batch is done.
        over: asked whether a batch without essential tasks is to be given up.
    """

    step: Callable[[float], None] = lambda share: None
    over: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Sampled:
    """Where a batch of rows came to, candidate by candidate, a candidate's channels together.

    Attributes:
        x: [N x channels, ...]; the finished x0 at the last step.
        state: the solver's, of all rows.
        early: see `Standing`.
        preview: x0-prediction where the rows stopped on their way, [N x channels, ...]; None at the last step.
    """

    x: Tensor
    state: State
    early: Tensor | None
    preview: Tensor | None = None

    def detached(self) -> "Sampled":
        """The same without graphs."""
        early, preview = (None if x is None else x.detach() for x in (self.early, self.preview))
        return Sampled(self.x.detach(), self.state.detached(), early, preview)

    @classmethod
    def cat(cls, parts: Sequence["Sampled"]) -> "Sampled":
        """Batches that came to the same step, as one."""
        early = [one.early for one in parts if one.early is not None]
        previews = [one.preview for one in parts if one.preview is not None]
        return cls(
            torch.cat([one.x for one in parts]),
            State.cat([one.state for one in parts]),
            torch.cat(early) if early else None,
            torch.cat(previews) if previews else None,
        )

    def standing(self, place: int, channels: int) -> Standing:
        """Where one of the N candidates stands."""
        rows = torch.arange(place * channels, (place + 1) * channels, device=self.x.device)
        return Standing(self.x[rows], self.state.rows(rows), None if self.early is None else self.early[rows])


class CandidateSampler:
    """Runs rollouts of several windows as batches of rows.

    Args:
        conditioning: of all windows, W x channels rows.
        shape: (channels, samples) of a window.
        stages: take the time that it took.
    """

    def __init__(
        self,
        config: SamplingConfig,
        conditioning: Conditioning,
        shape: tuple[int, int],
        stages: Stages,
        monitor: Monitor,
    ) -> None:
        self.config, self.conditioning, self.stages, self.monitor = config, conditioning, stages, monitor
        self.channels, samples = shape
        self.noise_shape = config.engine.noise_shape(samples)
        self.end = len(config.sigmas) - 1
        needed = any("early" in verifier.needs for verifier in config.panel.everyone)
        # Not the last level: its prediction is the result.
        levels = config.sigmas[:-2].log() - math.log(EARLY_SIGMA)
        self.early_step = int(levels.abs().argmin()) if needed else -1

    def rows(self, windows: Sequence[int]) -> Conditioning:
        """The conditioning of all channels of windows by number, repeats allowed."""
        index = torch.tensor([w * self.channels + c for w in windows for c in range(self.channels)])
        return self.conditioning.rows(index)

    def mean_predictions(self, keys: Sequence[NoiseKey]) -> Tensor:
        """What the engine expects of each window, x0 [W x channels, ...]: its prediction at the highest noise.

        The mean over a noise and its opposite, so that what the prediction still owes to the noise cancels.
        """
        engine, sigma = self.config.engine, float(self.config.sigmas[0])
        noise = torch.stack([normal(key, "expected", self.noise_shape) for key in keys])
        x = engine.start(noise, sigma).repeat_interleave(self.channels, dim=0)
        level = torch.full((len(x),), sigma)
        denoiser = MeteredDenoiser(engine, self.conditioning, self.stages.network, limit=self.config.limit)
        return 0.5 * (denoiser(x, level) + denoiser(-x, level))

    def trial(self, key: NoiseKey, candidates: int) -> tuple[Tensor, Conditioning]:
        """Predictions at the highest noise of the first window's channels, for their memory alone: none is counted."""
        config, sigma = self.config, float(self.config.sigmas[0])
        conditioning = self.rows([0] * candidates)
        noise = normal(key, "expected", self.noise_shape).expand(len(conditioning), *self.noise_shape)
        whole = BatchLimit(2 * len(conditioning))
        denoiser = MeteredDenoiser(config.engine, conditioning, Meter(), guidance=config.guidance, limit=whole)
        return denoiser(config.engine.start(noise, sigma), torch.full((len(conditioning),), sigma)), conditioning

    def run(self, tasks: Sequence[Task], origins: Sequence[Standing], noise: Tensor | None = None) -> Sampled | None:
        """Take tasks of one shape on as one batch of rows; None when it was given up.

        Args:
            origins: where the candidates stand that the tasks go on from, one for each; none for those that start.
            noise: that they start from, [N, ...]; None where they go on.
        """
        denoiser = self._denoiser(tasks)
        with self.stages.timed("noise"):
            start = self._depart(tasks, origins, denoiser) if noise is None else self._started(noise)
        with self.stages.timed("solver", without_network=True):
            return self._go(tasks[0], start, denoiser, any(task.essential for task in tasks))

    def climb(
        self, task: Task, noise: Tensor, essential: bool, rise: Callable[[Tensor], Tensor]
    ) -> tuple[Sampled, Tensor] | None:
        """Take one task on from its noise [...] and follow the way back; None when it was given up.

        Args:
            rise: x0 [channels, ...] -> the direction in which its scores rise, of the same shape.

        Returns:
            Where it came to, and the gradient at the noise, [...].
        """
        each = 1 if self.config.guidance.scale == 1 else 2
        evaluations = (task.nfe // each + 1) // (2 + BACKWARD)  # see `with_gradient`
        denoiser = Checkpointed(self._denoiser([task], gradient=True), evaluations)
        with self.stages.timed("solver", without_network=True), torch.enable_grad():
            start = noise.clone().requires_grad_()
            there = self._go(task, self._started(start[None]), denoiser, essential)
            if there is None:
                return None
            x0 = there.x if there.preview is None else there.preview
            return there.detached(), denoiser.gradient(x0, start, rise(x0.detach()))

    def _denoiser(self, tasks: Sequence[Task], gradient: bool = False) -> Allowance:
        """The network for the rows of tasks, which may be run as often as they say."""
        rows, config = self.rows([task.window for task in tasks]), self.config
        metered = MeteredDenoiser(
            config.engine, rows, self.stages.network, guidance=config.guidance, limit=config.limit
        )  # fmt: skip
        metered.gradient = gradient
        return Allowance(metered, self.channels * sum(task.nfe for task in tasks))

    def _go(self, task: Task, start: Sampled, denoiser: Denoise, essential: bool) -> Sampled | None:
        """From a start to where a task, and others of its shape, stop; None when it was given up."""
        there: Sampled | None = start
        if task.candidate.step > task.rollout.start:
            there = self._descend(start, denoiser, (task.rollout.start, task.candidate.step), essential)
        if there is not None and task.candidate.step < self.end:
            there = self._preview(there, denoiser, task.candidate.step, task.preview)
        return there

    def noises(self, keys: Sequence[NoiseKey], slopes: Sequence[Slope | None]) -> Tensor:
        """What runs start from, [N, ...]; slopes are those of the candidates that keys ascend from, None for draws."""
        with self.stages.timed("noise"):
            if all(slope is None for slope in slopes):
                return draw_all(keys, self.noise_shape)
            rows = [self._noise(*each) for each in zip(keys, slopes, strict=True)]
            return torch.stack(rows)

    def _noise(self, key: NoiseKey, slope: Slope | None) -> Tensor:
        if slope is None:
            return draw(key, self.noise_shape)
        return ascended(slope.noise, slope.gradient, float(key.lineage[-1][2]))

    def _started(self, noise: Tensor) -> Sampled:
        """Where candidates stand that start from noise [N, ...], the same for all channels."""
        config = self.config
        x = config.engine.start(noise * config.temperature, float(config.sigmas[0]))
        return Sampled(x[:, None].expand(-1, self.channels, *x.shape[1:]).flatten(0, 1), State(), None)

    def _depart(self, tasks: Sequence[Task], origins: Sequence[Standing], denoiser: Denoise) -> Sampled:
        """Where the solver goes on from."""
        config, rollout, keys = self.config, tasks[0].rollout, [task.candidate.key for task in tasks]
        x, state = torch.cat([one.x for one in origins]), State.cat([one.state for one in origins])
        known = [one.early for one in origins if one.early is not None]
        early = torch.cat(known) if len(known) == len(origins) else None
        if rollout.kind == "resume":
            return Sampled(x, state, early)
        noise = torch.stack([normal(key, rollout.kind, self.noise_shape) for key in keys]) * config.temperature
        eps = config.engine.start(noise, 1.0).repeat_interleave(self.channels, dim=0)
        assert rollout.origin is not None
        here, there = float(config.sigmas[rollout.origin.step]), float(config.sigmas[rollout.start])
        if rollout.kind == "renoise":
            return Sampled(renoise(x, here, there, eps), State(), early)
        x0, _ = peek(denoiser, x, here, state)
        eta = float(rollout.key.lineage[-1][3])
        return Sampled(stochastic_step(x, x0, here, there, eps, eta), State(), early)

    def _descend(self, start: Sampled, denoiser: Denoise, steps: tuple[int, int], essential: bool) -> Sampled | None:
        """Solve from one step to a later one; None when the monitor gives it up, which it may if nothing essential is
        lost and the result is not there yet."""
        first, last = steps
        x, state, early = start.x, start.state, start.early
        levels = self.config.sigmas[first : last + 1]
        for step, (reached, after) in enumerate(self.config.sampler.steps(denoiser, x, levels, state=state), first):
            x, state = reached, after
            self.monitor.step((step + 1 - first) / (last - first))
            if step == self.early_step:
                early = state.denoised[0]
            if self.monitor.over() and not essential and step + 1 < self.end:
                return None
        return Sampled(x, state, early)

    def _preview(self, there: Sampled, denoiser: Denoise, step: int, steps: int) -> Sampled:
        """The x0-prediction of rows that stop at a step; `steps` as in `Solve.preview`."""
        if not steps:
            return Sampled(there.x, there.state, there.early, there.state.denoised[0])
        sigma = float(self.config.sigmas[step])
        preview, state = peek(denoiser, there.x, sigma, there.state)
        early = preview if step == self.early_step else there.early
        if steps > 1:
            # It begins with the evaluation that going on begins with.
            coarse = self.config.coarse(sigma, steps)
            preview, _ = self.config.sampler(denoiser, there.x, coarse, state=State(ahead=preview))
        return Sampled(there.x, state, early, preview)


def stochastic_step(x: Tensor, x0: Tensor, sigma: float, sigma_next: float, eps: Tensor, eta: float) -> Tensor:
    """DDIM's stochastic step in EDM coordinates (Song et al. 2021, equation 16; "ancestral" for eta 1).

    The step goes down to the level sqrt(sigma_next² - up²) and noise brings it up again to sigma_next, with
    up = eta · sqrt(sigma_next² (sigma² - sigma_next²) / sigma²).
    """
    up = eta * math.sqrt(sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2)
    down = math.sqrt(sigma_next**2 - up**2)
    return x0 + (down / sigma) * (x - x0) + up * eps


def window_key(seed: int, window: Window, engine: Engine) -> NoiseKey:
    """The window's own key: noise is addressed by its absolute place in the file."""
    return NoiseKey(seed, position=window.render_start // engine.noise_hop() - engine.noise_lead())
