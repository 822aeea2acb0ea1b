"""Images of naive upsampling: samples that were held, joined by lines, or set apart by zeros.

Such a file reaches to the top of its band, but with mirror images of what it held. Every so many samples there is a
step, a bend or a sample at all, and none between: where one phase of the period has nearly all there is, the file was
made from a rate as many times lower. Ratios that are no whole number are not recognised.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FACTORS = range(2, 9)
_PERIOD = math.lcm(*_FACTORS)
_SHARE, _FILLED = 1e-3, 0.4
"""Of the energy, what other phases hold at most; of the periods, in how many the one holds something, at least."""

_PASSED = 0.46
"""Of the lower rate: up to where the filter before it let sound through."""

_KINDS = ("zeros between samples", "held samples", "samples joined by lines")


@dataclass(frozen=True)
class Images:
    """From which rate a file was upsampled, Hz, and how, in words; its images begin at half that rate."""

    rate: float
    kind: str

    @property
    def words(self) -> str:
        """What a person reads."""
        return (
            f"images of an upsampled {self.rate:g} Hz ({self.kind}) above {self.rate / 2:.0f} Hz: "
            "--remove images replaces them"
        )

    @property
    def cutoff_hz(self) -> float:
        """Where what was upsampled ends."""
        return _PASSED * self.rate


class ImageMeter:
    """Feed blocks of one file with `update`, then take `result`; memory does not grow."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._heard = 0
        self._tail: NDArray[np.float32] | None = None
        self._energies = {factor: np.zeros((len(_KINDS), factor)) for factor in _FACTORS}
        self._filled = {factor: np.zeros((len(_KINDS), factor), np.int64) for factor in _FACTORS}

    def update(self, block: NDArray[np.float32]) -> None:
        """Hear float32 ``[channels, samples]``, which continues the block before."""
        data = block if self._tail is None else np.concatenate((self._tail, block), axis=1)
        first = self._heard if self._tail is None else self._heard - self._tail.shape[1]
        self._heard += block.shape[1]
        self._tail = data[:, -2:]
        if data.shape[1] < 3:
            return
        steps = np.diff(data, axis=1)
        rows = np.stack(
            [np.square(each).sum(axis=0) for each in (data[:, 2:], steps[:, 1:], np.diff(steps, axis=1))]
        ).astype(np.float64)
        start = first % _PERIOD
        padded = np.pad(rows, ((0, 0), (start, -(rows.shape[1] + start) % _PERIOD)))
        periods = padded.reshape(len(_KINDS), -1, _PERIOD)
        energies, filled = periods.sum(axis=1), np.count_nonzero(periods, axis=1)
        for factor in _FACTORS:
            self._energies[factor] += energies.reshape(len(_KINDS), -1, factor).sum(axis=1)
            self._filled[factor] += filled.reshape(len(_KINDS), -1, factor).sum(axis=1)

    def result(self) -> Images | None:
        """What was found; None where nothing is sure."""
        for factor in reversed(_FACTORS):
            for kind, energy, filled in zip(_KINDS, self._energies[factor], self._filled[factor], strict=True):
                total, most = float(energy.sum()), int(energy.argmax())
                enough = filled[most] > max(20.0, _FILLED * self._heard / factor)
                if enough and total - float(energy[most]) < _SHARE * total:
                    return Images(self._rate / factor, kind)
        return None
