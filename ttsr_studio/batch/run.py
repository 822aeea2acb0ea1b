"""One loop over many files, for the command line and for job files alike: nothing that befalls one stops the others."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ttsr_studio.batch.existing import is_replaced, output_there
from ttsr_studio.batch.in_hand import FileInHand, FilesInHand, Relay
from ttsr_studio.batch.outcome import CancelledError, FileOutcome
from ttsr_studio.batch.plan import Job
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.progress import CancellationToken, Watch

if TYPE_CHECKING:
    from ttsr_studio.rendering.inference.session import Sessions
    from ttsr_studio.rendering.inference.windows import GroupSearcher


@dataclass(frozen=True)
class BatchRun:
    """What the files of a run have in common.

    Attributes:
        options_of: options of one file; raises what `ttsr_studio.config.resolve.with_sidecar` raises.
        begin: told a file, with its number from 0 on, when it is turned to; gives what is told of its progress.
        replace: whether outputs that exist may be replaced.
        skip_existing: whether files whose output exists are left out; one that is not whole is made anew.
        report: whether reports are written.
        rewards: file to which every score of every candidate is appended.
        stop: where the user says that it is enough.
        searcher: searches groups of windows; None for this process.
        written: told what became of a file when it is written, while the next is searched; its outcome comes later.
    """

    sessions: "Sessions"
    options_of: Callable[[Job], RenderOptions]
    begin: Callable[[int, Job], Watch]
    replace: bool = False
    skip_existing: bool = False
    report: bool = True
    rewards: Path | None = None
    stop: CancellationToken | None = None
    searcher: "GroupSearcher | None" = None
    written: Callable[[FileOutcome], object] = lambda _: None

    def over(self, jobs: Sequence[Job], inputs: Collection[Path]) -> Iterator[FileOutcome]:
        """Render one file after another; all that are left are cancelled when one is.

        While one is searched, the next is read and the last is written, each in a thread of its own.

        Args:
            inputs: sources that stay, whatever was rendered to their names before.
        """
        with FilesInHand(self, inputs) as hand:
            for number, job in enumerate(jobs):
                here: FileOutcome | None = None
                try:
                    if self.stopping and (last := hand.take_last()):
                        yield last
                    progress = hand.telling(self.begin(number, job))
                    if there := self.left(job):
                        here = FileOutcome(job, "skipped", there=there)
                    else:
                        here = hand.search(job, progress, jobs[number + 1 : number + 2])
                    last = hand.take_last()
                    if here is None and (self.stopping or number + 1 == len(jobs)):
                        hand.leave_next()
                        here = hand.write()
                    elif here is None:
                        hand.write_beside()
                except (CancelledError, KeyboardInterrupt):
                    if last := hand.take_last():
                        yield replace(last, goes_on=True)
                    yield from (FileOutcome(rest, "cancelled") for rest in jobs[number:])
                    return
                if last:
                    yield replace(last, goes_on=True)
                if here:
                    yield here

    @property
    def stopping(self) -> bool:
        """Whether the user says that it is enough."""
        return self.stop is not None and self.stop.asked

    def left(self, job: Job, draw: bool = True) -> str:
        """Why a file is left out, as its output is there and whole; a picture that alone is missing is drawn anew."""
        return output_there(job.target, self.report, draw).left if self.skip_existing else ""

    def turn_to(self, job: Job, inputs: Collection[Path]) -> FileInHand:
        """A file with its options and what is known of it, not read yet. Raises what these raise."""
        from ttsr_studio.config.annotations import read_annotations
        from ttsr_studio.rendering.inference.windows import search_here
        from ttsr_studio.rendering.pipeline import FileRender
        from ttsr_studio.rendering.request import RenderRequest

        options = self.options_of(job)
        session = self.sessions.of(options)
        given, relay = options.reference, Relay()
        request = RenderRequest(
            job.source,
            job.target,
            annotations=read_annotations(job.source, options, session.engine.sample_rate),
            reference=given if given and given.is_file() else job.reference,
            report=self.report,
            rewards=self.rewards,
            replace=self.replace or is_replaced(job.target, self.report, self.skip_existing),
            inputs=inputs,
        )
        render = FileRender.of(session, request, relay)
        render.stop, render.searcher = self.stop, self.searcher or search_here
        return FileInHand(job, render, relay)
