"""What is known of an input after it was decoded once."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.audio.bandwidth.detector import Bandwidth, BandwidthMeter, Verdict
from ttsr_studio.audio.bandwidth.images import ImageMeter, Images
from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.bandwidth.tones import ToneMeter
from ttsr_studio.audio.codec_holes import HoleFinder
from ttsr_studio.audio.container.contents import Contents
from ttsr_studio.audio.decode import SourceInfo, probe, read_blocks
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.effects import load_effects, processed
from ttsr_studio.audio.formats import output_format
from ttsr_studio.audio.level import ActiveLevel
from ttsr_studio.audio.loudness import Loudness, LoudnessMeter
from ttsr_studio.audio.media.forms import KINDS, Sound
from ttsr_studio.audio.metadata.transfer import Found, read_metadata
from ttsr_studio.audio.resample import resample_blocks
from ttsr_studio.errors import InputError, NothingToAddError, OptionError, OutputError, shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.beyond import Measured, Programme, programme_of
from ttsr_studio.rendering.inference.progress import Event
from ttsr_studio.rendering.inference.windows import SearchInput, plan_search
from ttsr_studio.rendering.request import RunningRender
from ttsr_studio.storage.checksum import sha256

BLOCK = 1 << 16


@dataclass(frozen=True)
class Form:
    """What an output is written as: its container, as soundfile or FFmpeg names it, and its audio."""

    container: str
    sound: Sound


@dataclass(frozen=True)
class Material:
    """What one pass over the input gave.

    Attributes:
        search: the input at the engine's rate, with what a search has to know of it.
        cutoff_reason: why its band is taken to end where it does.
        band: where it was heard to end, and how that is known; edges that were given are in `search`.
        loudness: of the whole input.
        programme: of the input what counts, and what else it holds.
        whole: the input at its own rate; None where it is not wanted after the search.
        metadata: what the file says besides audio.
    """

    info: SourceInfo
    form: Form
    sha256: str
    search: SearchInput
    cutoff_reason: str
    band: Bandwidth
    loudness: Loudness
    programme: Programme
    metadata: Found
    whole: Scratch | None = None

    @property
    def seconds(self) -> float:
        """Length of the input."""
        return self.info.frames / self.info.rate


def analyse_source(run: RunningRender) -> Material:
    """Decode the input once: to the engine's rate, measuring band, loudness and level on the way.

    Raises InputError for an input that cannot be rendered, OutputError for an output of another kind than it can be.
    """
    options, request = run.session.options, run.request
    with run.stages.timed("read"):
        info = probe(request.source, options.salvage, options.stream)
        form = form_of(info, options, request.target)
        metadata = read_metadata(info)
        measured = measure_source(run, info, before(run, info, read_blocks(info, BLOCK, options.salvage)))
        digest = sha256(request.source)
    return source_info(run, info, measured, digest, form, metadata)


def analyse_array(run: RunningRender, waveform: NDArray[np.float32], rate: int) -> Material:
    """The same of audio in memory, [channels, samples] at that rate. Raises InputError for what is no audio."""
    channels, frames = waveform.shape
    info = SourceInfo(run.request.source, "WAV", "FLOAT", rate, channels, frames, identity=(0, 0, 0))
    with run.stages.timed("read"):
        blocks = (waveform[:, start : start + BLOCK] for start in range(0, info.frames, BLOCK))
        measured = measure_source(run, info, before(run, info, blocks))
        digest = hashlib.sha256(waveform.T.tobytes()).hexdigest()
    form = Form("WAV", Sound("FLOAT", rate_of(rate, run.session.options), channels))
    return source_info(run, info, measured, digest, form, Found(info, Contents()))


def before(
    run: RunningRender, info: SourceInfo, blocks: Iterable[NDArray[np.float32]]
) -> Iterable[NDArray[np.float32]]:
    """An input through the effects that come before the render: what they give is what is rendered."""
    chain = run.session.options.chain
    effects = load_effects("before", chain.tables()["before"]) if chain else []
    return processed(blocks, effects, info.rate, info.frames) if effects else blocks


def source_info(
    run: RunningRender, info: SourceInfo, measured: Measured, digest: str, form: Form, metadata: Found
) -> Material:
    """What was measured, in the terms of a search. Raises NothingToAddError where nothing is known to be missing."""
    options, request, rate = run.session.options, run.request, run.session.engine.sample_rate
    images = measured.images if options.remove == "images" else None
    given = options.cutoffs or ((images.cutoff_hz,) if images else ())
    if not (options.fill_holes and HoleFinder(measured.lr, measured.band.map, rate).find().cells):
        refuse_nothing_to_add(request.source, measured.band, bool(given), measured.images)
    # What comes next may take long, and is no fault of the decoder.
    windows = plan_search(run.session, SearchInput(measured.lr, measured.band.map, measured.level)).windows
    run.progress(Event("searching", 0.0, windows * run.session.window_nfe, windows_left=windows))
    truth = read_reference(run, request.reference, info, measured.lr.frames) if request.reference else None
    band = measured.band
    reason = f"given; detected {band.cutoff_hz:.0f} Hz ({band.reason})" if options.cutoffs else band.reason
    reason = images.words if images and not options.cutoffs else reason
    bandwidth = given_map(info, band, given, rate) if given else band.map
    bandwidth = replace(bandwidth, replaced=options.remove == "above" or images is not None)
    refuse_no_room(info, bandwidth, info.rate if options.rate == "source" else int(options.rate))
    if bandwidth.heard_to_hz and not bandwidth.replaced:
        info = replace(info, warnings=(*info.warnings, HEARD.format(bandwidth.heard_to_hz / 1000)))
    if given and not band.silent and not band.nothing_to_add and bandwidth.lowest() > 1.2 * band.cutoff_hz:
        empty = EMPTY.format(band.cutoff_hz / 1000, bandwidth.lowest() / 1000)
        info = replace(info, warnings=(*info.warnings, empty))
    loudness = measured.loudness
    with run.stages.timed("read"):
        programme = programme_of(run, measured, bandwidth)
    level = 0.0 if loudness.silent else programme.level
    search = SearchInput(programme.lr, programme.bandwidth, level, truth, request.annotations)
    return Material(info, form, digest, search, reason, band, loudness, programme, metadata, measured.whole)


def rate_of(rate: int, options: RenderOptions) -> int:
    """The rate of an output, of a source of that rate, where nothing else is against it; Hz."""
    return rate if options.rate == "source" else int(options.rate)


def form_of(info: SourceInfo, options: RenderOptions, target: Path) -> Form:
    """What the output is written as. Raises OutputError for a target that cannot hold it."""
    try:
        if target.suffix.lower() in KINDS:
            from ttsr_studio.rendering.media import planned_sound  # with FFmpeg's libraries

            return Form(*planned_sound(info, options, target))
        container, subtype, _ = output_format(info, options.depth, target.suffix)
    except OptionError as error:
        raise OutputError(f"{shown(target)}: {error}") from error
    return Form(container, Sound(subtype, rate_of(info.rate, options), info.channels))


def measure_source(run: RunningRender, info: SourceInfo, blocks: Iterable[NDArray[np.float32]]) -> Measured:
    """The input at the engine's rate, and what was measured on the way."""
    rate, seconds = run.session.engine.sample_rate, info.frames / info.rate
    band, loudness = BandwidthMeter(info.rate), LoudnessMeter(info.rate, info.channels)
    level, tones, lr = ActiveLevel(rate), ToneMeter(info.rate), run.buffer(info.channels)
    images = ImageMeter(info.rate)
    options = run.session.options
    whole = run.buffer(info.channels) if options.amount != 1 or options.tilt else None

    def measured() -> Iterator[NDArray[np.float32]]:
        for block in blocks:
            band.update(block)
            loudness.update(block)
            tones.update(block)
            images.update(block)
            if whole:
                whole.append(block)
            yield block

    for block in resample_blocks(measured(), info.rate, rate, info.channels, info.frames):
        level.update(block)
        lr.append(block)
        run.progress(Event("reading", lr.frames / rate, seconds))
    found = band.result(), loudness.result(), level.rms(), tones.result()
    return Measured(info.rate, lr, *found, whole, images.result())


HEARD = (
    "above --cutoff it holds sound up to {:.1f} kHz: that is kept, and nothing added to it; --remove above replaces it"
)

EMPTY = "below --cutoff nothing was heard from {:.1f} to {:.1f} kHz: nothing is added there, it stays empty"


def given_map(info: SourceInfo, band: Bandwidth, given: tuple[float, ...], rate: int) -> BandwidthMap:
    """Edges that the user gave. Raises InputError where they are of more or fewer channels than there are."""
    if len(given) not in (1, info.channels):
        raise InputError(
            f"{shown(info.path)}: has {info.channels} channel{'s' if info.channels > 1 else ''}, and --cutoff names "
            f"{len(given)} edges; give one for all, or one for every channel"
        )
    found = BandwidthMap((0.0,), tuple((min(edge, rate / 2),) for edge in given))
    heard = 0.0 if band.silent else min(band.cutoff_hz, rate / 2)
    return replace(found, heard_to_hz=heard if heard > 1.2 * found.lowest() else 0.0)


def refuse_no_room(info: SourceInfo, bandwidth: BandwidthMap, rate: int) -> None:
    """Raise NothingToAddError for an output whose rate leaves no room above where the input ends."""
    if rate < 2.1 * bandwidth.lowest() and rate < 44100:
        raise NothingToAddError(
            f"{shown(info.path)}: nothing to add at {rate} Hz, which holds no more than the file does. "
            "Leave --rate source out, or name a higher rate"
        )


def refuse_nothing_to_add(source: Path, band: Bandwidth, cutoff: bool, images: Images | None) -> None:
    """Raise NothingToAddError for a file that holds all there is, or of which nobody can say what is missing."""
    if not band.nothing_to_add or cutoff:
        return
    if images:
        raise NothingToAddError(f"{shown(source)}: nothing to add beside {images.words}")
    if band.verdict is Verdict.FULL:
        raise NothingToAddError(
            f"{shown(source)}: full-band already ({band.cutoff_hz / 1000:.1f} kHz); nothing to add. "
            "Pass --cutoff HZ --remove above to replace what is above it"
        )
    raise NothingToAddError(
        f"{shown(source)}: no sign that its band was limited ({band.reason}); left as it is. "
        "Pass --cutoff HZ where you know where it ends"
    )


def read_reference(run: RunningRender, reference: Path, source: SourceInfo, frames: int) -> Scratch:
    """Ground truth at the engine's rate. Raises InputError when it does not fit the input of so many frames there."""
    info, rate = probe(reference), run.session.engine.sample_rate
    truth = run.buffer(info.channels)
    for block in resample_blocks(read_blocks(info), info.rate, rate, info.channels, info.frames):
        truth.append(block)
    if info.channels != source.channels or abs(truth.frames - frames) > rate // 20:
        raise InputError(
            f"{shown(reference)}: not the ground truth of {shown(source.path)}: {info.channels} channels and "
            f"{truth.frames / rate:.2f} s against {source.channels} and {frames / rate:.2f} s"
        )
    return truth
