"""How good are verifiers at finding the candidate that is nearest to the truth? Window by window.

For every window of every clip, N candidates are drawn and every judge scores them all; what they should have said is
the log-spectral distance to the truth from the cutoff to the clip's own band edge. Renders are told the cutoff.

- closed: how much of the way from the mean candidate to the best one the judge's choice goes, mean over windows:
  0 is a random pick, 1 the oracle's, below 0 worse than random.
- spearman: rank correlation of score and minus distance over the candidates of a window, mean over windows.
- mean, chosen, best: distances of the mean candidate, the judge's choice and the oracle's.
- range: the candidates' search range (equation 4 of the paper), whoever judges.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from ttsr_studio import __version__
from ttsr_studio.analysis.search_range import search_range
from ttsr_studio.analysis.spectra import bins_between, log_distance, power_spectrogram
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.level import active_rms
from ttsr_studio.errors import OptionError
from ttsr_studio.evaluation.benchmark.dataset import RATE, Clip
from ttsr_studio.evaluation.benchmark.degradation import kept_hz
from ttsr_studio.evaluation.benchmark.runner import Conditions, Results, Row, finite, key_of
from ttsr_studio.evaluation.benchmark.systems import Item, weights_of
from ttsr_studio.evaluation.reporting.bootstrap import Estimate, bootstrap
from ttsr_studio.evaluation.reporting.tables import interval
from ttsr_studio.render.inference.session import Session
from ttsr_studio.render.inference.state import WindowCandidates
from ttsr_studio.render.inference.timing import Stages
from ttsr_studio.render.inference.windows import SearchInput, search_windows
from ttsr_studio.verifiers.ensemble import combine

FIGURES = ("closed", "spearman", "mean", "chosen", "best", "range")
TITLES = ("closed", "Spearman", "LSD: mean candidate", "the judge's choice", "the best", "search range")
JUDGING = 1
"""Raised when a figure's meaning changes."""

LEAST_BAND_HZ = 500
"""A clip that ends nearer above the cutoff than this has nothing to judge."""

Scored = tuple[NDArray[np.float64], dict[str, NDArray[np.float64]], float]
"""A window: distances of its candidates to the truth [N], their scores by judge, [N] each, and their search range."""


@dataclass(frozen=True)
class Candidates:
    """The candidates of a window, at the clip's own level.

    Attributes:
        pool: what they are and what was said of them.
        takes: [N, channels, samples], in the order of their numbers.
        truth: [channels, samples].
    """

    pool: WindowCandidates
    takes: Tensor
    truth: Tensor

    def distances(self, item: Item, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """LSD of every candidate to the truth from the cutoff to the clip's edge, [N], of a stretch of the window."""
        bins = bins_between(item.cutoff_hz, item.clip.edge_hz, RATE)
        truth = power_spectrogram(self.truth[:, start:stop])[:, bins]
        powers = (power_spectrogram(take)[:, bins] for take in self.takes[..., start:stop])
        return np.array([float(log_distance(power, truth).mean()) for power in powers])


def candidate_windows(session: Session, item: Item) -> Iterator[Candidates]:
    """Draw and score the candidates of every window of a clip that is not silent; the engine is told the cutoff.

    Raises OptionError when nothing lies between the cutoff and the clip's edge, or the engine is not at 48 kHz.
    """
    engine, audio = session.engine, item.lr_wide()
    if engine.sample_rate != RATE:
        raise OptionError(f"--judge hears engines at {RATE} Hz; {engine.name} is at {engine.sample_rate} Hz")
    cutoff = kept_hz(item.cutoff_hz, item.low_pass)
    level = active_rms(audio, RATE)
    with Scratch(audio.shape[0]) as lr:
        lr.append(audio)
        steps = search_windows(session, SearchInput(lr, cutoff, level), Stages(), lambda event: None)
        for step in steps:
            window, pool = step.window, step.candidates
            if pool is None:
                continue
            truth = torch.from_numpy(item.truth[:, window.start : window.stop])
            takes = torch.stack([pool.audio[number] for number in sorted(pool.audio)]) * (level / engine.input_rms)
            yield Candidates(pool, takes, truth)


def scored_windows(session: Session, item: Item) -> Iterator[Scored]:
    """What judges and truth say of the candidates of every window; see `candidate_windows`."""
    for window in candidate_windows(session, item):
        scores = {name: np.array(values) for name, values in window.pool.scores.items()}
        yield window.distances(item), scores, search_range(window.takes)


def figures(windows: Sequence[Scored], judge: str) -> dict[str, float]:
    """A judge's figures over the windows of a clip; see the module. NaN when the candidates are alike everywhere.

    A judge of several verifiers, "a+b", sums their z-scores.
    """
    rows = []
    for distance, every, spread in windows:
        scores = combine({name: every[name] for name in judge.split("+")}, "zsum").values
        mean, best, chosen = distance.mean(), distance.min(), distance[int(scores.argmax())]
        if mean - best < 1e-9:
            continue
        rank = 0.0 if np.ptp(scores) == 0 else float(spearmanr(scores, -distance).statistic)
        rows.append(((mean - chosen) / (mean - best), rank, mean, chosen, best, spread))
    values = np.array(rows).mean(0) if rows else np.full(len(FIGURES), np.nan)
    return dict(zip(FIGURES, map(float, values), strict=True))


def judge_clip(
    session: Session,
    judges: Sequence[str],
    clip: Clip,
    cutoff_hz: float,
    conditions: Conditions,
    results: Results,
    recompute: bool,
) -> list[Row]:
    """One row for each judge, found in the results or measured now; none for a clip that ends there.

    The session has the judges' verifiers.

    Raises TtsrError or OSError for a clip that cannot be judged.
    """
    if clip.edge_hz is not None and clip.edge_hz - cutoff_hz < LEAST_BAND_HZ:
        return []
    keys = {judge: row_key(session, clip, cutoff_hz, conditions, judge) for judge in judges}
    if recompute or any(key not in results.rows for key in keys.values()):
        with tempfile.TemporaryDirectory(prefix="ttsr-judge-") as folder:
            item = Item.make(clip, cutoff_hz, conditions.low_pass, conditions.seconds, Path(folder))
            windows = list(scored_windows(session, item))
        for name, key in keys.items():
            results.add(make_row(key, clip, cutoff_hz, name, session, windows))
    return [results.rows[key] for key in keys.values()]


def make_row(
    key: str, clip: Clip, cutoff_hz: float, judge: str, session: Session, windows: Sequence[Scored]
) -> dict[str, Any]:
    return {
        "key": key,
        "clip": clip.name,
        "kind": clip.kind,
        "cutoff_hz": cutoff_hz,
        "judge": judge,
        "candidates": session.candidates,
        "windows": len(windows),
        **{name: finite(value) for name, value in figures(windows, judge).items()},
        "version": __version__,
    }


def row_key(session: Session, clip: Clip, cutoff_hz: float, conditions: Conditions, judge: str) -> str:
    """The key of a judge's row."""
    options = {key: value for key, value in session.options.to_json().items() if key != "verifiers"}
    own = {"judging": JUDGING, "judge": judge, "options": options, "weights": weights_of(session)}
    return key_of(clip.digest(), clip, cutoff_hz, conditions, **own)


def table(rows: Sequence[Row], seed: int) -> str:
    """Markdown: judges by kind and cutoff, means over clips with 95 % bootstrap intervals."""
    lines = [
        "# Judges",
        "",
        "How well verifiers find the candidate nearest to the truth, window by window: `closed` is the share of the "
        "way from the mean candidate to the best that the judge's choice goes (0: a random pick). Means over clips "
        "with 95 % bootstrap intervals.",
    ]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for cutoff in sorted({row["cutoff_hz"] for row in rows}):
            part = [row for row in rows if (row["kind"], row["cutoff_hz"]) == (kind, cutoff)]
            if not part:
                continue
            count, drawn = len({row["clip"] for row in part}), part[0]["candidates"]
            lines += ["", f"## {kind}, cutoff {cutoff:g} Hz ({count} clips, best of {drawn})", ""]
            lines += ["| judge | " + " | ".join(TITLES) + " |", "|---|" + "---:|" * len(TITLES)]
            for judge in dict.fromkeys(row["judge"] for row in part):
                cells = [interval(estimate(part, judge, name, seed), 3) for name in FIGURES]
                lines.append(f"| {judge} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def estimate(rows: Sequence[Row], judge: str, name: str, seed: int) -> Estimate:
    """A figure's mean over clips."""
    values = [row[name] for row in rows if row["judge"] == judge]
    return bootstrap(np.array([np.nan if value is None else value for value in values], np.float64), seed)
