"""Is uncertainty true? Where candidates disagree more, a render should be further from the truth.

For every window, candidates 1 to N - 1 say how uncertain each tile above the cutoff is; how wrong a render is there is
measured on candidate 0, which had no say in it. Spearman's rank correlation over the tiles of a window, mean over the
windows of a clip:

- spread: standard deviation over candidates of the level of a tile (1 kHz by 8 frames), dB, against the absolute
  difference of levels, dB. Neither follows how loud a tile is.
- middle: the same spread against how far the candidates' mean level is from the truth. A render's own deviation from
  that mean is part of its error and as wide as the spread by itself; this leaves it out, so it is the stricter figure.
- map: equation 5 of the paper, variance over candidates of the STFT magnitude, mean over a tile, against the squared
  difference of magnitudes. Both follow the level, so this is what the picture shows and no proof.
- uncertain_db, certain_db: mean absolute difference, dB, in the less certain half of the tiles and in the other.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ttsr_studio.analysis.spectra import N_FFT, power_spectrogram
from ttsr_studio.analysis.uncertainty import BAND_HZ, CELL_FRAMES, LEVEL_FLOOR
from ttsr_studio.evaluation.benchmark.dataset import RATE, Clip
from ttsr_studio.evaluation.benchmark.runner import Conditions, Results, Row, finite, key_of
from ttsr_studio.evaluation.benchmark.systems import Item, weights_of
from ttsr_studio.evaluation.reporting.bootstrap import bootstrap
from ttsr_studio.evaluation.reporting.tables import interval
from ttsr_studio.evaluation.verifier_study.accuracy import LEAST_BAND_HZ, candidate_windows
from ttsr_studio.render.inference.session import Session

FIGURES = ("spread", "middle", "map", "uncertain_db", "certain_db")
TITLES = (
    "spread in dB, a render",
    "spread in dB, the candidates' mean",
    "equation 5, a render",
    "error where uncertain, dB",
    "elsewhere, dB",
)
UNCERTAIN = 1
"""Raised when a figure's meaning changes."""


def figures(takes: Tensor, truth: Tensor, low_hz: float, high_hz: float | None) -> dict[str, float]:
    """One window: takes [N, channels, samples], N >= 3, truth [channels, samples]; see the module."""
    first = int(np.ceil(low_hz * N_FFT / RATE))
    stop = int(np.floor((high_hz or RATE / 2) * N_FFT / RATE))
    powers = [power_spectrogram(x)[:, first:stop] for x in (*takes, truth)]
    levels, magnitudes = torch.stack([tiles_db(p) for p in powers]), torch.stack([p.double().sqrt() for p in powers])
    spread, error = levels[1:-1].std(dim=0), (levels[0] - levels[-1]).abs()
    variance = tiles(magnitudes[1:-1].var(dim=0, unbiased=False))
    square = tiles((magnitudes[0] - magnitudes[-1]).square())
    more = spread > spread.median()
    return {
        "spread": rank(spread, error),
        "middle": rank(spread, (levels[1:-1].mean(dim=0) - levels[-1]).abs()),
        "map": rank(variance, square),
        "uncertain_db": float(error[more].mean()),
        "certain_db": float(error[~more].mean()),
    }


def tiles(values: Tensor) -> Tensor:
    """[channels, bins, frames] -> means over cells of 1 kHz by 8 frames."""
    cell = min(max(1, round(BAND_HZ * N_FFT / RATE)), values.shape[1]), min(CELL_FRAMES, values.shape[2])
    return avg_pool2d(values.double(), cell, ceil_mode=True)


def tiles_db(power: Tensor) -> Tensor:
    """Level of the cells, dBFS a bin."""
    return 10 * (tiles(power) / (N_FFT / 4) ** 2).clamp_min(LEVEL_FLOOR).log10()


def rank(a: Tensor, b: Tensor) -> float:
    """Spearman's correlation; NaN where one of them is constant."""
    x, y = (values.flatten().numpy() for values in (a, b))
    return float(spearmanr(x, y).statistic) if np.ptp(x) > 0 and np.ptp(y) > 0 else float("nan")


def judge_uncertainty(
    session: Session, clip: Clip, cutoff_hz: float, conditions: Conditions, results: Results, recompute: bool
) -> list[Row]:
    """The row of a clip, found in the results or measured now; none for a clip that ends at the cutoff."""
    if clip.edge_hz is not None and clip.edge_hz - cutoff_hz < LEAST_BAND_HZ:
        return []
    key = row_key(session, clip, cutoff_hz, conditions)
    if recompute or key not in results.rows:
        with tempfile.TemporaryDirectory(prefix="ttsr-uncertain-") as folder:
            item = Item.make(clip, cutoff_hz, conditions.low_pass, conditions.seconds, Path(folder))
            rows = [
                figures(window.takes, window.truth, cutoff_hz, clip.edge_hz)
                for window in candidate_windows(session, item)
            ]
        mean = {name: float(np.nanmean([row[name] for row in rows])) if rows else float("nan") for name in FIGURES}
        results.add(
            {
                "key": key,
                "clip": clip.name,
                "kind": clip.kind,
                "cutoff_hz": cutoff_hz,
                "candidates": session.candidates,
                **{name: finite(value) for name, value in mean.items()},
            }
        )
    return [results.rows[key]]


def row_key(session: Session, clip: Clip, cutoff_hz: float, conditions: Conditions) -> str:
    """The key of a clip's row."""
    own = {"uncertain": UNCERTAIN, "options": session.options.to_json(), "weights": weights_of(session)}
    return key_of(clip.digest(), clip, cutoff_hz, conditions, **own)


def table(rows: Sequence[Row], seed: int) -> str:
    """Markdown: by kind and cutoff, means over clips with 95 % bootstrap intervals."""
    lines = [
        "# Is uncertainty true?",
        "",
        "Rank correlation, over tiles of 1 kHz by 8 frames above the cutoff, of how far candidates disagree and how "
        "far a render that had no say is from the truth; and its error in the more uncertain half of the tiles and in "
        "the other. Means over clips with 95 % bootstrap intervals.",
        "",
        "| kind | cutoff, Hz | clips | " + " | ".join(TITLES) + " |",
        "|---|---:|---:|" + "---:|" * len(TITLES),
    ]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for cutoff in sorted({row["cutoff_hz"] for row in rows}):
            part = [row for row in rows if (row["kind"], row["cutoff_hz"]) == (kind, cutoff)]
            if part:
                cells = [interval(bootstrap(column(part, name), seed), 2) for name in FIGURES]
                lines.append(f"| {kind} | {cutoff:g} | {len(part)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    return np.array([np.nan if row[name] is None else row[name] for row in rows], np.float64)
