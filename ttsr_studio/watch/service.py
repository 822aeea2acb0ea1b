"""The service: looks for files, hands them to workers, and can be ended at any moment without losing anything."""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import psutil
from filelock import FileLock

from ttsr_studio.errors import OptionError, TtsrError, shown
from ttsr_studio.watch.event_log import Heard, Journal
from ttsr_studio.watch.filesystem.events import Wake, watch_tree
from ttsr_studio.watch.filesystem.instance_lock import ended, living, slot_of, take_slot
from ttsr_studio.watch.filesystem.root import Signature, Tree
from ttsr_studio.watch.filesystem.stability import Settling
from ttsr_studio.watch.folder_config import Rules
from ttsr_studio.watch.job_runner import Hand
from ttsr_studio.watch.policy import Stop, Terms
from ttsr_studio.watch.publish import Delivery
from ttsr_studio.watch.queue.clock import Clock
from ttsr_studio.watch.queue.jobs import SETTLING, SIDECAR, Offer, Queue
from ttsr_studio.watch.queue.store import DamagedError

Answer = TypeVar("Answer")

REST_SECONDS = 0.5
ELSEWHERE_SECONDS = 5.0
"""How often an idle hand looks for work that another service, or a person, put there."""

SWEEP_SECONDS = 30.0
SCAN_SHARE = 10.0
"""A scan is followed by a rest of so many times its length, however many events come in."""

POLL_SECONDS, SHARE_POLL_SECONDS = 60.0, 10.0
SHARES = {"nfs", "nfs4", "cifs", "smbfs", "smb3", "afpfs", "fuse.sshfs", "9p", "webdav", "davfs", "fuse.rclone", "ceph"}


@dataclass(frozen=True)
class Plan:
    """How a service runs.

    Attributes:
        poll: seconds between two looks at the whole tree, by which alone it goes then; None for a look every minute and
            events between them, or on a network share, which has none, every 10 seconds.
        settle: seconds without a change after which a file is complete.
        once: end when everything is done.
        jobs: workers.
        grace: seconds that jobs at hand get when the service is stopped.
        lease: seconds for which a job is taken.
        host, port: of the page; port None for no page.
    """

    poll: float | None = None
    settle: float = 5.0
    once: bool = False
    jobs: int = 1
    grace: float = 30.0
    lease: float = 60.0
    host: str = "127.0.0.1"
    port: int | None = None
    terms: Terms = field(default_factory=Terms)


Page = Callable[[Tree, str, int], contextlib.AbstractContextManager[str]]
"""Serves a page of a tree at a host and port while it is entered; gives its address."""


class Service:
    """One service on a tree; several may share one, on one machine.

    Args:
        heard: is told of every event.
        page: shows what goes on.
    """

    def __init__(
        self, tree: Tree, rules: Rules, plan: Plan, heard: Heard, page: Page | None = None, clock: Clock | None = None
    ) -> None:
        self.tree, self.rules, self.plan, self.page = tree, rules, plan, page
        self.heard, self.clock = heard, clock or Clock()
        self.stop, self.wake = Stop(), Wake()
        self.settling = Settling(plan.settle)
        self.troubles: dict[str, str] = {}
        self.delivery = Delivery(tree)
        self.away = False
        self.page_state = "not tried"
        self.broken: BaseException | None = None

    def run(self) -> int:
        """Run until stopped, or with `once` until nothing can be done; returns how many files failed or still wait.

        Raises OptionError where the tree cannot be watched, DamagedError for a damaged database that others use.
        """
        self.tree.make()
        refuse_share(self.tree.state)
        with ExitStack() as stack:
            self.owner = stack.enter_context(take_slot(self.tree.state))
            self.journal = Journal(self.tree.state / f"{slot_of(self.owner)}.log", self.heard)
            stack.callback(self.journal.close)
            self.queue = self.open_queue()
            stack.callback(self.queue.close)
            self.places = {path: identity(path) for path in (self.tree.root, self.tree.mark, self.tree.database)}
            began = self.clock.wall()
            self.journal("service started", root=str(self.tree.root), owner=self.owner, pid=os.getpid())
            self.sweep()
            self.stack = stack
            self.show_page()
            polling = self.plan.poll is not None or share(self.tree.root) is not None
            stack.enter_context(watch_tree(self.tree, self.wake, polling, self.journal))
            self.work()
            failed = sum((row.finished_at or 0) >= began for row in self.queue.entries(["failed"]))
            failed += sum(row.tries > 0 for row in self.queue.entries(["pending"]))
            self.journal("service ended", counts=self.queue.counts())
        if self.broken:
            raise self.broken
        return failed

    def open_queue(self) -> Queue:
        """The database; made anew when it is damaged, which the folders allow, and the damaged one is kept."""
        with FileLock(self.tree.state / "start.lock"):
            try:
                queue = Queue(self.tree.database, self.clock, self.plan.lease)
                queue.check()
                return queue
            except DamagedError as error:
                if [owner for owner in living(self.tree.state) if owner != self.owner]:
                    raise DamagedError(f"{error}; stop the other services on this root, then start one") from error
                kept = set_aside(self.tree.database)
                self.journal("database damaged", reason=self.tree.name(str(error)), kept=kept.name)
                return Queue(self.tree.database, self.clock, self.plan.lease)

    def show_page(self) -> None:
        """Serve the page; while another service has its port, this is tried again and again."""
        if self.page is None or self.plan.port is None or self.page_state == "served":
            return
        try:
            address = self.stack.enter_context(self.page(self.tree, self.plan.host, self.plan.port))
        except OSError as error:
            if self.page_state == "not tried":
                self.journal("no page", reason=f"{self.plan.host}:{self.plan.port}: {error.strerror or error}")
            self.page_state = "refused"
        else:
            self.journal("page", address=address)
            self.page_state = "served"

    def sweep(self) -> None:
        """Take back what ended services left behind, and move the sources that still have to be."""
        running = self.queue.entries(["running"])
        owners = {row.owner for row in running if row.owner}
        taken = self.queue.reclaim(ended(self.tree.state, owners - {self.owner}))
        if taken:
            self.journal("taken back", jobs=taken)
            self.wake.work.set()
        self.delivery.sweep({row.token for row in self.queue.entries(["running"]) if row.token})
        for row in self.queue.unmoved():
            with contextlib.suppress(OSError):
                self.delivery.move(row)
                self.queue.moved(row)

    # The loop

    def work(self) -> None:
        """Scan and see to the hands until there is nothing left to do."""
        hands = [threading.Thread(target=self.lend, args=(number,)) for number in range(1, self.plan.jobs + 1)]
        for hand in hands:
            hand.start()
        try:
            self.watch()
        except BaseException as error:
            self.broken = error
        finally:
            if self.stop.asked.is_set() and not self.broken:
                self.journal("stopping", reason="jobs at hand are finished, or handed back when asked again")
            if not self.stop.asked.is_set():
                self.stop.ask(0.0 if self.broken else self.plan.grace)
            self.wake.work.set()
            for hand in hands:
                hand.join()

    def watch(self) -> None:
        """Look at the tree, when woken or when it is time."""
        poll = self.plan.poll or (SHARE_POLL_SECONDS if share(self.tree.root) else POLL_SECONDS)
        scan_at = sweep_at = time.monotonic()
        first = True
        while not self.stop.asked.is_set():
            self.refuse_lost()
            now = time.monotonic()
            if now >= scan_at or (self.wake.scan.is_set() and now >= self.rest_until):
                self.wake.scan.clear()
                self.patiently(self.scan)
                scan_at = time.monotonic() + poll
                first = False
            self.patiently(self.hand_on)
            if now >= sweep_at:
                self.patiently(self.sweep)
                self.show_page()
                sweep_at = now + SWEEP_SECONDS
            if self.plan.once and not first and self.nothing_left():
                return
            due = self.settling.next_due()
            until = min(scan_at, sweep_at, due if due is not None else scan_at)
            self.rest(min(REST_SECONDS if self.plan.once else ELSEWHERE_SECONDS, until - time.monotonic()))

    def refuse_lost(self) -> None:
        """Raise DamagedError when the work folder is another than at the start; not when the whole root is away."""
        if identity(self.tree.root) != self.places[self.tree.root]:
            return
        lost = [path for path, was in self.places.items() if identity(path) != was]
        if lost:
            raise DamagedError(
                f"{shown(lost[0])}: was deleted or replaced while the service ran; start it again, "
                "which finds in the folders what is done"
            )

    rest_until = 0.0

    def rest(self, seconds: float) -> None:
        """Sleep, less long when woken, but never so short that scans take most of the time."""
        if self.wake.scan.wait(max(0.05, seconds)) and not self.stop.asked.is_set():
            early = self.rest_until - time.monotonic()
            if early > 0:
                self.stop.asked.wait(min(early, max(0.05, seconds)))

    def scan(self) -> None:
        """Look at the whole tree, and tell the queue what is new."""
        began = time.monotonic()
        if not self.tree.here:
            if not self.away:
                self.journal("root is away", reason="is its disk or share mounted?")
            self.away = True
            return
        self.away = False
        found = self.tree.scan()
        self.say_troubles(found.troubles)
        fresh = {path: signature for path, signature in found.files.items() if not self.ignored(path)}
        if found.troubles:  # what lies in a folder that cannot be read is not gone
            unseen = {path: seen for path, seen in self.settling.known.items() if path not in fresh}
            fresh |= {path: seen for path, seen in unseen.items() if within(path, found.troubles)}
        new = [path for path, signature in fresh.items() if self.settling.is_new(path, signature)]
        self.settling.see(fresh, time.monotonic())
        self.offer({path: fresh[path] for path in new}, SETTLING)
        self.follow_moved({path: fresh[path] for path in new})
        if self.rules.changed:
            self.rules.changed = False
            if self.queue.hurry():
                self.wake.work.set()
        self.rest_until = time.monotonic() + SCAN_SHARE * (time.monotonic() - began)

    def follow_moved(self, new: dict[str, Signature]) -> None:
        """Forget what waited under another path for what was found under this one."""
        if not new:
            return
        for old, path in self.queue.forget_moved(new, lambda path: self.tree.look_at(path) is None):
            self.delivery.clear_note(old)
            self.journal("moved", file=path, was=old)

    def hand_on(self) -> None:
        """Tell the queue of files that are complete."""
        now = time.monotonic()
        for path in self.wake.touched():
            self.settling.touch(path, now)
        ready = self.settling.settled(self.tree.look_at, now)
        if ready:
            self.offer(ready, None)
            self.settling.handed_on(ready)
            self.wake.work.set()

    def offer(self, files: dict[str, Signature], held: str | None) -> None:
        offers = []
        for path, signature in sorted(files.items(), key=lambda item: (item[1].mtime_ns, item[0])):
            rule = self.rules.base
            with contextlib.suppress(TtsrError):  # said when it is rendered
                rule = self.rules.of(path)
            waits = SIDECAR if rule.wait_for_sidecar and not signature.sidecar else None
            offers.append(Offer(path, signature, rule.priority, held or waits))
        if offers:
            changed = self.queue.offer(offers)
            if changed and held:
                self.journal("seen", files=changed)

    def ignored(self, path: str) -> bool:
        try:
            return self.rules.of(path).ignores(path)
        except TtsrError:
            return False

    def say_troubles(self, troubles: dict[str, str]) -> None:
        """Say what folders cannot be read, once each."""
        for folder, reason in troubles.items():
            if self.troubles.get(folder) != reason:
                self.journal("folder not readable", folder=folder, reason=reason)
        self.troubles = troubles

    def nothing_left(self) -> bool:
        """Whether nothing is on its way or can be done now; what waits for something else does not count."""
        if len(self.settling) or self.wake.scan.is_set():
            return False
        counts = self.queue.counts()
        if self.queue.paused:
            return not counts["running"]
        return not counts["running"] and not any(
            row.held is None and row.tries == 0 for row in self.queue.entries(["pending"])
        )

    def patiently(self, step: Callable[[], Answer]) -> Answer | None:
        """Do a step; where a disk or the database cannot be used at the moment, say so and wait a while instead.

        Raises DamagedError where it is the database that is wrong.
        """
        try:
            return step()
        except (sqlite3.OperationalError, OSError) as error:
            self.journal("trouble", reason=self.tree.name(str(error)))
            self.stop.asked.wait(ELSEWHERE_SECONDS)
        except sqlite3.DatabaseError as error:
            raise DamagedError(f"{self.tree.database}: {error}; start again, which makes a new one") from error
        return None

    # The hands

    def lend(self, number: int) -> None:
        """The body of a hand's thread: whatever ends it ends the service, too."""
        try:
            with ExitStack() as stack:
                queue = Queue(self.tree.database, self.clock, self.plan.lease)
                stack.callback(queue.close)
                hand = Hand(self.owner, number, self.tree, queue, self.rules, self.plan.terms, self.journal, self.stop)
                stack.callback(hand.close)
                self.work_through(hand)
        except BaseException as error:
            self.broken = error
            self.stop.ask(0.0)
            self.wake.scan.set()

    def work_through(self, hand: Hand) -> None:
        """Do what the queue has, job after job, until told to stop."""
        previewed = 0.0
        while not self.stop.asked.is_set():
            if self.wake.work.is_set() or time.monotonic() - previewed > ELSEWHERE_SECONDS:
                previewed = time.monotonic()
                if self.patiently(hand.step):
                    self.wake.work.set()
                    continue
                self.wake.work.clear()
            self.wake.work.wait(REST_SECONDS if self.plan.once else ELSEWHERE_SECONDS)


def identity(path: Path) -> tuple[int, int] | None:
    """What tells that a path still is the same file or folder; None when it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def within(path: str, folders: Collection[str]) -> bool:
    return any(folder == "." or path.startswith(folder + os.sep) for folder in folders)


def share(path: Path) -> str | None:
    """The kind of network share that a folder is on, None for a local disk."""
    best, kind = "", ""
    with contextlib.suppress(psutil.Error, OSError):
        for part in psutil.disk_partitions(all=True):
            mount = part.mountpoint
            if len(mount) > len(best) and (path == Path(mount) or Path(mount) in path.parents):
                best, kind = mount, part.fstype.lower()
    return kind if kind in SHARES else None


def refuse_share(state: Path) -> None:
    """Raise OptionError for a database on a network share, where its locks mean nothing."""
    kind = share(state)
    if kind:
        raise OptionError(
            f"{shown(state)}: is on a network share ({kind}), where a database is not safe; "
            "pass --state FOLDER on a local disk"
        )


def set_aside(database: Path) -> Path:
    """Rename a damaged database and what belongs to it."""
    when = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    kept = database.with_name(f"{database.name}.damaged-{when}")
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            database.with_name(database.name + ending).rename(kept.with_name(kept.name + ending))
    return kept
