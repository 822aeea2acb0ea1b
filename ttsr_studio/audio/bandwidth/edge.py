"""Where a long-term spectrum falls for good, as a low-pass makes it fall.

The edge is the lowest frequency from which the loud spectrum falls (-6 dB point), and at most the highest frequency
within 60 dB of the 1-4 kHz level. A noise floor, dither or codec debris above the fall is not audio. Frequencies are in
Hz, levels in dB per Hz. The thresholds were chosen on recordings low-passed by twelve kinds of filters, with dither and
hiss added. Whether a fall is a limit is another question, see `evidence`.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

FULL_BAND_HZ = 20000.0
LOWEST_HZ = 1000.0
_STEPS = 48  # an octave
_RANGE_DB = 60.0
_COARSE = 8  # of the places that are tried for a knee, before those around the best of them
_REACH = 2 * _STEPS * 12
"""Half steps of a spectrum, at most."""

_NEPER_DB = 10.0 / np.log(10.0)
_ORDERS = np.array([3, 4, 5, 6, 8, 10, 14, 20, 32, 64, 256.0])[:, None]


@dataclass(frozen=True)
class Edge:
    """Where a spectrum falls: `hz` its -6 dB point, `bottom_hz` where it has fallen, `reason` in a few words."""

    hz: float
    bottom_hz: float
    reason: str


@dataclass(frozen=True)
class _Kind:
    """Falls by ``depth`` dB within ``steps``, after which a ``share`` does not come back by more than ``back`` dB."""

    depth: float
    steps: int
    back: float
    share: float


_DEEP, _SLIGHT, _SHELF = _Kind(30.0, 48, 5.0, 0.9), _Kind(18.0, 21, 5.0, 0.95), _Kind(10.0, 4, 4.0, 0.97)


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
        knee = _knee(hertz, level, fall)
        edge = Edge(knee, bottom, f"falls by {depth:.0f} dB from {knee:.0f} to {bottom:.0f} Hz")
    last = float(hertz[inside[-1]])
    if inside[-1] < len(hertz) - 1 and last < (edge.hz if edge else np.inf):
        edge = Edge(last, last, f"{_RANGE_DB:g} dB below the level at 1-4 kHz from there on")
    return edge


def _falls(hertz: np.ndarray, level: np.ndarray, reference: float) -> list[_Fall]:
    """Return the neighbouring starts of the lowest fall: a deep one, else one to a floor, else a shelf."""
    found: list[_Fall] = []
    first = int(np.searchsorted(hertz, 0.9 * LOWEST_HZ))
    low = np.cumsum((level <= reference - 42.0)[::-1])[::-1]
    deep, slight = _bottoms(level, first, _DEEP), _bottoms(level, first, _SLIGHT)
    for top, bottom in enumerate(deep, first):
        fall = _Fall(top, bottom, _DEEP.depth) if bottom else None
        if fall is None or low[bottom] / (len(level) - bottom) < 0.9:
            bottom = slight[top - first]
            flat = bottom and _flat(level[bottom + 6 :], 8.0, 1)
            fall = _Fall(top, bottom, _SLIGHT.depth) if flat else None
        if fall is not None:
            found.append(fall)
        elif found:
            break
    # up there gentle falls are microphones and converters, not low-passes
    found = [fall for fall in found if hertz[fall.bottom] < FULL_BAND_HZ or fall.steps_per_30_db <= 8.0]
    if not found:
        shelves = enumerate(_bottoms(level, first, _SHELF), first)
        found = [_Fall(top, k, _SHELF.depth) for top, k in shelves if k and _flat(level[k + 4 :], 6.0, 4)]
    return found


def _bottoms(level: np.ndarray, first: int, kind: _Kind) -> list[int]:
    """Where falls of a kind end that begin at the first place or a later one; 0 where none begins."""
    tops = level[first : len(level) - 2, None]
    padded = np.concatenate((level[:-1], np.full(kind.steps + 1, np.inf)))
    ahead = np.lib.stride_tricks.sliding_window_view(padded, kind.steps + 1)[first : len(level) - 2]
    steps = (ahead <= tops - kind.depth).argmax(axis=1)
    bottoms = np.arange(first, len(level) - 2) + steps
    after = np.arange(len(level)) >= bottoms[:, None]
    stays = np.count_nonzero((level <= tops - kind.depth + kind.back) & after, axis=1)
    lasts = (steps > 0) & (stays >= kind.share * (len(level) - bottoms))
    return [int(bottom) for bottom in np.where(lasts, bottoms, 0)]


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
    places, part = np.arange(2 * max(first, start + 6), 2 * bottom + 1), level[start : bottom + 1]
    coarse = np.unique([*range(0, len(places), _COARSE), len(places) - 1])
    errors = np.full(len(places), np.inf)
    errors[coarse] = _misfits(places[coarse] - 2 * start, part, floor)
    best = int(np.argmin(errors))
    around = np.arange(max(0, best - _COARSE + 1), min(best + _COARSE, len(places)))
    fine = around[np.isinf(errors[around])]
    if len(fine):
        errors[fine] = _misfits(places[fine] - 2 * start, part, floor)
    return float(hertz[0] * 2.0 ** (places[int(np.argmin(errors))] / (2 * _STEPS)))


@cache
def _losses() -> np.ndarray:
    """Of low-passes of all orders, dB [orders, half steps from so many before their edge to as many after it]."""
    octaves = np.arange(-_REACH, _REACH + 1) / (2 * _STEPS)
    return np.asarray(-20.0 * np.log10(2.0) * np.logaddexp2(0.0, 2.0 * _ORDERS * octaves))


def _misfits(edges: np.ndarray, level: np.ndarray, floor: float) -> np.ndarray:
    """How badly low-passes, each of the best order, explain ``level`` [places]; their edges in half steps of it."""
    offsets = 2 * np.arange(len(level)) - edges[:, None]
    octaves = (offsets / (2 * _STEPS))[:, None]
    loss = _losses()[:, offsets + _REACH].swapaxes(0, 1)  # [edges, orders, places]
    # A straight line is fitted to what lies before the edge; its slope leans to -10 dB an octave, music's own.
    left = octaves < 0.02
    above, x = np.where(left, level - loss, 0.0), np.where(left, octaves, 0.0)
    count, mean, square = left.sum(-1) + 1e-9, x.sum(-1), (x * x).sum(-1) + 15.0
    at_edge, slope = above.sum(-1), (above * x).sum(-1) - 150.0
    determinant = count * square - mean * mean
    straight = ((square * at_edge - mean * slope) / determinant)[..., None] + loss
    straight += ((count * slope - mean * at_edge) / determinant)[..., None] * octaves
    model = _NEPER_DB * np.log(np.exp(np.maximum(straight, -300.0) / _NEPER_DB) + np.exp(floor / _NEPER_DB))
    apart = np.minimum(np.abs(model - level), 30.0)
    return np.asarray((apart * np.sqrt(apart)).sum(axis=-1).min(axis=-1))
