"""Running the vocoder: in tiles where memory is short, and how late it is."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttsr_studio.engines.audiosr.mel import EDGE, HOP, RATE, log_mel
from ttsr_studio.engines.audiosr.networks import UPSAMPLING

TILE = 128
REACH = 26
"""Frames that the vocoder sees on either side of one: 3 before the first stage, 14 in its blocks, 9 in the rest."""

DELAY_RANGE = 240
CONVINCING = 0.5


class ChannelsLast(nn.Module):
    """A 1-d convolution, plain or transposed, run as a 2-d one with its channels last in memory.

    The same sums; oneDNN takes them in a layout that is up to twice as fast on the vocoder's long, thin layers.
    """

    def __init__(self, conv: nn.Conv1d | nn.ConvTranspose1d) -> None:
        super().__init__()
        flat = conv.weight.data[:, :, None].contiguous(memory_format=torch.channels_last)
        self.weight, self.bias = nn.Parameter(flat, requires_grad=False), conv.bias
        self._transposed = isinstance(conv, nn.ConvTranspose1d)
        padding = conv.padding
        assert not isinstance(padding, str)
        self._stride, self._padding, self._dilation = (1, conv.stride[0]), (0, padding[0]), (1, conv.dilation[0])

    def forward(self, x: Tensor) -> Tensor:
        flat = x[:, :, None].contiguous(memory_format=torch.channels_last)
        run = F.conv_transpose2d if self._transposed else F.conv2d
        return run(flat, self.weight, self.bias, self._stride, self._padding, dilation=self._dilation)[:, :, 0]


def channels_last(net: nn.Module) -> nn.Module:
    """Replace all 1-d convolutions of a network by `ChannelsLast`; returns the network."""
    for name, child in net.named_children():
        if isinstance(child, nn.Conv1d | nn.ConvTranspose1d):
            setattr(net, name, ChannelsLast(child))
        else:
            channels_last(child)
    return net


def vocode(vocoder: nn.Module, mel: Tensor, tiled: bool = False) -> Tensor:
    """Log-mel [N, T, mels] -> audio [N, 480 T + 16], as the vocoder gives it.

    Tiles reach as far as the vocoder does, so they join to rounding.
    """
    frames = mel.shape[1]
    if not tiled or frames <= TILE:
        audio: Tensor = vocoder(mel)
        return audio.reshape(len(mel), -1)
    parts = []
    for start in range(0, frames, TILE):
        stop = min(frames, start + TILE)
        first, last = max(0, start - REACH), min(frames, stop + REACH)
        audio = vocoder(mel[:, first:last]).reshape(len(mel), -1)
        end = None if stop == frames else (stop - first) * HOP
        parts.append(audio[:, (start - first) * HOP : end])
    return torch.cat(parts, dim=1)


def _geometric() -> int:
    """Samples by which the vocoder's stages are late by their padding alone: half a step where it cannot be even."""
    delay, ahead = 0.0, 1
    for rate, kernel in reversed(UPSAMPLING):
        delay += ahead * ((kernel - rate) / 2 - (kernel - rate) // 2)
        ahead *= rate
    return round(delay)


GEOMETRIC_DELAY = _geometric()
"""8 samples at 48 kHz; training may have moved it, so `measure_delay` listens."""


@dataclass(frozen=True)
class Delay:
    """How late the vocoder is.

    Attributes:
        samples: at 48 kHz.
        correlation: of the envelopes at that shift, 0 to 1.
        measured: False when the correlation did not convince, and `samples` is what its padding alone makes.
    """

    samples: int
    correlation: float
    measured: bool


@torch.no_grad()
def measure_delay(vocoder: nn.Module, mels: int) -> Delay:
    """Let the vocoder speak short noise bursts and find the shift at which the envelopes agree best."""
    generator = torch.Generator().manual_seed(0)
    samples = 128 * HOP
    bursts = torch.zeros(samples)
    for start in range(3000, samples - 3000, 4703):
        bursts[start : start + 240] = 0.3 * torch.randn(240, generator=generator)
    mel = log_mel(F.pad(bursts[None], (EDGE, EDGE)), mels)
    first = next(vocoder.parameters())
    spoken = vocode(vocoder, mel.to(first.device, first.dtype))[0].float().cpu()
    given, made = _envelope(bursts), _envelope(spoken)
    span = slice(DELAY_RANGE, samples - DELAY_RANGE)
    shifts = list(range(-DELAY_RANGE, DELAY_RANGE + 1))
    agreement = torch.stack([_correlation(given[span], made[span.start + s : span.stop + s]) for s in shifts])
    best = int(agreement.argmax())
    strength = float(agreement[best])
    if strength < CONVINCING or best in (0, len(shifts) - 1):
        return Delay(GEOMETRIC_DELAY, strength, measured=False)
    return Delay(shifts[best], strength, measured=True)


def _envelope(audio: Tensor) -> Tensor:
    """Power smoothed over a millisecond, its root, without its mean."""
    width = RATE // 1000 + 1
    kernel = torch.hann_window(width, periodic=False)
    power = F.conv1d(audio.square()[None, None], (kernel / kernel.sum())[None, None], padding="same")
    level = power[0, 0].clamp(min=0).sqrt()
    return level - level.mean()


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    cosine: Tensor = (a @ b) / (a.norm() * b.norm()).clamp(min=1e-12)
    return cosine
