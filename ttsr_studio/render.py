"""The pipeline: file, windows, conditioning, noises, candidates, scores, choice, assembly, loudness, file.

Audio flows one way. Memory is bounded by a group of windows: what has the length of the file lies in temporary files.
"""

import hashlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ttsr_studio.audio.bandwidth import Bandwidth, BandwidthMeter
from ttsr_studio.audio.files import SourceInfo, probe, read_blocks
from ttsr_studio.audio.loudness import Loudness, LoudnessMeter, decibels, match_gain
from ttsr_studio.audio.metadata import Change, Found, carry, read_metadata
from ttsr_studio.audio.stream import Scratch, resample_blocks
from ttsr_studio.audio.write import fit_name, output_format, write_atomic
from ttsr_studio.briefs import read_brief
from ttsr_studio.candidates import Stages
from ttsr_studio.errors import InputError, OptionError, OutputError, shown
from ttsr_studio.finalists import Contest, hold_contest
from ttsr_studio.levels import ActiveLevel
from ttsr_studio.observer import Observer
from ttsr_studio.outcome import (
    Rendered,
    brief_record,
    finalist_records,
    gains,
    in_words,
    input_info,
    search_record,
    summary,
    timing,
    tool_info,
    verifier_infos,
    write_reports,
)
from ttsr_studio.progress import Event, Watch
from ttsr_studio.report.page import Version, write_page
from ttsr_studio.report.record import BestRecord, MetadataInfo, OutputInfo, Report, report_names
from ttsr_studio.rewards import add_rewards, reward_record
from ttsr_studio.searching import CLIP_BYTES, clip_bytes, search_windows
from ttsr_studio.session import Session
from ttsr_studio.stopping import StopSign

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


def render(
    session: Session,
    source: Path,
    target: Path,
    *,
    report: bool = True,
    reference: Path | None = None,
    progress: Watch = lambda event: None,
    stop: StopSign | None = None,
    rewards: Path | None = None,
) -> Rendered:
    """Render one file.

    Args:
        target: final name of the output; its folder is made.
        report: write `<target stem>.ttsr.json`, `.ttsr.png` and `.ttsr.npz` beside it.
        reference: ground truth for oracle verifiers.
        stop: where the user says that it is enough; the best so far is then written.
        rewards: file to which every score of every candidate is appended.

    Raises:
        InputError: the source cannot be rendered, is full-band already, or changed meanwhile.
        OutputError: the output cannot be written; nothing is left under its name.
    """
    began, stages = time.perf_counter(), Stages()
    with ExitStack() as stack:
        material = listen(session, source, target, stack, stages, progress)
        progress(Event("searching", 0.0, 1.0))  # what comes next may take long, and is no fault of the decoder
        make_folder(target.parent)
        truth = read_reference(session, reference, material, stack) if reference else None
        brief = read_brief(source, session.options, session.engine.sample_rate)
        refuse_long_clips(session, source, material)
        control = session.options.control
        wides = [stack.enter_context(Scratch(material.info.channels)) for _ in range(session.finalists + control)]
        rate = session.engine.sample_rate
        observer = Observer(rate, material.lr.frames, material.cutoff_hz, control, session.options.take)
        scale = material.level / session.engine.input_rms
        steps = search_windows(
            session, material.lr, truth, material.cutoff_hz, material.level, brief, stages, progress, stop
        )
        for step in steps:
            mark = time.perf_counter()
            observer.hear(step.window, step.pool, step.takes, step.heard, scale)
            for wide, finished in zip(wides, step.finished, strict=True):
                wide.append(finished)
            if rewards and step.pool:
                add_rewards(rewards, reward_record(session, source.name, material.cutoff_hz, step.pool))
            stages.add("observe", mark)
        picked = wides.pop() if control else None
        mark = time.perf_counter()
        by_windows = [observer.mean_combined(number) for number in range(len(wides))]
        contest = hold_contest(session, material.lr, wides, truth, material.cutoff_hz, by_windows, brief)
        stages.add("verify", mark)
        wide = wides[contest.chosen]
        if report:
            mark = time.perf_counter()
            observer.see(material.lr, wide)
            stages.add("observe", mark)
        write = partial(finish, session, material, stack=stack, stages=stages, progress=progress)
        output = write(wide, target)
        if picked is not None:
            write(picked, beside(target, "control"))
        best = write_best(session.options.keep_top, wides, contest, observer, target, output, write)
        windows, judged = observer.settle(contest, session.panel)
        result = Report(
            tool=tool_info(session),
            input=input_info(
                material.info, material.sha256, material.loudness, material.cutoff_hz, material.cutoff_reason
            ),
            output=output,
            verifiers=verifier_infos(session),
            windows=windows,
            timing=timing(stages, material.lr.frames / session.engine.sample_rate, time.perf_counter() - began),
            uncertainty=observer.uncertainty.summary(session.options.uncertain_above),
            search_range=observer.search_range(),
            judged=judged,
            gains=gains(judged),
            finalists=finalist_records(contest),
            brief=brief_record(brief, contest.notes),
            left_out=dict(session.panel.left_out),
            search=search_record(session, observer.cuts()),
            best=best,
        )
        files = write_reports(target, result, observer) if report else None
        page = (
            add_page(source, target, result, observer, session.options.take)
            if report and session.options.page
            else None
        )
        return Rendered(summary(result, target, files, page), in_words(result, target))


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


def refuse_long_clips(session: Session, source: Path, material: Material) -> None:
    """Raise InputError when all candidates of the file would have to be held at once, and are too many."""
    size = clip_bytes(session, material.lr.frames, material.info.channels)
    if session.options.choice == "clip" and size > CLIP_BYTES:
        raise InputError(
            f"{shown(source)}: --choice clip would hold {size / 1e9:.1f} GB of candidates; "
            "choose by window or segment, or take fewer --candidates"
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


def beside(target: Path, what: str) -> Path:
    """NAME_what beside NAME."""
    return target.with_name(fit_name(f"{target.stem}_{what}{target.suffix}"))


def write_best(
    count: int,
    wides: Sequence[Scratch],
    contest: Contest,
    observer: Observer,
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
    for rank, number in enumerate(contest.order[:count], 1):
        parts = observer.made_of(number)
        if parts in made:
            continue
        made.append(parts)
        there = number == contest.chosen
        info = output if there else write(wides[number], beside(target, f"top{rank}"))
        score = contest.combined[number] if contest.combined else observer.mean_combined(number)
        figures = info.sha256, info.lufs, info.true_peak_db, info.gain_db
        best.append(BestRecord(rank, info.name, None if math.isnan(score) else score, *figures, candidates=parts))
    return best


def add_page(source: Path, target: Path, report: Report, observer: Observer, take: int) -> Path:
    """Write the audition page beside the report."""
    data, page = report_names(target)[0], target.with_name(fit_name(f"{target.stem}.ttsr.html"))
    others = [best for best in report.best if best.name != target.name]
    scores = {best.name: best.score for best in report.best}
    versions = [Version("chosen", target, take, scores.get(target.name))]
    versions += [Version(f"number {best.rank}", target.with_name(best.name), best.rank, best.score) for best in others]
    files = [str(source.absolute()), "--again", str(data.absolute())]
    words = ["ttsr", "render", *files, "--take", "{rank}", "-o", str(target.absolute()), "--overwrite"]
    write_page(page, report.to_json(), source, versions, observer.uncertainty.arrays(), command=words)
    return page


def finish(
    session: Session,
    material: Material,
    wide: Scratch,
    target: Path,
    *,
    stack: ExitStack,
    stages: Stages,
    progress: Watch,
) -> OutputInfo:
    """Bring the render to its rate, level and depth, and write it."""
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
    written = write_atomic(
        target,
        lambda: (block * factor for block in final.blocks(BLOCK)),
        rate,
        info.channels,
        container,
        subtype,
        carried.insert,
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
