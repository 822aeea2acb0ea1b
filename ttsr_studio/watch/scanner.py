"""Finds what was dropped, and tells the queue of it: at once as held, and again when it is complete."""

import contextlib
import os
from collections.abc import Collection

from ttsr_studio.errors import TtsrError
from ttsr_studio.watch.context import ServiceContext
from ttsr_studio.watch.filesystem.root import Signature
from ttsr_studio.watch.filesystem.stability import StabilityTracker
from ttsr_studio.watch.publish import Publisher
from ttsr_studio.watch.queue.jobs import Offer, Queue
from ttsr_studio.watch.queue.states import Hold

SCAN_SHARE = 10.0
"""A scan is followed by a rest of so many times its length, however many events come in."""


class Scanner:
    """Scans a root; for one thread. Times are seconds of the steady clock."""

    def __init__(self, context: ServiceContext, queue: Queue) -> None:
        self.context, self.queue = context, queue
        self.root, self.log, self.wake = context.root, context.log, context.wake
        self.stability = StabilityTracker(context.options.settle)
        self.unreadable: dict[str, str] = {}
        self.away = False
        self.told: set[str] = set()
        self.rest_until = 0.0

    @property
    def now(self) -> float:
        return self.context.clock.now().steady

    def scan(self) -> bool:
        """Look at the whole root, and tell the queue what is new; returns whether the root was there."""
        began = self.now
        if not self.root.available:
            if not self.away:
                self.log("root is away", reason="is its disk or share mounted?")
            self.away = True
            return False
        self.away = False
        found = self.root.scan()
        self._log_unreadable(found.unreadable)
        files = {path: signature for path, signature in found.files.items() if not self._is_ignored(path)}
        if found.unreadable:  # what lies in a folder that cannot be read is not gone
            unseen = {path: seen for path, seen in self.stability.known.items() if path not in files}
            files |= {path: seen for path, seen in unseen.items() if within(path, found.unreadable)}
        new = {path: signature for path, signature in files.items() if self.stability.is_new(path, signature)}
        self.stability.update(files, self.now)
        self._offer(new, Hold.UNSTABLE)
        self._forget_moved(new)
        if self.context.rules.changed:
            self.context.rules.changed = False
            if self.queue.hurry():
                self.wake.work.set()
        self.rest_until = self.now + SCAN_SHARE * (self.now - began)
        return True

    def hand_on(self) -> None:
        """Tell the queue of files that are complete."""
        now = self.now
        for path in self.wake.touched():
            self.stability.touch(path, now)
        ready = self.stability.stable(self.root.signature_of, now)
        if ready:
            self._offer(ready, None)
            self.stability.handed_on(ready)
            self.wake.work.set()

    def _offer(self, files: dict[str, Signature], held: Hold | None) -> None:
        offers = []
        for path, signature in sorted(files.items(), key=lambda item: (item[1].mtime_ns, item[0])):
            rule = self.context.rules.base
            with contextlib.suppress(TtsrError):  # said when it is rendered
                rule = self.context.rules.of(path)
            waits = Hold.SIDECAR if rule.wait_for_sidecar and not signature.sidecar else None
            offers.append(Offer(path, signature, rule.priority, held or waits))
        for folder, reason in dict(self.context.rules.misleading).items():
            if folder not in self.told:
                self.log("preset not clear", folder=folder, reason=reason)
                self.told.add(folder)
        if offers:
            changed = self.queue.offer(offers)
            if changed and held:
                self.log("seen", files=changed)

    def _forget_moved(self, new: dict[str, Signature]) -> None:
        """Forget what waited under another path for what was found under this one."""
        if not new:
            return
        publisher = Publisher(self.root)
        for old, path in self.queue.forget_moved(new, lambda path: self.root.signature_of(path) is None):
            publisher.clear_note(old)
            self.log("moved", file=path, was=old)

    def _is_ignored(self, path: str) -> bool:
        try:
            return self.context.rules.of(path).ignores(path)
        except TtsrError:
            return False

    def _log_unreadable(self, unreadable: dict[str, str]) -> None:
        """Say what folders cannot be read, once each."""
        for folder, reason in unreadable.items():
            if self.unreadable.get(folder) != reason:
                self.log("folder not readable", folder=folder, reason=reason)
        self.unreadable = unreadable


def within(path: str, folders: Collection[str]) -> bool:
    return any(folder == "." or path.startswith(folder + os.sep) for folder in folders)
