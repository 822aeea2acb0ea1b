"""Is uncertainty true? Where candidates disagree more, a render should be further from the truth.

For every window, candidates 1 to N - 1 say how uncertain each tile above the cutoff is; how wrong a render is there is
measured on candidate 0, which has no part in that. Spearman's rank correlation over the tiles of a window, mean over
the windows of a clip:

- spread: standard deviation over candidates of the level of a tile (1 kHz by 8 frames), dB, against the absolute
  difference of levels, dB. Neither follows how loud a tile is.
- middle: the same spread against how far the candidates' mean level is from the truth. A render's own deviation from
  that mean is part of its error and as wide as the spread by itself; this leaves it out, so it is the stricter figure.
- map: equation 5 of the paper, variance over candidates of the STFT magnitude, mean over a tile, against the squared
  difference of magnitudes. Both follow the level, so this is what the picture shows and no proof.
- uncertain_db, certain_db: mean absolute difference, dB, in the less certain half of the tiles and in the other.

Rows are in uncertainty.jsonl, the table in uncertainty.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ttsr_studio.analysis.spectra import N_FFT, power_spectrogram
from ttsr_studio.analysis.uncertainty import CELL_FRAMES, CELL_HZ, LEVEL_FLOOR
from ttsr_studio.evaluation.benchmark.dataset import RATE, Clip
from ttsr_studio.evaluation.benchmark.degradation import Item
from ttsr_studio.evaluation.benchmark.systems import weights_of
from ttsr_studio.evaluation.reporting.bootstrap import bootstrap, mean_known
from ttsr_studio.evaluation.reporting.tables import by_kind_and_cutoff, interval, markdown_table, write_text
from ttsr_studio.evaluation.sweep import EvaluationRun, Row, cases_with_band, finite, sweep
from ttsr_studio.evaluation.verifier_study.candidates import drawn_windows
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session

CALIBRATION = {
    "spread": "spread in dB, a render",
    "middle": "spread in dB, the candidates' mean",
    "map": "equation 5, a render",
    "uncertain_db": "error where uncertain, dB",
    "certain_db": "elsewhere, dB",
}
"""Figure -> title of its column."""

UNCERTAIN = 1
"""Raised when a figure's meaning changes."""


def calibration(renders: Tensor, truth: Tensor, low_hz: float, high_hz: float | None) -> dict[str, float]:
    """One window: renders [N, channels, samples], N >= 3, truth [channels, samples]; see the module."""
    first = int(np.ceil(low_hz * N_FFT / RATE))
    stop = int(np.floor((high_hz or RATE / 2) * N_FFT / RATE))
    powers = [power_spectrogram(x)[:, first:stop] for x in (*renders, truth)]
    levels, magnitudes = torch.stack([tiles_db(p) for p in powers]), torch.stack([p.double().sqrt() for p in powers])
    spread, error = levels[1:-1].std(dim=0), (levels[0] - levels[-1]).abs()
    variance = mean_tiles(magnitudes[1:-1].var(dim=0, unbiased=False))
    square = mean_tiles((magnitudes[0] - magnitudes[-1]).square())
    more = spread > spread.median()
    return {
        "spread": rank_correlation(spread, error),
        "middle": rank_correlation(spread, (levels[1:-1].mean(dim=0) - levels[-1]).abs()),
        "map": rank_correlation(variance, square),
        "uncertain_db": float(error[more].mean()),
        "certain_db": float(error[~more].mean()),
    }


def mean_tiles(values: Tensor) -> Tensor:
    """[channels, bins, frames] -> means over cells of 1 kHz by 8 frames."""
    cell = min(max(1, round(CELL_HZ * N_FFT / RATE)), values.shape[1]), min(CELL_FRAMES, values.shape[2])
    return avg_pool2d(values.double(), cell, ceil_mode=True)


def tiles_db(power: Tensor) -> Tensor:
    """Level of the cells, dBFS a bin."""
    return 10 * (mean_tiles(power) / (N_FFT / 4) ** 2).clamp_min(LEVEL_FLOOR).log10()


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's correlation; NaN where one of them is constant."""
    x, y = (values.flatten().numpy() for values in (a, b))
    return float(spearmanr(x, y).statistic) if np.ptp(x) > 0 and np.ptp(y) > 0 else float("nan")


@dataclass(frozen=True)
class CalibrationStudy:
    """Uncertainty against error, a row for every case."""

    session: Session
    name: str = "uncertainty"

    def find(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> list[Row] | None:
        return run.results.find([self.key(clip, cutoff_hz, run)])

    def measure(self, item: Item, run: EvaluationRun) -> Iterable[Row]:
        clip, cutoff = item.clip, item.cutoff_hz
        windows = drawn_windows(self.session, item)
        rows = [calibration(window.renders, window.truth, cutoff, clip.edge_hz) for window in windows]
        yield {
            "key": self.key(clip, cutoff, run),
            "clip": clip.name,
            "kind": clip.kind,
            "cutoff_hz": cutoff,
            "candidates": self.session.candidates,
            **{name: finite(mean_known([row[name] for row in rows])) for name in CALIBRATION},
        }

    def key(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> str:
        own = {"uncertain": UNCERTAIN, "options": self.session.options.to_json()}
        return run.row_key(clip, cutoff_hz, weights=weights_of(self.session), **own)


def study_calibration(candidates: int, seed: int, clips: Sequence[Clip], run: EvaluationRun) -> Path:
    """Compare uncertainty with error on all clips, keep uncertainty.jsonl and write uncertainty.md; returns the table.

    Args:
        candidates: of a window; at least 3 are drawn.

    Raises OutputError when it cannot be written.
    """
    session = Session(RenderOptions(candidates=max(3, candidates), verifiers=("critic",), seed=seed))
    mine, cases = run.keeping("uncertainty.jsonl"), cases_with_band(clips, run.conditions.cutoffs)
    run.reporter.expect(len(cases))
    rows = list(sweep(CalibrationStudy(session), cases, mine))
    return write_text(run.results.path.with_name("uncertainty.md"), calibration_table(rows, seed))


def calibration_table(rows: Sequence[Row], seed: int) -> list[str]:
    """Markdown: by kind and cutoff, means over clips with 95 % bootstrap intervals."""
    lines = [
        "# Is uncertainty true?",
        "",
        "Rank correlation, over tiles of 1 kHz by 8 frames above the cutoff, of how far candidates disagree and how "
        "far a render that had no part in that is from the truth; and its error in the more uncertain half of the "
        "tiles and in the other. Means over clips with 95 % bootstrap intervals.",
        "",
    ]
    cells = []
    for kind, cutoff, part in by_kind_and_cutoff(rows):
        columns = (np.array([row[name] for row in part], np.float64) for name in CALIBRATION)
        intervals = (interval(bootstrap(column, seed), 2) for column in columns)
        cells.append([kind, f"{cutoff:g}", str(len(part)), *intervals])
    return lines + markdown_table(["kind", "cutoff, Hz", "clips", *CALIBRATION.values()], cells)
