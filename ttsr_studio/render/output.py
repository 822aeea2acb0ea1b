"""What leaves the pipeline: renders at their rate, level and depth, the best beside the chosen one, the page."""

import contextlib
import hashlib
import math
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.encode import write_audio
from ttsr_studio.audio.loudness import LoudnessMeter, decibels, match_gain
from ttsr_studio.audio.metadata.conversion import Change
from ttsr_studio.audio.metadata.transfer import carry
from ttsr_studio.audio.resample import resample_blocks
from ttsr_studio.errors import InputError, OutputError, shown
from ttsr_studio.render.inference.progress import Event, Watch
from ttsr_studio.render.inference.session import Session
from ttsr_studio.render.inference.timing import Stages
from ttsr_studio.render.recorder import Recorder
from ttsr_studio.render.rerank import Reranking
from ttsr_studio.render.source import BLOCK, Material
from ttsr_studio.report.html import Audition, Version, write_page
from ttsr_studio.report.paths import beside, page_name, report_names
from ttsr_studio.report.schema import BestRecord, MetadataInfo, OutputInfo, Report
from ttsr_studio.report.validate import load_report


def make_folder(folder: Path) -> None:
    """Make sure that a folder is there and can be written to, before hours are spent on what goes into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{shown(folder)}: cannot be made ({error.strerror}); choose another -o") from error
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{shown(folder)}: cannot be written to ({error.strerror}); choose another -o") from error


def finish(
    session: Session,
    material: Material,
    wide: Scratch,
    target: Path,
    *,
    stack: ExitStack,
    stages: Stages,
    progress: Watch,
    replace: bool = True,
) -> OutputInfo:
    """Bring the render to its rate, level and depth, and write it; what has its name goes only with `replace`."""
    began = time.perf_counter()
    info, options = material.info, session.options
    rate = info.rate if options.rate == "source" else options.rate
    frames = -(-info.frames * rate // info.rate)
    meter = LoudnessMeter(rate, info.channels)
    final = stack.enter_context(Scratch(info.channels))
    engine_rate = session.engine.sample_rate
    for block in resample_blocks(wide.blocks(BLOCK), engine_rate, rate, info.channels, wide.frames):
        block = block[:, : frames - final.frames]
        if not np.isfinite(block).all():
            raise OutputError(f"{shown(info.path)}: the engine gave values that are not finite; nothing was written")
        meter.update(block)
        final.append(block)
        progress(Event("writing", final.frames / rate, 2 * frames / rate))
    loudness = meter.result()
    container, subtype = material.form
    # Float files hold what is above full scale, so that "off" can mean off.
    unlimited = options.loudness == "off" and subtype in ("FLOAT", "DOUBLE")
    gain = match_gain(material.loudness, loudness, options.loudness, np.inf if unlimited else options.ceiling)
    factor = np.float32(10 ** (gain.db / 20))
    lufs = None if loudness.lufs is None else loudness.lufs + gain.db
    kept = lufs is None or material.loudness.lufs is None or abs(lufs - material.loudness.lufs) <= 0.1
    change = Change(
        container, info.subtype, subtype, info.rate, rate, info.frames, final.frames, info.channels, level_kept=kept
    )
    carried = carry(material.metadata, change)
    written = write_audio(
        target,
        lambda: (block * factor for block in final.blocks(BLOCK)),
        rate,
        info.channels,
        container,
        subtype,
        carried.insert,
        replace,
    )
    stages.add("write", began)
    clipped = f"; {written.clipped} samples clipped at full scale" if written.clipped else ""
    return OutputInfo(
        name=target.name,
        sha256=written.sha256,
        rate=rate,
        depth=subtype,
        channels=info.channels,
        frames=written.frames,
        lufs=lufs,
        true_peak_db=decibels(loudness.true_peak) + gain.db,
        gain_db=gain.db,
        gain_reason=gain.reason + clipped,
        metadata=MetadataInfo(carried.names, carried.left_out, carried.warnings),
    )


def write_best(
    count: int,
    wides: Sequence[Scratch],
    reranking: Reranking,
    recorder: Recorder,
    target: Path,
    output: OutputInfo,
    write: Callable[[Scratch, Path], OutputInfo],
) -> list[BestRecord]:
    """Write the best renders beside the chosen one, which is there already; those that came out equal once.

    Args:
        count: how many of the best there are to be, the chosen one among them or not.
    """
    best: list[BestRecord] = []
    made: list[list[tuple[int, ...]]] = []
    for rank, number in enumerate(reranking.order[:count], 1):
        parts = recorder.made_of(number)
        if parts in made:
            continue
        made.append(parts)
        there = number == reranking.chosen
        info = output if there else write(wides[number], beside(target, f"top{rank}"))
        score = reranking.combined[number] if reranking.combined else recorder.mean_combined(number)
        figures = info.sha256, info.lufs, info.true_peak_db, info.gain_db
        best.append(BestRecord(rank, info.name, None if math.isnan(score) else score, *figures, candidates=parts))
    return best


def clear_earlier(
    target: Path, earlier: Report | None, report: Report, page: Path | None, inputs: Collection[Path]
) -> None:
    """Remove what belonged to the render that was replaced: its next best and control, as they were, and its page.

    Args:
        earlier: the report of that render, None where there was none.
        report, page: of the new one.
        inputs: files that are never removed, whatever they were.
    """
    if earlier is None:
        return
    made = {target.name, *(other.name for other in report.written())}
    kept = {path.resolve() for path in inputs}
    for other in earlier.written():
        with contextlib.suppress(OSError, ValueError):  # a name that is none
            path = target.with_name(other.name)
            if path.name not in made and path.resolve() not in kept and checksum(path) == other.sha256:
                path.unlink()
    if page is None:
        with contextlib.suppress(OSError):
            page_name(target).unlink()


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def earlier_report(target: Path) -> Report | None:
    """The report of the render that bears a name now; None where there is none."""
    try:
        return load_report(report_names(target)[0])
    except InputError:
        return None


def add_page(source: Path, target: Path, report: Report, recorder: Recorder, take: int) -> Path:
    """Write the audition page beside the report."""
    data, page = report_names(target)[0], page_name(target)
    others = [best for best in report.best if best.name != target.name]
    scores = {best.name: best.score for best in report.best}
    versions = [Version("chosen", target, take, scores.get(target.name))]
    versions += [Version(f"number {best.rank}", target.with_name(best.name), best.rank, best.score) for best in others]
    files = [str(source.absolute()), "--again", str(data.absolute())]
    words = ["ttsr", "render", *files, "--take", "{rank}", "-o", str(target.absolute()), "--overwrite"]
    write_page(page, Audition(report.to_json(), source, versions, recorder.uncertainty.arrays(), words))
    return page
