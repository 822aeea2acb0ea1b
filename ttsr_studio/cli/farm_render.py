"""`ttsr render --farm`: several files over the workers of a farm; one file is searched there and joined here."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import TaskID

from ttsr_studio.audio.decode import name_advice
from ttsr_studio.batch.existing import is_replaced
from ttsr_studio.batch.fault import OF_CAUSE, Fault
from ttsr_studio.batch.in_hand import MEANWHILE
from ttsr_studio.batch.outcome import FileOutcome
from ttsr_studio.batch.plan import Job
from ttsr_studio.cli.farm_flags import FarmFlags, farm_of
from ttsr_studio.cli.progress import RenderProgress
from ttsr_studio.cli.time_left import TimeLeft
from ttsr_studio.errors import Cause, FarmError, OptionError, TakenError, TtsrError, in_one_line, shown
from ttsr_studio.farm.groups import FarmSearch
from ttsr_studio.farm.pool import Pieces, Pool
from ttsr_studio.farm.receipts import Marks
from ttsr_studio.farm.works import (
    OnShare,
    RenderWork,
    Shipment,
    ShippedRender,
    brought_home,
    put_in_place,
)
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.progress import CancellationToken, Event
from ttsr_studio.rendering.summary import Rendered
from ttsr_studio.rendering.tasks import RenderTask, TaskFailed
from ttsr_studio.report.paths import report_paths
from ttsr_studio.report.writing import end_writing, unfinished_files

if TYPE_CHECKING:
    from ttsr_studio.farm.farm import Farm
    from ttsr_studio.rendering.inference.session import Session

STAGES = {"loading": 0.0, "reading": 0.0, "searching": 0.05, "writing": 0.95}
"""Share of a render at which its stages begin."""


def open_farm(flags: FarmFlags, what: str, stack: ExitStack, tell: Callable[[str], None]) -> "Farm":
    """The farm, for as long as the stack lasts. Raises OptionError where it cannot be used.

    Args:
        what: is rendered, for others who ask.
    """
    farm = stack.enter_context(farm_of(flags, tell, what))
    if reason := farm.trouble():
        raise OptionError(f"--farm {flags.address}: {reason}")
    if flags.device.startswith(("cuda", "gpu")) and not farm.cards:
        cure = "leave --device out, or join one by `ray start --address=… --num-gpus=N`"
        raise OptionError(f"--device {flags.device}: no machine of the farm at {flags.address} has a card; {cure}")
    return farm


def farm_search(farm: "Farm", flags: FarmFlags, choice: str, tell: Callable[[str], None]) -> FarmSearch:
    """What searches one file on a farm."""
    if choice == "clip":
        tell("--choice clip is one choice for the whole file: one machine of the farm searches all of it")
    return FarmSearch(farm, flags.workers, flags.device, tell)


def say_files_stop(progress: "FarmProgress") -> None:
    """Say what the wish to stop means now."""
    progress.say("stopping: files at work are finished with the best so far; Ctrl-C again leaves them")


class FarmProgress(RenderProgress):
    """Shows how far all files are that a farm renders, as one.

    Args:
        work: of every file, in seconds of audio.
    """

    def __init__(self, work: Sequence[float], quiet: bool) -> None:
        super().__init__([f"{len(work)} files on the farm"], TimeLeft([sum(work) or 1.0]), quiet)
        self.work, self.done = work, 0.0
        self.task: TaskID | None = None
        self.count, self.said = 0, f"0 of {len(work)} files done, 0 at work, 0%"

    def finished(self, number: int) -> None:
        self.done += self.work[number]
        self.count += 1

    def see(self, shares: Mapping[int, float]) -> None:
        """Such shares of files in hand are rendered."""
        total = sum(self.work) or 1.0
        share = min(1.0, (self.done + sum(self.work[n] * share for n, share in shares.items())) / total)
        if self.count or any(shares.values()):  # until then workers are waited for
            self.left.see(Event("searching", share, 1.0, fraction=share))
        if self.drawn:
            if self.bar is None:
                self.task = self._draw(self.names[0])
            if self.bar is not None and self.task is not None:
                self.bar.update(self.task, completed=share, stage="searching")
        line = f"{self.count} of {len(self.work)} files done, {len(shares)} at work, {share:.0%}"
        if line != self.said and self.due():
            self.said = line
            self.say(line)


@dataclass
class FarmRun:
    """Files over a farm, as `BatchRun` is for one machine.

    Attributes:
        session: of the run's own options.
        options_of: options of one file; raises what `with_sidecar` raises.
        token: where the user says that it is enough.
    """

    pool: Pool
    session: "Session"
    options_of: Callable[[Job], RenderOptions]
    progress: FarmProgress
    token: CancellationToken
    replace: bool = False
    skip_existing: bool = False
    report: bool = True
    marks: Marks = field(default_factory=Marks)
    in_hand: set[int] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)

    @property
    def stop(self) -> CancellationToken | None:
        """What ends the run after a file: not before all are in that were begun."""
        return None if self.in_hand else self.token

    def over(self, jobs: Sequence[Job], inputs: Collection[Path]) -> Iterator[FileOutcome]:
        """Render files as workers come free; what becomes of them in the order in which they are done.

        Args:
            inputs: sources that stay, whatever was rendered to their names before.
        """
        tasks: dict[int, RenderTask] = {}
        for number, job in enumerate(jobs):
            try:
                tasks[number] = self._task(job, inputs)
            except Exception as error:  # one file's trouble, foreseen or not, must not stop the others
                self.progress.finished(number)
                yield FileOutcome(job, "failed", in_one_line(job.source, error), "settings")
        open_jobs, gone, there, at_work = set(tasks), None, dict[int, Rendered](), list[int]()
        try:
            for number, answer in self._answers(tasks) if tasks else ():
                open_jobs.discard(number)
                yield self._outcome(jobs[number], tasks[number], answer, number)
        except KeyboardInterrupt:
            self.pool.enough(leave=True)
            open_jobs |= self.in_hand
            at_work = sorted(self.in_hand)
        except FarmError as error:
            if not self.begun:
                raise
            gone = error
        finally:  # what was delivered counts, whoever went away
            there = {n: made for n in sorted(open_jobs) if (made := self._delivered(n, tasks[n]))}
            self._tidy_up(tasks)
        self.in_hand = set(there)
        for number, made in there.items():
            self.in_hand.discard(number)
            yield self._outcome(jobs[number], tasks[number], made, number)
        left = " and ".join(shown(jobs[number].source) for number in at_work if number not in there)
        for job in (jobs[number] for number in sorted(open_jobs - there.keys())):
            if gone:
                yield FileOutcome(job, "failed", f"{shown(job.source)}: {gone}", "surroundings")
            else:
                yield FileOutcome(job, "cancelled", left)
        if gone:
            self.pool.tell("the rest is left; the same command with --skip-existing goes on there")

    def _answers(self, tasks: Mapping[int, RenderTask]) -> Iterator[tuple[int, Any]]:
        """Answers of workers by the number of the file, until all are in or those that are wanted. Raises FarmError."""
        numbers = list(tasks)
        pieces = Pieces(
            len(numbers),
            lambda place, _: self._begin(numbers[place], tasks[numbers[place]]),
            lambda place: str(tasks[numbers[place]].source),
            lambda: 0 if self.token.asked else len(numbers),
            lambda place: ShippedRender.of(tasks[numbers[place]]),
            lambda place: self._delivered(numbers[place], tasks[numbers[place]]),
        )
        for piece in self.pool.run(pieces):
            if self.token.asked:
                self.pool.enough()
                if not self.in_hand or (piece is None and not self.pool.workers):
                    return  # what was lost with its worker is not begun again
            if piece is None:
                self.marks.touch()
                self.progress.see({numbers[n]: share(where) for n, where in [*self.pool.standings.items()]})
                continue
            number = numbers[piece.number]
            self.progress.finished(number)
            self.in_hand.discard(number)
            yield number, piece.answer

    def _tidy_up(self, tasks: Mapping[int, RenderTask]) -> None:
        """Remove our marks, and renders whose worker ended before the report: they would pass for finished."""
        begun = [(number, task) for number, task in tasks.items() if number in self.begun and task.report]
        ours = [task.target for number, task in begun if self.marks.is_ours(number, task.target)]
        self.marks.remove([task.target for task in tasks.values()])
        for target in (target for target in ours if not report_paths(target)[0].exists()):
            for path in {target, *unfinished_files(target)}:
                path.unlink(missing_ok=True)
            end_writing(target)

    def _delivered(self, number: int, task: RenderTask) -> Rendered | None:
        """What a worker delivered of which nothing more was heard."""
        return self.marks.delivered(number, task)

    def _task(self, job: Job, inputs: Collection[Path]) -> RenderTask:
        """Raises what `options_of` does, and OutputError for a folder that cannot be written."""
        options = self.options_of(job)
        self.marks.add(job.target.parent.absolute())
        given = options.reference
        reference = given if given and given.is_file() else job.reference
        anew = self.replace or is_replaced(job.target, self.report, self.skip_existing)
        return RenderTask(
            job.source.absolute(), job.target.absolute(), options, reference and reference.absolute(), self.report,
            anew, tuple(path.absolute() for path in inputs),
        )  # fmt: skip

    def _begin(self, number: int, task: RenderTask) -> RenderWork:
        """Raises OSError for a source that is not there."""
        self.in_hand.add(number)
        if number in self.begun and self.marks.is_ours(number, task.target):
            task = replace(task, replace=True)  # the worker that was lost made it, and did not get to its report
        self.begun.add(number)
        try:
            share = OnShare.of(self.marks.of(task.target), task.source)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}; {name_advice(task.source)}") from error
        return RenderWork(task, share, self.marks.receipt(number, task.target))

    def _outcome(self, job: Job, task: RenderTask, answer: Any, number: int) -> FileOutcome:
        if not isinstance(answer, Rendered) and (made := self._delivered(number, task)):
            answer = made  # by a worker that was lost, while another one made it again
        if isinstance(answer, Rendered):
            self.marks.forget(number, task.target)
        try:
            if isinstance(answer, Shipment):
                answer = put_in_place(answer, task)
        except (OSError, TtsrError) as error:
            if self.skip_existing and isinstance(error, TakenError):
                return FileOutcome(job, "skipped", there=MEANWHILE)
            return FileOutcome(job, "failed", in_one_line(job.source, error), "surroundings")
        if answer is None:
            return FileOutcome(job, "cancelled")
        if not isinstance(answer, TaskFailed):
            return FileOutcome(job, "rendered", rendered=(self.session, brought_home(answer, job.target.parent)))
        line = as_typed(answer.line, job, task)
        if answer.cause is Cause.NOTHING_TO_ADD:
            return FileOutcome(job, "skipped", line)
        fault: Fault = OF_CAUSE.get(answer.cause, "input")
        if answer.trace:
            line = f"{shown(job.source)}: unexpected {line}; please report this"
        elif shown(job.source) not in line:
            line = f"{shown(job.source)}: {line}"
        return FileOutcome(job, "failed", line, fault, trace=answer.trace)


def as_typed(line: str, job: Job, task: RenderTask) -> str:
    """A line in which paths are as the user wrote them: workers are given whole ones."""
    for whole, typed in ((task.source, job.source), (task.target, job.target)):
        line = line.replace(shown(whole), shown(typed))
    return line


def share(where: Any) -> float:
    """How much of a render is done."""
    begin = STAGES.get(where.stage, 0.0)
    length = {"searching": 0.9, "writing": 0.05, "reading": 0.05}.get(where.stage, 0.0)
    return begin + length * min(1.0, where.done / where.total if where.total else 0.0)
