"""The built-in engine: a small diffusion model of energies above the cutoff, at 48 kHz.

Once per window a conditioner takes the low band and predicts, for every band of 375 Hz and 5.3 ms, where the energy
lies and how sure that is, and how tonal each band is. The diffusion draws what that leaves open. Energies are given to
carriers: noise, mixed between the channels as the low band is and as the image network says of every band, and copies
of the low band that carry its partials on, at a share that follows the drawn tonality. Carriers are the same for all
candidates of a window, so candidates differ in what the model drew, and neighbouring windows cross-fade coherently.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from scipy import fft
from torch import Tensor

from ttsr_studio.analysis.spectra import square_root
from ttsr_studio.audio.fourier import irfft, rfft, taps_spectrum
from ttsr_studio.diffusion.batch_limit import BatchLimit, in_batches
from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.engines.builtin import carriers
from ttsr_studio.engines.builtin.image import ChannelPairs, by_band, runs
from ttsr_studio.engines.builtin.levels import LEVEL_FRAMES, heard_levels
from ttsr_studio.engines.builtin.networks import (
    RESIDUAL_LIMIT,
    STATE,
    TONALITY_SCALE,
    BuiltinNetwork,
    Prediction,
    apart,
    load_network,
    state_mask,
)
from ttsr_studio.engines.builtin.spectral import (
    FAST_FFT,
    FAST_HOP,
    HOP,
    TONAL_BANDS,
    band_power,
    band_to_bins,
    bin_hz,
    by_frame,
    crossover_start,
    features,
    istft,
    power,
    stft,
    twice,
)
from ttsr_studio.engines.registry import EngineSettings
from ttsr_studio.errors import MissingError, OptionError, shown
from ttsr_studio.weights import layers
from ttsr_studio.weights.checkpoint import verified

T = TypeVar("T")

WEIGHTS = Path(__file__).parent / "builtin.safetensors"
CHECKSUM = Path(__file__).parent / "builtin.safetensors.sha256"

TOP_HZ = (22800.0, 23700.0)
"""Where the generated band fades out."""

AROUND, LEVELS_AROUND = 140, 280
"""Slow frames on either side of a window that the conditioner gets besides, 1.5 s, and the level network, 3 s."""

LEVEL_HOPS = LEVEL_FRAMES // 2
"""Slow frames of a level frame. Level frames begin at multiples of it in a file, so that all windows see the same."""

FAST, SLOW, SLOW_FRAMES = 0.5, 0.06, 281
"""The starting noise is FAST times white noise plus SLOW times the same smoothed over +-3 s, at its power.

White noise makes candidates that differ in what averages out within a window: by the log-spectral distance, best of 8
is 2 % under the mean candidate. What the conditioner cannot know is mostly how bright a passage is, and slow noise
lets candidates differ in that: with .12 it is 6 %. But a draw is then further from the truth (ViSQOL 2.8 for 3.1,
distance 1.43 for 1.38), and no verifier finds enough of what it offers; so a little of it (validation part, 4 kHz, 21
clips).
"""

WIDE_SLOW = 0.12
"""Of `SLOW`, where all the variety is asked for."""

DRAWN_SLOW, DRAWN_FAST, DRAWN_FRAMES = 0.3, 0.7, 11
"""Shares of what is drawn that energies get: of its course over so many fast frames (59 ms), and of what is quicker.

Whole draws wander in level over tenths of a second where the truth does not, which costs the most of all by ViSQOL and
buys neither hits nor partials: what is quicker than 59 ms is nearly free (validation part, 4 kHz, 30 clips, one draw:
ViSQOL 2.82 with all of it and 3.00 with these shares, Zimtohrli 3.22 for both, onset contrast off by .11 and .08).
"""

TOWARDS_MEAN = 0.15
"""How far what is rendered lies from the predicted middle of a cell's log energy to the log of its mean energy.

What cannot be known is soft at its middle, since most of its energy is in the few cells where it is loud, and the mean
is louder where less is known. It costs a little likeness: a quarter of the way makes renders 1.6 dB louder (-1.2 dB for
-2.8 off) and hits .004 truer for .024 of ViSQOL, nothing of Zimtohrli, and 2 dB more before onsets (validation part, 4
kHz, 77 clips; the same for a mean over half a second in place of each cell's own).
"""

SHOWN_SPREAD = 0.45
"""Of the spread of levels (dB, cells of 1 kHz by 85 ms) that 8 candidates have with all that is drawn: .43 and .50."""

WIDE_SPREAD = 1.76
"""The same with all the variety: 3.9 times as much (validation part, 4 kHz, 12 clips; half of it 2.2 times)."""

CONTRAST, CONTRAST_FRAMES, CONTRAST_REACH = 2.2, 13, 1.5
"""Log energies are spread by this about their mean over so many fast frames (69 ms).

A prediction of what cannot be known is nearer to its mean than the truth is, so hits come out soft. Spreading gives
onset contrast and energy back at less cost in likeness than more noise does. Deviations count up to the reach (natural
log), which bounds the change to 7.8 dB: a hit out of silence is no louder.
"""

TONAL_FROM, TONAL_RANGE, TONAL_MOST = 0.4, 0.2, 1.0
"""Tonality at which copies of the low band set in, over what range they take over, and their largest share."""

EVEN = 0.7
"""How far cells of a carrier are brought to equal energy."""

ROWS = 512
"""Windows and channels that a GPU takes at once, if its memory holds them. A CPU takes one: what it works on then stays
in its caches (1.4 times faster than 32 rows at once), and a row comes out the same, to the last bit, whatever else is
rendered beside it."""


@dataclass(frozen=True)
class BuiltinTensors:
    """What is computed once per window and channel; R rows.

    Attributes:
        prediction: what the conditioner predicts.
        maps [R, 64, 2T, cells], frames [R, T, width]: what the denoiser takes of it. mask: [R, 144, T].
        low: the input up to the cutoff, [R, samples].
        noise, tiles: carriers, fast spectra [R, 257, 2T - 1].
        gate: 1 where something may be generated, 0 where not, [R, 257, 2T - 1].
        onsets: the same within frames, [R, samples].
        sounding: 1 for fast frames in which the input sounds, [R, 1, 2T - 1].
    """

    prediction: Prediction
    maps: Tensor
    frames: Tensor
    mask: Tensor
    low: Tensor
    noise: Tensor
    tiles: Tensor
    gate: Tensor
    onsets: Tensor
    sounding: Tensor


@dataclass(frozen=True)
class BuiltinConditioning:
    """Rows into shared window tensors, so that candidates of one window share one copy."""

    tensors: BuiltinTensors
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, index: Tensor) -> "BuiltinConditioning":
        return replace(self, index=self.index[index.to(self.index.device)])

    def parts(self, size: int) -> Sequence[tuple[Tensor, ...]]:
        """Maps, frames and mask of so many rows at a time; maps are in channels-last order."""
        if size == 1 and self.index.device.type == "cpu":
            return self._one_by_one
        return list(zip(*(whole.split(size) for whole in self._together), strict=True))

    @cached_property
    def _together(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of all rows, repeated once for all evaluations."""
        tensors, index = self.tensors, self.index
        return tensors.maps[index].permute(0, 3, 1, 2), tensors.frames[index], tensors.mask[index]

    @cached_property
    def _one_by_one(self) -> list[tuple[Tensor, ...]]:
        """Of every row, in its window's own memory."""
        tensors, places = self.tensors, [slice(row, row + 1) for row in self.index.tolist()]
        return [(tensors.maps[at].permute(0, 3, 1, 2), tensors.frames[at], tensors.mask[at]) for at in places]


class BuiltinEngine:
    """See `ttsr_studio.diffusion.model.Engine` for the contract."""

    name = "builtin"
    sample_rate = 48000
    core_seconds = 5.12
    context_seconds = 0.64
    lookaround = LEVELS_AROUND * HOP
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    window_seconds = None
    sigma_range = (0.05, 8.0)
    levels_on_cpu = True
    guided = False
    differentiable = True
    default_guidance = 1.0
    times = None
    previews = ("latent",)
    early_preview = None
    default_steps = 4
    default_solver = "dpmpp-2m"
    default_schedule = "edm"
    schedule_options = {"rho": 4.0}  # noqa: RUF012
    default_temperature = 1.0
    input_rms = 0.1
    hop = HOP

    def __init__(
        self,
        network: BuiltinNetwork,
        device: torch.device,
        weights: dict[str, str],
        half: bool = False,
        variety: float = 0.0,
    ) -> None:
        self.network, self.device, self._weights = network, device, weights
        self.variety, self.shown_spread = variety, at_variety(SHOWN_SPREAD, WIDE_SPREAD, variety)
        self.precision = "bf16" if half else "fp32"
        self.rows = 1 if device.type == "cpu" else ROWS
        self._limit = BatchLimit(self.rows)
        self.config = network.config

    def weights(self) -> dict[str, str]:
        return dict(self._weights)

    def _networks(self) -> AbstractContextManager[object]:
        """Where the networks are run: their products and convolutions are in bfloat16 where that was asked for."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def noise_shape(self, samples: int) -> tuple[int, ...]:
        return (STATE, samples // HOP + 1 + 2 * SLOW_FRAMES)

    def noise_hop(self) -> int:
        return HOP

    def noise_lead(self) -> int:
        return SLOW_FRAMES

    def start(self, noise: Tensor, sigma: float) -> Tensor:
        noise = noise.to(self.device)
        fast = noise[..., SLOW_FRAMES:-SLOW_FRAMES]
        size = fft.next_fast_len(noise.shape[-1], real=True)
        # by FFT: a twelfth of what a convolution takes, and no TF32
        smooth = irfft(rfft(noise, size) * taps_spectrum(slow_weights(), size, self.device), size)
        slow = smooth[..., 2 * SLOW_FRAMES : noise.shape[-1]]
        return (FAST * fast + at_variety(SLOW, WIDE_SLOW, self.variety) * slow) * sigma

    @torch.no_grad()
    def condition(self, lr: Tensor, cutoff_hz: Tensor, keys: Sequence[NoiseKey]) -> BuiltinConditioning:
        samples = lr.shape[-1] - 2 * self.lookaround
        if samples % HOP:
            raise OptionError(f"window of {samples} samples is not a multiple of the engine's hop {HOP}")
        windows, channels = lr.shape[:2]
        frames = samples // HOP + 1
        lr = lr.to(self.device)
        wide = cutoff_hz.to(self.device, torch.float32)
        if wide.dim() == 2:
            wide = wide[..., None].expand(-1, -1, lr.shape[-1] // HOP + 1)
        rows, edges = lr.flatten(0, 1), wide.flatten(0, 1)

        positions = [key.position + self.noise_lead() for key in keys]
        begins = [(LEVELS_AROUND - position) % LEVEL_HOPS for position in positions]
        late = [begin for begin in begins for _ in range(channels)]

        def predicted(start: int, stop: int) -> Prediction:
            """Of rows that begin at the same place within a level frame."""
            return rows_together([self._predicted(rows[r], edges[r], late[r.start]) for r in runs(late, start, stop)])

        prediction = rows_together(self._batches(len(rows), predicted))
        source, gain = carriers.panned(lr, wide)
        prediction = prediction.rows(source)
        inner = rows[:, self.lookaround : lr.shape[-1] - self.lookaround]
        edges = edges[:, LEVELS_AROUND : LEVELS_AROUND + frames]
        low = stft(inner, FAST_FFT, FAST_HOP)
        by_fast = twice(by_frame(edges, frames))[..., :-1]
        hz = bin_hz(self.device)[None, :, None]
        top_low, top_high = TOP_HZ
        gate = (hz >= crossover_start(by_fast)) * ((top_high - hz) / (top_high - top_low)).clamp(0, 1)
        shape = (windows, channels)
        # What the input has above the cutoff, where the user set that lower, is replaced and not added to.
        kept = low * (hz <= by_fast)
        drawn = carriers.noise(keys, channels, samples, self.device)
        if channels > 1:
            near = carriers.correlations(kept.unflatten(0, shape), by_fast.unflatten(0, shape)[:, :, 0])
            if self.network.image is None:
                wanted = near[:, :, :, None]
            else:
                with self._networks():
                    wanted = by_band(self.network.image, near, ChannelPairs(lr, wide, begins), self._batches)
            drawn = carriers.correlated(drawn, wanted)
        with self._networks():
            maps, conditions = (made.float() for made in self.network.denoiser.prepare(prediction))
        prediction = prediction.louder(2 * gain.log()[:, None, None])
        copied = carriers.tiles(inner.unflatten(0, shape), edges.unflatten(0, shape), positions)
        tensors = BuiltinTensors(
            prediction,
            maps.permute(0, 2, 3, 1).contiguous(),
            conditions,
            state_mask(prediction.missing),
            istft(kept, samples, FAST_FFT, FAST_HOP),
            drawn.flatten(0, 1),
            copied.flatten(0, 1),
            gate,
            carriers.onset_gate(inner, edges),
            (power(low).mean(dim=1, keepdim=True) > carriers.SILENCE_POWER).float(),
        )
        return BuiltinConditioning(tensors, torch.arange(len(rows), device=self.device))

    def _predicted(self, rows: Tensor, edges: Tensor, late: int) -> Prediction:
        """Of rows and cutoffs with `LEVELS_AROUND` on either side; level frames begin `late` slow frames later."""
        beyond = LEVELS_AROUND - AROUND
        given = features(rows[:, beyond * HOP : -beyond * HOP], edges[:, beyond:-beyond])
        heard = heard_levels(rows[:, late * HOP :])
        with self._networks():
            return self.network.predict(given, heard, edges[:, late:], beyond - late).cropped(AROUND)

    def denoise(self, x: Tensor, sigma: Tensor, conditioning: BuiltinConditioning) -> Tensor:
        given = x.to(self.device).split(self.rows), sigma.to(self.device, torch.float32).split(self.rows)
        parts = zip(*given, conditioning.parts(self.rows), strict=True)
        with self._networks():
            return torch.cat([self.network.denoiser(x, sigma, *there) for x, sigma, there in parts])

    def preview(self, x0: Tensor, level: str, conditioning: BuiltinConditioning) -> Tensor:
        """What was drawn, in units of its own spread."""
        return x0

    def decode(self, x0: Tensor, conditioning: BuiltinConditioning) -> Tensor:
        """As many rows at a time as fit: spectra take more memory than audio."""
        index, tensors = conditioning.index, conditioning.tensors

        def decoded(start: int, stop: int) -> Tensor:
            return self._decoded(x0[start:stop], index[start:stop], tensors)

        return torch.cat(self._batches(len(x0), decoded))

    def _batches(self, count: int, made: Callable[[int, int], T]) -> list[T]:
        """What is made of rows from one to another, as many at a time as fit."""
        return in_batches(count, self._limit, made, f"engine {self.name!r} on {self.device}")

    def _decoded(self, x0: Tensor, rows: Tensor, tensors: BuiltinTensors) -> Tensor:
        energy, tonality = drawn(x0, rows, tensors, self.variety)
        return carried(spread_over_time(energy, tensors.sounding[rows]), tonality, rows, tensors)


def rows_together(parts: Sequence[Prediction]) -> Prediction:
    """Predictions of rows, one after the other."""
    return Prediction(*(torch.cat(values) for values in zip(*(vars(part).values() for part in parts), strict=True)))


def at_variety(none: float, all_of_it: float, variety: float) -> float:
    """A figure at a variety from 0 to 1."""
    return none + (all_of_it - none) * variety


def drawn(x0: Tensor, rows: Tensor, tensors: BuiltinTensors, variety: float = 0.0) -> tuple[Tensor, Tensor]:
    """Log energy [R, 64, 2T - 1] and tonality [R, 64, T] of what was drawn, x0 [R, 144, T], for rows of windows."""
    prediction = tensors.prediction
    cells, tonal = apart(x0.clamp(-RESIDUAL_LIMIT, RESIDUAL_LIMIT))
    location, mean = prediction.location[rows], prediction.mean[rows]
    energy = torch.lerp(location, mean, TOWARDS_MEAN) + calmed(prediction.spread[rows] * cells, variety)
    tonality = prediction.tonality[rows] + TONALITY_SCALE * tonal.repeat_interleave(64 // TONAL_BANDS, dim=1)
    return energy[..., :-1], tonality


def carried(energy: Tensor, tonality: Tensor, rows: Tensor, tensors: BuiltinTensors) -> Tensor:
    """Audio [R, samples] in which carriers have a log energy [R, 64, 2T - 1], shared by a tonality [R, 64, T]."""
    share = ((tonality - TONAL_FROM) / TONAL_RANGE).clamp(0, TONAL_MOST)
    share = band_to_bins(twice(share)[..., :-1])
    carrier = square_root(1 - share) * tensors.noise[rows] + square_root(share) * tensors.tiles[rows]
    # Cells of the carrier are brought to unit energy first: how energy varies from cell to cell was drawn.
    own = (band_power(carrier) + 0.02).log()
    shaped = carrier * band_to_bins(0.5 * (energy - EVEN * own)).exp() * tensors.gate[rows]
    made = istft(shaped, tensors.low.shape[-1], FAST_FFT, FAST_HOP)
    return torch.addcmul(tensors.low[rows], made, tensors.onsets[rows])


@lru_cache(maxsize=1)
def slow_weights() -> bytes:
    """What smooths the slow noise: float64 of [563], the sum of its squares 1."""
    kernel = np.hanning(2 * SLOW_FRAMES + 3)[1:-1]
    return (kernel / np.linalg.norm(kernel)).tobytes()


def calmed(drawn: Tensor, variety: float) -> Tensor:
    """What was drawn, [R, 64, frames] in natural log of energy, at the shares that energies get; the same shape."""
    course = carriers.moving_mean(drawn, DRAWN_FRAMES, 2)
    return DRAWN_FAST * drawn + (at_variety(DRAWN_SLOW, 1.0, variety) - DRAWN_FAST) * course


def spread_over_time(energy: Tensor, sounding: Tensor) -> Tensor:
    """Log energies [R, 64, frames] spread by `CONTRAST` about their local mean; the same shape.

    The mean is over frames in which the input sounds, `sounding` [R, 1, frames] of 1 and 0: a start out of silence is
    no hit.
    """

    def around(x: Tensor) -> Tensor:
        return carriers.moving_mean(x, CONTRAST_FRAMES, 2)

    mean = around(energy * sounding) / around(sounding).clamp(min=1e-3)
    off = (energy - mean).clamp(-CONTRAST_REACH, CONTRAST_REACH)
    return energy + (CONTRAST - 1) * off * sounding


def load(name: str, device: str, settings: EngineSettings) -> BuiltinEngine:
    """Load the shipped weights, or those of the settings.

    Raises OptionError for settings that it does not have, MissingError when the weights are missing or are not the
    ones that were shipped.
    """
    settings.refuse(name, ("engine_weights", "precision", "variety"))
    half = settings.precision == "bf16"
    if settings.precision == "fp16":
        raise OptionError(f"engine {name!r} has no --precision fp16; it has fp32, and bf16 where the device has that")
    if half and not has_bfloat16(torch.device(device)):
        raise OptionError(f"--precision bf16: {device} does not compute in it, so that would be slower; leave it out")
    if settings.engine_weights is not None:
        if not settings.engine_weights.is_file():
            raise MissingError(f"{shown(settings.engine_weights)}: no such file")
        return load_file(device, settings.engine_weights, None, half, settings.variety)
    return load_file(device, WEIGHTS, CHECKSUM, half, settings.variety)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes products in bfloat16 itself; Apple's GPUs, on which it was not tried, are left out."""
    if device.type == "cpu":
        asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return layers.FUSED and any(ask is not None and ask() for ask in asked)
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def load_file(
    device: str,
    weights: Path = WEIGHTS,
    expected: Path | None = CHECKSUM,
    half: bool = False,
    variety: float = 0.0,
) -> BuiltinEngine:
    """Load weights; `expected` names a file with their sha256, None to accept any. Raises as `load`."""
    network = load_network(weights, torch.device(device))
    checksums = {weights.name: verified(weights, expected)}
    return BuiltinEngine(network, torch.device(device), checksums, half, variety)
