"""The pipeline: file, windows, conditioning, noises, candidates, scores, choice, assembly, loudness, file.

Audio flows one way. Memory is bounded by a group of windows: what has the length of the file lies in temporary files.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ttsr_studio.audio.bandwidth import Bandwidth, BandwidthMeter
from ttsr_studio.audio.crossover import Crossover
from ttsr_studio.audio.files import (
    Scratch,
    SourceInfo,
    output_format,
    probe,
    read_blocks,
    resample_blocks,
    write_atomic,
)
from ttsr_studio.audio.loudness import Loudness, LoudnessMeter, decibels, match_gain
from ttsr_studio.audio.windows import CrossFader, Window, even_core, plan_windows
from ttsr_studio.candidates import Pool, Recipe, Stages, WindowPool, window_key
from ttsr_studio.errors import InputError, OptionError, OutputError
from ttsr_studio.levels import ActiveLevel
from ttsr_studio.observer import Observer
from ttsr_studio.outcome import (
    Rendered,
    in_words,
    input_info,
    summary,
    timing,
    tool_info,
    verifier_infos,
    write_reports,
)
from ttsr_studio.progress import Event, Watch
from ttsr_studio.report.record import OutputInfo, Report
from ttsr_studio.search.batching import SolveBatch, Task, drive
from ttsr_studio.search.contract import Problem
from ttsr_studio.session import Session

FADE_SECONDS = 0.08
GROUP_BYTES = 400_000_000
"""About how much the candidates of the windows in flight may take."""

BLOCK = 1 << 16


@dataclass(frozen=True)
class Material:
    """What one pass over the input gave.

    Attributes:
        lr: the input at the engine's rate.
        level: RMS of its active parts, linear; 0 for silence.
    """

    info: SourceInfo
    sha256: str
    lr: Scratch
    cutoff_hz: float
    cutoff_reason: str
    loudness: Loudness
    level: float


def render(
    session: Session,
    source: Path,
    target: Path,
    *,
    report: bool = True,
    reference: Path | None = None,
    progress: Watch = lambda event: None,
) -> Rendered:
    """Render one file.

    Args:
        target: final name of the output; its folder is made.
        report: write `<target stem>.ttsr.json` and `.ttsr.png` beside it.
        reference: ground truth for oracle verifiers.

    Raises:
        InputError: the source cannot be rendered, is full-band already, or changed meanwhile.
        OutputError: the output cannot be written; nothing is left under its name.
    """
    began, stages = time.perf_counter(), Stages()
    with ExitStack() as stack:
        material = listen(session, source, stack, stages, progress)
        truth = read_reference(session, reference, material, stack) if reference else None
        wide = stack.enter_context(Scratch(material.info.channels))
        observer = Observer(session.engine.sample_rate, material.lr.frames, material.cutoff_hz)
        scale = material.level / session.engine.input_rms
        for window, finished, pool, chosen in search(session, material, truth, stages, progress):
            mark = time.perf_counter()
            if report:
                observer.see(wide.frames, material.lr.read(wide.frames, wide.frames + finished.shape[1]), finished)
                observer.hear(window, pool, chosen, session.options.ensemble, scale)
            wide.append(finished)
            stages.add("observe", mark)
        output = finish(session, material, wide, target, stack, stages, progress)
        result = Report(
            tool=tool_info(session),
            input=input_info(
                material.info, material.sha256, material.loudness, material.cutoff_hz, material.cutoff_reason
            ),
            output=output,
            verifiers=verifier_infos(session),
            windows=observer.windows,
            timing=timing(stages, material.lr.frames / session.engine.sample_rate, time.perf_counter() - began),
            uncertainty=observer.uncertainty.summary(),
            search_range=observer.search_range(),
        )
        files = write_reports(target, result, observer) if report else None
        return Rendered(summary(result, target, files), in_words(result, target))


def listen(session: Session, source: Path, stack: ExitStack, stages: Stages, progress: Watch) -> Material:
    """Decode the input once: to the engine's rate, measuring band, loudness and level on the way."""
    began = time.perf_counter()
    info = probe(source, session.options.salvage)
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
    return Material(info, digest, lr, min(given or found.cutoff_hz, rate / 2), reason, loudness, rms)


def refuse_full_band(source: Path, band: Bandwidth, cutoff: float | None) -> None:
    if band.full_band and cutoff is None and not band.silent:
        raise InputError(
            f"{source}: full-band already ({band.cutoff_hz / 1000:.1f} kHz); nothing to add. "
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
            f"{reference}: not the ground truth of {material.info.path}: {info.channels} channels and "
            f"{truth.frames / rate:.2f} s against {material.info.channels} and {material.lr.frames / rate:.2f} s"
        )
    return truth


Step = tuple[Window, np.ndarray, WindowPool | None, int]
"""A window, the output samples that it finished [channels, n], its candidates (None for silence) and the choice."""


def search(
    session: Session, material: Material, truth: Scratch | None, stages: Stages, progress: Watch
) -> Iterator[Step]:
    """Search group after group of windows and hand out the output from its start to its end."""
    engine, lr = session.engine, material.lr
    rate = engine.sample_rate
    recipe = Recipe(
        engine, session.sampler, session.sigmas(), Crossover(material.cutoff_hz, rate), session.verifiers,
        session.options.ensemble, session.limit,
    )  # fmt: skip
    fade = round(FADE_SECONDS * rate)
    core = even_core(lr.frames, round(engine.core_seconds * rate), fade)
    windows = plan_windows(lr.frames, core, round(engine.context_seconds * rate), fade, engine.hop)
    clock = SearchClock(session, len(windows), lr.frames / rate, progress)
    scale = engine.input_rms / material.level if material.level else 0.0
    fader = CrossFader()
    for group in grouped(windows, material.info.channels, session.candidates):
        clock.begin(len(group))
        audio = np.stack([lr.read(w.render_start, w.render_stop) for w in group]) * np.float32(scale)
        loud = [i for i, w in enumerate(group) if audio[i].any()]
        found: dict[int, tuple[WindowPool, int]] = {}
        if loud:
            heard = [group[i] for i in loud]
            truths = [
                None
                if truth is None
                else torch.from_numpy(truth.read(w.render_start, w.render_stop) * np.float32(scale))
                for w in heard
            ]
            keys = [window_key(session.options.seed, w, engine) for w in heard]
            pool = Pool(recipe, heard, torch.from_numpy(audio[loud]), keys, truths, stages)
            searches = [session.start(Problem(key)) for key in keys]
            rows = max(1, session.options.batch // material.info.channels)
            winners = drive(searches, clock.watched(pool.solve), pool.score, batch=rows, expired=clock.expired)
            found = {i: (pool.windows[j], winners[j].index) for j, i in enumerate(loud)}
        clock.end(len(group))
        for i, window in enumerate(group):
            if i in found:
                mine, chosen = found[i]
                yield window, fader.add(window, mine.audio[chosen].numpy() / np.float32(scale)), mine, chosen
            else:
                yield window, fader.add(window, lr.read(window.start, window.stop)), None, -1


def grouped(windows: list[Window], channels: int, candidates: int) -> Iterator[list[Window]]:
    """Windows in groups whose candidates fit `GROUP_BYTES`."""
    size = 4 * channels * (windows[0].render_stop - windows[0].render_start) * (candidates + 16)
    count = max(1, GROUP_BYTES // size)
    for start in range(0, len(windows), count):
        yield windows[start : start + count]


def finish(
    session: Session,
    material: Material,
    wide: Scratch,
    target: Path,
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
            raise OutputError(f"{info.path}: the engine gave values that are not finite; nothing was written")
        meter.update(block)
        final.append(block)
        progress(Event("writing", final.frames / rate, 2 * frames / rate))
    loudness = meter.result()
    gain = match_gain(material.loudness, loudness, options.loudness, options.ceiling)
    factor = np.float32(10 ** (gain.db / 20))
    try:
        container, subtype, _ = output_format(info, options.depth, target.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
    except OptionError as error:
        raise OutputError(f"{target}: {error}") from error
    written = write_atomic(
        target,
        lambda: (block * factor for block in final.blocks(BLOCK)),
        rate,
        info.channels,
        container,
        subtype,
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
        lufs=None if loudness.lufs is None else loudness.lufs + gain.db,
        true_peak_db=decibels(loudness.true_peak) + gain.db,
        gain_db=gain.db,
        gain_reason=gain.reason + clipped,
    )


class SearchClock:
    """The seconds budget of a file's search, shared evenly over its windows, and its progress."""

    def __init__(self, session: Session, windows: int, seconds: float, progress: Watch) -> None:
        self._began = time.perf_counter()
        self._budget = session.options.budget_seconds
        self._per_window = session.candidates
        self._windows, self._seconds, self._progress = windows, seconds, progress
        self._through, self._finished, self._rendered = 0, 0, 0

    def begin(self, windows: int) -> None:
        """A group of so many windows is searched from here."""
        self._through += windows

    def expired(self) -> bool:
        """Whether the share of the windows begun so far is spent."""
        spent = time.perf_counter() - self._began
        return self._budget is not None and spent > self._budget * self._through / self._windows

    def watched(self, solve: SolveBatch) -> SolveBatch:
        """The same, reporting progress."""

        def solving(tasks: Sequence[Task]) -> None:
            solve(tasks)
            self._rendered += len(tasks)
            self._tell(self._rendered)

        return solving

    def end(self, windows: int) -> None:
        """So many windows are done, however many candidates they took."""
        self._finished += windows
        self._rendered = self._finished * self._per_window
        self._tell(self._rendered)

    def _tell(self, done: int) -> None:
        total = self._windows * self._per_window
        self._progress(Event("searching", done, total, self._seconds * done / total))
