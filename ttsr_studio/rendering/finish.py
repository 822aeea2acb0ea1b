"""A render at its final rate, length and level: the share of what was made, effects after it, one gain, a limiter."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.audio.disk_buffer import Scratch, Sum
from ttsr_studio.audio.effects import limiter, load_effects, processed
from ttsr_studio.audio.formats import bits_of
from ttsr_studio.audio.loudness import Gain, Loudness, LoudnessMeter, decibels, fitting, gain_to_match, match_gain
from ttsr_studio.rendering.mixing import Mix, Pair, at_output_rate, mixed
from ttsr_studio.rendering.request import RunningRender
from ttsr_studio.rendering.source import BLOCK, Material
from ttsr_studio.report.file_records import LimitRecord, MetadataInfo, OutputInfo

TOLERANCE_LU = 0.1
MOST_PASSES = 4
MOST_MAKE_UP_DB = 6.0
"""What a limiter takes of the loudness is made up for by so much at most."""
AUDIBLE_DB = 0.1


@dataclass(frozen=True)
class Finished:
    """A render as it leaves the pipeline.

    Attributes:
        audio: at its final rate and length.
        loudness: as it is written.
        gain: the one gain of the whole file; in the audio already where that was limited.
        limit: what a limiter did; None where there was none, or nothing to do for it.
    """

    audio: Scratch
    rate: int
    loudness: Loudness
    gain: Gain
    limit: LimitRecord | None = None

    @property
    def factor(self) -> np.float32:
        """What the audio is still to be multiplied by."""
        return np.float32(1 if self.limit else 10 ** (self.gain.db / 20))

    @property
    def lufs(self) -> float | None:
        return self.loudness.lufs

    def described(self, name: str, sha256: str, subtype: str, metadata: MetadataInfo) -> OutputInfo:
        """As the report has it."""
        return OutputInfo(
            name=name,
            sha256=sha256,
            rate=self.rate,
            depth=subtype,
            channels=self.audio.channels,
            frames=self.audio.frames,
            lufs=self.lufs,
            true_peak_db=decibels(self.loudness.true_peak),
            gain_db=self.gain.db,
            gain_reason=self.gain.reason,
            lowered_db=self.gain.lowered_db,
            held_db=self.gain.held_db,
            limited=self.limit,
            metadata=metadata,
        )


def finish(run: RunningRender, material: Material, render: Scratch, mix: Mix) -> Finished:
    """Bring a render to its rate, length and level. Raises OutputError for values that are not finite."""
    options, aside = run.session.options, material.programme.aside
    rate = material.form.sound.rate
    whole = Sum(render, aside) if aside else render
    audio = after(run, mixed(run, material, Pair(whole, material.whole, material.info.rate), mix, rate), rate)
    loudness = counted = measured(audio, rate)
    if aside and options.loudness in ("keep", "match"):
        pair = Pair(render, material.search.lr, run.session.engine.sample_rate)
        own = measured(after(run, mixed(run, material, pair, mix, rate), rate), rate)
        counted = replace(own, sample_peak=loudness.sample_peak, true_peak=loudness.true_peak)
    level_db = level_of_kept(run, material, rate)
    if options.limiter:
        wanted = match_gain(material.programme.loudness, counted, options.loudness, np.inf, level_db=level_db)
        if decibels(loudness.true_peak) + wanted.db > options.ceiling:
            return limited(run, material, Finished(audio, rate, loudness, wanted))
    gain = gain_of(run, material, counted, level_db)
    return Finished(audio, rate, loudness.louder(gain.db), gain)


def after(run: RunningRender, audio: Scratch, rate: int) -> Scratch:
    """Audio through the effects that come after the render."""
    chain = run.session.options.chain
    effects = load_effects("after", chain.tables()["after"]) if chain else []
    if not effects:
        return audio
    final = run.buffer(audio.channels)
    for block in processed(audio.blocks(BLOCK), effects, rate, audio.frames):
        final.append(block)
    return final


def measured(audio: Scratch, rate: int) -> Loudness:
    """How loud audio is."""
    meter = LoudnessMeter(rate, audio.channels)
    for block in audio.blocks(BLOCK):
        meter.update(block)
    return meter.result()


def level_of_kept(run: RunningRender, material: Material, rate: int) -> float:
    """The gain in dB at which what was there keeps its level: 0 but for effects after the render."""
    chain = run.session.options.chain
    if run.session.options.loudness != "keep" or not chain or not chain.tables()["after"]:
        return 0.0
    there = at_output_rate(run, material, material.search.lr, run.session.engine.sample_rate, rate)
    there = after(run, there, rate)
    behind = measured(there, rate)
    there.close()
    return 0.0 if behind.silent else gain_to_match(material.programme.loudness, behind)[0]


def gain_of(run: RunningRender, material: Material, loudness: Loudness, level_db: float) -> Gain:
    """The one gain of the whole file, of the loudness of what counts in a render."""
    options, bits = run.session.options, bits_of(material.form.sound.subtype)
    # Float files hold what is above full scale, so that "off" can mean off.
    ceiling = np.inf if options.loudness == "off" and bits is None else options.ceiling
    return match_gain(material.programme.loudness, loudness, options.loudness, ceiling, bits, level_db)


def limited(run: RunningRender, material: Material, wanted: Finished) -> Finished:
    """A render at the gain that is wanted, its peaks limited to the ceiling.

    The gain is raised by what the limiter takes of the loudness where there is one to keep; what its look-ahead leaves
    above the ceiling, some tenths of a dB, the whole is lowered by.
    """
    options, db, before = run.session.options, wanted.gain.db, wanted.loudness.lufs
    for _ in range(MOST_PASSES):
        audio, loudness, most, share = through_limiter(run, wanted, db)
        over = max(0.0, decibels(loudness.true_peak) - options.ceiling)
        lost = 0.0
        if before is not None and loudness.lufs is not None:
            lost = before + wanted.gain.db - loudness.lufs + over
        if options.loudness == "off" or lost <= TOLERANCE_LU or db + lost > wanted.gain.db + MOST_MAKE_UP_DB:
            break
        db += lost
    down = min(-over, fitting(loudness, bits_of(material.form.sound.subtype)))
    final = run.buffer(audio.channels)
    for block in audio.blocks(BLOCK):
        final.append(block * np.float32(10 ** (down / 20)))
    reason = f"{wanted.gain.reason}, peaks limited to {options.ceiling:.2f} dBTP"
    record = LimitRecord(options.ceiling, most, share, db - wanted.gain.db)
    gain = Gain(db + down, reason, held_db=wanted.gain.held_db)
    return Finished(final, wanted.rate, loudness.louder(down), gain, record)


def through_limiter(run: RunningRender, wanted: Finished, db: float) -> tuple[Scratch, Loudness, float, float]:
    """Audio at a gain through the limiter, its loudness, what that took at most, dB, and of which share of the file."""
    audio, factor = wanted.audio, np.float32(10 ** (db / 20))
    final, lowest, touched = run.buffer(audio.channels), 1.0, 0
    louder = (block * factor for block in audio.blocks(BLOCK))
    for block in processed(louder, [limiter(run.session.options.ceiling)], wanted.rate, audio.frames):
        ratio = remaining(audio.read(final.frames, final.frames + block.shape[1]) * factor, block)
        lowest = min(lowest, float(ratio.min(initial=1.0)))
        touched += int((ratio < 10 ** (-AUDIBLE_DB / 20)).sum())
        final.append(block)
    return final, measured(final, wanted.rate), -decibels(lowest), touched / audio.frames


def remaining(before: NDArray[np.float32], behind: NDArray[np.float32]) -> NDArray[np.float32]:
    """The gain of every sample [samples], by the channel that is loudest there; 1 where it is next to silent."""
    loudest = np.abs(before).argmax(axis=0)[None]
    one, other = (np.abs(np.take_along_axis(each, loudest, axis=0)[0]) for each in (before, behind))
    ratio: NDArray[np.float32] = np.divide(other, one, where=one > 1e-4, out=np.ones_like(one))
    return ratio
