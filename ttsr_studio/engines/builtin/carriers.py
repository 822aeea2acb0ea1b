"""Carriers: what the drawn energies are given to. Noise mixed between channels, and copies of the low band.

Noise is keyed, so that it is the same for all candidates of a window and in the overlap of two windows. Copies (tiles)
carry partials on: the low band, whitened, is shifted up by the lag at which its spectrum repeats best.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ttsr_studio.audio.fourier import irfft, rfft, taps_spectrum
from ttsr_studio.diffusion.noise import NoiseKey, normal
from ttsr_studio.engines.builtin.spectral import (
    FAST_FFT,
    FAST_HOP,
    FINE_FFT,
    HOP,
    RATE,
    band_to_bins,
    bin_hz,
    istft,
    power,
    stft,
)

HOLD = 19
"""Slow frames for which a lag is held, .2 s; aligned to the file, so that windows agree."""

LAG_FRAMES = 15
"""Over which the spectrum's likeness to itself is averaged."""

WHITEN_BINS = 11
WHITEN_FLOOR = 1e-10
COHERENCE_FRAMES = 37
"""Fast frames over which channels are compared, .2 s."""

ALIKE = 0.9995
"""Correlation from which channels count as equal (or opposite)."""

EPSILON = 1e-12

LEAST_GAIN, APART = 0.01, 1e-6
"""A channel is another one at a gain where what differs is 60 dB below it, and it is not 40 dB softer."""

NEAR = 63
"""Samples over which the input's level at a moment is taken, 1.3 ms."""

GATE_DB = 4.0
SILENCE_POWER = 1e-10
"""Power under which the input is taken for silence: 80 dB below the engine's input RMS."""


def noise(keys: Sequence[NoiseKey], channels: int, samples: int, device: torch.device) -> Tensor:
    """Keyed white noise of unit power as fast spectra, [W, channels, 257, 2T - 1]; independent channels."""
    frames = samples // HOP
    drawn = {
        (key, channel): normal(key, "detail" if channel == 0 else f"detail {channel}", (HOP, frames))
        for key in dict.fromkeys(keys)
        for channel in range(channels)
    }
    audio = torch.stack([drawn[key, channel].T.reshape(-1) for key in keys for channel in range(channels)])
    carriers: Tensor = stft(audio.to(device), FAST_FFT, FAST_HOP).unflatten(0, (-1, channels))
    return carriers


def moving_mean(x: Tensor, width: int, dim: int) -> Tensor:
    """Mean over an odd number of neighbours, edges repeated; same shape."""
    moved = x.movedim(dim, -1)
    flat = moved.reshape(-1, 1, moved.shape[-1])
    padded = F.pad(flat, (width // 2, width // 2), mode="replicate")
    return F.avg_pool1d(padded, width, stride=1).view(moved.shape).movedim(-1, dim)


def panned(audio: Tensor, cutoff_hz: Tensor) -> tuple[Tensor, Tensor]:
    """Rows that are another channel of their window at another gain, as a source that is panned.

    What is predicted of the loudest such channel goes for all of them, so that a panned source stays where it is.

    Args:
        audio: [W, C, samples]. cutoff_hz: [W, C, T].

    Returns:
        The row that each row is taken from, [W * C], and its gain against that, over 0, [W * C].
    """
    windows, channels = audio.shape[:2]
    row = torch.arange(windows * channels, device=audio.device).unflatten(0, (windows, channels))
    source, gain, loud = row, torch.ones_like(row, dtype=audio.dtype), total(audio.square())
    window = torch.arange(windows, device=audio.device)
    for first in loud.argsort(dim=1, descending=True, stable=True).T[:-1]:
        louder = audio[window, first][:, None]
        share = total(audio * louder) / total(louder.square()).clamp(min=EPSILON)
        rest = total((audio - share[..., None] * louder).square())
        alike = (cutoff_hz == cutoff_hz[window, first][:, None]).all(dim=-1)
        taken = alike & (share.abs() > LEAST_GAIN) & (rest < APART * loud) & (source == row)
        taken = taken & (source == row)[window, first][:, None]
        source, gain = torch.where(taken, row[window, first][:, None], source), torch.where(taken, share.abs(), gain)
    return source.flatten(), gain.flatten()


def total(x: Tensor) -> Tensor:
    """Sum over samples, [..., samples] -> [...]; the same to the last bit on any number of threads."""
    whole: Tensor = x.unflatten(-1, (-1, HOP)).sum(-1).sum(-1)
    return whole


def correlations(low: Tensor, cutoff_hz: Tensor) -> Tensor:
    """In-phase correlation of the channels just below the cutoff, [W, C, C, frames], -1 to 1.

    What lies next to the missing band tells its image best: on 70 minutes of stereo, 4 kHz, the correlation by band
    and .2 s is .18 off in the next half octave and .26 over all.

    Args:
        low: fast spectra of the input, [W, C, 257, frames].
        cutoff_hz: [W, C, frames]; the lowest of the channels counts.
    """
    edge = cutoff_hz.amin(dim=1)[:, None, None]
    hz = bin_hz(low.device)[None, None, :, None]
    near = low * ((hz <= edge) & (hz >= 0.7 * edge))
    smooth = moving_mean(in_phase(near), COHERENCE_FRAMES, -1)
    own = smooth.diagonal(dim1=1, dim2=2).movedim(-1, 1).clamp(min=0)
    both = (own[:, :, None] * own[:, None, :]).sqrt()
    correlation = torch.where(both > EPSILON, smooth / both.clamp(min=EPSILON), torch.zeros_like(both))
    return torch.where(correlation.abs() >= ALIKE, correlation.sign(), correlation.clamp(-1, 1))


def in_phase(spectra: Tensor) -> Tensor:
    """In-phase products of channels [W, C, bins, frames] by pair, summed over bins: [W, C, C, frames].

    Without a matrix product, whose last bits hang on how many windows it is given.
    """
    rows = [[(each.real * window.real + each.imag * window.imag).sum(dim=1) for each in window] for window in spectra]
    return torch.stack([torch.stack(row) for row in rows])


def correlated(independent: Tensor, wanted: Tensor) -> Tensor:
    """Independent channels [W, C, 257, frames] -> channels of the correlation wanted [W, C, C, 64 or 1, frames].

    By a Cholesky factor in which equal channels stay equal to the last bit, and opposite ones opposite.
    """
    channels = independent.shape[1]
    factor: list[list[Tensor]] = []
    out = []
    for i in range(channels):
        row: list[Tensor] = []
        for j in range(i):
            known = sum((row[k] * factor[j][k] for k in range(j)), torch.zeros_like(wanted[:, 0, 0]))
            pivot = factor[j][j]
            open_ = torch.where(
                pivot > 1e-3, (wanted[:, i, j] - known) / pivot.clamp(min=1e-3), torch.zeros_like(pivot)
            )
            row.append(open_)
        left = 1 - sum((value**2 for value in row), torch.zeros_like(wanted[:, 0, 0]))
        row.append(left.clamp(min=0).sqrt())
        factor.append(row)
        shares = [band_to_bins(value) if value.shape[1] > 1 else value for value in row]
        out.append(sum((shares[k] * independent[:, k] for k in range(i + 1)), torch.zeros_like(independent[:, 0])))
    return torch.stack(out, dim=1)


def tiles(lr: Tensor, cutoff_hz: Tensor, positions: Sequence[int]) -> Tensor:
    """The whitened low band, copied upwards, as fast spectra of about unit power: [W, C, 257, 2T - 1].

    The channels of a window are shifted by one lag where their bands end alike, so that their image is copied, too.

    Args:
        lr: [W, C, samples] of the input.
        cutoff_hz: [W, C, T], Hz, by slow frame.
        positions: of every window's first slow frame in the file.
    """
    fine = stft(lr.flatten(0, 1), FINE_FFT, HOP).unflatten(0, lr.shape[:2])
    made = torch.zeros_like(fine)
    edges = (cutoff_hz / (RATE / FINE_FFT)).long().clamp(24, FINE_FFT // 2 - 8)
    for window, position in enumerate(positions):
        for edge in edges[window].unique().tolist():
            here = edges[window] == edge
            copied = _tiled(fine[window], edge, position, here.any(dim=1))
            made[window] = torch.where(here[:, None], copied, made[window])
    audio = istft(made.flatten(0, 1), lr.shape[-1], FINE_FFT, HOP)
    fast = stft(audio, FAST_FFT, FAST_HOP)
    local = F.avg_pool2d(power(fast)[:, None], (15, 5), stride=1, padding=(7, 2), count_include_pad=False)[:, 0]
    whitened: Tensor = (fast / (local + 1e-3).sqrt()).unflatten(0, lr.shape[:2])
    return whitened


def _tiled(low: Tensor, edge: int, position: int, sounding: Tensor) -> Tensor:
    """Low bands [C, 1025, T] below bin `edge`, whitened and copied above it by a lag held over `HOLD` frames.

    The lag is the one at which the channels that are `sounding` [C] repeat best.
    """
    frames = low.shape[-1]
    envelope = moving_mean(moving_mean(power(low), WHITEN_BINS, 1), WHITEN_BINS, 1)
    white = low / (envelope + WHITEN_FLOOR).sqrt()
    logs = (power(white[sounding, :edge]) + 1e-3).log().clamp(-4, 3)
    logs = moving_mean(logs - logs.mean(1, keepdim=True), LAG_FRAMES, 2)
    spectrum = torch.fft.rfft(logs, 2 * edge, dim=1)
    likeness = torch.fft.irfft(power(spectrum).sum(0) + 0j, 2 * edge, dim=0)[:edge]
    lags = torch.arange(max(edge // 3, 8), edge - 6, device=low.device)
    likeness = likeness[lags] / (edge - lags)[:, None]
    place = torch.arange(frames, device=low.device) + position
    group = torch.div(place, HOLD, rounding_mode="floor")
    group = group - group[0]
    held = torch.zeros(len(lags), int(group[-1]) + 1, device=low.device).index_add_(1, group, likeness)
    lag = lags[held.argmax(0)][group]
    bins = torch.arange(edge, FINE_FFT // 2 + 1, device=low.device)[:, None]
    turn = torch.div(bins - edge, lag[None], rounding_mode="floor") + 1
    source = bins - turn * lag[None]
    copied = white.gather(1, source.expand(len(low), -1, -1))
    # A shift by turn * lag bins: frames are HOP / FINE_FFT = 1/4 of a turn apart.
    phase = (turn * lag[None] * (place % 4)[None]) % 4
    turned = copied * torch.polar(torch.ones_like(phase, dtype=torch.float32), phase * (math.pi / 2))
    out = torch.zeros_like(low)
    out[:, edge:] = turned
    return out / (moving_mean(power(out), 43, 1) + 1e-6).sqrt()


@lru_cache(maxsize=1)
def frame_weights() -> bytes:
    """How much a fast frame hears of what is around its centre: float64 of [513], their sum 1."""
    window = np.square(np.hanning(FAST_FFT + 1))
    weights: bytes = (window / window.sum()).tobytes()
    return weights


def onset_gate(lr: Tensor, cutoff_hz: Tensor) -> Tensor:
    """Gain [R, samples], 0 to 1, that keeps what is made from sounding before an onset of the input.

    A fast frame spreads what it holds over 10.7 ms. Where the input's upper band, over 1.3 ms, is more than `GATE_DB`
    under its mean over the frame's own window, what is made falls with it; where the input is silent, nothing is made.

    Args:
        lr: [R, samples]. cutoff_hz: [R, T], Hz.
    """
    samples = lr.shape[-1]
    hz = torch.linspace(0, RATE / 2, samples // 2 + 1, device=lr.device)
    # Wide skirts, so that the filter itself does not sound before an onset.
    lowest = cutoff_hz.amin(dim=1, keepdim=True)
    skirt = 0.5 - 0.5 * torch.cos(math.pi * ((hz / lowest - 0.2) / 0.6).clamp(0, 1))
    level = irfft(rfft(lr, samples) * skirt, samples).square()[:, None]
    near = F.avg_pool1d(level, NEAR, stride=1, padding=NEAR // 2, count_include_pad=False)
    size = samples + FAST_FFT
    spread = rfft(near, size) * taps_spectrum(frame_weights(), size, lr.device)
    far = irfft(spread, size)[..., FAST_FFT // 2 : FAST_FFT // 2 + samples].clamp(min=0)
    ratio = (near + EPSILON) / (far + EPSILON) * 10 ** (GATE_DB / 10)
    whole = F.avg_pool1d(lr.square()[:, None], NEAR, stride=1, padding=NEAR // 2, count_include_pad=False)
    envelope: Tensor = (ratio.clamp(max=1).sqrt() * whole / (whole + SILENCE_POWER))[:, 0]
    return envelope
