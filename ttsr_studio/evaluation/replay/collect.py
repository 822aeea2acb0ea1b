"""The rewards of a corpus: every score of many draws of every window, kept for `ttsr replay` and `--scaling`.

A line of OUT/rewards.jsonl is a window as `render.score_log` has it, drawn with --search census and told the cutoff,
with the oracle among the scores: `lsd`, minus the log-spectral distance to the truth from the cutoff to the clip's own
band edge, of every candidate and every segment.

Every clip has noises of its own: with the same ones in all of them, draws would be good or bad in all clips at once (on
12 clips of three kinds, cut at 4 kHz, `consensus` ranked the draws of two kinds with a correlation of .89, `critic` of
.66), and clips could not be taken for independent. A line besides has

- key: sha256 of what the line depends on; part: [its number among the clip's windows, how many these are].
- search_range: of the candidates (equation 4 of the paper).
"""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from ttsr_studio import __version__
from ttsr_studio.analysis.search_range import search_range
from ttsr_studio.evaluation.benchmark.dataset import Clip
from ttsr_studio.evaluation.benchmark.runner import Conditions, Results, Row, finite, key_of
from ttsr_studio.evaluation.benchmark.systems import Item, weights_of
from ttsr_studio.evaluation.verifier_study.accuracy import LEAST_BAND_HZ, Candidates, Scored, candidate_windows, figures
from ttsr_studio.options import RenderOptions
from ttsr_studio.render.inference.session import Session
from ttsr_studio.render.score_log import reward_record

JUDGES = ("critic", "consensus")
"""Who scores when nobody is asked for."""

REWARDING = 1
"""Raised when what a line says changes its meaning."""


def reward_options(verifiers: Sequence[str], draws: int, seed: int) -> RenderOptions:
    """Every verifier hears every window, its segments, and x0-predictions after every step."""
    return RenderOptions(
        search="census",
        candidates=draws,
        verifiers=tuple(verifiers),
        scope="window",
        choice="segment",
        witness=True,
        seed=seed,
    )


def reward_clip(
    session: Session, clip: Clip, cutoff_hz: float, conditions: Conditions, results: Results, recompute: bool
) -> list[Row]:
    """The lines of a clip, one for each window that is not silent, found in the file or drawn now.

    None for a clip that ends at the cutoff. A clip of which a crash left only some lines is drawn again.

    Raises TtsrError or OSError for a clip that cannot be read or drawn.
    """
    if clip.edge_hz is not None and clip.edge_hz - cutoff_hz < LEAST_BAND_HZ:
        return []
    key = clip_key(session, clip, cutoff_hz, conditions)
    kept = None if recompute else found(results, key)
    if kept is None:
        own = with_noises_of(session, clip)
        with tempfile.TemporaryDirectory(prefix="ttsr-rewards-") as folder:
            item = Item.make(clip, cutoff_hz, conditions.low_pass, conditions.seconds, Path(folder))
            kept = [line(own, item, window) for window in candidate_windows(own, item)]
        for number, row in enumerate(kept):
            row |= {"key": part_key(key, number), "part": [number, len(kept)], "version": __version__}
            results.add(row)
    return kept


def with_noises_of(session: Session, clip: Clip) -> Session:
    """The session with a seed that follows from its own and the clip's bytes."""
    told = hashlib.sha256(f"{session.options.seed} {clip.digest()}".encode()).digest()
    return session.with_options(replace(session.options, seed=int.from_bytes(told[:4])))


def found(results: Results, key: str) -> list[Row] | None:
    """All lines of a clip, when all are there."""
    first = results.rows.get(part_key(key, 0))
    keys = [part_key(key, number) for number in range(first["part"][1])] if first else []
    return [results.rows[one] for one in keys] if keys and all(one in results.rows for one in keys) else None


def line(session: Session, item: Item, window: Candidates) -> Row:
    """What was said of a window's candidates, the oracle's word included."""
    record = reward_record(session, item.clip.name, item.cutoff_hz, window.pool, item.clip.kind)
    whole = -window.distances(item)
    parts = [-window.distances(item, start, stop) for start, stop in pairwise(window.pool.edges)]
    for candidate, score, own in zip(record["candidates"], whole, np.transpose(parts), strict=True):
        candidate["scores"]["lsd"] = finite(float(score))
        candidate["segments"]["lsd"] = [finite(round(float(part), 6)) for part in own]
    return record | {"search_range": search_range(window.takes)}


def clip_key(session: Session, clip: Clip, cutoff_hz: float, conditions: Conditions) -> str:
    """The key of a clip's lines."""
    own = {"rewarding": REWARDING, "kind": clip.kind, "options": session.options.to_json()}
    return key_of(clip.digest(), clip, cutoff_hz, conditions, weights=weights_of(session), **own)


def part_key(key: str, number: int) -> str:
    """The key of one window's line."""
    return hashlib.sha256(f"{key} {number}".encode()).hexdigest()


def judge_rows(rows: Sequence[Row], judges: Sequence[str]) -> list[Row]:
    """What the judges' table is made of, from lines of rewards: a row for every judge, clip and cutoff."""
    clips: dict[tuple[str, str, float], list[Row]] = {}
    for row in rows:
        clips.setdefault((row["clip"], row["kind"], row["cutoff_hz"]), []).append(row)
    return [
        {"clip": clip, "kind": kind, "cutoff_hz": cutoff, "judge": judge, "candidates": len(lines[0]["candidates"])}
        | {name: finite(value) for name, value in figures([as_judged(row) for row in lines], judge).items()}
        for (clip, kind, cutoff), lines in clips.items()
        for judge in judges
    ]


def as_judged(row: Row) -> Scored:
    """A line as judges take a window: distances [N], scores by judge [N], search range."""
    every = [candidate["scores"] for candidate in row["candidates"]]
    columns = {name: np.array([said[name] for said in every], np.float64) for name in every[0]}
    return -columns.pop("lsd"), columns, row["search_range"]
