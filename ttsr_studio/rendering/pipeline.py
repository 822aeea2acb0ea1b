"""The pipeline: file, windows, conditioning, noises, candidates, scores, choice, assembly, loudness, file.

Audio flows one way. Memory is bounded by a group of windows: what has the length of the file lies in temporary files.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

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
from ttsr_studio.rendering.summary import Rendered, build_report, load_drawing, write_reports
from ttsr_studio.report.file_records import HolesRecord
from ttsr_studio.report.lacking import is_orphan
from ttsr_studio.report.paths import report_paths
from ttsr_studio.report.writing import begin_writing, end_writing, leave_writing, unfinished_files


@dataclass
class FileRender:
    """The render of one file in three parts: one after the other, on whichever threads; `close` it in the end.

    Reading asks the engine's device for a filter's skirt at most, and writing nothing: they can go on beside another
    file's search.

    Attributes:
        stop: where the user says that it is enough; the best so far is then written.
        searcher: searches groups of windows, here or elsewhere.
    """

    run: RunningRender
    stop: CancellationToken | None = None
    searcher: GroupSearcher = search_here
    _material: Material | None = None
    _found: "SearchedFile | None" = None

    @classmethod
    def of(cls, session: Session, request: RenderRequest, progress: Watch) -> "FileRender":
        """A render that has not begun."""
        begun = cls(RunningRender(session, request, ExitStack(), Progress(progress)))
        begun.run.watch.pause()
        return begun

    def read(self) -> None:
        """Decode and measure the source. Raises InputError, or OutputError for an output that it cannot become."""
        with self._working():
            self._material = analyse_source(self.run)

    def search(self) -> None:
        """Search all windows and choose. Raises InputError for what cannot be searched."""
        run, material = self.run, self._material
        assert material is not None
        with self._working():
            make_folder(run.request.target.parent)
            if run.request.report:
                load_drawing()
            material, holes = with_holes_filled(run, material)
            renders, recorder = search_file(run, material, self.stop, self.searcher)
            self._found = SearchedFile(
                material, renders, recorder, rerank_renders(run, material, renders, recorder), holes
            )

    def write(self) -> Rendered:
        """Write the output and what belongs to it. Raises OutputError; nothing is left under its name then."""
        run, found = self.run, self._found
        assert found is not None
        material, renders, recorder, reranking = found.material, found.renders, found.recorder, found.reranking
        with self._working():
            if run.request.report:
                with run.stages.timed("observe"):
                    compare(run, material, renders[reranking.chosen], recorder)
            begin_writing(run.request.target)
            try:
                outputs = write_outputs(run, material, renders, reranking, recorder)
                report = build_report(run, material, reranking, recorder, outputs, found.holes)
                rendered = write_reports(run, report, recorder, outputs)
            except BaseException as error:
                if not isinstance(error, Exception):  # it is left: here by Ctrl-C, elsewhere by what stands for it
                    take_back(run.request)
                left = leave_writing if is_orphan(run.request.target) else end_writing
                left(run.request.target)
                raise
            end_writing(run.request.target)
            run.progress.end(material.seconds)
        return rendered

    def close(self) -> None:
        """Remove temporary files."""
        self.run.files.close()

    @contextmanager
    def _working(self) -> Iterator[None]:
        """What it takes counts; between the parts it may lie."""
        self.run.watch.go_on()
        try:
            yield
        finally:
            self.run.watch.pause()


def take_back(request: RenderRequest) -> None:
    """Remove a render that was left before its report was written: without one it would pass for finished."""
    if request.report and not request.replace and not report_paths(request.target)[0].exists():
        for path in unfinished_files(request.target):
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class SearchedFile:
    """What a file's search came to: the n best, assembled, which of them was chosen, and what was seen on the way."""

    material: Material
    renders: list[Scratch]
    recorder: Recorder
    reranking: Reranking
    holes: HolesRecord | None


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
    with closing(FileRender.of(session, request, progress)) as file:
        file.stop, file.searcher = stop, searcher
        file.read()
        file.search()
        return file.write()


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
