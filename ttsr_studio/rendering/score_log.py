"""Every score of every candidate of a window, kept in a file so that other policies can be tried on them later.

A line of JSON for each window ("reward tensor": clip, window, noise key, step, verifier):

- clip, kind, cutoff_hz, window, start_s, stop_s: where it is from; kind is null for a single render.
- plan: steps, evaluations of a step and what each counts, so that a replay knows what things cost.
- edges_s: of the segments, seconds from the window's start.
- candidates: for each its noise key, the step it reached, `previews` (scores of x0-predictions by step), `scores` of
  the finished render and `segments` (scores by verifier, one for each segment).
- input: scores of the input itself.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ttsr_studio.errors import OutputError, shown
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.state import CandidateState, WindowCandidates

SCHEMA = "ttsr-rewards-2"


def reward_record(
    session: Session, clip: str, cutoff_hz: float, found: WindowCandidates, kind: str | None = None
) -> dict[str, Any]:
    """All scores of a window's candidates, as plain data; see the module."""
    rate, plan, window = session.engine.sample_rate, session.plan, found.window
    names = list(found.scores)
    return {
        "schema": SCHEMA,
        "clip": clip,
        "kind": kind,
        "cutoff_hz": cutoff_hz,
        "window": window.index,
        "start_s": window.start / rate,
        "stop_s": window.stop / rate,
        "plan": {"steps": plan.steps, "evaluations": plan.evaluations, "each": plan.each},
        "edges_s": [edge / rate for edge in found.edges],
        "input": known(found.input_scores),
        "candidates": [candidate_record(each, names) for each in found.candidates],
    }


def candidate_record(candidate: CandidateState, names: Iterable[str]) -> dict[str, Any]:
    """All scores of a candidate, null where there is none; `names` are the columns."""
    return {
        "key": candidate.key.to_json(),
        "step": candidate.step,
        "previews": [{"step": preview.step, "scores": known(preview.scores)} for preview in candidate.previews],
        "scores": known({name: candidate.scores.get(name, math.nan) for name in names}),
        "segments": {
            name: [None if not math.isfinite(x) else round(float(x), 6) for x in parts]
            for name, parts in candidate.segments.items()
        },
    }


def known(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Scores with None for what is not finite."""
    return {name: float(value) if math.isfinite(value) else None for name, value in scores.items()}


def add_rewards(path: Path, record: Mapping[str, Any]) -> None:
    """Append a window. Raises OutputError when the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")
    except OSError as error:
        raise OutputError(f"{shown(path)}: {error.strerror or error}") from error
