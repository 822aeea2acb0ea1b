"""One loop over many files, for the command line and for job files alike: nothing that befalls one stops the others."""

import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ttsr_studio.batch.fault import Fault, fault_of
from ttsr_studio.batch.plan import Job, ended_early, is_done
from ttsr_studio.errors import NothingToAddError, TtsrError, in_one_line
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.progress import CancellationToken, Watch

if TYPE_CHECKING:
    from ttsr_studio.rendering.inference.session import Session, Sessions
    from ttsr_studio.rendering.inference.windows import GroupSearcher
    from ttsr_studio.rendering.summary import Rendered


class CancelledError(TtsrError):
    """Somebody called all files off."""


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file.

    Attributes:
        reason: in one line, of a failure, or of a file that is skipped since there is nothing to add to it.
        fault: whose fault a failure is.
        rendered: the render, with the session that made it; None where there is none.
        trace: lines on where a failure that nobody foresaw happened.
    """

    job: Job
    status: Literal["rendered", "failed", "skipped", "cancelled"]
    reason: str = ""
    fault: Fault | None = None
    rendered: "tuple[Session, Rendered] | None" = None
    trace: Sequence[str] = ()


@dataclass(frozen=True)
class BatchRun:
    """What the files of a run have in common.

    Attributes:
        options_of: options of one file; raises what `ttsr_studio.config.resolve.with_sidecar` raises.
        begin: told a file, with its number from 0 on, when it is turned to; gives what is told of its progress.
        replace: whether outputs that exist may be replaced.
        skip_existing: whether files whose output exists are left out; one that Ctrl-C ended early is made anew.
        report: whether reports are written.
        rewards: file to which every score of every candidate is appended.
        stop: where the user says that it is enough.
        searcher: searches groups of windows; None for this process.
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

    def over(self, jobs: Sequence[Job], inputs: Collection[Path]) -> Iterator[FileOutcome]:
        """Render one file after another; all that are left are cancelled when one is.

        Args:
            inputs: sources that stay, whatever was rendered to their names before.
        """
        for number, job in enumerate(jobs):
            try:
                progress = self.begin(number, job)
                if self.skip_existing and is_done(job.target):
                    outcome = FileOutcome(job, "skipped")
                else:
                    outcome = self._one(job, inputs, progress)
            except (CancelledError, KeyboardInterrupt):
                yield from (FileOutcome(rest, "cancelled") for rest in jobs[number:])
                return
            yield outcome

    def _one(self, job: Job, inputs: Collection[Path], progress: Watch) -> FileOutcome:
        from ttsr_studio.config.annotations import read_annotations
        from ttsr_studio.rendering.inference.windows import search_here
        from ttsr_studio.rendering.pipeline import render
        from ttsr_studio.rendering.request import RenderRequest

        try:
            options = self.options_of(job)
            session = self.sessions.of(options)
            given = options.reference
            rendered = render(
                session,
                RenderRequest(
                    job.source,
                    job.target,
                    annotations=read_annotations(job.source, options, session.engine.sample_rate),
                    reference=given if given and given.is_file() else job.reference,
                    report=self.report,
                    rewards=self.rewards,
                    replace=self.replace or (self.skip_existing and ended_early(job.target)),
                    inputs=inputs,
                ),
                progress,
                self.stop,
                self.searcher or search_here,
            )
        except CancelledError:
            raise
        except NothingToAddError as error:
            return FileOutcome(job, "skipped", str(error))
        except Exception as error:  # one file's trouble, foreseen or not, must not stop the others
            foreseen = isinstance(error, TtsrError)
            trace = () if foreseen else "".join(traceback.format_exception(error)).splitlines()
            fault = fault_of(error, job.source)
            return FileOutcome(job, "failed", in_one_line(job.source, error), fault, trace=trace)
        return FileOutcome(job, "rendered", rendered=(session, rendered))
