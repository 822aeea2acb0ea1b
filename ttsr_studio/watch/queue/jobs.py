"""The queue of one root: what scans find goes in here, job runners take it, people steer it."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ttsr_studio.watch.filesystem.root import Signature
from ttsr_studio.watch.queue.leases import RELEASED, Leases
from ttsr_studio.watch.queue.states import Happened, Hold, JobState, Reason


@dataclass(frozen=True)
class Offer:
    """A file as a scan found it; `held` says why it is not to be taken yet."""

    path: str
    signature: Signature
    priority: int = 0
    held: Hold | None = None


class Queue(Leases):
    """Every file that was ever seen, for one thread; opened as a `Store` is."""

    # What scans say

    def offer(self, offers: Sequence[Offer]) -> int:
        """Take what a scan found; returns how many files became pending. What is known and unchanged stays as it is."""
        with self._change():
            return sum(self._offer(offer) for offer in offers)

    def _offer(self, offer: Offer) -> bool:
        row, new = self.find(offer.path), offer.signature
        if row is None:
            self._insert(offer)
            return True
        if row.signature == new:
            if row.state is JobState.FAILED and row.reason == Reason.GONE:
                self._requeue(row, offer.held, offer.priority, Happened.BACK)
                return True
            late = offer.held is Hold.UNSTABLE  # a scan that sees for the first time what was told of before
            if row.state is JobState.PENDING and row.held != offer.held and not late:
                self.db.execute("UPDATE files SET held = ? WHERE id = ?", (offer.held, row.id))
            return False
        if offer.held is Hold.UNSTABLE and row.state is not JobState.PENDING:
            return False  # it keeps its state until it is known what came of it
        self.db.execute(
            "UPDATE files SET size = ?, mtime_ns = ?, inode = ?, sidecar = ? WHERE id = ?",
            (new.size, new.mtime_ns, new.inode, new.sidecar, row.id),
        )
        if row.state is not JobState.RUNNING:
            self._requeue(row, offer.held, offer.priority, Happened.CHANGED)
        return row.state is not JobState.RUNNING

    def _insert(self, offer: Offer) -> None:
        new = offer.signature
        cursor = self.db.execute(
            "INSERT INTO files (path, state, held, priority, size, mtime_ns, inode, sidecar, queued_at) "
            "VALUES (?, 'pending', ?, ?, ?, ?, ?, ?, ?)",
            (
                *(os.fsencode(offer.path), offer.held, offer.priority),
                *(new.size, new.mtime_ns, new.inode, new.sidecar, self.clock.wall()),
            ),
        )
        self._note(cursor.lastrowid or 0, Happened.SEEN)

    def forget_moved(self, found: Mapping[str, Signature], gone: Callable[[str], bool]) -> list[tuple[str, str]]:
        """Forget files of which nothing was rendered and that have another path by now; (old, new) of each.

        Args:
            found: path -> signature of files that are there.
            gone: whether nothing is at a path any more.
        """
        new_paths = {lasting(signature): path for path, signature in found.items()}
        moved = []
        with self._change():
            for row in self._select("state = 'pending' OR (state = 'failed' AND reason = ?)", [Reason.GONE]):
                path = new_paths.get(lasting(row.signature), row.path)
                if path != row.path and gone(row.path):
                    self.db.execute("DELETE FROM files WHERE id = ?", (row.id,))
                    moved.append((row.path, path))
        return moved

    def moved(self, number: int) -> None:
        """Write down that a source was taken out of the drop folder."""
        self.db.execute("UPDATE files SET to_move = 0 WHERE id = ?", (number,))

    def hurry(self) -> int:
        """Let files that wait for another try be tried now, since what they waited for may have changed."""
        return self.db.execute(
            "UPDATE files SET until = 0 WHERE state = 'pending' AND tries > 0 AND until > 0"
        ).rowcount

    # What people ask for

    def retry(self, paths: Sequence[str] | None) -> int:
        """Make failed (or waiting) files pending and due now, all failed ones for None; returns how many."""
        count = 0
        with self._change():
            for row in self.jobs([JobState.FAILED]) if paths is None else filter(None, map(self.find, paths)):
                finished = row.state in (JobState.FAILED, JobState.DONE)
                if finished or (row.state is JobState.PENDING and not row.held):
                    self._requeue(row, None, row.priority, Happened.RETRY)
                    count += 1
        return count

    def cancel(self, paths: Sequence[str]) -> list[str]:
        """Fail files that are pending or running, as cancelled; returns which."""
        cancelled = []
        with self._change():
            for row in filter(None, map(self.find, paths)):
                if row.state in (JobState.PENDING, JobState.RUNNING):
                    self.db.execute(
                        f"UPDATE files SET state = 'failed', reason = ?, held = NULL, {RELEASED}, finished_at = ? "
                        "WHERE id = ?",
                        (Reason.CANCELLED, self.clock.wall(), row.id),
                    )
                    self._note(row.id, Happened.CANCELLED)
                    cancelled.append(row.path)
        return cancelled

    def prioritise(self, paths: Sequence[str], priority: int) -> int:
        """Give pending files another priority, the highest goes first; returns how many."""
        names = [(priority, os.fsencode(path)) for path in paths]
        with self._change():
            return self.db.executemany(
                "UPDATE files SET priority = ? WHERE path = ? AND state = 'pending'", names
            ).rowcount

    def prune(self, gone: Callable[[str], bool], before: float) -> int:
        """Forget finished files that are gone and finished before a time (seconds since 1970); returns how many."""
        with self._change():
            old = [
                row.id
                for row in self.jobs([JobState.DONE, JobState.FAILED])
                if (row.finished_at or 0) < before and not row.to_move and gone(row.path)
            ]
            self.db.executemany("DELETE FROM files WHERE id = ?", [(number,) for number in old])
        return len(old)

    def pause(self, reason: str | None) -> None:
        """Take no further jobs, for this reason; None to go on."""
        with self._change():
            self._set_fact("paused", reason)

    def set_waiting(self, reason: str | None) -> None:
        """Say for all to see that nothing is begun at the moment, and why; None when that is over."""
        with self._change():
            self._set_fact("waiting", reason)


def lasting(signature: Signature) -> tuple[int, int, int]:
    """What stays of a signature when a file is moved."""
    return signature.size, signature.mtime_ns, signature.inode
