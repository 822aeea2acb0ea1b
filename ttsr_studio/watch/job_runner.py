"""Takes job after job, and settles what came of each: in the queue, in the log, and where people look."""

import time
from pathlib import Path

from ttsr_studio.errors import TtsrError, shown
from ttsr_studio.rendering.tasks import RenderWorker
from ttsr_studio.watch.context import ServiceContext
from ttsr_studio.watch.disk_space import shortage
from ttsr_studio.watch.filesystem.instance_lock import instance_of
from ttsr_studio.watch.job import WatchJob
from ttsr_studio.watch.notify import notify
from ttsr_studio.watch.outcome import Ending, Outcome, of_error
from ttsr_studio.watch.policy import MOST_CRASHES
from ttsr_studio.watch.publish import TAKEN_AGAIN, Publisher
from ttsr_studio.watch.queue.jobs import Queue
from ttsr_studio.watch.queue.states import Failure, JobState
from ttsr_studio.watch.queue.store import JobRecord
from ttsr_studio.watch.workers.supervisor import Supervisor

MOST_LOST = 3
"""Workers on other machines that may go away during one job before that counts as a crash over the file."""

IN_SIDECARS = {
    "use --salvage": "put salvage = true into its sidecar",
    "give --stream a number or a language": "put stream = with a number or a language into its sidecar",
    "Pass --cutoff HZ --remove above": 'Put cutoff = HZ and remove = "above" into its sidecar',
    "--remove images replaces them": 'remove = "images" in its sidecar replaces them',
    "Pass --cutoff HZ": "Put cutoff = HZ into its sidecar",
}
"""What messages say of flags, in words for those who have none."""


class JobRunner:
    """Works through the queue, one job at a time; for one thread.

    Args:
        number: of this runner within the service.
    """

    def __init__(self, context: ServiceContext, queue: Queue, number: int) -> None:
        self.context, self.queue, self.root, self.log = context, queue, context.root, context.log
        self.policy = context.options.policy
        self.publisher = Publisher(context.root)
        log = context.root.state / f"{instance_of(context.owner)}-worker-{number}.log"
        make = context.options.workers
        self.worker: RenderWorker = make(log) if make else Supervisor(log, self.policy.limits)
        self.rested = time.monotonic()

    def step(self) -> bool:
        """Do one job; False when there was none to do."""
        due = self.root.available and self.queue.due()
        ready = self.root.available and not self._waits(due) and due
        ready = ready and self.worker.ready(lambda: not self.context.stop.asked.is_set())
        claim = self.queue.claim(self.context.owner) if ready else None
        if claim is None:
            self.worker.rest(time.monotonic() - self.rested)
            return False
        try:
            self._do(claim)
        finally:
            self.publisher.clear(claim)
            self.rested = time.monotonic()
        return True

    def close(self) -> None:
        self.worker.stop()

    def _do(self, claim: JobRecord) -> None:
        began = time.monotonic()
        rules = self.context.rules
        rule = rules.base
        try:
            rule = rules.of(claim.path)
        except TtsrError as error:
            self.log("started", file=claim.path, attempt=claim.attempts)
            outcome = of_error(error, self.root.available)
        else:
            preset = rules.preset_of(claim.path, rule)
            self.log("started", file=claim.path, attempt=claim.attempts, preset=preset)
            outcome = WatchJob(self.context, self.queue, self.worker, claim, rule).run()
        self._settle(claim, outcome, move=rule.finished == "move")
        if outcome.ending is Ending.DONE:
            seconds = round(time.monotonic() - began, 2)
            self.log("done", file=claim.path, seconds=seconds, said=self.root.without_root(outcome.line))

    # What came of it

    def _settle(self, claim: JobRecord, outcome: Outcome, move: bool) -> None:
        """See to what follows from an outcome.

        Args:
            move: whether a source that failed is to be taken out of the drop folder.
        """
        match outcome.ending:
            case Ending.DONE:
                self._done(claim, outcome.report)
            case Ending.SKIPPED:
                self._skipped(claim, outcome.line, move)
            case Ending.FAILED:
                self._failed(claim, outcome.line, move)
            case Ending.RETRY:
                self._retry(claim, outcome)
            case Ending.CRASHED:
                self._crashed(claim, self.root.without_root(outcome.line), move)
            case Ending.WORKER_LOST if claim.expired_leases >= MOST_LOST:
                self._crashed(claim, f"was lost: {outcome.line}", move)
            case Ending.WORKER_LOST | Ending.MACHINE_LOST:
                self._lost(claim, outcome)
            case Ending.STOPPED:
                self.queue.hand_back(claim, None)
                self.log("handed back", file=claim.path)
            case Ending.LOST:
                self.log("left", file=claim.path)
            case Ending.CHANGED:
                self.log("changed", file=claim.path)
            case Ending.MOVED:
                self.publisher.clear_note(claim.path)
                self.log("moved", file=outcome.line, was=claim.path)

    def _done(self, claim: JobRecord, report: Path | None) -> None:
        self.publisher.clear_note(claim.path)
        self._move_source(claim)
        if report:
            notify(self.policy.notify, JobState.DONE, report, self.log)

    def _skipped(self, claim: JobRecord, reason: str, move: bool) -> None:
        reason = self._in_short(claim, reason)
        if self.queue.skip(claim, f"skipped: {reason}", move=move):
            self.log("skipped", file=claim.path, reason=reason)
            self.publisher.clear_note(claim.path)
            self._move_source(claim)

    def _failed(self, claim: JobRecord, reason: str, move: bool) -> None:
        reason = self._in_short(claim, reason)
        if not self.queue.fail(claim, reason, move=move):
            return
        self.log("failed", file=claim.path, reason=reason)
        self.publisher.note(claim.path, f"Could not be rendered: {reason}", TAKEN_AGAIN)
        self._move_source(claim)
        notify(self.policy.notify, JobState.FAILED, self.publisher.note_path(claim.path), self.log)

    def _retry(self, claim: JobRecord, outcome: Outcome) -> None:
        reason, wait = self._in_short(claim, outcome.line), outcome.backoff.wait(claim.tries)
        if not self.queue.hand_back(claim, reason, after=wait, count=Failure.RETRY):
            return
        self.log("waiting", file=claim.path, reason=reason, seconds=wait)
        self.publisher.note(claim.path, f"Not rendered yet: {reason}", "It is tried again by and by.")

    def _lost(self, claim: JobRecord, outcome: Outcome) -> None:
        """Hand a job back that another machine did not finish, which says nothing of the file."""
        count = Failure.LOSS if outcome.ending is Ending.WORKER_LOST else None
        if self.queue.hand_back(claim, None, count=count):
            self.log("handed back", file=claim.path, reason=outcome.line)

    def _crashed(self, claim: JobRecord, how: str, move: bool) -> None:
        self.log("worker died", file=claim.path, reason=how, time=claim.crashes + 1)
        if claim.crashes + 1 >= MOST_CRASHES:
            tried = "with smaller batches" + (" and on the CPU" if self.policy.cpu else "")
            self._failed(claim, f"the renderer {how}; {MOST_CRASHES} times, also {tried}", move)
        else:
            self.queue.hand_back(claim, f"the renderer {how}; tried again with smaller batches", count=Failure.CRASH)

    def _in_short(self, claim: JobRecord, reason: str) -> str:
        """A reason without the name of the file that it stands beside, or the root's place."""
        for flag, key in IN_SIDECARS.items():
            reason = reason.replace(flag, key)
        return self.root.without_root(reason).removeprefix(f"{shown(Path(claim.path))}: ")

    def _move_source(self, claim: JobRecord) -> None:
        """Take a source that is finished out of the drop folder, where that is asked for."""
        row = self.queue.get(claim.id)
        if row is None or not row.to_move:
            return
        try:
            self.publisher.move(row)
        except OSError as error:
            self.log("not moved", file=row.path, reason=error.strerror or str(error))
        else:
            self.queue.moved(row.id)

    def _waits(self, due: bool) -> bool:
        """Whether the disk is too full to begin anything, or the farm away or taken.

        Said once, and in the database for all.
        """
        try:
            full = shortage(self.root, self.policy.keep_free)
        except OSError:
            return not self.root.available
        reason = full or self.worker.trouble(due)
        with self.context.saying:
            before = self.queue.fact("waiting")
            if (before is None) != (reason is None):
                self.queue.set_waiting(reason)
                gone, back = names_of(reason or before or "")
                self.log(gone if reason else back, reason=reason and reason.removeprefix("the farm is away: "))
        return reason is not None


def names_of(reason: str) -> tuple[str, str]:
    """The events of a time of waiting, from what is waited for: its begin and its end."""
    if "held by" in reason:
        return "farm taken", "farm has room"
    return ("farm away", "farm is back") if "the farm" in reason else ("disk full", "disk has room")
