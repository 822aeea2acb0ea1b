"""How much of what was made is mixed in: the source at the output's rate, and of the difference to it a share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.analysis.uncertainty import SpreadMap
from ttsr_studio.audio.disk_buffer import Scratch, Sum
from ttsr_studio.audio.resample import resample_blocks
from ttsr_studio.audio.tilt import HOP, MadeGain, ShareMap
from ttsr_studio.errors import OutputError, shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.recorder import Recorder
from ttsr_studio.rendering.request import RunningRender
from ttsr_studio.rendering.source import BLOCK, Material
from ttsr_studio.report.file_records import AmountBand, AmountRecord

MIX_BLOCK = 128 * HOP
AGREED_DB = 1.0
LEAST = 0.25
"""Share that is left wherever candidates disagree by much, linear."""


@dataclass(frozen=True)
class Mix:
    """What is asked for: a share of all that was made, or shares by band and time, and a tilt in dB an octave."""

    amount: float | ShareMap
    tilt_db: float

    @property
    def whole(self) -> bool:
        """Whether a render stays as it is."""
        return self.tilt_db == 0 and not isinstance(self.amount, ShareMap) and self.amount == 1

    def record(self, seconds: float) -> AmountRecord:
        """As the report has it, of a file of so many seconds."""
        if not isinstance(self.amount, ShareMap):
            return AmountRecord(self.amount, self.tilt_db)
        shares, hertz = self.amount.shares, self.amount.hz
        second = np.minimum(self.amount.seconds, np.nextafter(seconds, 0)).astype(int)
        means = [float(shares[:, second == k].mean()) for k in range(int(np.ceil(seconds))) if (second == k).any()]
        half = float(np.diff(hertz).mean()) / 2 if len(hertz) > 1 else 500.0
        bands = [AmountBand(hz - half, hz + half, float(row.mean())) for hz, row in zip(hertz, shares, strict=True)]
        return AmountRecord("auto", self.tilt_db, float(shares.mean()), means, bands)


def mix_of(options: RenderOptions, recorder: Recorder) -> Mix:
    """What the options ask for, by what the recorder saw of the candidates."""
    if isinstance(options.amount, str):
        return Mix(shares_of(recorder.uncertainty.spread_map()), options.tilt)
    return Mix(options.amount, options.tilt)


def shares_of(spread: SpreadMap) -> ShareMap:
    """Shares by how far candidates differ: a dB less for each dB above one, a quarter at least.

    The spread is a mean over cells and their neighbours; where it is not known nothing was made, or all is whole.
    """
    known = np.isfinite(spread.db)
    if not known.any():
        return ShareMap(np.ones((1, 1)), np.zeros(1), np.zeros(1))
    padded = np.pad(np.where(known, spread.db, 0.0), 1)
    weight = np.pad(known.astype(float), 1)
    total, count = (
        sum(each[i : i + known.shape[0], k : k + known.shape[1]] for i in range(3) for k in range(3))
        for each in (padded, weight)
    )
    smooth = total / np.maximum(count, 1)
    shares = np.maximum(LEAST, 10 ** (-np.maximum(0.0, smooth - AGREED_DB) / 20))
    return ShareMap(shares, spread.hz, spread.seconds)


def at_output_rate(run: RunningRender, material: Material, audio: Scratch | Sum, rate_in: int, rate: int) -> Scratch:
    """Audio at its final rate and length. Raises OutputError for values that are not finite."""
    info, final = material.info, run.buffer(material.info.channels)
    frames = -(-info.frames * rate // info.rate)
    for block in resample_blocks(audio.blocks(BLOCK), rate_in, rate, info.channels, audio.frames):
        block = block[:, : frames - final.frames]
        if not np.isfinite(block).all():
            raise OutputError(f"{shown(info.path)}: the engine gave values that are not finite; nothing was written")
        final.append(block)
        run.progress.writing(0.5 * final.frames / frames, material.seconds)
    return final


@dataclass(frozen=True)
class Pair:
    """A render at the engine's rate, and what it is compared with, at its own; None where all that was made is kept."""

    render: Scratch | Sum
    source: Scratch | None
    source_rate: int


def mixed(run: RunningRender, material: Material, pair: Pair, mix: Mix, rate: int) -> Scratch:
    """A render at its final rate and length, with as much of what was made as is asked for."""
    made = at_output_rate(run, material, pair.render, run.session.engine.sample_rate, rate)
    if mix.whole or pair.source is None:
        return made
    dry = at_output_rate(run, material, pair.source, pair.source_rate, rate)
    gain = MadeGain(rate, material.search.bandwidth, mix.tilt_db, mix.amount)
    final = run.buffer(made.channels)

    def added(start: int, stop: int) -> NDArray[np.float32]:
        difference: NDArray[np.float32] = made.read(start, stop) - dry.read(start, stop)
        return difference

    for start in range(0, made.frames, MIX_BLOCK):
        stop = min(start + MIX_BLOCK, made.frames)
        final.append(dry.read(start, stop) + gain.block(added, start, stop))
    return final
