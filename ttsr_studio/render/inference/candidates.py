"""Renders and judges the candidates of a group of windows, in device batches."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.audio.windows import Window
from ttsr_studio.diffusion.denoiser import MeteredDenoiser
from ttsr_studio.diffusion.model import Conditioning
from ttsr_studio.diffusion.noise import NoiseKey, draw, normal, renoise
from ttsr_studio.diffusion.samplers.base import State, peek
from ttsr_studio.render.inference.sampling import EARLY_SIGMA, stochastic_step
from ttsr_studio.render.inference.scoring import needs_early
from ttsr_studio.render.inference.state import PreviewScores, Running, SamplingConfig, WindowCandidates
from ttsr_studio.render.inference.timing import Stages
from ttsr_studio.search.protocol import Candidate
from ttsr_studio.search.scheduler import Task
from ttsr_studio.verifiers.protocol import (
    Context,
    Preview,
    Previewing,
    Verifier,
    goes_by_input,
    score_columns,
    segment_scores,
)


class CandidateBatch:
    """Renders and judges the candidates of several windows.

    Args:
        lr: [W, channels, samples] at the engine's rate and input level, render regions with the engine's lookaround.
        keys: [W], one per window; all channels of a window share it.
        references: [W] ground truth of the render regions, or Nones.
    """

    def __init__(
        self,
        config: SamplingConfig,
        windows: Sequence[Window],
        lr: Tensor,
        keys: Sequence[NoiseKey],
        references: Sequence[Tensor | None],
        stages: Stages,
    ) -> None:
        around = config.engine.lookaround
        heard, lr = lr, lr[..., around : lr.shape[-1] - around]
        self.config, self.lr, self.stages = config, lr, stages
        self.channels = lr.shape[1]
        size = round(config.segment_seconds * config.engine.sample_rate)
        self.windows = [
            WindowCandidates(
                w, config.panel, part[:, w.core], None if r is None else r[:, w.core], segment_edges(w, size)
            )
            for w, part, r in zip(windows, lr, references, strict=True)
        ]
        began = time.perf_counter()
        cutoffs = torch.full((lr.shape[0], self.channels), config.crossover.cutoff_hz)
        self.conditioning = config.engine.condition(heard, cutoffs, keys)
        stages.add("condition", began)
        self.ticked: Callable[[float], None] = lambda share: None
        """Told after every solver step which share of a batch is done."""
        self.given_up: Callable[[], bool] = lambda: False
        """Asked after every solver step whether a batch without essential tasks is to be dropped."""
        self.expected: Tensor | None = None
        self.expected_pictures: Tensor | None = None
        preview_level = self._early_level if config.look or self._early_judges() else None
        if preview_level or any("expected" in verifier.needs for verifier in config.panel.everyone):
            mean = self._mean_predictions(keys)
            if preview_level:
                self.expected_pictures = self._by_window(config.engine.preview(mean, preview_level, self.conditioning))
            if not config.look:
                raw = self._by_window(config.engine.decode(mean, self.conditioning))
                self.expected = config.crossover.merge(self.lr, raw)

    def _by_window(self, rows: Tensor) -> Tensor:
        """[W x channels, ...] -> [W, channels, ...] on the CPU."""
        grouped: Tensor = rows.cpu().unflatten(0, (-1, self.channels))
        return grouped

    def _mean_predictions(self, keys: Sequence[NoiseKey]) -> Tensor:
        """What the engine expects of each window, x0 [W x channels, ...]: its prediction at the highest noise.

        The mean over a noise and its opposite, so that what the prediction still owes to the noise cancels.
        """
        engine, sigma = self.config.engine, float(self.config.sigmas[0])
        shape = engine.noise_shape(self.lr.shape[-1])
        noise = torch.stack([normal(key, "expected", shape) for key in keys])
        x = engine.start(noise, sigma).repeat_interleave(self.channels, dim=0)
        level = torch.full((len(x),), sigma, device=x.device)
        denoiser = MeteredDenoiser(engine, self.conditioning, self.stages.network, limit=self.config.limit)
        return 0.5 * (denoiser(x, level) + denoiser(-x, level))

    def rehearse(self, keys: Sequence[NoiseKey]) -> None:
        """Run the network once, so that its speed is known; what it says is thrown away."""
        self._mean_predictions(keys)

    def solve(self, tasks: Sequence[Task]) -> bool:
        """Take tasks of one shape on as one batch of rows (candidate by candidate, its channels together).

        What comes to its end is decoded and judged, what stops on its way is looked at. False when it was given up.
        """
        config, first = self.config, tasks[0]
        rows = self._rows([task.window for task in tasks])
        denoiser = MeteredDenoiser(
            config.engine, rows, self.stages.network, guidance=config.guidance, limit=config.limit
        )  # fmt: skip
        noise_began = time.perf_counter()
        x, state, early = self._depart(tasks, denoiser)
        self.stages.add("noise", noise_began)
        began, before = time.perf_counter(), self.stages.network.seconds
        until, end = first.candidate.step, len(config.sigmas) - 1
        needed = any("early" in verifier.needs for verifier in config.panel.everyone)
        # Not the last level: its prediction is the result.
        wanted = int((config.sigmas[:-2].log() - math.log(EARLY_SIGMA)).abs().argmin()) if needed else -1
        if until > first.rollout.start:
            rollout = config.sigmas[first.rollout.start : until + 1]
            for number, (reached, after) in enumerate(config.sampler.steps(denoiser, x, rollout, state=state)):
                x, state = reached, after
                self.ticked((number + 1) / (len(rollout) - 1))
                if first.rollout.start + number == wanted:
                    early = state.denoised[0]
                if (
                    self.given_up()
                    and not any(task.essential for task in tasks)
                    and first.rollout.start + number + 1 < end
                ):
                    return False
        preview = None
        if until < end:
            sigma = float(config.sigmas[until])
            if first.look:
                preview, state = peek(denoiser, x, sigma, state)
                early = preview if until == wanted else early
                if first.look > 1:
                    # It begins with the evaluation that going on begins with.
                    preview, _ = config.sampler(
                        denoiser, x, config.coarse(sigma, first.look), state=State(ahead=preview)
                    )
            else:
                preview = state.denoised[0]
        self.stages.add("solver", began + self.stages.network.seconds - before)
        for task in tasks:
            pool, number = self.windows[task.window], task.candidate.index
            if number == len(pool.keys):
                pool.keys.append(task.candidate.key)
                pool.steps.append(0)
            pool.steps[number] = until
            if until == end:
                pool.running.pop(number, None)
        if preview is not None:
            self._stop(tasks, x, state, early)
            self._look(tasks, preview, rows)
        elif config.look:
            self._score_previews(tasks, x, early, rows)
        else:
            self._hear(tasks, x, early, rows)
        return True

    def _depart(self, tasks: Sequence[Task], denoiser: MeteredDenoiser) -> tuple[Tensor, State, Tensor | None]:
        """Where the solver starts from: x [N x channels, ...], its state, and the early prediction if known."""
        config, rollout = self.config, tasks[0].rollout
        if rollout.origin is None:
            noise = self._noises([task.candidate.key for task in tasks], None) * config.temperature
            x = config.engine.start(noise, float(config.sigmas[0])).repeat_interleave(self.channels, dim=0)
            return x, State(), None
        origins = [task.rollout.origin for task in tasks]
        past = [self.windows[t.window].running[o.index] for t, o in zip(tasks, origins, strict=True) if o is not None]
        x, state = torch.cat([one.x for one in past]), State.cat([one.state for one in past])
        known = [one.early for one in past if one.early is not None]
        early = torch.cat(known) if len(known) == len(past) else None
        if rollout.kind == "resume":
            return x, state, early
        noise = self._noises([task.candidate.key for task in tasks], rollout.kind) * config.temperature
        eps = config.engine.start(noise, 1.0).repeat_interleave(self.channels, dim=0)
        at = rollout.origin.step
        here, there = float(config.sigmas[at]), float(config.sigmas[rollout.start])
        if rollout.kind == "renoise":
            return renoise(x, here, there, eps), State(), early
        x0, _ = peek(denoiser, x, here, state)
        return stochastic_step(x, x0, here, there, eps, float(rollout.key.lineage[-1][3])), State(), early

    def _noises(self, keys: Sequence[NoiseKey], turn: str | None) -> Tensor:
        """The noises of keys: those that runs start from, or those of their last turn."""
        shape = self.config.engine.noise_shape(self.lr.shape[-1])
        return torch.stack([draw(key, shape) if turn is None else normal(key, turn, shape) for key in keys])

    def _stop(self, tasks: Sequence[Task], x: Tensor, state: State, early: Tensor | None) -> None:
        """Keep where unfinished candidates stand."""
        for i, task in enumerate(tasks):
            own = torch.arange(i * self.channels, (i + 1) * self.channels, device=x.device)
            self.windows[task.window].running[task.candidate.index] = Running(
                x[own], state.rows(own), None if early is None else early[own]
            )

    @property
    def _judges(self) -> tuple[Verifier, ...]:
        return self.config.panel.scoring("window")

    @property
    def _early_level(self) -> str | None:
        """The level at which x0-predictions on the way are judged; None where they are decoded."""
        return self.config.look or self.config.engine.early_preview

    def _early_judges(self) -> list[Previewing]:
        """Who judges x0-predictions at the cheap level; nobody where they have to be decoded."""
        if self._early_level is None:
            return []
        choosing = self.config.panel.choosing("window")
        return [v for v in choosing if not needs_early(v) and isinstance(v, Previewing)]

    def _look(self, tasks: Sequence[Task], x0: Tensor, rows: Conditioning) -> None:
        """Note what verifiers say of x0-predictions: at the engine's cheap level, or decoded where it has none."""
        began = time.perf_counter()
        previewing, engine = self._early_judges(), self.config.engine
        if previewing:
            assert self._early_level is not None
            assert self.expected_pictures is not None
            pictures = self._by_window(engine.preview(x0, self._early_level, rows))
            for i, task in enumerate(tasks):
                preview = Preview(pictures[i : i + 1], self.expected_pictures[task.window])
                self._note(task, {v.name: float(v.score_preview(preview)) for v in previewing})
        else:
            raw = self._by_window(engine.decode(x0, rows))
            asked = self._judges if self.config.witness else self.config.panel.choosing("window")
            judges = [verifier for verifier in asked if not needs_early(verifier)]
            for window in dict.fromkeys(task.window for task in tasks):
                mine = [i for i, task in enumerate(tasks) if task.window == window]
                merged = self._merge(window, raw[mine])
                context = self._context(window, raw[mine], None)
                said = {n: s for v in judges for n, s in score_columns(v, merged, context).items()}
                for place, i in enumerate(mine):
                    self._note(tasks[i], {name: values[place] for name, values in said.items()})
        self.stages.add("look", began)

    def _note(self, task: Task, scores: dict[str, float]) -> None:
        previews = self.windows[task.window].previews.setdefault(task.candidate.index, [])
        previews.append(PreviewScores(task.candidate.step, scores))

    def _rows(self, windows: Sequence[int]) -> Conditioning:
        """The conditioning of all channels of windows by number, repeats allowed."""
        index = torch.tensor([w * self.channels + c for w in windows for c in range(self.channels)])
        return self.conditioning.rows(index)

    def _score_previews(self, tasks: Sequence[Task], x0: Tensor, early: Tensor | None, rows: Conditioning) -> None:
        """Keep candidates undecoded and note what verifiers say of them as they are."""
        assert self.config.look is not None
        assert self.expected_pictures is not None
        began = time.perf_counter()
        pictures = self._by_window(self.config.engine.preview(x0, self.config.look, rows))
        parts = x0.unflatten(0, (len(tasks), self.channels))
        both = None if early is None else (self._by_window(early), self._by_window(x0))
        for i, task in enumerate(tasks):
            pool, number = self.windows[task.window], task.candidate.index
            pool.drawn[number] = parts[i]
            pool.previewed = tuple(verifier.name for verifier in self._judges if isinstance(verifier, Previewing))
            mine = None if both is None else (both[0][i : i + 1], both[1][i : i + 1])
            preview = Preview(pictures[i : i + 1], self.expected_pictures[task.window], mine)
            for verifier in self._judges:
                if isinstance(verifier, Previewing):
                    pool.scores.setdefault(verifier.name, [])
                    pool.fill()
                    pool.scores[verifier.name][number] = float(verifier.score_preview(preview))
        self.stages.add("glance", began)

    def decode(self, index: int, numbers: Sequence[int]) -> None:
        """Decode and judge candidates of one window, by number, that are not yet."""
        pool = self.windows[index]
        waiting = [number for number in numbers if number in pool.drawn]
        if waiting:
            x0 = torch.cat([pool.drawn.pop(number) for number in waiting])
            self._hear_all([(index, number) for number in waiting], x0, None, self._rows([index] * len(waiting)))

    def _hear(self, tasks: Sequence[Task], x0: Tensor, early: Tensor | None, rows: Conditioning) -> None:
        self._hear_all([(task.window, task.candidate.index) for task in tasks], x0, early, rows)

    def _hear_all(
        self, places: Sequence[tuple[int, int]], x0: Tensor, early: Tensor | None, rows: Conditioning
    ) -> None:
        """Decode candidates, by window and number, merge them with their windows' input, keep and score the cores."""
        began = time.perf_counter()
        raw = self._by_window(self.config.engine.decode(x0, rows))
        self.stages.add("decode", began)
        both = None if early is None else (self._by_window(early), self._by_window(x0))
        for window in dict.fromkeys(w for w, _ in places):
            mine = [i for i, (w, _) in enumerate(places) if w == window]
            trajectory = None if both is None else (both[0][mine], both[1][mine])
            self._keep(window, raw[mine], [places[i][1] for i in mine], trajectory)

    def _merge(self, index: int, raw: Tensor) -> Tensor:
        """The engine's output [N, channels, samples] with the input below the crossover: cores."""
        began = time.perf_counter()
        core = self.windows[index].window.core
        merged = self.config.crossover.merge(self.lr[index][None], raw)[..., core].contiguous()
        self.stages.add("assemble", began)
        return merged

    def _context(self, index: int, raw: Tensor | None, early: tuple[Tensor, Tensor] | None) -> Context:
        """What the judges of a window's candidates may know."""
        pool = self.windows[index]
        core = pool.window.core
        return Context(
            sample_rate=self.config.engine.sample_rate,
            cutoff_hz=self.config.crossover.cutoff_hz,
            lr=pool.lr,
            raw=None if raw is None else raw[..., core],
            expected=None if self.expected is None else self.expected[index][:, core],
            reference=pool.reference,
            early=early,
            annotations=self.config.annotations,
            cache=pool.cache,
        )

    def _keep(self, index: int, raw: Tensor, numbers: list[int], early: tuple[Tensor, Tensor] | None) -> None:
        pool = self.windows[index]
        merged = self._merge(index, raw)
        began = time.perf_counter()
        context = self._context(index, raw, early)
        if not pool.audio:
            self._hear_input(pool, context)
        for verifier in self._judges:
            if verifier.name in pool.previewed:
                continue
            if len(pool.edges) > 2 and (verifier in pool.panel.search or self.config.witness):
                for name, parts in segment_scores(verifier, merged, context, pool.edges).items():
                    pool.segments.setdefault(name, {}).update(zip(numbers, parts, strict=True))
            for name, said in score_columns(verifier, merged, context).items():
                pool.scores.setdefault(name, [])
                pool.fill()
                for number, score in zip(numbers, said, strict=True):
                    pool.scores[name][number] = score
        self.stages.add("verify", began)
        pool.audio.update(zip(numbers, merged, strict=True))

    def _hear_input(self, pool: WindowCandidates, context: Context) -> None:
        """Let the judges that can score the window's input itself, to tell whether a render is worse than nothing."""
        same = replace(context, raw=pool.lr[None], early=None, _mono={})
        for verifier in self._judges:
            told = verifier.name in pool.previewed or goes_by_input(verifier, context.annotations)
            if not needs_early(verifier) and not told:
                pool.input_scores |= {
                    name: said[0] for name, said in score_columns(verifier, pool.lr[None], same).items()
                }

    def hear_assembled(self, index: int, audio: Tensor) -> dict[str, float]:
        """What judges say of a core [channels, samples] that was put together from several candidates, by column.

        Those that hear more than the result itself (trajectories, the engine's raw output) say nothing.
        """
        context = self._context(index, None, None)
        judges = [v for v in self._judges if not needs_early(v) and getattr(v, "instead_of_input", "") != "nothing"]
        return {name: said[0] for v in judges for name, said in score_columns(v, audio[None], context).items()}

    def score(self, index: int, candidates: Sequence[Candidate]) -> np.ndarray:
        """Compare candidates of one window: float64 [len(candidates)]; -inf for those that a look has passed over."""
        config, pool = self.config, self.windows[index]
        numbers = [candidate.index for candidate in candidates]
        if config.look and not any(number in pool.running for number in numbers):
            self.decode(index, pool.promising(numbers, config.top))
            pool.fill()
        return pool.combined(numbers).values


def segment_edges(window: Window, size: int) -> tuple[int, ...]:
    """Edges of a core's segments of about `size` samples, all of nearly one length; 0 for the whole."""
    length = window.stop - window.start
    count = max(1, round(length / size)) if size else 1
    return tuple(length * i // count for i in range(count + 1))
