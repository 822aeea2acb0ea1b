"""Judging assembled renders: what verifiers of scope "clip" say of the whole, and which finalist that chooses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.render.inference.session import Session
from ttsr_studio.verifiers.protocol import Annotations, Context, goes_by_input, score_columns

WINDOWS = "windows"
"""Column of what the verifiers of windows say of a finalist: the mean over windows of their combined score."""


@dataclass(frozen=True)
class Reranking:
    """Finalists and what was said of them.

    Attributes:
        order: numbers of the finalists, the best first.
        chosen: number of the one that is written.
        scores: by column, of every finalist.
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


def rerank(
    session: Session,
    lr: Scratch,
    wides: Sequence[Scratch],
    truth: Scratch | None,
    cutoff_hz: float,
    by_windows: Sequence[float],
    annotations: Annotations,
) -> Reranking:
    """Let the clip verifiers judge every finalist. One finalist at a time is in memory, whole.

    Args:
        by_windows: mean combined score of every finalist's windows; NaN where nothing judged windows.
    """
    panel = session.panel
    judges, take = panel.scoring("clip"), session.options.take - 1
    if not judges:
        return Reranking(tuple(range(len(wides))), take)
    cache: dict[str, Any] = {}
    heard = torch.from_numpy(lr.read(0, lr.frames))
    reference = None if truth is None else torch.from_numpy(truth.read(0, lr.frames))

    def said(audio: torch.Tensor) -> dict[str, float]:
        context = Context(
            session.engine.sample_rate,
            cutoff_hz,
            heard,
            raw=audio[None],
            reference=reference,
            annotations=annotations,
            cache=cache,
        )
        return {
            name: values[0]
            for verifier in judges
            for name, values in score_columns(verifier, audio[None], context).items()
        }

    rows = [said(torch.from_numpy(wide.read(0, lr.frames))) for wide in wides]
    scores = {name: [row[name] for row in rows] for name in rows[0]}
    columns = {name: np.array(values) for name, values in scores.items()}
    also = {}
    if not any(math.isnan(value) for value in by_windows):
        columns[WINDOWS], also = np.array(by_windows), {WINDOWS: 1.0}
    combined = panel.combine(columns, also).values
    context = Context(session.engine.sample_rate, cutoff_hz, heard, annotations=annotations, cache=cache)
    notes = {verifier.name: str(verifier.note(context)) for verifier in judges if hasattr(verifier, "note")}
    scores = {name: values.tolist() for name, values in columns.items()}
    judges = tuple(verifier for verifier in judges if not goes_by_input(verifier, annotations))
    # Who is held out chooses nothing: without a clip verifier that chooses, the windows' winners stay.
    ranked = np.argsort(-combined, kind="stable") if panel.choosing("clip") else range(len(wides))
    order = tuple(int(number) for number in ranked)
    return Reranking(order, order[take], scores, combined.tolist(), said(heard) if judges else {}, notes)
