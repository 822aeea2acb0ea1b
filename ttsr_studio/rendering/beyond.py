"""What a source holds above where its band ends: measured by time and band, kept or removed, and what does not count.

Steady tones up there are none of the programme's. A search works on the input without them; where they are kept, they
are put back beneath what was rendered, at their level. Neither they nor what is removed counts in the loudness match; a
skirt that is lifted counts as if it had never been turned down, so that what lies below it keeps its level.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ttsr_studio.audio.bandwidth.birdies import Birdie, Birdies, loudest_of_all_channels
from ttsr_studio.audio.bandwidth.detector import Bandwidth
from ttsr_studio.audio.bandwidth.images import Images
from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.bandwidth.tones import Tone, unwanted, without
from ttsr_studio.audio.crossover import MapCrossover
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.level import ActiveLevel
from ttsr_studio.audio.loudness import Loudness, LoudnessMeter
from ttsr_studio.audio.skirt.curve import SkirtMap
from ttsr_studio.audio.skirt.lift import lifted
from ttsr_studio.rendering.request import RunningRender
from ttsr_studio.rendering.skirts import skirts_of
from ttsr_studio.report.file_records import BeyondRecord

BLOCK = 1 << 16
FAINTEST_DB = -80.0
MOST_ROWS, MOST_BIRDIES = 12, 200
MARGIN = 1.06
"""Of a filter's end: what lies so little above an edge is the edge itself."""


@dataclass(frozen=True)
class Measured:
    """An input at the engine's rate, its band, loudness, the RMS of its active parts, linear, and steady tones.

    Attributes:
        rate: the input's own, Hz.
        whole: at its own rate, where only a share of what is made is mixed in.
        images: of a lower rate, by naive upsampling.
    """

    rate: int
    lr: Scratch
    band: Bandwidth
    loudness: Loudness
    level: float
    tones: list[Tone]
    whole: Scratch | None
    images: Images | None = None


@dataclass(frozen=True)
class Programme:
    """An input without what is none of its programme, at the engine's rate.

    Attributes:
        lr: what a search works on.
        unlifted: the same before skirts were lifted.
        bandwidth: where its band ends, and up to where they are lifted.
        skirts: by how much they were lifted.
        lifted_lu: how much louder that made it, LU; None where nothing was lifted, or there is too little to measure.
        aside: what is put back beneath the render; None where there is nothing.
        tones: those of it that are steady, on which nothing may be made.
        level: RMS of the active parts that count, linear.
        loudness: of what counts; peaks are the input's own.
        beyond: what lies above where the band ends.
    """

    lr: Scratch
    unlifted: Scratch
    bandwidth: BandwidthMap
    skirts: SkirtMap
    lifted_lu: float | None
    aside: Scratch | None
    level: float
    loudness: Loudness
    beyond: tuple[BeyondRecord, ...]
    tones: tuple[Tone, ...] = ()


def programme_of(run: RunningRender, measured: Measured, bandwidth: BandwidthMap) -> Programme:
    """What counts of an input with the band that it is taken to have, and what lies above that."""
    rate, remove, lr = run.session.engine.sample_rate, run.session.options.remove, measured.lr
    apart = unwanted(measured.tones, bandwidth)
    without_tones = remove == "tones" or bandwidth.replaced
    rows = [tone_record(tone, without_tones) for tone in apart]
    clean, aside = lr, None
    if apart:
        clean = stored(run, without(lr.blocks(BLOCK), apart, rate), lr.channels)
        if not without_tones:
            parts = zip(lr.blocks(BLOCK), clean.blocks(BLOCK), strict=True)
            aside = stored(run, (whole - rest for whole, rest in parts), lr.channels)
    birdies = Birdies(clean, bandwidth, rate).find() if remove == "birdies" else []
    if birdies:
        rows += birdie_records(birdies)
        clean = stored(run, Birdies(clean, bandwidth, rate).without(), lr.channels)
    raised, skirts = clean, skirts_of(run.session, clean, measured.band, measured.rate)
    if skirts:
        raised = stored(run, lifted(clean, skirts, rate), lr.channels)
        given = bool(run.session.options.cutoffs) or bandwidth.replaced
        bandwidth = bandwidth if given else skirts.within(bandwidth)
    what: Literal["sound", "image"] = "image" if remove == "images" and bandwidth.replaced else "sound"
    rows += sounds_above(clean, bandwidth.heard, rate, what)
    counted = below(raised, bandwidth, rate) if bandwidth.replaced else raised.blocks(BLOCK)
    loudness, level = measured.loudness, measured.level
    if apart or birdies or skirts or bandwidth.replaced:
        loudness, level = measured_programme(counted, rate, lr.channels, loudness)
    louder = louder_by(clean, raised, rate) if skirts else None
    kept = apart if aside else ()
    return Programme(raised, clean, bandwidth, skirts, louder, aside, level, loudness, tuple(rows), kept)


def beside_tones(run: RunningRender, programme: Programme, render: Scratch) -> Scratch:
    """A render without what was made on tones that are put back beneath it: that could as well cancel them."""
    if not programme.tones:
        return render
    pairs = zip(render.blocks(BLOCK), programme.lr.blocks(BLOCK), strict=True)
    made = without((whole - own for whole, own in pairs), programme.tones, run.session.engine.sample_rate)
    final = run.buffer(render.channels)
    for block in made:
        final.append(block + programme.lr.read(final.frames, final.frames + block.shape[1]))
    render.close()
    return final


def louder_by(before: Scratch, after: Scratch, rate: int) -> float | None:
    """How much louder audio is than it was, LU; None where there is too little to measure."""
    meters = [LoudnessMeter(rate, audio.channels) for audio in (before, after)]
    for meter, audio in zip(meters, (before, after), strict=True):
        for block in audio.blocks(BLOCK):
            meter.update(block)
    was, now = (meter.result().lufs for meter in meters)
    return None if was is None or now is None else round(now - was, 2)


def stored(run: RunningRender, blocks: Iterable[NDArray[np.float32]], channels: int) -> Scratch:
    """Blocks on disk."""
    buffer = run.buffer(channels)
    for block in blocks:
        buffer.append(block)
    return buffer


def measured_programme(
    blocks: Iterable[NDArray[np.float32]], rate: int, channels: int, whole: Loudness
) -> tuple[Loudness, float]:
    """Loudness and active RMS of what counts; peaks, and whether there is sound at all, of the whole."""
    meter, level = LoudnessMeter(rate, channels), ActiveLevel(rate)
    for block in blocks:
        meter.update(block)
        level.update(block)
    found = meter.result()
    if found.silent:
        return whole, level.rms()
    return replace(found, sample_peak=whole.sample_peak, true_peak=whole.true_peak), level.rms()


def below(lr: Scratch, bandwidth: BandwidthMap, rate: int) -> Iterator[NDArray[np.float32]]:
    """An input below where its band ends, as `--remove above` leaves it."""
    crossover = MapCrossover(replace(bandwidth, replaced=True), rate)
    for start in range(0, lr.frames, BLOCK):
        stop = min(start + BLOCK, lr.frames)
        first, last = start - crossover.pad, stop + crossover.pad
        audio = torch.from_numpy(lr.read(first, last))
        low = crossover.merge(audio, torch.zeros_like(audio), first)
        yield low[:, crossover.pad : crossover.pad + stop - start].numpy()


def tone_record(tone: Tone, removed: bool) -> BeyondRecord:
    return BeyondRecord("tone", tone.start_s, tone.stop_s, tone.hz, tone.hz, tone.level_db, removed)


def birdie_records(birdies: list[Birdie]) -> list[BeyondRecord]:
    """The loudest of them; one that sounds in several channels is listed once."""
    kept = loudest_of_all_channels(birdies[: 2 * MOST_BIRDIES])[:MOST_BIRDIES]
    return [BeyondRecord("birdie", each.start_s, each.stop_s, each.hz, each.hz, each.level_db, True) for each in kept]


def sounds_above(
    lr: Scratch, bandwidth: BandwidthMap, rate: int, what: Literal["sound", "image"] = "sound"
) -> list[BeyondRecord]:
    """What sounds above where the band ends, stretch by stretch, the loudest first; second by second, in third octaves.

    Of stretches there are at most twelve. Lists them as removed where the map says that they are replaced.
    """
    bands = 1000.0 * 2.0 ** (np.arange(-3, 14) / 3)
    heard = [_bands_above(lr, start, bandwidth, rate, bands) for start in range(0, lr.frames, rate)]
    rows: list[list[int]] = []
    for second, power in enumerate(heard):
        loud = np.flatnonzero(power > 10 ** (FAINTEST_DB / 10))
        if not len(loud):
            continue
        if rows and rows[-1][1] == second:
            rows[-1][1], rows[-1][2:] = second + 1, [min(rows[-1][2], loud[0]), max(rows[-1][3], loud[-1])]
        else:
            rows.append([second, second + 1, int(loud[0]), int(loud[-1])])
    found = []
    for start, stop, low, high in rows:
        level = 10 * np.log10(np.mean([power[low : high + 1].sum() for power in heard[start:stop]]))
        end = min(float(stop), lr.frames / rate)
        found.append(
            BeyondRecord(what, start, end, float(bands[low]), float(bands[high + 1]), float(level), bandwidth.replaced)
        )
    return sorted(found, key=lambda row: -row.level_db)[:MOST_ROWS]


def _bands_above(
    lr: Scratch, start: int, bandwidth: BandwidthMap, rate: int, bands: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean square [bands - 1] above the edges of a second; of the channel with most."""
    audio = lr.read(start, min(start + rate, lr.frames))
    count = audio.shape[1]
    power = np.abs(np.fft.rfft(audio * np.hanning(count))) ** 2 * (2 / 0.375 / count**2)
    hertz = np.fft.rfftfreq(count, 1 / rate)
    seconds = start / rate, (start + count) / rate
    edges = [max(BandwidthMap(bandwidth.starts_s, (row,)).highest(*seconds), 0.0) for row in bandwidth.edges_hz]
    power *= hertz[None] > MARGIN * np.array(edges if len(edges) == len(audio) else edges[:1] * len(audio))[:, None]
    total = np.concatenate((np.zeros((len(audio), 1)), np.cumsum(power, axis=1)), axis=1)
    places = np.searchsorted(hertz, bands)
    loudest: NDArray[np.float64] = (total[:, places[1:]] - total[:, places[:-1]]).max(axis=0)
    return loudest


def beyond_in_words(beyond: Iterable[BeyondRecord]) -> list[str]:
    """What a person reads of what was kept, or removed, above the band."""
    notes = []
    for removed, verb in ((False, "kept"), (True, "removed")):
        rows = [row for row in beyond if row.removed is removed]
        tones = [f"{row.low_hz:.0f} Hz at {row.level_db:.0f} dBFS" for row in rows if row.what == "tone"]
        sounds = [row for row in rows if row.what in ("sound", "image")]
        birdies = [row for row in rows if row.what == "birdie"]
        if tones:
            also = "" if removed else " (--remove tones takes them out)"
            notes.append(f"{verb} above the band: steady tones, {', '.join(tones)}{also}")
        if birdies:
            loudest, more = birdies[0], "or more " if len(birdies) == MOST_BIRDIES else ""
            notes.append(
                f"{verb} above the band: {len(birdies)} {more}codec birdies, the loudest {loudest.low_hz:.0f} Hz at "
                f"{loudest.level_db:.0f} dBFS at {loudest.start_s:.2f} s"
            )
        if sounds and removed:
            loudest = sounds[0]
            what = "images" if loudest.what == "image" else "sound"
            notes.append(
                f"{verb} above the band: {what} of {loudest.level_db:.0f} dBFS at {loudest.start_s:.0f} to "
                f"{loudest.stop_s:.0f} s" + (f", and {len(sounds) - 1} more stretches" if len(sounds) > 1 else "")
            )
    return notes
