"""Where the candidates disagree: the uncertainty map of the paper (equation 5) and one number in dB.

Equation 5 is the variance over candidates of the STFT magnitude, scaled linearly to 0..1 over the file. It follows the
level, so it is for the eye. The number for the summary does not: the standard deviation over candidates of the level in
dB.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ttsr_studio.analysis.search_range import mean_magnitude, range_around
from ttsr_studio.analysis.spectra import HOP, N_FFT, pool_edges, power_spectrogram
from ttsr_studio.errors import OptionError

EPSILON = 1e-20
CELL_HZ = 1000.0
CELL_FRAMES = 8
CELL = CELL_FRAMES * HOP
LEVEL_FLOOR = 1e-10  # -100 dBFS a bin: what is inaudible is not uncertain


IN_REPORTS = {"extra": "forbid", "use_attribute_docstrings": True, "json_schema_serialization_defaults_required": True}
"""How reports treat what is part of them: a docstring below a field is its description there."""
Amount = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Region:
    """A stretch, seconds from the start of the file."""

    __pydantic_config__ = IN_REPORTS
    start_s: Amount
    stop_s: Amount
    mean_db: Amount


@dataclass(frozen=True)
class UncertaintySummary:
    """Spread of the candidates above the cutoff, dB; null where fewer than two were compared.

    The spread of a cell (1 kHz by 8 frames, 85 ms at 48 kHz) is the sample standard deviation over candidates of its
    level in dB, levels below -100 dBFS a bin counting as -100. It depends neither on the gain of the file nor, but for
    its own error, on N. Where an engine lets candidates show a share of what it draws, that is made up for.
    """

    __pydantic_config__ = IN_REPORTS
    mean_db: Amount | None
    """Mean over the cells and channels of the file."""
    per_second_db: Sequence[Amount | None]
    """The same for every started second."""
    threshold_db: float | None = None
    """Seconds above it make the regions; null where none was asked for."""
    regions: Sequence[Region] = ()
    """Stretches that are less certain than the threshold."""


@dataclass(frozen=True)
class SpreadMap:
    """The spread of the candidates by cell.

    Attributes:
        db: [bands, columns], NaN where it is not known.
        hz: centres of the bands, ascending.
        seconds: centres of the columns.
    """

    db: NDArray[np.float64]
    hz: NDArray[np.float64]
    seconds: NDArray[np.float64]


def regions(per_second_db: Sequence[float | None], threshold_db: float, end_s: float) -> Iterator[Region]:
    """Stretches of successive seconds above a threshold."""
    above = [value is not None and value > threshold_db for value in per_second_db]
    start = 0
    while start < len(above):
        stop = start
        while stop < len(above) and above[stop]:
            stop += 1
        if stop > start:
            values = [value for value in per_second_db[start:stop] if value is not None]
            yield Region(float(start), float(min(stop, end_s)), float(np.mean(values)))
        start = max(stop, start + 1)


@dataclass(frozen=True)
class Disagreement:
    """How far the candidates of a window are apart; plain data, whatever device they were on.

    Attributes:
        variance: of the STFT magnitude over candidates, mean over channels, float32 [bins, frames].
        spread: standard deviation of the level of cells, mean over channels, dB, float32 [bands, cells]; None for one
            candidate, and where nothing lies above the cutoff.
        search_range: equation 4 of the paper; None for one candidate.
    """

    variance: NDArray[np.float32]
    spread: NDArray[np.float32] | None
    search_range: float | None


def disagreement(powers: Sequence[Tensor], cutoff_hz: float, rate: int) -> Disagreement:
    """Compare power spectrograms of candidates, [channels, bins, frames] each, at least one, on their device."""
    first = max(1, math.ceil(cutoff_hz * N_FFT / rate))
    levels = [cell_levels(power[:, first:], rate) for power in powers] if cutoff_hz < rate / 2 else []
    mean = mean_magnitude(powers)
    # The mean first: the difference of two sums would lose what candidates have in common.
    squares = torch.zeros_like(mean)
    for power in powers:
        squares += power.sqrt().sub_(mean).square_()
    variance = (squares / len(powers)).mean(0).cpu().numpy()
    if len(powers) < 2:
        return Disagreement(variance, None, None)
    spread = torch.stack(levels).std(0).mean(0).cpu().numpy() if levels else None
    return Disagreement(variance, spread, range_around(powers, mean))


def cell_levels(power: Tensor, rate: int) -> Tensor:
    """Mean level of cells, 1 kHz by 8 frames: [channels, bins, frames] -> [channels, bands, cells], dBFS a bin."""
    height = min(max(1, round(CELL_HZ * N_FFT / rate)), power.shape[1])
    cell = (height, min(CELL_FRAMES, power.shape[2]))
    pooled = avg_pool2d(power / (N_FFT / 4) ** 2, cell, ceil_mode=True)
    return 10 * pooled.clamp_min(LEVEL_FLOOR).log10()


class UncertaintyMap:
    """Uncertainty of a file of any length, fed window by window, in bounded memory.

    Attributes:
        rate: Hz.
        frames: length of the file, samples per channel.
        shown: share of the spread of whole draws that candidates show (`Engine.shown_spread`); what is told is whole.
    """

    def __init__(self, rate: int, frames: int, *, shown: float = 1.0, columns: int = 2000, rows: int = 512) -> None:
        if rate < 1 or frames < 1:
            raise OptionError(f"an uncertainty map needs a rate and audio, not {rate} Hz and {frames} frames")
        self.rate, self.frames, self.shown = rate, frames, shown
        shape = min(rows, N_FFT // 2), min(columns, math.ceil(frames / HOP))
        self._sum, self._count = np.zeros(shape), np.zeros(shape[1])
        self._spread = np.zeros((2, math.ceil(frames / rate)))  # sum and count, by second
        self._cells = np.zeros((math.ceil(frames / CELL), math.ceil(rate / 2 / CELL_HZ)))
        self._cell_count = np.zeros(len(self._cells))
        self._lowest_cutoff_hz = rate / 2

    def update(self, start: int, candidates: Tensor, cutoff_hz: float) -> float | None:
        """Add a window.

        Args:
            start: sample of the file at which the candidates begin; parts outside the file are ignored, parts that
                other windows cover too are averaged.
            candidates: audio, [N, channels, samples], N >= 1.
            cutoff_hz: where the input's band ends; the spread in dB is measured above it.

        Returns:
            The window's mean spread in dB, None when N is 1 or nothing lies above the cutoff.
        """
        return self.take(
            start, disagreement([power_spectrogram(x) for x in candidates], cutoff_hz, self.rate), cutoff_hz
        )

    def take(self, start: int, found: Disagreement, cutoff_hz: float) -> float | None:
        """The same of candidates that were compared above that cutoff."""
        self._lowest_cutoff_hz = min(self._lowest_cutoff_hz, cutoff_hz)
        centres = start + np.arange(found.variance.shape[-1]) * HOP
        # Frames outside the file are marked by a centre that no file has.
        centres = np.where((centres >= 0) & (centres < self.frames), centres, -1)
        self._add_variance(found.variance, centres)
        return None if found.spread is None else self._add_spread(found.spread, centres)

    def map(self) -> NDArray[np.float32]:
        """Equation 5, [rows, columns], 0..1: row 0 the lowest frequency, DC left out, columns span the file.

        Variances are averaged to cells before they are scaled, so that the map of an hour fits.
        """
        variance = self._sum / np.maximum(self._count, 1)
        low, high = variance.min(), variance.max()
        scaled: NDArray[np.float32] = ((variance - low) / (high - low + EPSILON)).astype(np.float32)
        return scaled

    def display(self, percentile: float = 90.0) -> NDArray[np.float32]:
        """The map for the eye: clipped at that percentile of the cells above the cutoff, then 0..1."""
        scaled = self.map()
        ceiling = self._ceiling(scaled, percentile)
        clipped: NDArray[np.float32] = np.minimum(scaled / ceiling, np.float32(1.0)) if ceiling > 0 else scaled
        return clipped

    def display_top_db(self, percentile: float = 90.0) -> float:
        """What 1 of `display` stands for: the standard deviation of magnitudes as a level, dBFS a bin."""
        variance = self._sum / np.maximum(self._count, 1)
        low, high = float(variance.min()), float(variance.max())
        top = low + self._ceiling(self.map(), percentile) * (high - low)
        return float(10 * np.log10(max(top / (N_FFT / 4) ** 2, LEVEL_FLOOR)))

    def _ceiling(self, scaled: NDArray[np.float32], percentile: float) -> float:
        row = min(int(self._lowest_cutoff_hz / (self.rate / 2) * len(scaled)), len(scaled) - 1)
        return float(np.percentile(scaled[row:], percentile))

    def summary(self, threshold_db: float | None = None) -> UncertaintySummary:
        """The spread in dB over the file and by second, and where it is above a threshold."""
        total, count = self._spread
        seconds = [float(t / n) if n else None for t, n in zip(total, count, strict=True)]
        mean = float(total.sum() / count.sum()) if count.any() else None
        found = () if threshold_db is None else tuple(regions(seconds, threshold_db, self.frames / self.rate))
        return UncertaintySummary(mean, tuple(seconds), threshold_db, found)

    def spread_map(self) -> SpreadMap:
        """The spread in dB by cell, from where the band ends upwards."""
        first = max(1, math.ceil(self._lowest_cutoff_hz * N_FFT / self.rate))
        height = max(1, round(CELL_HZ * N_FFT / self.rate))
        bands = -(-max(0, N_FFT // 2 + 1 - first) // height)
        known = self._cell_count[:, None] > 0
        spread = np.divide(self._cells, self._cell_count[:, None], where=known, out=np.full_like(self._cells, np.nan))
        hertz = (first + height * (np.arange(bands) + 0.5)) * self.rate / N_FFT
        return SpreadMap(spread[:, :bands].T, hertz, (np.arange(len(spread)) + 0.5) * CELL / self.rate)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the `.npz` holds: the map with its axes, and the spread by second in dB (NaN where unknown)."""
        scaled = self.map()
        rows, columns = scaled.shape
        total, count = self._spread
        return {
            "uncertainty": scaled.astype(np.float16),
            "frequencies_hz": (np.arange(rows) + 0.5) / rows * self.rate / 2,
            "times_s": (np.arange(columns) + 0.5) / columns * self.frames / self.rate,
            "spread_db_per_second": np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0),
            "cutoff_hz": np.array(self._lowest_cutoff_hz),
        }

    def _add_variance(self, variance: NDArray[np.float32], centres: NDArray[np.int64]) -> None:
        """Average [bins, frames] into the cells that the frames' centres fall in."""
        inside = centres >= 0
        rows, columns = self._sum.shape
        edges = pool_edges(N_FFT // 2, rows)
        pooled = np.add.reduceat(variance[1:, inside], edges, axis=0) / np.diff(edges, append=N_FFT // 2)[:, None]
        column = centres[inside] * columns // self.frames
        np.add.at(self._sum.T, column, pooled.T)
        np.add.at(self._count, column, 1)

    def _add_spread(self, cells: NDArray[np.float32], centres: NDArray[np.int64]) -> float | None:
        """Add the spread of cells, [bands, cells], dB, to the seconds that they begin in, and return its mean."""
        cells = cells / self.shown
        begins = centres[::CELL_FRAMES][: cells.shape[1]]
        inside = begins >= 0
        spread = cells.mean(0)
        np.add.at(self._cells[:, : len(cells)], begins[inside] // CELL, cells.T[inside])
        np.add.at(self._cell_count, begins[inside] // CELL, 1)
        np.add.at(self._spread[0], begins[inside] // self.rate, spread[inside])
        np.add.at(self._spread[1], begins[inside] // self.rate, 1)
        return float(spread[inside].mean()) if inside.any() else None
