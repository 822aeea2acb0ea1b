"""The candidates of a window and what was said of them, and how candidates of a file are made and judged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from ttsr_studio.audio.crossover import Crossover
from ttsr_studio.audio.windows import Window
from ttsr_studio.diffusion.batch_limit import BatchLimit
from ttsr_studio.diffusion.guidance import Guidance
from ttsr_studio.diffusion.model import Engine
from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.diffusion.samplers.base import Sampler, State
from ttsr_studio.verifiers.ensemble import Combined
from ttsr_studio.verifiers.panel import Panel
from ttsr_studio.verifiers.protocol import Annotations


@dataclass(frozen=True)
class SamplingConfig:
    """How candidates are made and judged, the same for all windows of a file.

    Attributes:
        sigmas: noise levels of a whole run, [steps + 1].
        coarse: noise levels of a coarse run, for looks ahead: (level, steps) -> [steps + 1].
        look: level at which finished candidates are judged before decoding, None when all are decoded at once.
        top: candidates of a comparison that are then decoded.
        segment_seconds: candidates are also judged in segments of about this length; 0 for whole windows only.
        witness: let held-out judges score x0-predictions too.
    """

    engine: Engine
    sampler: Sampler
    sigmas: Tensor
    coarse: Any
    temperature: float
    crossover: Crossover
    panel: Panel
    annotations: Annotations
    limit: BatchLimit
    guidance: Guidance = field(default_factory=Guidance)
    look: str | None = None
    top: int = 0
    segment_seconds: float = 0.0
    witness: bool = False


@dataclass(frozen=True)
class PreviewScores:
    """What was said of a candidate on its way: at which step, and every verifier's score by column."""

    step: int
    scores: dict[str, float]


@dataclass
class Running:
    """Where an unfinished candidate stands: x [C, ...] and the solver's state of its rows."""

    x: Tensor
    state: State
    early: Tensor | None = None


@dataclass
class WindowCandidates:
    """One window's candidates so far, by number.

    Attributes:
        edges: of the segments, samples of the core, first 0 and last its length; two without segments.
        audio: cores [C, samples] float32 of those that are decoded.
        drawn: x0 [C, ...] of those that are finished and not decoded.
        running: those that are not finished.
        keys: of all.
        steps: of the course that each has reached.
        looks: what was said of each on its way, in order.
        scores: by verifier, of all; NaN where it has said nothing.
        segments: by verifier and number, scores [S].
        looked: verifiers that judged before decoding, and by that alone.
        input_scores: what those that can say of the input itself, by column.
        cut: why the search stopped before its budget was spent; None when it did not.
        cache: for what verifiers compute once for this window.
    """

    window: Window
    panel: Panel
    lr: Tensor
    reference: Tensor | None
    edges: tuple[int, ...] = ()
    audio: dict[int, Tensor] = field(default_factory=dict)
    drawn: dict[int, Tensor] = field(default_factory=dict)
    running: dict[int, Running] = field(default_factory=dict)
    keys: list[NoiseKey] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    previews: dict[int, list[PreviewScores]] = field(default_factory=dict)
    scores: dict[str, list[float]] = field(default_factory=dict)
    segments: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)
    previewed: tuple[str, ...] = ()
    input_scores: dict[str, float] = field(default_factory=dict)
    cut: str | None = None
    cache: dict[str, Any] = field(default_factory=dict)

    def columns(self, chosen: Sequence[int]) -> dict[str, np.ndarray]:
        """Scores of some candidates by number and verifier: of finished ones, or the last looks at unfinished ones."""
        if chosen and all(number in self.running for number in chosen):
            last = [self.previews[number][-1].scores for number in chosen]
            return {name: np.array([said[name] for said in last]) for name in last[0]}
        return {name: np.array(values)[list(chosen)] for name, values in self.scores.items()}

    def combined(self, chosen: Sequence[int]) -> Combined:
        """Ensemble scores of some candidates by number, compared with one another; -inf for unjudged ones."""
        columns = self.columns(chosen)
        return self.panel.combine(columns) if columns else Combined(np.zeros(len(chosen)), (), ())

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
        early = self.panel.combine({name: np.array(self.scores[name])[list(chosen)] for name in self.previewed}).values
        return [chosen[i] for i in np.argsort(-early, kind="stable")[:top]]
