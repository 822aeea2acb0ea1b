"""Lifting a skirt: a zero-phase filter over a whole file, block by block, exact in length and place.

Below a curve's start the filter is a delta to -100 dB. Where curves change over time, or differ between channels,
each one's share of the sum is cross-faded.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.skirt.curve import Skirt, SkirtMap

BLOCK = 1 << 18
_TAPS_SECONDS = 0.0213
_FADE_SECONDS = 0.01
_BETA = 11.0


@lru_cache(maxsize=32)
def taps(skirt: Skirt, rate: int) -> NDArray[np.float64]:
    """The filter of a curve at a rate, odd in number and symmetric."""
    half = round(_TAPS_SECONDS * rate / 2)
    grid = np.linspace(0.0, rate / 2, 8 * half + 1)
    added = 10 ** (skirt.gain_db(grid) / 20) - 1
    whole = np.fft.irfft(added, 16 * half)
    response = np.concatenate((whole[-half:], whole[: half + 1])) * signal.windows.kaiser(2 * half + 1, _BETA)
    response[half] += 1.0
    return np.asarray(response, np.float64)


def lifted(source: Scratch, skirts: SkirtMap, rate: int) -> Iterator[NDArray[np.float32]]:
    """Blocks ``[channels, samples]`` of ``source``, at a rate, with its skirts lifted."""
    pad, fade = round(_TAPS_SECONDS * rate / 2), round(_FADE_SECONDS * rate)
    for start in range(0, source.frames, BLOCK):
        stop = min(start + BLOCK, source.frames)
        around = source.read(start - pad, stop + pad)
        yield _lifted(around, pad, _shares(skirts, rate, (start, stop), fade), rate)


def _lifted(around: NDArray[np.float32], pad: int, shares: "Shares", rate: int) -> NDArray[np.float32]:
    """A block of ``[channels, samples + 2 pad]`` without its surroundings."""
    out = np.zeros((len(around), around.shape[1] - 2 * pad))
    for channel, row in enumerate(around):
        for skirt, share in shares[channel].items():
            own = row[pad:-pad]
            if skirt is not None:
                own = signal.oaconvolve(row.astype(np.float64), taps(skirt, rate), mode="valid")
            out[channel] += share * own
    return out.astype(np.float32)


Shares = list[dict[Skirt | None, NDArray[np.float64]]]


def _shares(skirts: SkirtMap, rate: int, span: tuple[int, int], fade: int) -> Shares:
    """How much of every curve each channel has between two samples, 0 to 1."""
    starts = np.round(np.array(skirts.starts_s) * rate).astype(int)
    at = np.arange(*span)
    steps = [np.clip((at - begin + fade / 2) / fade, 0.0, 1.0) for begin in starts[1:]]
    bounds = [np.ones(len(at)), *steps, np.zeros(len(at))]
    weights = [before - after for before, after in pairwise(bounds)]
    shares: Shares = []
    for row in skirts.rows:
        own: dict[Skirt | None, NDArray[np.float64]] = {}
        for skirt, weight in zip(row, weights, strict=True):
            if np.any(weight):
                own[skirt] = own[skirt] + weight if skirt in own else weight
        shares.append(own)
    return shares
