"""The candidates of a group of windows: made, kept and scored in device batches, as searches ask for them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttsr_studio.audio.windows import Window
from ttsr_studio.diffusion.device_memory import fitting_rows
from ttsr_studio.rendering.inference.gradient import SlopeFinder
from ttsr_studio.rendering.inference.sampling import CandidateSampler, Monitor, Sampled
from ttsr_studio.rendering.inference.scoring import CandidateScorer, by_window, early_level, early_verifiers
from ttsr_studio.rendering.inference.state import (
    CandidateState,
    SamplingConfig,
    Slope,
    Standing,
    WindowCandidates,
    WindowInputs,
)
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.search.protocol import Candidate
from ttsr_studio.search.scheduler import SearchFaultError, Task


def cutoffs_of(config: SamplingConfig, inputs: WindowInputs) -> Tensor:
    """Edges of windows as an engine takes them: [W, channels], or [W, channels, frames] where one changes."""
    around, hop, samples = config.engine.lookaround, config.engine.hop, inputs.lr.shape[-1]
    edges = torch.stack([config.crossover.edges(w.render_start - around, samples, hop) for w in inputs.windows])
    edges = edges.expand(-1, inputs.lr.shape[1], -1)
    return edges[..., 0] if bool((edges == edges[..., :1]).all()) else edges


class CandidateBatch:
    """Makes the candidates of several windows and keeps what became of each.

    Args:
        stages: take the time that it took.
        monitor: watches the sampler.
    """

    def __init__(
        self, config: SamplingConfig, inputs: WindowInputs, stages: Stages, monitor: Monitor | None = None
    ) -> None:
        around = config.engine.lookaround
        lr = inputs.lr[..., around : inputs.lr.shape[-1] - around]
        self.config, self.keys, self.channels = config, inputs.keys, lr.shape[1]
        with stages.timed("condition"):
            conditioning = config.engine.condition(inputs.lr, cutoffs_of(config, inputs), inputs.keys)
        shape = self.channels, lr.shape[-1]
        self.sampler = CandidateSampler(config, conditioning, shape, stages, monitor or Monitor())
        heard = lr.to(config.engine.device)
        with stages.timed("condition", without_network=True):
            pictures, expected = self._mean_renders(heard)
        size = round(config.segment_seconds * config.engine.sample_rate)
        self.windows = [
            WindowCandidates(
                window,
                lr[w][:, window.core],
                None if expected is None else expected[w][:, window.core],
                None if reference is None else reference[:, window.core],
                segment_edges(window, size),
            )
            for w, (window, reference) in enumerate(zip(inputs.windows, inputs.references, strict=True))
        ]
        self.scorer = CandidateScorer(config, self.windows, heard, pictures, stages)
        self.slopes = SlopeFinder(self.sampler, self.scorer)

    def _mean_renders(self, lr: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The engine's mean predictions as verifiers need them, [W, channels, ...] each: previews, and cores."""
        config, conditioning = self.config, self.sampler.conditioning
        level = early_level(config) if config.preview_level or early_verifiers(config) else None
        if level is None and not any("expected" in verifier.needs for verifier in config.panel.everyone):
            return None, None
        mean, expected = self.sampler.mean_predictions(self.keys), None
        pictures = None if level is None else config.engine.preview(mean, level, conditioning)
        if not config.preview_level:
            raw = by_window(config.engine.decode(mean, conditioning), self.channels)
            expected = config.crossover.merge(lr, raw).cpu()
        return None if pictures is None else by_window(pictures, self.channels), expected

    def rehearse(self) -> None:
        """Run the network once, so that its speed is known; the prediction is thrown away."""
        self.sampler.mean_predictions(self.keys)

    def fitting_rows(self, remembered: tuple[str, ...]) -> int:
        """Rows of a batch that fit in the device's memory, by all that becomes of a row but its scores."""
        engine, heard = self.config.engine, self.scorer.lr[:1]

        def run(rows: int) -> Tensor:
            x0, conditioning = self.sampler.trial(self.keys[0], -(-rows // self.channels))
            return self.config.crossover.merge(heard, by_window(engine.decode(x0, conditioning), self.channels))

        return fitting_rows(engine.device, (engine.name, *map(str, heard.shape[1:]), *remembered), run)

    def solve(self, tasks: Sequence[Task]) -> bool:
        """Take tasks of one shape on as one batch of rows.

        What comes to its end is decoded and scored, what stops on its way is previewed. False when it was given up.
        """
        sampled = self._sampled(tasks)
        if sampled is None:
            return False
        reached, slopes = sampled
        for place, task in enumerate(tasks):
            own = self._record(task, reached, place)
            own.slope = slopes[place] if slopes else own.slope
        places = [(task.window, task.candidate.index) for task in tasks]
        rows = self.sampler.rows([task.window for task in tasks])
        if reached.preview is not None:
            self.scorer.score_on_the_way(places, tasks[0].candidate.step, reached.preview, rows)
        elif self.config.preview_level:
            self.scorer.score_undecoded(places, reached.x, reached.early, rows)
        else:
            self.scorer.score_decoded(places, reached.x, reached.early, rows)
        return True

    def _sampled(self, tasks: Sequence[Task]) -> tuple[Sampled, list[Slope]] | None:
        """Where tasks came to, and the slopes of those that were to find them; None when it was given up."""
        if tasks[0].rollout.kind not in ("draw", "ascend"):
            origins = [self._origin(task.window, task.rollout.origin) for task in tasks if task.rollout.origin]
            reached = self.sampler.run(tasks, origins)
            return None if reached is None else (reached, [])
        noise = self.sampler.noises([task.candidate.key for task in tasks], [self._slope(task) for task in tasks])
        if tasks[0].gradient:
            return self.slopes.run(tasks, noise)
        reached = self.sampler.run(tasks, [], noise)
        return None if reached is None else (reached, [])

    def _slope(self, task: Task) -> Slope | None:
        """That of the candidate that a task ascends from, None for a draw. Raises SearchFaultError for one without."""
        origin = task.rollout.origin
        if origin is None:
            return None
        slope = self.windows[task.window].candidates[origin.index].slope
        if slope is None:
            raise SearchFaultError(f"candidate {origin.index} of window {task.window} was solved without its gradient")
        return slope

    def _origin(self, window: int, origin: Candidate) -> Standing:
        """Where a candidate stands. Raises SearchFaultError for one that is finished."""
        standing = self.windows[window].candidates[origin.index].standing
        if standing is None:
            raise SearchFaultError(f"candidate {origin.index} of window {window} is not on its way")
        return standing

    def _record(self, task: Task, reached: Sampled, place: int) -> CandidateState:
        """Keep how far a candidate has come."""
        mine, number = self.windows[task.window].candidates, task.candidate.index
        if number == len(mine):
            mine.append(CandidateState(task.candidate.key))
        own = mine[number]
        own.step, own.finished = task.candidate.step, reached.preview is None
        own.standing = None if own.finished else reached.standing(place, self.channels)
        return own

    def decode(self, window: int, numbers: Sequence[int]) -> None:
        """Decode and score candidates of one window, by number, that are not yet."""
        mine = self.windows[window].candidates
        waiting = {number: x0 for number in numbers if (x0 := mine[number].x0) is not None}
        if waiting:
            rows = self.sampler.rows([window] * len(waiting))
            self.scorer.score_decoded([(window, n) for n in waiting], torch.cat([*waiting.values()]), None, rows)

    def score(self, window: int, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """Compare candidates of one window: float64 [len(candidates)]; -inf for those that previews passed over."""
        mine, panel = self.windows[window], self.config.panel
        numbers = [candidate.index for candidate in candidates]
        if self.config.preview_level and all(mine.candidates[number].finished for number in numbers):
            self.decode(window, mine.promising(panel, numbers, self.config.top))
        return mine.combined(panel, numbers).values


def segment_edges(window: Window, size: int) -> tuple[int, ...]:
    """Edges of a core's segments of about `size` samples, all of nearly one length; 0 for the whole."""
    length = window.stop - window.start
    count = max(1, round(length / size)) if size else 1
    return tuple(length * i // count for i in range(count + 1))
