"""What leaves the pipeline: renders at their rate, level and depth, the best beside the chosen one, the page."""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ttsr_studio.analysis.difference import character_words
from ttsr_studio.audio.decode import Blocks
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.encode import Encoding, Written, write_audio
from ttsr_studio.audio.media.forms import KINDS
from ttsr_studio.audio.metadata.conversion import Change
from ttsr_studio.audio.metadata.transfer import carry
from ttsr_studio.errors import OutputError, shown
from ttsr_studio.rendering.finish import Finished, finish
from ttsr_studio.rendering.mixing import Mix, mix_of
from ttsr_studio.rendering.recorder import TIE, Recorder
from ttsr_studio.rendering.request import RunningRender
from ttsr_studio.rendering.rerank import Reranking
from ttsr_studio.rendering.source import BLOCK, Material
from ttsr_studio.report.earlier import earlier_report
from ttsr_studio.report.file_records import BestRecord, MetadataInfo, OutputInfo
from ttsr_studio.report.paths import beside, page_name, report_paths
from ttsr_studio.report.schema import Report
from ttsr_studio.report.writing import note_audio

SECONDS_TOLD = 30.0
"""Of renders, by which it is told in what they differ."""


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


@dataclass(frozen=True)
class Outputs:
    """The audio that was written.

    Attributes:
        chosen: under the target's own name.
        best: the best renders, the chosen one among them or not.
        random_baseline: a random pick through the same assembly; None where none was wanted.
        replaced: the report of the render that bore the name before; None where there was none.
        mix: how much of what was made they have.
    """

    chosen: OutputInfo
    best: list[BestRecord]
    random_baseline: OutputInfo | None
    replaced: Report | None
    mix: Mix


def write_outputs(
    run: RunningRender, material: Material, renders: Sequence[Scratch], reranking: Reranking, recorder: Recorder
) -> Outputs:
    """Write the chosen render, the random baseline and the next best beside it.

    Args:
        renders: the n best, the random baseline last where one is wanted, at the engine's rate.
    """
    target, replace = run.request.target, run.request.replace
    replaced = earlier_report(target) if replace else None
    mix = mix_of(run.session.options, recorder)
    chosen = write_render(run, material, renders[reranking.chosen], mix, target, replace)
    baseline = None
    if run.session.options.control:
        baseline = write_render(run, material, renders[-1], mix, beside(target, "control"))
    best: list[BestRecord] = []
    kept = list(distinct(reranking.order[: run.session.options.keep_top], recorder))
    scores = rank_scores([number for _, number in kept], reranking, recorder)
    words = differences_told(run, material, renders, kept)
    for (rank, number), score, said in zip(kept, scores, words, strict=True):
        there = number == reranking.chosen
        other = beside(target, f"top{rank}")
        info = chosen if there else write_render(run, material, renders[number], mix, other)
        figures = info.sha256, info.lufs, info.true_peak_db, info.gain_db
        parts = recorder.made_of(number)
        best.append(BestRecord(rank, info.name, score, *figures, candidates=parts, differs=said or None))
    return Outputs(chosen, best, baseline, replaced, mix)


def differences_told(
    run: RunningRender, material: Material, renders: Sequence[Scratch], kept: Sequence[tuple[int, int]]
) -> list[str]:
    """In what each of the best differs from the first, in words, by at most half a minute of the middle."""
    if len(kept) < 2:
        return [""] * len(kept)
    rate = run.session.engine.sample_rate
    parts = []
    for _, number in kept:
        render, length = renders[number], round(SECONDS_TOLD * rate)
        start = max(0, (render.frames - length) // 2)
        parts.append(torch.from_numpy(render.read(start, min(render.frames, start + length))))
    return character_words(parts, material.search.cutoff_hz, rate)


def rank_scores(numbers: Sequence[int], reranking: Reranking, recorder: Recorder) -> list[float | None]:
    """The score of each of the n best, the best first; None for all where the ranks go by something else.

    That is so where segments of several candidates were put together, which only scores of segments can tell of, and
    where the search itself made the choice.
    """
    if recorder.session.panel.choosing("clip"):
        return [None if math.isnan(reranking.combined[number]) else reranking.combined[number] for number in numbers]
    combined = [recorder.mean_combined(number) for number in numbers]
    spliced = any(len(set(parts)) > 1 for number in numbers for parts in recorder.made_of(number))
    falls = all(a >= b - TIE for a, b in pairwise(combined))
    known = all(map(math.isfinite, combined))  # silence has no scores
    return list(combined) if known and falls and not spliced else [None] * len(numbers)


def distinct(order: Sequence[int], recorder: Recorder) -> Iterator[tuple[int, int]]:
    """The n best with their ranks, 1 for the best; of those that came out equal the first."""
    made: list[list[tuple[int, ...]]] = []
    for rank, number in enumerate(order, 1):
        parts = recorder.made_of(number)
        if parts not in made:
            made.append(parts)
            yield rank, number


def write_render(
    run: RunningRender, material: Material, render: Scratch, mix: Mix, target: Path, replace: bool = True
) -> OutputInfo:
    """Bring a render to its rate, level and depth, and write it; what has its name goes only with `replace`."""
    with run.stages.timed("write"):
        done, sound = finish(run, material, render, mix), material.form.sound
        blocks = partial(told, run, material, done)
        ready = partial(note_audio, run.request.target, target)
        if target.suffix.lower() in KINDS:
            from ttsr_studio.audio.media.write import Render  # with FFmpeg's libraries, as is the next
            from ttsr_studio.rendering.media import write_beside_picture

            coded, options = Render(blocks, sound), run.session.options
            written, metadata = write_beside_picture(target, coded, material.info, options, replace, ready)
        else:
            written, metadata = write_native(material, done, blocks, target, replace, ready)
    run.progress.written(material.seconds)
    return done.described(target.name, written.sha256, sound.words, metadata)


def write_native(
    material: Material,
    done: Finished,
    blocks: Callable[[], Blocks],
    target: Path,
    replace: bool,
    ready: Callable[[str], None],
) -> tuple[Written, MetadataInfo]:
    """Write a WAV, AIFF or FLAC."""
    info, form, source, lufs = material.info, material.form, material.loudness.lufs, done.lufs
    change = Change(
        form.container,
        info.subtype,
        form.sound.subtype,
        info.rate,
        done.rate,
        info.frames,
        done.audio.frames,
        info.channels,
        level_kept=lufs is None or source is None or abs(lufs - source) <= 0.1,
    )
    carried = carry(material.metadata, change)
    encoding = Encoding(done.rate, info.channels, form.container, form.sound.subtype)
    written = write_audio(target, blocks, encoding, carried.insert, replace, ready)
    return written, MetadataInfo(carried.names, carried.left_out, carried.warnings)


def told(run: RunningRender, material: Material, done: Finished) -> Iterator[NDArray[np.float32]]:
    """The blocks of a render as they are written, and then read back; progress is told of the first time."""
    share = 0.5
    for block in done.audio.blocks(BLOCK):
        yield block * done.factor
        share += 0.4 * block.shape[1] / done.audio.frames
        run.progress.writing(share, material.seconds)


def add_page(run: RunningRender, report: Report, recorder: Recorder) -> Path:
    """Write the audition page beside the report."""
    from ttsr_studio.report.html import audition_of, write_page  # with matplotlib

    source, target = run.request.source, run.request.target
    data, page = report_paths(target)[0], page_name(target)
    files = [str(source.absolute()), "--again", str(data.absolute())]
    words = ["ttsr", "render", *files, "--take", "{rank}", "-o", str(target.absolute()), "--overwrite"]
    write_page(page, audition_of(report.to_json(), target, source, recorder.uncertainty.arrays(), words))
    return page
