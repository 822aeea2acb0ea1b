"""The built-in engine's networks.

`Conditioner` runs once per window. It predicts location and spread of the log energy of every fast cell, the mean
energy and the tonality, with about two seconds of context on either side. `Denoiser` runs once per evaluation: it
denoises what the conditioner leaves open (EDM preconditioning, Karras et al. 2022, section 5), in units of the
conditioner's own spread. Both are two-dimensional where neighbouring cells meet, and ConvNeXt over frames (Liu et al.
2022) at the core. Beside them, `LevelNetwork` and `ImageNetwork` say how loud and how wide bands are.
"""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttsr_studio.engines.builtin.image import ImageNetwork
from ttsr_studio.engines.builtin.levels import BandLevels, LevelNetwork, corrected, level_cutoffs
from ttsr_studio.engines.builtin.spectral import (
    BANDS,
    CELL_FEATURES,
    EARS,
    NOISE_TONALITY,
    TONAL_BANDS,
    Features,
)
from ttsr_studio.weights.checkpoint import load_weights
from ttsr_studio.weights.layers import (
    convolved_onto,
    convolved_to_one,
    dense,
    dense_gelu,
    gated_onto,
    gelu_,
    pointwise,
)

STATE = 2 * BANDS + TONAL_BANDS
"""Channels of what is drawn, by slow frame: the residual of two fast frames of 64 cells, and of tonality."""

RESIDUAL_LIMIT = 5.0
"""Residuals beyond are clamped; units of the conditioner's spread."""

TONALITY_SCALE = 0.35
"""Unit of the tonality's residual."""

LEVEL_SHARE = 0.4
"""Of levels over half a second, the level network's part; the rest is the conditioner's.

On held-out recordings each alone is off by 6.4 and 6.5 dB, with this share 6.0 (72 speakers, instruments and kinds of
effects at two cutoffs); for speech more of it would be better still, for music above 12 kHz less.
"""

PATCH = 4
"""Bands of a patch; a patch has two fast frames."""


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of both networks; stored in the weights file.

    Attributes:
        cells, patches, width, depth: of the conditioner: channels by cell, by patch, of the core and its blocks.
        draw_cells, draw_patches, draw_width, draw_depth: of the denoiser.
        expansion: of the blocks of both cores.
        context: channels that the conditioner keeps of the seconds around a frame, in the middle and at the end of
            its core; 0 for weights that have none.
        dropout: while training, in the conditioner's core.
        levels, image: widths of the level network and of the image network; 0 for weights that have none.
    """

    cells: int = 32
    patches: int = 96
    width: int = 448
    depth: int = 12
    draw_cells: int = 12
    draw_patches: int = 16
    draw_width: int = 288
    draw_depth: int = 6
    expansion: int = 2
    context: int = 0
    dropout: float = 0.1
    levels: int = 0
    image: int = 0

    def to_dict(self) -> dict[str, int | float]:
        return asdict(self)


def dilations(depth: int, octaves: int) -> list[int]:
    """Of a core's blocks, over frames: 1, 2, 4, ... for so many octaves, again and again."""
    return [2 ** (i % octaves) for i in range(depth)]


HEARD_OCTAVES, DRAWN_OCTAVES = 5, 4
"""Of the dilations: the conditioner sees two seconds on either side, the denoiser .6 s."""


class CellNorm(nn.Module):
    """Layer norm over the channels of every cell, [B, C, F, T]: nothing leaks over time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        normed = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), self.weight, self.bias)
        return normed.permute(0, 3, 1, 2)


class CellBlock(nn.Module):
    """Two 3x3 convolutions over bands and frames, residual, [B, C, F, T] -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = CellNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = nn.Parameter(torch.full((channels, 1, 1), 0.2))

    def forward(self, x: Tensor) -> Tensor:
        return gated_onto(x, self.gate, self.second(gelu_(self.first(self.norm(x)))))


CONTEXT_FRAMES = 191
"""Slow frames that the conditioner's context reaches on either side, 2 s."""

FRAMES_AT_ONCE = 128


class FrameBlock(nn.Module):
    """ConvNeXt block over frames, [B, T, C] -> [B, T, C]; with an embedding, scale, shift and gate from it (AdaLN)."""

    def __init__(
        self, width: int, expansion: int, dilation: int, dropout: float = 0.0, embedding: int | None = None
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3 * dilation, dilation=dilation, groups=width)
        self.norm = nn.LayerNorm(width, elementwise_affine=embedding is None)
        self.up = nn.Linear(width, expansion * width)
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Linear(expansion * width, width)
        self.modulation: nn.Linear | None = None
        if embedding is None:
            self.gate = nn.Parameter(torch.full((width,), 0.15))
        else:
            self.modulation = nn.Linear(embedding, 3 * width)
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)
            with torch.no_grad():
                self.modulation.bias[2 * width :] = 0.15

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        h = self.norm(self._over_frames(x))
        if self.modulation is None or embedding is None:
            gate: Tensor = self.gate
        else:
            scale, shift, gate = self.modulation(embedding)[:, None].chunk(3, dim=-1)
            h = torch.addcmul(shift, h, 1 + scale)
        mixed: Tensor = torch.addcmul(x, gate, dense(self.down, self.dropout(dense_gelu(self.up, h))))
        return mixed

    def _over_frames(self, x: Tensor) -> Tensor:
        """The depthwise convolution, as one over pictures of one row with channels last: 3.6 times faster on CPUs."""
        layer, reach = self.depthwise, int(self.depthwise.padding[0])
        # Padded beforehand: oneDNN takes four times as long for wide padding of its own.
        picture = F.pad(x, (0, 0, reach, reach)).transpose(1, 2).unsqueeze(2)
        weight = layer.weight.unsqueeze(2)
        made = F.conv2d(picture, weight, layer.bias, dilation=(1, layer.dilation[0]), groups=layer.groups)
        back: Tensor = made.squeeze(2).transpose(1, 2)
        return back


class HeardContext(nn.Module):
    """What a recording sounds like around a frame, given to that frame, [B, T, C] -> [B, T, C].

    A gated mean over frames (Squeeze-and-Excitation, Hu et al. 2018, with its mean weighed by what a frame has to say):
    how bright a recording is shows over seconds. Frames count less the further they are, and none beyond
    `CONTEXT_FRAMES`, so that what is said of a moment does not hang on where a window begins. It begins as no change.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, 2 * channels)
        self.leave = nn.Linear(channels, width)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = dense(self.enter, F.layer_norm(x, x.shape[-1:])).float().chunk(2, dim=-1)
        # In pieces that one thread does: where threads meet within a vector, the last bit of a sigmoid differs.
        share = torch.cat([part.sigmoid() for part in gate.split(FRAMES_AT_ONCE, dim=1)], dim=1)
        told = mean_around(value * share) / (mean_around(share) + 1 / CONTEXT_FRAMES)
        mixed: Tensor = x + dense(self.leave, told)
        return mixed


def mean_around(x: Tensor) -> Tensor:
    """Mean of [B, T, C] over `CONTEXT_FRAMES` on either side, weighed by a triangle; zeros beyond the ends."""
    size = CONTEXT_FRAMES
    once = F.avg_pool1d(x.transpose(1, 2), size, 1, size // 2)
    return F.avg_pool1d(once, size, 1, size // 2).transpose(1, 2)


def fold(x: Tensor) -> Tensor:
    """Patches [B, C, 16, T] -> frames [B, T, 16 C]."""
    return x.permute(0, 3, 1, 2).flatten(2)


def unfold(x: Tensor, channels: int) -> Tensor:
    """Frames [B, T, 16 C] -> patches [B, C, 16, T]."""
    patches: Tensor = x.unflatten(2, (channels, BANDS // PATCH)).permute(0, 2, 3, 1)
    return patches.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Prediction:
    """What the conditioner predicts of a window.

    Attributes:
        location, spread: of the natural log of energy, [B, 64, 2T]; the spread is a standard deviation.
        mean: natural log of the mean energy, [B, 64, 2T].
        tonality: [B, 64, T]. frames: features for the denoiser, [B, T, width].
        energy: of the input as the network gets it, [B, 64, 2T].
        missing: 1 where something is generated, [B, 64, 2T].
    """

    location: Tensor
    spread: Tensor
    mean: Tensor
    tonality: Tensor
    frames: Tensor
    energy: Tensor
    missing: Tensor

    def louder(self, by: Tensor) -> "Prediction":
        """With log energies changed by so much, [B, 64, 2T]."""
        return replace(self, location=self.location + by, mean=self.mean + by)

    def rows(self, index: Tensor) -> "Prediction":
        """Of some of its rows, [R]."""
        return Prediction(*(value[index] for value in vars(self).values()))

    def cropped(self, around: int) -> "Prediction":
        """Without that many slow frames on either side."""

        def inner(x: Tensor, scale: int) -> Tensor:
            return x[..., scale * around : x.shape[-1] - scale * around]

        return Prediction(
            inner(self.location, 2), inner(self.spread, 2), inner(self.mean, 2), inner(self.tonality, 1),
            self.frames[:, around : self.frames.shape[1] - around], inner(self.energy, 2), inner(self.missing, 2),
        )  # fmt: skip


class Conditioner(nn.Module):
    """Features of the input -> `Prediction`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        cells, patches, width = config.cells, config.patches, config.width
        folded = patches * BANDS // PATCH
        self.patches = patches
        self.enter = nn.Conv2d(CELL_FEATURES, cells, 5, padding=2)
        self.before = CellBlock(cells)
        self.down = nn.Conv2d(cells, patches, (PATCH, 2), stride=(PATCH, 2))
        self.inner = nn.Sequential(CellBlock(patches), CellBlock(patches))
        self.squeeze = nn.Linear(folded, width)
        self.ears = nn.Conv1d(2 * EARS, width, 3, padding=1)
        self.core = nn.ModuleList(
            FrameBlock(width, config.expansion, d, config.dropout) for d in dilations(config.depth, HEARD_OCTAVES)
        )
        self.contexts = nn.ModuleList(HeardContext(width, config.context) for _ in range(2 if config.context else 0))
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, folded)
        self.outer = nn.Sequential(CellBlock(patches), CellBlock(patches))
        self.up = nn.ConvTranspose2d(patches, cells, (PATCH, 2), stride=(PATCH, 2))
        self.after = CellBlock(cells)
        self.leave = nn.Conv2d(cells, 4, 1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        with torch.no_grad():
            self.leave.bias.copy_(torch.tensor([0.0, 0.4, 0.0, 0.0]))

    def forward(self, inputs: Features) -> Prediction:
        cells = inputs.cells.contiguous(memory_format=torch.channels_last)
        first = self.before(self.enter(cells))
        patches = self.inner(self.down(first))
        frames = dense(self.squeeze, fold(patches)) + self.ears(inputs.ears).transpose(1, 2)
        for i, block in enumerate(self.core):
            frames = block(frames)
            if self.contexts and i + 1 in (len(self.core) // 2, len(self.core)):
                frames = self.contexts[2 * (i + 1) // len(self.core) - 1](frames)
        frames = self.norm(frames)
        inside = self.outer(patches + unfold(dense(self.expand, frames), self.patches))
        out = pointwise(self.leave, self.after(first + self.up(inside))).float()
        tonality = NOISE_TONALITY + F.avg_pool2d(out[:, 3:4], (1, 2))[:, 0]
        location = 4 * out[:, 0] - 12
        spread = out[:, 1].clamp(-2.0, 1.5).exp()
        mean = location + 2 * F.softplus(out[:, 2])
        return Prediction(location, spread, mean, tonality, frames, cells[:, 0], cells[:, 6])


class Denoiser(nn.Module):
    """Noisy residual [B, 144, T], level sigma [B], prediction -> denoised residual."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        cells, patches, width = config.draw_cells, config.draw_patches, config.draw_width
        folded = patches * BANDS // PATCH
        self.patches = patches
        self.condition = nn.Linear(config.width + TONAL_BANDS, width)
        self.maps = nn.Conv2d(4, cells, 3, padding=1)
        self.enter = nn.Conv2d(1, cells, 3, padding=1, bias=False)
        self.down = nn.Conv2d(cells, patches, (PATCH, 2), stride=(PATCH, 2))
        self.squeeze = nn.Linear(folded + TONAL_BANDS, width)
        self.level = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.core = nn.ModuleList(
            FrameBlock(width, config.expansion, d, embedding=width) for d in dilations(config.draw_depth, DRAWN_OCTAVES)
        )
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, folded)
        self.tonality = nn.Linear(width, TONAL_BANDS)
        self.up = nn.ConvTranspose2d(patches, cells, (PATCH, 2), stride=(PATCH, 2))
        self.after = nn.Conv2d(cells, cells, 3, padding=1)
        self.leave = nn.Conv2d(cells, 1, 3, padding=1)
        for layer in (self.leave, self.tonality):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def prepare(self, prediction: Prediction) -> tuple[Tensor, Tensor]:
        """What is the same at every evaluation: maps [B, cells, 64, 2T] and frames [B, T, width]."""
        spread = prediction.spread.log()
        maps = torch.stack([prediction.location / 4 + 3, spread, prediction.energy, prediction.missing], dim=1)
        maps = maps.contiguous(memory_format=torch.channels_last)
        frames = torch.cat([prediction.frames.float(), pooled(prediction.tonality).transpose(1, 2)], dim=2)
        return self.maps(maps), dense(self.condition, frames)

    def forward(self, x: Tensor, sigma: Tensor, maps: Tensor, frames: Tensor, mask: Tensor) -> Tensor:
        """x and mask [B, 144, T]; see `prepare`. Sigma_data is 1."""
        level = sigma[:, None, None]
        scale = (1 + level**2).rsqrt()
        masked = x * scale * mask
        cells, tonal = apart(masked)
        picture = cells[:, None].contiguous(memory_format=torch.channels_last)
        first = gelu_(convolved_onto(self.enter, picture, maps))
        h = dense(self.squeeze, torch.cat([fold(self.down(first)), tonal.transpose(1, 2)], dim=2)) + frames
        embedding = self.level(fourier_features(0.25 * sigma.log(), 16))
        for block in self.core:
            h = block(h, embedding)
        h = self.norm(h)
        out = gelu_(self.after(first + self.up(unfold(dense(self.expand, h), self.patches))))
        made = together(convolved_to_one(self.leave, out)[:, 0], dense(self.tonality, h).transpose(1, 2)).float()
        return (x * scale**2 + made * level * scale) * mask


def fourier_features(values: Tensor, count: int, lowest: float = 0.125) -> Tensor:
    """values [B] -> sines and cosines [B, 2 * count] at frequencies half an octave apart, in cycles."""
    frequencies = lowest * 2.0 ** (0.5 * torch.arange(count, device=values.device, dtype=torch.float32))
    phase = 2 * math.pi * values[:, None] * frequencies[None]
    return torch.cat([phase.sin(), phase.cos()], dim=1)


def apart(state: Tensor) -> tuple[Tensor, Tensor]:
    """State [B, 144, T] -> cells [B, 64, 2T] and tonality [B, 16, T]."""
    even, odd, tonal = state.split((BANDS, BANDS, TONAL_BANDS), dim=1)
    return torch.stack([even, odd], dim=-1).flatten(2), tonal


def together(cells: Tensor, tonal: Tensor) -> Tensor:
    """Inverse of `apart`."""
    pairs = cells.unflatten(2, (-1, 2))
    return torch.cat([pairs[..., 0], pairs[..., 1], tonal], dim=1)


def pooled(bands: Tensor) -> Tensor:
    """By band [B, 64, T] -> mean by group of four, [B, 16, T]."""
    mean: Tensor = bands.unflatten(1, (TONAL_BANDS, -1)).mean(2)
    return mean


def state_mask(missing: Tensor) -> Tensor:
    """1 where something is drawn: missing [B, 64, 2T] -> [B, 144, T]."""
    return together(missing, (pooled(missing[..., ::2]) > 0).float())


class BuiltinNetwork(nn.Module):
    """Everything the engine has weights for."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.conditioner = Conditioner(config)
        self.denoiser = Denoiser(config)
        self.levels = LevelNetwork(config.levels) if config.levels else None
        self.image = ImageNetwork(config.image) if config.image else None

    def predict(self, given: Features, heard: BandLevels, cutoff_hz: Tensor, lead: int) -> Prediction:
        """Of an input's features, and its levels with their cutoffs [B, T], Hz.

        `LEVEL_SHARE` of levels is the level network's. Both begin `lead` slow frames before the features.
        """
        made: Prediction = self.conditioner(given)
        if self.levels is None:
            return made
        levels = self.levels(heard, level_cutoffs(cutoff_hz, heard.gap.shape[-1]))
        return made.louder(corrected(made.location, levels, LEVEL_SHARE, 2 * lead))


def load_network(path: Path, device: torch.device) -> BuiltinNetwork:
    """Read a weights file into a float32 network in inference mode.

    Raises MissingError when the file is not there or is not a weights file.
    """
    return load_weights(path, lambda config: BuiltinNetwork(NetworkConfig(**config)), device)  # type: ignore[arg-type]
