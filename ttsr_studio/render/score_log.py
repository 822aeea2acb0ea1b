"""Every score of every candidate of a window, kept in a file so that other policies can be tried on them later.

A line of JSON for each window ("reward tensor": clip, window, noise key, step, verifier):

- clip, kind, cutoff_hz, window, start_s, stop_s: where it is from; kind is null for a single render.
- course: steps, evaluations of a step and what each counts, so that a replay knows what things cost.
- edges_s: of the segments, seconds from the window's start.
- candidates: for each its noise key, the step it reached, `looks` (scores of x0-predictions by step), `scores` of the
  finished render and `segments` (scores by verifier, one for each segment).
- input: scores of the input itself.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttsr_studio.errors import OutputError
from ttsr_studio.render.inference.session import Session
from ttsr_studio.render.inference.state import WindowCandidates

SCHEMA = "ttsr-rewards-1"


def reward_record(
    session: Session, clip: str, cutoff_hz: float, pool: WindowCandidates, kind: str | None = None
) -> dict[str, Any]:
    """All that was said of a window's candidates, as plain data; see the module."""
    rate, plan = session.engine.sample_rate, session.plan
    window = pool.window
    return {
        "schema": SCHEMA,
        "clip": clip,
        "kind": kind,
        "cutoff_hz": cutoff_hz,
        "window": window.index,
        "start_s": window.start / rate,
        "stop_s": window.stop / rate,
        "course": {"steps": plan.steps, "evaluations": plan.evaluations, "each": plan.each},
        "edges_s": [edge / rate for edge in pool.edges],
        "input": known(pool.input_scores),
        "candidates": [
            {
                "key": key.to_json(),
                "step": pool.steps[number],
                "looks": [{"step": look.step, "scores": known(look.scores)} for look in pool.previews.get(number, ())],
                "scores": known({name: values[number] for name, values in pool.scores.items()}),
                "segments": {
                    name: [None if not math.isfinite(x) else round(float(x), 6) for x in parts[number]]
                    for name, parts in pool.segments.items()
                    if number in parts
                },
            }
            for number, key in enumerate(pool.keys)
        ],
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
        raise OutputError(f"{path}: {error.strerror or error}") from error
