"""Energies and levels that the metrics share: mean squares of frames, in dB with a floor, and bands of 1 kHz."""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ttsr_studio.analysis.spectra import N_FFT
from ttsr_studio.evaluation.benchmark.dataset import RATE

FLOOR_DB = -90.0
"""Level, dB of mean square, under which nothing is heard: hiss, onsets and bands of 1 kHz do not count below it."""

LEVEL_BAND_HZ = 1000.0

POWER_OF_ENERGY = 0.375 * N_FFT**2 / 2
"""STFT power, summed over the bins, of a mean square of 1: one-sided, of a Hann window (its squares sum to 3/8)."""


def band_energy(power: Tensor) -> NDArray[np.float64]:
    """Mean square of every frame from the power of some bins, [channels, bins, frames] -> [channels, frames].

    White noise over all bins gives its variance.
    """
    energy: NDArray[np.float64] = (power.double().sum(1) / POWER_OF_ENERGY).numpy()
    return energy


def level_db(energy: NDArray[np.float64], floor_db: float) -> NDArray[np.float64]:
    """Energy in dB, not below a floor."""
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(energy, 10 ** (floor_db / 10)))
    return level


def bands_between(lo_hz: float, hi_hz: float) -> list[slice]:
    """The bins of every whole band of 1 kHz from `lo_hz` on; what is left below `hi_hz` is in none."""
    count = math.floor((hi_hz - lo_hz) / LEVEL_BAND_HZ + 1e-9)
    edges = [math.ceil((lo_hz + k * LEVEL_BAND_HZ) * N_FFT / RATE - 1e-9) for k in range(count + 1)]
    return [slice(first, stop) for first, stop in pairwise(edges)]
