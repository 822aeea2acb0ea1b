"""The candidates of a window and their scores, and how candidates of a file are made and scored."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ttsr_studio.analysis.uncertainty import Disagreement
from ttsr_studio.audio.crossover import MapCrossover
from ttsr_studio.audio.windows import Window
from ttsr_studio.diffusion.batch_limit import BatchLimit
from ttsr_studio.diffusion.guidance import Guidance
from ttsr_studio.diffusion.model import Engine
from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.diffusion.samplers.base import Sampler, State
from ttsr_studio.verifiers.ensemble import Combined
from ttsr_studio.verifiers.panel import Panel
from ttsr_studio.verifiers.protocol import Annotations

Scores = dict[str, float]
"""By column: a verifier's name, or "name/scale"; higher is better, NaN where it cannot say."""


@dataclass(frozen=True)
class SamplingConfig:
    """How candidates are made and scored, the same for all windows of a file.

    Attributes:
        sigmas: noise levels of a whole run, [steps + 1].
        coarse: noise levels of a coarse run, for previews: (level, steps) -> [steps + 1].
        preview_level: level at which finished candidates are scored before decoding, None when all are decoded at once.
        top: candidates of a comparison that are then decoded.
        segment_seconds: candidates are also scored in segments of about this length; 0 for whole windows only.
        trace_held_out: let held-out verifiers score x0-predictions too.
        most: candidates of a window, if its search runs to its end.
        scale: from the engine's level to the file's.
    """

    engine: Engine
    sampler: Sampler
    sigmas: Tensor
    coarse: Callable[[float, int], Tensor]
    temperature: float
    crossover: MapCrossover
    panel: Panel
    annotations: Annotations
    limit: BatchLimit
    guidance: Guidance = field(default_factory=Guidance)
    preview_level: str | None = None
    top: int = 0
    segment_seconds: float = 0.0
    trace_held_out: bool = False
    most: int = 0
    scale: float = 1.0


@dataclass(frozen=True)
class WindowInputs:
    """The windows of a group, at the engine's rate and input level.

    Attributes:
        windows: [W].
        lr: float32 [W, channels, samples], render regions with the engine's lookaround on both sides.
        keys: [W], one per window; all channels of a window share it.
        references: [W] ground truth of the render regions, [channels, samples], or Nones.
    """

    windows: Sequence[Window]
    lr: Tensor
    keys: Sequence[NoiseKey]
    references: Sequence[Tensor | None]


@dataclass(frozen=True)
class PreviewScores:
    """Scores of a candidate on its way, and the step at which they were given."""

    step: int
    scores: Scores


@dataclass
class Standing:
    """Where an unfinished candidate stands.

    Attributes:
        x: [channels, ...].
        state: the solver's, of these rows.
        early: the x0-prediction that trajectories are compared by, [channels, ...]; None until it is passed.
    """

    x: Tensor
    state: State
    early: Tensor | None = None


@dataclass(frozen=True)
class Slope:
    """The noise that a candidate started from and, of the same shape, the gradient of the scores there."""

    noise: Tensor
    gradient: Tensor


@dataclass
class CandidateState:
    """One candidate of a window.

    Attributes:
        key: its noise, and the re-noisings on its way.
        step: of the sampling plan that it has reached.
        finished: whether that is the last one.
        scores: by column; what is not there was not asked.
        previews: scores on its way, in order.
        segments: scores of its segments by column, [S].
        audio: its core, float32 [channels, samples], once it is decoded.
        x0: [channels, ...] while it is finished and not decoded.
        standing: where it stands while it is not finished.
        slope: where scores rise from its noise, where a search asked.
    """

    key: NoiseKey
    step: int = 0
    finished: bool = False
    scores: Scores = field(default_factory=dict)
    previews: list[PreviewScores] = field(default_factory=list)
    segments: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    audio: Tensor | None = None
    x0: Tensor | None = None
    standing: Standing | None = None
    slope: Slope | None = None

    def __getstate__(self) -> dict[str, Any]:
        return without_views(self.__dict__)


def without_views(state: dict[str, Any]) -> dict[str, Any]:
    """Attributes as they are pickled: a view of a batch would take the whole batch along."""
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()}


@dataclass
class WindowCandidates:
    """One window's candidates so far; a candidate's number is its place in the list.

    Attributes:
        lr: the input of the core at the engine's level, [channels, samples].
        expected: the engine's mean render of the core, [channels, samples]; None unless a verifier needs it.
        reference: ground truth of the core, [channels, samples], or None.
        edges: of the segments, samples of the core, first 0 and last its length; two without segments.
        previewed: verifiers that scored before decoding, and by that alone.
        input_scores: of the input itself, by column.
        cut: why the search stopped before its budget was spent; None when it did not.
        cache: for what verifiers compute once for this window; it stays in the process.
        apart: how far the decoded candidates are apart, once the search is over.
    """

    window: Window
    lr: Tensor
    expected: Tensor | None
    reference: Tensor | None
    edges: tuple[int, ...] = ()
    candidates: list[CandidateState] = field(default_factory=list)
    previewed: tuple[str, ...] = ()
    input_scores: Scores = field(default_factory=dict)
    cut: str | None = None
    cache: dict[str, Any] = field(default_factory=dict, repr=False)
    apart: Disagreement | None = None

    def __getstate__(self) -> dict[str, Any]:
        return without_views(self.__dict__) | {"cache": {}}

    @property
    def keys(self) -> list[NoiseKey]:
        return [each.key for each in self.candidates]

    @property
    def audio(self) -> dict[int, Tensor]:
        """Cores of the candidates that are decoded, by number."""
        return {n: each.audio for n, each in enumerate(self.candidates) if each.audio is not None}

    @property
    def scores(self) -> dict[str, list[float]]:
        """Scores of all candidates by column, NaN where there is none."""
        names = dict.fromkeys(name for each in self.candidates for name in each.scores)
        return {name: [each.scores.get(name, math.nan) for each in self.candidates] for name in names}

    def columns(self, chosen: Sequence[int]) -> dict[str, NDArray[np.float64]]:
        """Scores of some candidates by column: of finished ones, or the last previews of unfinished ones."""
        every = [self.candidates[number] for number in chosen]
        if every and not any(each.finished for each in every):
            last = [each.previews[-1].scores for each in every]
            return {name: np.array([scores[name] for scores in last]) for name in last[0]}
        return {name: np.array(values)[list(chosen)] for name, values in self.scores.items()}

    def combined(self, panel: Panel, chosen: Sequence[int]) -> Combined:
        """Ensemble scores of some candidates by number, compared with one another; -inf for those without."""
        columns = self.columns(chosen)
        return panel.combine(columns) if columns else Combined(np.zeros(len(chosen)), (), ())

    def ranking(self, panel: Panel) -> list[int]:
        """Numbers of the candidates that are decoded, best first; the earliest of equals."""
        decoded = list(self.audio)
        return [decoded[i] for i in np.argsort(-self.combined(panel, decoded).values, kind="stable")]

    def promising(self, panel: Panel, chosen: Sequence[int], top: int) -> list[int]:
        """Numbers of the `top` of some candidates by their scores before decoding, best first."""
        scores = self.scores
        early = panel.combine({name: np.array(scores[name])[list(chosen)] for name in self.previewed}).values
        return [chosen[i] for i in np.argsort(-early, kind="stable")[:top]]

    def best_scores(self, panel: Panel) -> Scores:
        """Scores of the best decoded candidate, by column; empty when there is none."""
        best = self.ranking(panel)[:1]
        return {name: values[best[0]] for name, values in self.scores.items()} if best else {}

    def release(self) -> None:
        """Drop what only a search that goes on needs."""
        for each in self.candidates:
            each.x0 = each.standing = each.slope = None
