"""Reranking of the n best assembled renders by the verifiers that score whole clips."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.windows import SearchInput
from ttsr_studio.verifiers.protocol import Context, Verifier, goes_by_input, score_columns

WINDOWS = "windows"
"""Column of the n best renders' own scores by window: the mean over windows of the combined score."""


@dataclass(frozen=True)
class Reranking:
    """The n best renders and their scores.

    Attributes:
        order: numbers of the n best, the best first.
        chosen: number of the one that is written.
        scores: by column, of each of the n best.
        combined: what the choice was made by.
        input_scores: of the input itself, by column.
        notes: what verifiers had to do without, by name.
    """

    order: tuple[int, ...] = (0,)
    chosen: int = 0
    scores: dict[str, list[float]] = field(default_factory=dict)
    combined: list[float] = field(default_factory=list)
    input_scores: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def rerank(session: Session, source: SearchInput, renders: Sequence[Scratch], by_windows: Sequence[float]) -> Reranking:
    """Let the clip verifiers score each of the n best. One render at a time is in memory, whole.

    Args:
        renders: the n best, at the engine's rate.
        by_windows: mean combined score of the windows of each of the n best; NaN where nothing scored windows.
    """
    panel, take = session.panel, session.options.take - 1
    verifiers = panel.scoring("clip")
    if not verifiers:
        return Reranking(tuple(range(len(renders))), take)
    scorer = ClipScorer(session, source)
    rows = [scorer.scores(scorer.whole(render), verifiers) for render in renders]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    also = {}
    if not any(math.isnan(value) for value in by_windows):
        columns[WINDOWS], also = np.array(by_windows), {WINDOWS: 1.0}
    combined = panel.combine(columns, also).values
    # Who is held out chooses nothing: without a clip verifier that chooses, the windows' winners stay.
    ranked = np.argsort(-combined, kind="stable") if panel.choosing("clip") else range(len(renders))
    order = tuple(int(number) for number in ranked)
    apart = tuple(verifier for verifier in verifiers if not goes_by_input(verifier, source.annotations))
    return Reranking(
        order=order,
        chosen=order[take],
        scores={name: values.tolist() for name, values in columns.items()},
        combined=combined.tolist(),
        input_scores=scorer.scores(scorer.lr, apart),
        notes=scorer.notes(verifiers),
    )


class ClipScorer:
    """Scores whole renders of one file."""

    def __init__(self, session: Session, source: SearchInput) -> None:
        self.rate, self.source, self.frames = session.engine.sample_rate, source, source.lr.frames
        self.cache: dict[str, Any] = {}
        self.lr = self.whole(source.lr)
        self.truth = None if source.truth is None else self.whole(source.truth)

    def whole(self, audio: Scratch) -> Tensor:
        """A file [channels, samples], cut or filled to the input's length."""
        return torch.from_numpy(audio.read(0, self.frames))

    def scores(self, audio: Tensor, verifiers: Sequence[Verifier]) -> dict[str, float]:
        """Scores of a render [channels, samples] by column."""
        context = self._context(audio[None])
        return {
            name: values[0]
            for verifier in verifiers
            for name, values in score_columns(verifier, audio[None], context).items()
        }

    def notes(self, verifiers: Sequence[Verifier]) -> dict[str, str]:
        """What verifiers had to do without, by name."""
        context = self._context(None)
        return {verifier.name: str(verifier.note(context)) for verifier in verifiers if hasattr(verifier, "note")}

    def _context(self, raw: Tensor | None) -> Context:
        source = self.source
        return Context(
            self.rate,
            source.cutoff_hz,
            self.lr,
            raw=raw,
            reference=self.truth,
            annotations=source.annotations,
            cache=self.cache,
        )
