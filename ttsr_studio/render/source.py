"""What is known of an input after it was heard once."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ttsr_studio.audio.bandwidth import Bandwidth, BandwidthMeter
from ttsr_studio.audio.decode import SourceInfo, probe, read_blocks
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.formats import output_format
from ttsr_studio.audio.level import ActiveLevel
from ttsr_studio.audio.loudness import Loudness, LoudnessMeter
from ttsr_studio.audio.metadata.transfer import Found, read_metadata
from ttsr_studio.audio.resample import resample_blocks
from ttsr_studio.errors import InputError, OptionError, OutputError, shown
from ttsr_studio.render.inference.progress import Event, Watch
from ttsr_studio.render.inference.session import Session
from ttsr_studio.render.inference.timing import Stages

BLOCK = 1 << 16


@dataclass(frozen=True)
class Material:
    """What one pass over the input gave.

    Attributes:
        form: container and subtype of the output.
        lr: the input at the engine's rate.
        level: RMS of its active parts, linear; 0 for silence.
        metadata: what the file says besides audio.
    """

    info: SourceInfo
    form: tuple[str, str]
    sha256: str
    lr: Scratch
    cutoff_hz: float
    cutoff_reason: str
    loudness: Loudness
    level: float
    metadata: Found


def listen(session: Session, source: Path, target: Path, stack: ExitStack, stages: Stages, progress: Watch) -> Material:
    """Decode the input once: to the engine's rate, measuring band, loudness and level on the way."""
    began = time.perf_counter()
    info = probe(source, session.options.salvage)
    try:
        container, subtype, _ = output_format(info, session.options.depth, target.suffix)
    except OptionError as error:
        raise OutputError(f"{shown(target)}: {error}") from error
    metadata = read_metadata(info)
    rate = session.engine.sample_rate
    band, loud, level = (
        BandwidthMeter(info.rate),
        LoudnessMeter(info.rate, info.channels),
        ActiveLevel(rate),
    )
    lr = stack.enter_context(Scratch(info.channels))
    seconds = info.frames / info.rate

    def heard() -> Iterator[np.ndarray]:
        for block in read_blocks(info, BLOCK, session.options.salvage):
            band.update(block)
            loud.update(block)
            yield block

    for block in resample_blocks(heard(), info.rate, rate, info.channels, info.frames):
        level.update(block)
        lr.append(block)
        progress(Event("reading", lr.frames / rate, seconds))
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    stages.add("read", began)
    found = band.result()
    refuse_full_band(source, found, session.options.cutoff)
    given = session.options.cutoff
    reason = f"given; detected {found.cutoff_hz:.0f} Hz ({found.reason})" if given else found.reason
    loudness = loud.result()
    rms = 0.0 if loudness.silent else level.rms()
    cutoff = min(given or found.cutoff_hz, rate / 2)
    return Material(info, (container, subtype), digest, lr, cutoff, reason, loudness, rms, metadata)


def refuse_full_band(source: Path, band: Bandwidth, cutoff: float | None) -> None:
    if band.full_band and cutoff is None and not band.silent:
        raise InputError(
            f"{shown(source)}: full-band already ({band.cutoff_hz / 1000:.1f} kHz); nothing to add. "
            "Pass --cutoff HZ to replace what is above it"
        )


def read_reference(session: Session, reference: Path, material: Material, stack: ExitStack) -> Scratch:
    """Ground truth at the engine's rate. Raises InputError when it does not fit the input."""
    info = probe(reference)
    rate = session.engine.sample_rate
    truth = stack.enter_context(Scratch(info.channels))
    for block in resample_blocks(read_blocks(info), info.rate, rate, info.channels, info.frames):
        truth.append(block)
    if info.channels != material.info.channels or abs(truth.frames - material.lr.frames) > rate // 20:
        raise InputError(
            f"{shown(reference)}: not the ground truth of {shown(material.info.path)}: {info.channels} channels and "
            f"{truth.frames / rate:.2f} s against {material.info.channels} and {material.lr.frames / rate:.2f} s"
        )
    return truth
