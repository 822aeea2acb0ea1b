"""The pipeline: file, windows, conditioning, noises, candidates, scores, choice, assembly, loudness, file.

Audio flows one way. Memory is bounded by a group of windows: what has the length of the file lies in temporary files.
"""

from contextlib import ExitStack

from ttsr_studio.audio.disk_buffer import Scratch, Sum
from ttsr_studio.errors import InputError, shown
from ttsr_studio.rendering.beyond import beside_tones
from ttsr_studio.rendering.holes import with_holes_filled
from ttsr_studio.rendering.inference.progress import CancellationToken, Progress, Watch
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.windows import (
    CLIP_BYTES,
    GroupSearcher,
    SearchRun,
    clip_bytes,
    search_here,
    search_windows,
)
from ttsr_studio.rendering.mixing import Pair, mix_of, mixed
from ttsr_studio.rendering.output import make_folder, write_outputs
from ttsr_studio.rendering.recorder import Recorder
from ttsr_studio.rendering.request import RenderRequest, RunningRender
from ttsr_studio.rendering.rerank import Reranking, rerank
from ttsr_studio.rendering.score_log import add_rewards, reward_record
from ttsr_studio.rendering.source import Material, analyse_source
from ttsr_studio.rendering.summary import Rendered, build_report, write_reports


def render(
    session: Session,
    request: RenderRequest,
    progress: Watch = lambda event: None,
    stop: CancellationToken | None = None,
    searcher: GroupSearcher = search_here,
) -> Rendered:
    """Render one file.

    Args:
        stop: where the user says that it is enough; the best so far is then written.
        searcher: searches groups of windows, here or elsewhere.

    Raises:
        InputError: the source cannot be rendered, is full-band already, or changed meanwhile.
        OutputError: the output cannot be written; nothing is left under its name.
    """
    with ExitStack() as files:
        run = RunningRender(session, request, files, Progress(progress))
        material = analyse_source(run)
        make_folder(request.target.parent)
        material, holes = with_holes_filled(run, material)
        renders, recorder = search_file(run, material, stop, searcher)
        reranking = rerank_renders(run, material, renders, recorder)
        outputs = write_outputs(run, material, renders, reranking, recorder)
        report = build_report(run, material, reranking, recorder, outputs, holes)
        rendered = write_reports(run, report, recorder, outputs)
        run.progress.end(material.seconds)
        return rendered


def search_file(
    run: RunningRender,
    material: Material,
    stop: CancellationToken | None,
    searcher: GroupSearcher = search_here,
) -> tuple[list[Scratch], Recorder]:
    """Search all windows: the n best, assembled, the random baseline last where one is wanted, and what was seen."""
    session, request = run.session, run.request
    refuse_long_clips(run, material)
    count = session.n_best + session.options.control
    renders = [run.buffer(material.info.channels) for _ in range(count)]
    recorder = Recorder(session, material.search)
    search = SearchRun(run.stages, run.progress, stop, searcher, request.source)
    for window in search_windows(session, material.search, search):
        with run.stages.timed("observe"):
            recorder.add(window)
            for render, finished in zip(renders, window.finished, strict=True):
                render.append(finished)
            if request.rewards and window.candidates:
                cutoff = material.search.cutoff_hz
                add_rewards(request.rewards, reward_record(session, request.source.name, cutoff, window.candidates))
    with run.stages.timed("observe"):
        renders = [beside_tones(run, material.programme, render) for render in renders]
    return renders, recorder


def rerank_renders(run: RunningRender, material: Material, renders: list[Scratch], recorder: Recorder) -> Reranking:
    """Choose among the n best renders."""
    with run.stages.timed("verify"):
        n_best = renders[: run.session.n_best]
        by_windows = [recorder.mean_combined(number) for number in range(len(n_best))]
        reranking = rerank(run.session, material.search, n_best, by_windows)
    run.progress.expect(run.outputs + 2 * run.request.report)
    if run.request.report:
        with run.stages.timed("observe"):
            compare(run, material, renders[reranking.chosen], recorder)
    return reranking


def compare(run: RunningRender, material: Material, render: Scratch, recorder: Recorder) -> None:
    """Show the recorder the input and what is heard of a render."""
    before, aside, rate = material.programme.unlifted, material.programme.aside, run.session.engine.sample_rate
    whole = Sum(render, aside) if aside else render
    mix = mix_of(run.session.options, recorder)
    after = whole if mix.whole else mixed(run, material, Pair(whole, material.whole, material.info.rate), mix, rate)
    recorder.compare(Sum(before, aside) if aside else before, after)
    run.progress.written(material.seconds)


def refuse_long_clips(run: RunningRender, material: Material) -> None:
    """Raise InputError when all candidates of the file would have to be held at once, and are too many."""
    size = clip_bytes(run.session, material.search.lr.frames, material.info.channels)
    if run.session.options.choice == "clip" and size > CLIP_BYTES:
        raise InputError(
            f"{shown(run.request.source)}: --choice clip would hold {size / 1e9:.1f} GB of candidates; "
            "choose by window or segment, or take fewer --candidates"
        )
