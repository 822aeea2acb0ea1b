"""The pipeline: file, windows, conditioning, noises, candidates, scores, choice, assembly, loudness, file.

Audio flows one way. Memory is bounded by a group of windows: what has the length of the file lies in temporary files.
"""

import time
from collections.abc import Collection
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.errors import InputError, shown
from ttsr_studio.render.inference.progress import CancellationToken, Event, Watch
from ttsr_studio.render.inference.session import Session
from ttsr_studio.render.inference.timing import Stages
from ttsr_studio.render.inference.windows import CLIP_BYTES, clip_bytes, search_windows
from ttsr_studio.render.output import add_page, clear_earlier, earlier_report, finish, make_folder, write_best
from ttsr_studio.render.recorder import Recorder
from ttsr_studio.render.rerank import rerank
from ttsr_studio.render.score_log import add_rewards, reward_record
from ttsr_studio.render.source import Material, listen, read_reference
from ttsr_studio.render.summary import (
    Rendered,
    annotations_record,
    gains,
    in_words,
    input_info,
    n_best_records,
    search_record,
    summary,
    timing,
    tool_info,
    verifier_infos,
    write_reports,
)
from ttsr_studio.report.paths import beside
from ttsr_studio.report.schema import Report
from ttsr_studio.verifiers.protocol import Annotations


def render(
    session: Session,
    source: Path,
    target: Path,
    *,
    annotations: Annotations | None = None,
    report: bool = True,
    reference: Path | None = None,
    progress: Watch = lambda event: None,
    stop: CancellationToken | None = None,
    rewards: Path | None = None,
    replace: bool = True,
    inputs: Collection[Path] = (),
) -> Rendered:
    """Render one file.

    Args:
        target: final name of the output; its folder is made.
        annotations: what is known of the file; None for nothing.
        report: write `<target stem>.ttsr.json`, `.ttsr.png` and `.ttsr.npz` beside it.
        reference: ground truth for oracle verifiers.
        stop: where the user says that it is enough; the best so far is then written.
        rewards: file to which every score of every candidate is appended.
        replace: whether an output of this name may be replaced, and then what belonged to it goes.
        inputs: other sources, which stay even if they belonged to it.

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
        annotations = annotations or Annotations()
        refuse_long_clips(session, source, material)
        control = session.options.control
        wides = [stack.enter_context(Scratch(material.info.channels)) for _ in range(session.finalists + control)]
        rate = session.engine.sample_rate
        recorder = Recorder(rate, material.lr.frames, material.cutoff_hz, control, session.options.take)
        scale = material.level / session.engine.input_rms
        steps = search_windows(
            session, material.lr, truth, material.cutoff_hz, material.level, annotations, stages, progress, stop
        )
        for step in steps:
            mark = time.perf_counter()
            recorder.hear(step.window, step.pool, step.takes, step.heard, scale)
            for wide, finished in zip(wides, step.finished, strict=True):
                wide.append(finished)
            if rewards and step.pool:
                add_rewards(rewards, reward_record(session, source.name, material.cutoff_hz, step.pool))
            stages.add("observe", mark)
        picked = wides.pop() if control else None
        mark = time.perf_counter()
        by_windows = [recorder.mean_combined(number) for number in range(len(wides))]
        reranking = rerank(session, material.lr, wides, truth, material.cutoff_hz, by_windows, annotations)
        stages.add("verify", mark)
        wide = wides[reranking.chosen]
        if report:
            mark = time.perf_counter()
            recorder.see(material.lr, wide)
            stages.add("observe", mark)
        write = partial(finish, session, material, stack=stack, stages=stages, progress=progress)
        earlier = earlier_report(target) if replace else None
        output = write(wide, target, replace=replace)
        random_baseline = None if picked is None else write(picked, beside(target, "control"))
        best = write_best(session.options.keep_top, wides, reranking, recorder, target, output, write)
        windows, scores = recorder.settle(reranking, session.panel)
        result = Report(
            tool=tool_info(session),
            input=input_info(
                material.info, material.sha256, material.loudness, material.cutoff_hz, material.cutoff_reason
            ),
            output=output,
            verifiers=verifier_infos(session),
            windows=windows,
            timing=timing(stages, material.lr.frames / session.engine.sample_rate, time.perf_counter() - began),
            uncertainty=recorder.uncertainty.summary(session.options.uncertain_above),
            search_range=recorder.search_range(),
            scores=scores,
            gains=gains(scores),
            n_best=n_best_records(reranking),
            annotations=annotations_record(annotations, reranking.notes),
            left_out=dict(session.panel.left_out),
            search=search_record(session, recorder.cuts()),
            best=best,
            random_baseline=random_baseline,
        )
        files = write_reports(target, result, recorder) if report else None
        page = (
            add_page(source, target, result, recorder, session.options.take)
            if report and session.options.page
            else None
        )
        clear_earlier(target, earlier, result, page, [source, *inputs])
        return Rendered(summary(result, target, files, page), in_words(result, target))


def refuse_long_clips(session: Session, source: Path, material: Material) -> None:
    """Raise InputError when all candidates of the file would have to be held at once, and are too many."""
    size = clip_bytes(session, material.lr.frames, material.info.channels)
    if session.options.choice == "clip" and size > CLIP_BYTES:
        raise InputError(
            f"{shown(source)}: --choice clip would hold {size / 1e9:.1f} GB of candidates; "
            "choose by window or segment, or take fewer --candidates"
        )
