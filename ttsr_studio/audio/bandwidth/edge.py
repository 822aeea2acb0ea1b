"""Where a long-term spectrum falls for good, as a low-pass makes it fall.

The edge is the lowest frequency from which the loud spectrum falls (-6 dB point), and at most the highest frequency
within 60 dB of the 1-4 kHz level. A noise floor, dither or codec debris above the fall is not audio. Frequencies are in
Hz, levels in dB per Hz. The thresholds were chosen on recordings low-passed by twelve kinds of filters, with dither and
hiss added. Whether a fall is a limit is another question, see `evidence`.
"""

from dataclasses import dataclass

import numpy as np

FULL_BAND_HZ = 20000.0
LOWEST_HZ = 1000.0
_STEPS = 48  # an octave
_RANGE_DB = 60.0
_COARSE = 8  # of the places that are tried for a knee, before those around the best of them
_ORDERS = np.array([3, 4, 5, 6, 8, 10, 14, 20, 32, 64, 256.0])[:, None]


@dataclass(frozen=True)
class Edge:
    """Where a spectrum falls: `hz` its -6 dB point, `bottom_hz` where it has fallen, `reason` in a few words."""

    hz: float
    bottom_hz: float
    reason: str


@dataclass(frozen=True)
class _Fall:
    """A fall of ``depth`` dB between two places of the spectrum, counted in steps of 1/48 octave."""

    top: int
    bottom: int
    depth: float

    @property
    def steps_per_30_db(self) -> float:
        return 30.0 * (self.bottom - self.top) / self.depth


def _bands(density: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Average ``density`` over 1/48 octaves from 700 Hz to half the rate; return their (Hz, level)."""
    nyquist, width = rate / 2, rate / 2 / (len(density) - 1)
    hertz = nyquist * 2.0 ** (-np.arange(int(_STEPS * np.log2(nyquist / 700.0)), -1, -1) / _STEPS)
    edge = 2.0 ** (0.5 / _STEPS)
    low = np.floor(hertz / edge / width + 0.5).astype(int)
    high = np.minimum(np.maximum(np.ceil(hertz * edge / width + 0.5).astype(int), low + 3), len(density))
    low = np.minimum(low, high - 3)
    total = np.concatenate(([0.0], np.cumsum(10.0 ** (density / 10.0))))
    level = 10.0 * np.log10(np.maximum((total[high] - total[low]) / (high - low), 1e-20))
    padded = np.pad(level, 3, mode="edge")
    # a median keeps the place of a fall and drops single tones
    return hertz, np.median(np.lib.stride_tricks.sliding_window_view(padded, 7), axis=1)


def find_edge(density: np.ndarray, rate: int) -> Edge | None:
    """The edge of a spectrum [bins up to half the rate], dB per Hz; None where it does not fall."""
    return find_edge_of_bands(*_bands(density, rate))


def of_coarse_bands(hertz: np.ndarray, level: np.ndarray) -> Edge | None:
    """The same of a spectrum in wider bands, [bands], from below 700 Hz on."""
    fine = hertz[-1] * 2.0 ** (-np.arange(int(_STEPS * np.log2(hertz[-1] / 700.0)), -1, -1) / _STEPS)
    return find_edge_of_bands(fine, np.interp(np.log2(fine), np.log2(hertz), level))


def find_edge_of_bands(hertz: np.ndarray, level: np.ndarray) -> Edge | None:
    """The same of a spectrum in bands of 1/48 octave from 700 Hz on, [bands]."""
    reference = 10.0 * np.log10(np.mean(10.0 ** (level[(hertz >= 1000.0) & (hertz <= 4000.0)] / 10.0)))
    inside = np.flatnonzero(level > reference - _RANGE_DB)
    level = np.maximum(level, reference - _RANGE_DB - 15.0)
    falls = _falls(hertz, level, reference)
    edge = None
    if falls:
        fall = min(falls, key=lambda item: item.steps_per_30_db)
        bottom = float(hertz[fall.bottom])
        depth = level[fall.top] - level[fall.bottom]
        edge = Edge(_knee(hertz, level, fall), bottom, f"falls by {depth:.0f} dB to {bottom:.0f} Hz")
    last = float(hertz[inside[-1]])
    if inside[-1] < len(hertz) - 1 and last < (edge.hz if edge else np.inf):
        edge = Edge(last, last, f"{_RANGE_DB:g} dB below the level at 1-4 kHz from there on")
    return edge


def _falls(hertz: np.ndarray, level: np.ndarray, reference: float) -> list[_Fall]:
    """Return the neighbouring starts of the lowest fall: a deep one, else one to a floor, else a shelf."""
    found: list[_Fall] = []
    starts = range(int(np.searchsorted(hertz, 0.9 * LOWEST_HZ)), len(hertz) - 2)
    for top in starts:
        fall = _fall(level, top, 30.0, 48, 5.0, 0.9)
        if fall is None or np.mean(level[fall.bottom :] <= reference - 42.0) < 0.9:
            fall = _fall(level, top, 18.0, 21, 5.0, 0.95)
            if fall is not None and not _flat(level[fall.bottom + 6 :], 8.0, 1):
                fall = None
        if fall is not None:
            found.append(fall)
        elif found:
            break
    # up there gentle falls are microphones and converters, not low-passes
    found = [fall for fall in found if hertz[fall.bottom] < FULL_BAND_HZ or fall.steps_per_30_db <= 8.0]
    if not found:
        shelves = (_fall(level, top, 10.0, 4, 4.0, 0.97) for top in starts)
        found = [fall for fall in shelves if fall is not None and _flat(level[fall.bottom + 4 :], 6.0, 4)]
    return found


def _fall(level: np.ndarray, top: int, depth: float, steps: int, back: float, share: float) -> _Fall | None:
    """Return the fall by ``depth`` dB within ``steps``, unless what follows comes back by more than ``back``."""
    down = level[top : min(top + steps + 1, len(level) - 1)] <= level[top] - depth
    bottom = top + int(down.argmax())
    if bottom == top or np.count_nonzero(level[bottom:] <= level[top] - depth + back) < share * (len(level) - bottom):
        return None
    return _Fall(top, bottom, depth)


def _flat(level: np.ndarray, spread: float, least: int) -> bool:
    return len(level) >= least and float(np.ptp(level)) <= spread


def _knee(hertz: np.ndarray, level: np.ndarray, fall: _Fall) -> float:
    """Return the -6 dB point in Hz: the best fit of a straight spectrum through a low-pass onto a floor."""
    bottom = fall.bottom
    while bottom + 3 < len(level) and level[bottom] - level[bottom + 3] > 1.5:
        bottom += 1
    # a gentle fall begins far below its steepest part, a brick wall does not
    gentle = fall.steps_per_30_db > 8.0 or hertz[fall.bottom] < FULL_BAND_HZ
    early = int(min(fall.steps_per_30_db**3 / 15.0, 60.0)) if gentle else 2
    first = max(fall.top - 1 - early, 6)
    start = max(0, first - int(0.5 * _STEPS))
    floor = min(float(np.median(level[bottom:])), float(level[bottom]))
    octaves = np.arange(start, bottom + 1) / _STEPS
    places, part = np.arange(max(first, start + 6), bottom + 0.1, 0.5), level[start : bottom + 1]
    errors = np.full(len(places), np.inf)
    coarse = [*range(0, len(places), _COARSE), len(places) - 1]
    errors[coarse] = [_misfit(octaves - places[k] / _STEPS, part, floor) for k in coarse]
    best = int(np.argmin(errors))
    fine = [k for k in range(max(0, best - _COARSE + 1), min(best + _COARSE, len(places))) if k not in coarse]
    errors[fine] = [_misfit(octaves - places[k] / _STEPS, part, floor) for k in fine]
    return float(hertz[0] * 2.0 ** (places[int(np.argmin(errors))] / _STEPS))


def _misfit(octaves: np.ndarray, level: np.ndarray, floor: float) -> float:
    """Return how badly a low-pass at octave 0, of the best order, explains ``level``; both are ``[places]``."""
    loss = -20.0 * np.log10(2.0) * np.logaddexp2(0.0, 2.0 * _ORDERS * octaves)
    left = octaves < 0.02
    line = np.stack((np.ones(int(left.sum())), octaves[left]), axis=1)
    prior = np.diag([1e-9, 15.0])  # the slope leans to -10 dB an octave, music's own
    fit = np.linalg.solve(line.T @ line + prior, line.T @ (level - loss)[:, left].T + [[0.0], [-150.0]])
    straight = np.maximum(fit[0][:, None] + fit[1][:, None] * octaves + loss, -300.0)
    model = 10.0 * np.log10(10.0 ** (straight / 10.0) + 10.0 ** (floor / 10.0))
    return float(np.min(np.sum(np.minimum(np.abs(model - level), 30.0) ** 1.5, axis=1)))
