"""The service: scans for files, has them rendered, and can be ended at any moment without losing anything."""

import contextlib
import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing

from ttsr_studio.watch.context import ServiceContext, ServiceOptions
from ttsr_studio.watch.event_log import EventListener, EventLog
from ttsr_studio.watch.filesystem.events import Wake, watch_events
from ttsr_studio.watch.filesystem.instance_lock import instance_lock, instance_of
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.filesystem.work_folder import WorkFolderGuard, network_filesystem, refuse_network
from ttsr_studio.watch.folder_config import FolderRules
from ttsr_studio.watch.health import Heartbeat
from ttsr_studio.watch.job_runner import JobRunner
from ttsr_studio.watch.policy import StopRequest
from ttsr_studio.watch.queue.clock import Clock
from ttsr_studio.watch.queue.jobs import Queue
from ttsr_studio.watch.queue.states import JobState, Reason
from ttsr_studio.watch.queue.store import JobRecord
from ttsr_studio.watch.recovery import open_sound_queue, tidy_up
from ttsr_studio.watch.scanner import Scanner
from ttsr_studio.watch.web.keeper import Page, PageKeeper

REST_SECONDS = 0.5
ELSEWHERE_SECONDS = 5.0
"""How often an idle job runner looks for work that another service, or a person, put there."""

SWEEP_SECONDS = 30.0
POLL_SECONDS, NETWORK_POLL_SECONDS = 60.0, 10.0


class Service:
    """One service on a root; several may share one, on one machine.

    Args:
        listener: is told of every event.
        page: shows what goes on.
    """

    def __init__(
        self,
        root: Root,
        rules: FolderRules,
        options: ServiceOptions,
        listener: EventListener,
        page: Page | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.root, self.rules, self.options = root, rules, options
        self.listener, self.page, self.clock = listener, page, clock or Clock()
        self.stop, self.wake = StopRequest(), Wake(root)

    def interrupt(self) -> None:
        """End when the jobs at hand are done or their grace is over; asked a second time, at once."""
        self.stop.ask(0.0 if self.stop.asked.is_set() else self.options.grace)
        self.wake.everyone()

    def run(self) -> int:
        """Run until stopped, or with `once` until nothing can be done; returns how many files failed or still wait.

        Raises OptionError where the root cannot be watched, DamagedError for a damaged database that others use.
        """
        self.root.make()
        refuse_network(self.root.state)
        with ExitStack() as stack:
            owner = stack.enter_context(instance_lock(self.root.state))
            log = stack.enter_context(closing(EventLog(self.root.state / f"{instance_of(owner)}.log", self.listener)))
            context = ServiceContext(owner, self.root, self.rules, self.options, log, self.stop, self.wake, self.clock)
            queue = stack.enter_context(closing(open_sound_queue(context)))
            page = stack.enter_context(closing(PageKeeper(context, self.page)))
            return ServiceRun(context, queue, page).run()


class ServiceRun:
    """One run of a service, from its start to its end."""

    def __init__(self, context: ServiceContext, queue: Queue, page: PageKeeper) -> None:
        self.context, self.queue, self.page = context, queue, page
        self.options, self.stop, self.wake = context.options, context.stop, context.wake
        self.guard = WorkFolderGuard(context.root)
        self.scanner = Scanner(context, queue)
        self.on_network = network_filesystem(context.root.path) is not None
        self.rest_seconds = REST_SECONDS if context.options.once else ELSEWHERE_SECONDS
        self.broken: BaseException | None = None

    def run(self) -> int:
        """Returns how many files failed or still wait. Raises what ended it."""
        log, began = self.context.log, self.context.clock.wall()
        log("service started", root=str(self.context.root.path), owner=self.context.owner, pid=os.getpid())
        tidy_up(self.context, self.queue)
        self.page.try_to_serve()
        by_clock = self.options.poll is not None or self.on_network
        with contextlib.nullcontext() if by_clock else watch_events(self.wake, log):
            self._with_runners()
            failures = self.queue.jobs([JobState.FAILED])
            failed = sum((row.finished_at or 0) >= began for row in failures) + self._failed_before(failures, began)
            failed += sum(row.tries > 0 for row in self.queue.jobs([JobState.PENDING]))
            counts = {str(state): count for state, count in self.queue.counts().items()}
            log("service ended", counts=counts, skipped=self.queue.skipped())
        if self.broken:
            raise self.broken
        return failed

    def _failed_before(self, failures: Sequence[JobRecord], began: float) -> int:
        """How many of the files that are there failed before this run; this is said, as they are not tried again."""
        left = [row for row in failures if (row.finished_at or 0) < began and row.reason != Reason.CANCELLED]
        left = [row for row in left if self.context.root.signature_of(row.path)]
        if left and self.options.once:
            advice = "not tried again, as they did not change; `ttsr queue retry ROOT` does that"
            self.context.log("failed before", files=len(left), reason=advice)
        return len(left)

    def _with_runners(self) -> None:
        """Scan while threads do jobs, until there is nothing left to do."""
        threads = [threading.Thread(target=self._run_jobs, args=(n,)) for n in range(1, self.options.jobs + 1)]
        for thread in threads:
            thread.start()
        try:
            self._scan_on()
        except BaseException as error:
            self.broken = error
        finally:
            if self.stop.asked.is_set() and not self.broken:
                self.context.log("stopping", reason="jobs at hand are finished, or handed back when asked again")
            if not self.stop.asked.is_set():
                self.stop.ask(0.0 if self.broken else self.options.grace)
            self.wake.work.set()
            for thread in threads:
                thread.join()

    # The thread of the service itself

    def _scan_on(self) -> None:
        """Scan when woken or when it is time, and see to everything else that comes up now and then."""
        patiently, scanner = self.context.patiently, self.scanner
        poll = self.options.poll or (NETWORK_POLL_SECONDS if self.on_network else POLL_SECONDS)
        heart = Heartbeat(self.context.root, self.context.owner, poll, self.context.clock)
        scan_at = sweep_at = scanner.now
        scanned = False
        while not self.stop.asked.is_set():
            self.guard.refuse_replaced()
            now = scanner.now
            if now >= scan_at or (self.wake.scan.is_set() and now >= scanner.rest_until):
                self.wake.scan.clear()
                if patiently(scanner.scan):
                    heart.beat()
                scan_at, scanned = scanner.now + poll, True
            patiently(scanner.hand_on)
            if now >= sweep_at:
                patiently(lambda: tidy_up(self.context, self.queue))
                self.page.try_to_serve()
                sweep_at = now + SWEEP_SECONDS
            if self.options.once and scanned and self._nothing_left():
                return
            due = scanner.stability.next_due()
            until = min(scan_at, sweep_at, due if due is not None else scan_at)
            self._rest(min(self.rest_seconds, until - scanner.now))

    def _rest(self, seconds: float) -> None:
        """Sleep, less long when woken, but never so short that scans take most of the time."""
        if self.wake.scan.wait(max(0.05, seconds)) and not self.stop.asked.is_set():
            early = self.scanner.rest_until - self.scanner.now
            if early > 0:
                self.stop.asked.wait(min(early, max(0.05, seconds)))

    def _nothing_left(self) -> bool:
        """Whether nothing is on its way or can be done now; what waits for something else does not count."""
        if len(self.scanner.stability) or self.wake.scan.is_set():
            return False
        if self.queue.counts()[JobState.RUNNING]:
            return False
        pending = self.queue.jobs([JobState.PENDING])
        return self.queue.paused or not any(row.held is None and row.tries == 0 for row in pending)

    # The threads of the job runners

    def _run_jobs(self, number: int) -> None:
        """Do jobs until told to stop; whatever ends this ends the service, too."""
        try:
            with closing(self.context.open_queue()) as queue, closing(JobRunner(self.context, queue, number)) as runner:
                self._take_jobs(runner)
        except BaseException as error:
            self.broken = error
            self.stop.ask(0.0)
            self.wake.scan.set()

    def _take_jobs(self, runner: JobRunner) -> None:
        """Do what the queue has, job after job; look for more when woken, or now and then."""
        asked_at = 0.0
        while not self.stop.asked.is_set():
            now = self.context.clock.now().steady
            if self.wake.work.is_set() or now - asked_at > ELSEWHERE_SECONDS:
                asked_at = now
                if self.context.patiently(runner.step):
                    self.wake.work.set()
                    continue
                self.wake.work.clear()
            self.wake.work.wait(self.rest_seconds)
