"""How far a filter turned down what lies below the edge of a band, from what is there and what is to be expected.

The expectation is the level of every cell (bands by frames) as it would be without a filter, given what lies below the
skirt alone. A filter's fall is smooth and rises over frequency, steeper than programme falls, and the same at every
moment; a family of falls is fitted to what observation and expectation differ by, with the expectation's own errors as
the noise (a Gaussian process, its scales measured on full-band recordings). What lies within 10 dB of the noise floor
has no say. Decibels are in dB.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, signal

from ttsr_studio.audio.skirt.curve import MOST_DB, Skirt

Decibels = NDArray[np.float64]


@dataclass(frozen=True)
class Expected:
    """Decibels of excerpts: [bands, frames] each, dB; `hertz` the centres of the bands."""

    hertz: Decibels
    observed: Decibels
    expected: Decibels


Expect = Callable[[Sequence[NDArray[np.float32]], float], Expected]
"""Excerpts [samples] of a channel, and the frequency in Hz above which nothing may be looked at, to their cells."""

LEAST_EVIDENCE = 5.0
GENTLEST, STEEPEST = 3.0, 14.0
"""Orders (6 dB an octave each): what falls less is programme's own, what falls more is no skirt but an edge."""

BRICK_DB = 28.0
"""What falls by more within a sixth of an octave is a resampler's or a codec's edge, which has no skirt."""

HIGHEST_KNEE_HZ = 14000.0

LEAST_FALL_DB = 12.0
SAME_DB = 9.0
"""What falls of loud and of quiet moments may differ by."""

_OFFSET_DB, _SLOPE_DB, _LOCAL_DB, _LOCAL_OCTAVES, _BAND_DB = 3.0, 5.0, 5.0, 1.0, 2.0
_DEEPEST_DB = 45.0
_OVER_FLOOR_DB, _LIFTED_OVER_FLOOR_DB = 10.0, 12.0
_CAREFUL, _LIKELY = 0.65, 0.5
"""How probably more was lost: for whether there is a filter, and for what is lifted."""
_PAUSE_DB = 45.0
_LOWEST_HZ = 1000.0
_FRAME_SECONDS = 0.085
_PARTS = 12


@dataclass(frozen=True)
class _Family:
    """Falls: `loss` [falls, places] in dB, 0 and more; `order` [falls]."""

    loss: Decibels
    order: Decibels

    @classmethod
    def at(cls, hertz: Decibels) -> "_Family":
        losses, orders = [], []
        for knee in 900.0 * 2 ** np.arange(0, 4.45, 1 / 12):
            ratio = hertz / knee
            for order in (1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 16, 24, 40):
                losses.append(10 * np.log10(1 + ratio ** (2 * order)))
                orders.append(order)
            for order in (2, 3, 4, 6, 10, 20):  # one-pole stages in a row; Bessel filters come near to it
                losses.append(10 * order * np.log10(1 + ratio**2 * (2 ** (1 / order) - 1)))
                orders.append(order)
        return cls(np.minimum(losses, 120.0), np.array(orders, np.float64))


@dataclass(frozen=True)
class Fall:
    """What a fit found: at `hertz` the loss in dB, and what was rather lost than not; the order, and the evidence."""

    hertz: Decibels
    loss_db: Decibels
    sure_db: Decibels
    order: float
    knee_hz: float
    end_hz: float
    evidence: float
    unsteady_db: float


def find_skirt(
    excerpts: Sequence[NDArray[np.float32]], rate: int, edge_hz: float, top_hz: float, expect: Expect
) -> Skirt | None:
    """The skirt below an edge, None where there is no sign of a gentle filter.

    Args:
        excerpts: [samples] each, loud parts and a quiet one, at a rate.
        top_hz: above this the file holds nothing, whatever was filtered.
    """
    if steepest_fall(excerpts, rate, edge_hz) > BRICK_DB:
        return None
    looked = max(_LOWEST_HZ, edge_hz / 2.2)
    first = fit_fall(expect(excerpts, looked), looked, top_hz)
    if first is None or first.evidence < LEAST_EVIDENCE / 2:
        return None
    start = float(np.interp(1.0, first.sure_db, first.hertz))
    looked = float(np.clip(start, max(_LOWEST_HZ, edge_hz / 3.0), max(_LOWEST_HZ, edge_hz / 1.2)))
    found = fit_fall(expect(excerpts, looked), looked, top_hz)
    if found is None or not believed(found):
        return None
    skirt = Skirt.sampled(found.hertz, found.loss_db, found.end_hz, found.evidence)
    return skirt if skirt.start_hz < edge_hz else None  # what begins above the edge does not explain it


def believed(fall: Fall) -> bool:
    """Whether a fall is a gentle filter's and not the programme's own, nor a brick wall."""
    deep = float(np.interp(fall.end_hz, fall.hertz, fall.sure_db))
    return (
        fall.evidence >= LEAST_EVIDENCE
        and GENTLEST <= fall.order <= STEEPEST
        and deep >= LEAST_FALL_DB
        and fall.knee_hz <= HIGHEST_KNEE_HZ
        and fall.unsteady_db <= SAME_DB
    )


def fit_fall(cells: Expected, looked_hz: float, top_hz: float) -> Fall | None:
    """Fit a fall to what lies above `looked_hz`; None where too little of it is over the noise floor."""
    hertz, width = cells.hertz, cells.hertz[1] - cells.hertz[0]
    low = cells.observed[: max(2, int(looked_hz / width))].mean(axis=0)
    active = (low > np.quantile(low, 0.4)) & (low > low.max() - _PAUSE_DB)
    level = cells.observed[:, active].mean(axis=1)
    difference = (cells.observed - cells.expected)[:, active]
    over = level - _floor(cells.observed, low, level)
    inside = hertz + width / 2 <= top_hz
    used = (hertz > looked_hz + width / 2) & inside & _up_to(hertz, looked_hz, over < _OVER_FLOOR_DB)
    used &= _up_to(hertz, looked_hz, difference.mean(axis=1) < -_DEEPEST_DB)
    if used.sum() < 3:
        return None
    weights, evidence = _posterior(difference.mean(axis=1)[used], np.log2(hertz[used] / looked_hz), hertz[used])
    fine = np.geomspace(500.0, hertz[-1], 200)
    family = _Family.at(fine)
    loss, sure = (_exceeded(family.loss, weights, share) for share in (_LIKELY, _CAREFUL))
    heard = hertz[used & _up_to(hertz, looked_hz, over < _LIFTED_OVER_FLOOR_DB)]
    end = min(float(np.interp(MOST_DB, sure, fine)), float(heard[-1]) if len(heard) else looked_hz)
    return Fall(
        fine,
        loss,
        sure,
        float(weights @ family.order),
        float(np.interp(3.0, sure, fine)),
        end,
        evidence,
        _unsteadiness(difference, low[active], used & (np.interp(hertz, fine, sure) > 3.0)),
    )


def steepest_fall(excerpts: Sequence[NDArray[np.float32]], rate: int, edge_hz: float) -> float:
    """By how much the loud spectrum falls at most within a sixth of an octave near an edge, dB."""
    size = 2 ** round(np.log2(rate * _FRAME_SECONDS))
    window = signal.windows.blackmanharris(size, sym=False)
    frames = [
        each[start : start + size] * window for each in excerpts for start in range(0, len(each) - size + 1, size)
    ]
    if not frames:
        return 0.0
    power = np.abs(np.fft.rfft(np.array(frames))) ** 2
    total = power.sum(axis=1)
    loud = np.log10(power[total >= np.median(total)] + 1e-20).mean(axis=0)
    hertz = np.geomspace(edge_hz / 1.6, min(1.5 * edge_hz, rate / 2), 1 + _PARTS * 6)
    bins = np.arange(len(loud)) * rate / size
    smooth = signal.medfilt(10 * np.interp(hertz, bins, signal.convolve(loud, np.ones(9) / 9, "same")), 5)
    part = max(1, round(len(hertz) / (6 * np.log2(hertz[-1] / hertz[0]))))
    return float((smooth[:-part] - smooth[part:]).max())


def _up_to(hertz: Decibels, looked_hz: float, bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bands below the first bad one above a frequency."""
    wrong = np.flatnonzero(bad & (hertz > looked_hz))
    return np.arange(len(hertz)) < (wrong[0] if len(wrong) else len(hertz))


def _floor(observed: Decibels, low: Decibels, level: Decibels) -> Decibels:
    """Noise floor [bands]: as flat as where the spectrum is lowest, and what is left in pauses."""
    floor = np.full(len(level), level[:-1].min())
    pause = low < low.max() - _PAUSE_DB
    if pause.sum() >= 4:
        floor = np.maximum(floor, observed[:, pause].mean(axis=1))
    return floor


def _posterior(difference: Decibels, octaves: Decibels, hertz: Decibels) -> tuple[Decibels, float]:
    """Weights [falls] of all falls that end within what is seen, and how much likelier the best is than none."""
    family = _Family.at(hertz)
    apart = np.abs(octaves[:, None] - octaves)
    noise = _OFFSET_DB**2 + _SLOPE_DB**2 * np.outer(octaves, octaves)
    noise = noise + _LOCAL_DB**2 * np.exp(-apart / _LOCAL_OCTAVES) + _BAND_DB**2 * np.eye(len(octaves))
    root = linalg.cholesky(noise, lower=True)
    off = linalg.solve_triangular(root, (difference + family.loss).T, lower=True)
    without = linalg.solve_triangular(root, difference, lower=True)
    likely = -0.5 * (off**2).sum(axis=0) - np.where(family.loss[:, -1] > 3.0, 0.0, 14.0)
    weights = np.exp(likely - likely.max())
    return weights / weights.sum(), float(likely.max() + 0.5 * (without**2).sum())


def _exceeded(loss: Decibels, weights: Decibels, share: float) -> Decibels:
    """The loss at every place that is exceeded with a probability."""
    order = np.argsort(loss, axis=0)
    row = np.argmax(np.cumsum(weights[order], axis=0) >= 1 - share, axis=0)
    places = np.arange(loss.shape[1])
    return np.asarray(np.maximum.accumulate(loss[order[row, places], places]), np.float64)


def _unsteadiness(difference: Decibels, low: Decibels, skirt: NDArray[np.bool_]) -> float:
    """By how much the fall of loud moments differs from that of quiet ones, dB."""
    if not skirt.any():
        return 0.0
    fall, loud = difference[skirt].mean(axis=0), low >= np.median(low)
    return float(abs(fall[loud].mean() - fall[~loud].mean()))
