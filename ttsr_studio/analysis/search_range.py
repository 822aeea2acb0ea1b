"""How far apart the candidates of a set are: equation 4 of the paper."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ttsr_studio.analysis.spectra import bins_between, distance_of_logs, log_power, power_spectrogram


def search_range(
    candidates: Tensor, *, sample_rate: int = 48000, lo_hz: float = 0.0, hi_hz: float | None = None
) -> float:
    """Mean over candidates of the LSD between each one's spectrogram and the set's mean magnitude spectrogram.

    Args:
        candidates: audio, [N, channels, samples], N >= 1.
        sample_rate: Hz; only the band limits use it.
        lo_hz, hi_hz: measure only between these; the whole band by default, as in the paper.

    Returns:
        LSD in units of log10 power, mean over channels; 0 when all are equal or there is one.

    Raises OptionError when no bin lies between the limits.
    """
    bins = bins_between(lo_hz, hi_hz, sample_rate)
    return range_of([power_spectrogram(candidate)[..., bins, :] for candidate in candidates])


def range_of(powers: Sequence[Tensor]) -> float:
    """The same from power spectrograms, [channels, bins, frames] each, at least one."""
    return range_around(powers, mean_magnitude(powers))


def mean_magnitude(powers: Sequence[Tensor]) -> Tensor:
    """The set's mean magnitude spectrogram, [channels, bins, frames]."""
    mean = torch.zeros_like(powers[0])
    for power in powers:
        mean += power.sqrt().div_(len(powers))
    return mean


def range_around(powers: Sequence[Tensor], mean: Tensor) -> float:
    """The range of a set whose mean magnitude is known."""
    middle = log_power(mean.square())
    return float(torch.stack([distance_of_logs(log_power(power), middle) for power in powers]).mean())
