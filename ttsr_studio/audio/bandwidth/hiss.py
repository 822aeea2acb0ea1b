"""Hiss above the end of a band: steady, whatever the programme does, as of tape, radio, a record's surface or dither.

Where programme ends under hiss, what lies between partials falls by less than at a limit in silence, but at once, in a
sixth of an octave, and what follows is steady. A sound that sinks into hiss by itself does so over an octave or more.
Clicks and crackle are left out by medians. Levels are in dB per Hz, of bands as `evidence` has them. The thresholds
were chosen on recordings of the training part, as they are and with hiss and crackle added, and on tonal synthesis.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.audio.bandwidth.edge import FULL_BAND_HZ, LOWEST_HZ
from ttsr_studio.audio.bandwidth.evidence import BANDS_AN_OCTAVE, Moment

_LEAST_MOMENTS = 4
_STEP = BANDS_AN_OCTAVE // 6
_LEAST_DB, _LEAST_BELOW_DB, _BELOW_HZ = 8.0, 11.0, 2500.0
"""By how much it falls at least; more where partials are few to a band."""

_STEADY_DB, _ANYWHERE_DB, _FLAT_DB, _SWAYS_DB = 3.0, 4.5, 4.0, 3.0
_SHARE = 0.6
"""Of the fall, what half an octave below the edge stands above the hiss at least."""

TOP_SHARE = 0.72
"""Of half the rate, and of 24 kHz: what lies above says whether sound reaches the top."""

_TOP_STEADY_DB, _MORE_DB, _ACTIVE_DB, _FAR_DB = 3.5, 3.0, 20.0, 45.0


def edge_under_hiss(moments: Sequence[Moment], hertz: NDArray[np.float64]) -> tuple[float, float] | None:
    """Where programme ends at once above a steady hiss: (Hz, -6 dB point; dB that it falls by), else None."""
    if len(moments) < _LEAST_MOMENTS:
        return None
    usual = np.stack([moment.usual for moment in moments]).astype(np.float64)
    spread = _spread(usual)
    level = _of_the_loud(usual, hertz)
    found: tuple[float, float] | None = None
    for low in range(int(np.searchsorted(hertz, 1.2 * LOWEST_HZ)), len(hertz) - 3 * _STEP):
        fall = float(level[low] - level[low + _STEP])
        above, least = slice(low + _STEP, -2), _LEAST_DB if hertz[low] > _BELOW_HZ else _LEAST_BELOW_DB
        if fall < max(least, found[1] if found else 0.0):
            continue
        beside = float(level[max(0, low - 3 * _STEP) : low + 1].min() - level[low + _STEP])
        off = np.abs(np.quantile(level[above], (0.05, 0.95)) - level[low + _STEP]).max()
        steady = np.median(spread[above]) <= _STEADY_DB and np.quantile(spread[above], 0.9) <= _ANYWHERE_DB
        sways = _spread(usual[:, :low].mean(axis=1)) > _spread(usual[:, above].mean(axis=1)) + _SWAYS_DB
        if steady and sways and beside >= _SHARE * fall and off <= max(_FLAT_DB, 0.5 * fall):
            down = np.flatnonzero(level[low : low + _STEP + 1] <= level[low] - min(6.0, 0.75 * fall))
            found = float(hertz[low + int(down[0])]), fall
    return found


def hiss_at_the_top(moments: Sequence[Moment], hertz: NDArray[np.float64], nyquist: float) -> bool:
    """Whether the top of the band is steady, past clicks and hits, while programme comes and goes or is far louder."""
    if len(moments) < _LEAST_MOMENTS:
        return False
    usual = np.stack([moment.usual for moment in moments]).astype(np.float64)
    top = (hertz > TOP_SHARE * min(nyquist, 24000.0)) & (hertz < min(nyquist, FULL_BAND_HZ))
    highest, below = np.median(usual[:, top], axis=1), usual[:, (hertz > 500.0) & (hertz < 4000.0)].mean(axis=1)
    loud = highest > np.median(highest) - _ACTIVE_DB  # a gate lets hiss through where programme is
    if loud.sum() < max(_LEAST_MOMENTS, len(loud) // 3):
        return False
    sways = float(_spread(highest[loud]))
    goes = _spread(below[loud]) > sways + _MORE_DB
    return bool(sways < _TOP_STEADY_DB and (goes or np.median(usual, axis=0).max() > np.median(highest) + _FAR_DB))


def _spread(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between the softest and the loudest tenth of moments, dB: [moments, ...] -> [...]."""
    low, high = np.quantile(levels, (0.1, 0.9), axis=0)
    return np.asarray(high - low)


def _of_the_loud(usual: NDArray[np.float64], hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """The usual level [bands] of the louder half of moments, smoothed over three bands."""
    padded = np.pad(usual, ((0, 0), (1, 1)), mode="edge")
    smooth = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=1).mean(axis=2)
    order = np.argsort(-smooth[:, (hertz > 500.0) & (hertz < 2000.0)].mean(axis=1))
    return np.asarray(np.median(smooth[order[: max(2, (len(order) + 1) // 2)]], axis=0))
