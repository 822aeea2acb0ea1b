"""Crossover: the input as it is, and what was generated added above its band, without delay.

Nothing of the input is taken away, above its edge neither: partials beyond it, a burst, a filter's skirt stay. What is
generated tops the input up: in every cell of 94 Hz and 5 ms it brings the energy that is missing there, and none where
the input has as much. It goes through a linear-phase high-pass first, so that below the transition the output nulls
against the input.

To replace what lies above the edge (``keep=False``) the pair is complementary: low-passed input and high-passed render
sum to the whole.
"""

from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from scipy import fft, signal

from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.fourier import frame_window, irfft, resynthesised, rfft, taps_spectrum
from ttsr_studio.errors import OptionError

_SIZE, _HOP = 512, 256
_LONG, _ASIDE, _STANDS_OUT_DB, _AUDIBLE = 4096, 16, 15.0, 10 ** (-75 / 20)
"""Frames in which partials are told apart; bins to either side that they stand out from; linear level of a sine."""

_FADE_SECONDS = 0.01
_SOFT = 0.01
_FAINT, _SILENT = 1e-2, 1e-8
"""What sounds where the input is known to hold something: of what was generated there, and of its loudest cell."""

_STOPBAND_DB = 112.0  # some margin over the -96 dB of 16 bits and the -110 dB asked of the merge

Signal = TypeVar("Signal", np.ndarray, torch.Tensor)


def transition_hz(cutoff_hz: float) -> float:
    """Return the width of the transition, which ends at the cutoff: 1 kHz, less for cutoffs below 4 kHz."""
    return min(1000.0, 0.25 * cutoff_hz)


class Crossover:
    """A complementary pair at ``[cutoff - transition, cutoff]`` Hz; ``.taps`` is odd, ``.pad`` its half."""

    def __init__(self, cutoff_hz: float, rate: int, keep: bool = True, heard_to_hz: float = 0.0) -> None:
        """`heard_to_hz`: see `topped_up`. Raises OptionError unless ``0 < cutoff_hz <= rate / 2``."""
        if not 0.0 < cutoff_hz <= rate / 2:
            raise OptionError(f"crossover at {cutoff_hz:g} Hz does not fit {rate} Hz; half is the limit")
        width = transition_hz(cutoff_hz)
        taps, beta = signal.kaiserord(_STOPBAND_DB, width / (rate / 2))
        self.cutoff_hz = cutoff_hz
        self.rate = rate
        self.keep, self.heard_to_hz = keep, heard_to_hz
        self.taps = taps | 1
        self.pad = self.taps // 2
        self.low = signal.firwin(self.taps, cutoff_hz - width / 2, window=("kaiser", beta), fs=rate)

    def merge(self, lr: Signal, generated: Signal) -> Signal:
        """Return ``lr`` with ``generated`` above the crossover; all are float32 ``[..., samples]``.

        The first and last ``pad`` samples mix with the zeros outside: give that much context and drop it.
        """
        if isinstance(lr, np.ndarray):
            return self.merge(torch.from_numpy(lr), torch.from_numpy(generated)).numpy()
        if generated.dim() > 2 and len(generated) > 1 and generated.device.type == "cpu":
            # One by one, what is worked on stays in the caches: twice as fast.
            one_for_all = lr.dim() == generated.dim() and len(lr) == 1
            held = self._held(lr[0]) if one_for_all and self.keep else None
            rows = zip(lr.expand_as(generated), generated, strict=True)
            return torch.stack([self._merged(own, made, held or self._held(own)) for own, made in rows])
        return self._merged(lr, generated, self._held(lr))

    def _merged(self, lr: torch.Tensor, generated: torch.Tensor, held: "_Held | None") -> torch.Tensor:
        if held is None:
            return generated + self.low_pass(lr - generated)
        added = beside_partials(held, topped_up(held, generated))
        return lr + (added - self.low_pass(added))

    def _held(self, lr: torch.Tensor) -> "_Held | None":
        """What of the input is asked for every render that is merged with it; None where it is replaced."""
        if not self.keep:
            return None
        first = max(round(self.cutoff_hz / self.rate * _LONG) - 2 * _ASIDE, 0)
        heard = round(self.heard_to_hz / self.rate * _SIZE)
        power = _power(_spectrum(_long_enough(lr), _SIZE))
        found = partials(lr, first)
        if found is None:
            return _Held(power, heard)
        # Most bins have none: what is multiplied by 1 need not be touched.
        bins = found.movedim(-2, 0).flatten(1).any(1).nonzero()[:, 0]
        return _Held(power, heard, first + bins, 1 - found[..., bins, :])

    def low_pass(self, audio: torch.Tensor) -> torch.Tensor:
        """What lies below the crossover, ``[..., samples]``."""
        samples = audio.shape[-1]
        size = fft.next_fast_len(samples + self.taps - 1, real=True)
        # by FFT, since a GPU's convolutions round to TF32 (-60 dB) unless told otherwise
        spectrum = rfft(audio, size).mul_(taps_spectrum(self.low.tobytes(), size, audio.device))
        return irfft(spectrum, size)[..., self.pad : self.pad + samples]


class MapCrossover:
    """The crossover of a file whose band differs between channels, or changes: every edge's own where that holds.

    ``.pad`` samples at either end mix with what lies outside.
    """

    def __init__(self, bandwidth: BandwidthMap, rate: int) -> None:
        """Raises what `Crossover` raises."""
        self.bandwidth, self.rate, keep = bandwidth, rate, not bandwidth.replaced
        pairs = zip(chain(*bandwidth.edges_hz), chain(*bandwidth.heard.edges_hz), strict=True)
        heard: dict[float, float] = {}
        for edge, end in pairs:
            edge = float(np.float32(min(edge, rate / 2)))
            heard[edge] = max(heard.get(edge, bandwidth.heard_to_hz), end if end > edge else 0.0)
        self._crossovers = {edge: Crossover(edge, rate, keep, end) for edge, end in heard.items()}
        self.pad = max(each.pad for each in self._crossovers.values()) + round(_FADE_SECONDS * rate)

    def merge(self, lr: torch.Tensor, generated: torch.Tensor, start: int = 0) -> torch.Tensor:
        """As `Crossover.merge`, of a stretch that begins at sample ``start``; ``[..., channels, samples]``."""
        samples = lr.shape[-1]
        held = self.edges(start, samples, 1)
        distinct = held.unique().tolist()
        if len(distinct) == 1:
            return self._crossovers[distinct[0]].merge(lr, generated)
        held = held.to(generated.device)
        fade = round(_FADE_SECONDS * self.rate)
        window = torch.hann_window(2 * fade + 1, periodic=False, device=generated.device)
        window = (window / window.sum())[None, None]
        merged = torch.zeros_like(generated)
        for edge in distinct:
            where = torch.nn.functional.pad((held == edge).float()[:, None], (fade, fade), mode="replicate")
            share = torch.nn.functional.conv1d(where, window)[:, 0]
            whole = edge >= self.rate / 2
            merged += share * (lr if whole else self._crossovers[edge].merge(lr, generated))
        return merged

    def edges(self, start: int, samples: int, hop: int) -> torch.Tensor:
        """Edges in Hz, float32 [channels, samples // hop + (hop > 1)], of a stretch that begins at sample ``start``."""
        places = (start + hop * np.arange(samples // hop + (hop > 1))) / self.rate
        steps = np.searchsorted(self.bandwidth.starts_s, places, side="right") - 1
        table = np.minimum(np.array(self.bandwidth.edges_hz, np.float32), np.float32(self.rate / 2))
        return torch.from_numpy(table[:, np.maximum(steps, 0)])


@dataclass(frozen=True)
class _Held:
    """What an input holds.

    Attributes:
        power: [..., channels, bins of 94 Hz, frames of 5.3 ms] (at 48 kHz), smoothed over three of each.
        heard: so many of the first bins, where it is known to hold something.
        bins: of frames of 4,096, those that partials of it lie in.
        beside: 0 around its partials in these bins, else 1, [..., channels, bins, frames]; None without partials.
    """

    power: torch.Tensor
    heard: int
    bins: torch.Tensor | None = None
    beside: torch.Tensor | None = None


def topped_up(held: _Held, generated: torch.Tensor) -> torch.Tensor:
    """What of ``generated`` the input has not: cells scaled to the energy that it lacks, ``[..., samples]``.

    In the bins where the input is known to hold something, nothing is added to a cell in which it sounds, however
    softly.
    """
    whole = _long_enough(generated)
    wanted, power, heard = _spectrum(whole, _SIZE), held.power, held.heard
    aim = _power(wanted).clamp_min(1e-20)
    missing = 1 - torch.minimum(power, aim) / aim
    if heard:
        sounds = (power > _FAINT * aim) | (power > _SILENT * power.amax())
        missing[..., :heard, :][sounds[..., :heard, :]] = 0
    # A square root, but for its slope at 0, where the last bits of what was generated would be heard.
    gain = missing / (missing + _SOFT).sqrt() * (1 + _SOFT) ** 0.5
    # As pairs of numbers: as a complex one, the gain would be copied first.
    scaled = torch.view_as_complex(torch.view_as_real(wanted) * gain[..., None])
    rows = scaled.reshape(-1, *wanted.shape[-2:])
    return resynthesised(rows, _SIZE, _HOP, whole.shape[-1]).view_as(whole)[..., : generated.shape[-1]]


def _long_enough(audio: torch.Tensor) -> torch.Tensor:
    """The same, with silence after it where a frame is longer."""
    lacking = _SIZE + 1 - audio.shape[-1]
    return torch.nn.functional.pad(audio, (0, lacking)) if lacking > 0 else audio


def beside_partials(held: _Held, added: torch.Tensor) -> torch.Tensor:
    """``added`` [..., samples] without what lies on a partial of the input: it could as well cancel it."""
    if held.beside is None:
        return added
    spectrum = _spectrum(added, _LONG)
    spectrum[..., held.bins, :] *= held.beside
    kept = spectrum.reshape(-1, *spectrum.shape[-2:])
    return resynthesised(kept, _LONG, _LONG // 4, added.shape[-1]).view_as(added)


def partials(lr: torch.Tensor, first: int) -> torch.Tensor | None:
    """1 around partials of ``lr`` [..., samples], in frames of 4,096 from bin ``first`` on; None without any.

    A partial stands out by 15 dB from what lies to either side of it.
    """
    if lr.shape[-1] <= _LONG:
        return None
    faintest_db = 20 * np.log10(_AUDIBLE * _LONG / 4)
    level = 10 * _squared(_spectrum(lr, _LONG))[..., first:, :].clamp_min(1e-12).log10()
    if not bool((level > faintest_db).any()):
        return None
    rows = level.reshape(-1, *level.shape[-2:])
    around = torch.nn.functional.avg_pool2d(rows, (_ASIDE + 1, 1), 1, (_ASIDE // 2, 0))
    side = torch.maximum(around.roll(_ASIDE // 2 + 5, 1), around.roll(-(_ASIDE // 2 + 5), 1))
    partial = (rows > side + _STANDS_OUT_DB) & (rows > faintest_db)
    partial[:, :_ASIDE] = False
    if not bool(partial.any()):
        return None
    return torch.nn.functional.max_pool2d(partial.float(), (7, 3), 1, (3, 1)).view_as(level)


def _spectrum(audio: torch.Tensor, size: int) -> torch.Tensor:
    """[..., samples] -> complex [..., bins, frames]."""
    hop, window = _HOP if size == _SIZE else size // 4, frame_window(size, audio.device)
    rows = torch.stft(audio.reshape(-1, audio.shape[-1]), size, hop, window=window, return_complex=True)
    return rows.view(*audio.shape[:-1], *rows.shape[-2:])


def _squared(spectrum: torch.Tensor) -> torch.Tensor:
    return spectrum.real.square() + spectrum.imag.square()


def _power(spectrum: torch.Tensor) -> torch.Tensor:
    """Power of cells and their neighbours, the same shape."""
    return mean_of_three(mean_of_three(_squared(spectrum), -1), -2)


def mean_of_three(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Means of neighbours along an axis, of two at its ends; an average pool does the same in ten times as long."""
    size = x.shape[dim]
    if size < 2:
        return x
    total = x.clone()
    total.narrow(dim, 1, size - 1).add_(x.narrow(dim, 0, size - 1))
    total.narrow(dim, 0, size - 1).add_(x.narrow(dim, 1, size - 1))
    total.narrow(dim, 0, 1).mul_(1.5)
    total.narrow(dim, size - 1, 1).mul_(1.5)
    return total.div_(3)
