"""What was ever seen, and what became of it: a database that survives whatever ends the processes that use it.

Every file is in exactly one of four states. A job is taken with a lease and a token; whoever comes back with another
token than the row has finds the door closed. Times that decide are those of a clock that does not jump (`clock`).
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ttsr_studio.watch.filesystem.root import Signature
from ttsr_studio.watch.queue.store import COLUMNS, Entry, Ledger, entry

MOST_LOSSES = 10
"""Times that the service itself may end during one job, before that job is held to be the cause."""

SETTLING = "still being written"
SIDECAR = "waits for its sidecar"
GONE = "gone before it was rendered; drop it again"
LOST = "the service ended while this was rendered"


@dataclass(frozen=True)
class Offer:
    """A file as a scan found it; `held` says why it is not to be taken yet."""

    path: str
    signature: Signature
    priority: int = 0
    held: str | None = None


def same_file(signature: Signature) -> tuple[int, int, int]:
    """What stays of a signature when a file is moved."""
    return signature.size, signature.mtime_ns, signature.inode


class Queue(Ledger):
    """What changes the database of one root, for one thread; opened as a ledger is."""

    def _note(self, file: int, what: str, reason: str | None = None) -> None:
        self.db.execute(
            "INSERT INTO history (file, at, what, reason) VALUES (?, ?, ?, ?)", (file, self.clock.wall(), what, reason)
        )

    # What scans say

    def offer(self, offers: Sequence[Offer]) -> int:
        """Take what a scan found; returns how many files became pending. What is known and unchanged stays as it is."""
        changed = 0
        with self._change():
            for offer in offers:
                changed += self._offer(offer)
        return changed

    def _offer(self, offer: Offer) -> bool:
        new = offer.signature
        row = self.find(offer.path)
        if row is None:
            cursor = self.db.execute(
                "INSERT INTO files (path, state, held, priority, size, mtime_ns, inode, sidecar, queued_at) "
                "VALUES (?, 'pending', ?, ?, ?, ?, ?, ?, ?)",
                (
                    os.fsencode(offer.path),
                    offer.held,
                    offer.priority,
                    new.size,
                    new.mtime_ns,
                    new.inode,
                    new.sidecar,
                    self.clock.wall(),
                ),
            )
            self._note(cursor.lastrowid or 0, "seen")
            return True
        if row.signature == new:
            if row.state == "failed" and row.reason == GONE:
                self._renew(row, offer.held, offer.priority, "back")
                return True
            if row.state == "pending" and row.held != offer.held:
                self.db.execute("UPDATE files SET held = ? WHERE id = ?", (offer.held, row.id))
            return False
        if offer.held == SETTLING and row.state != "pending":
            return False  # it keeps its state until it is known what came of it
        self.db.execute(
            "UPDATE files SET size = ?, mtime_ns = ?, inode = ?, sidecar = ? WHERE id = ?",
            (new.size, new.mtime_ns, new.inode, new.sidecar, row.id),
        )
        if row.state != "running":
            self._renew(row, offer.held, offer.priority, "changed")
        return row.state != "running"

    def _renew(self, row: Entry, held: str | None, priority: int, what: str) -> None:
        self.db.execute(
            "UPDATE files SET state = 'pending', held = ?, priority = ?, reason = NULL, attempts = 0, deaths = 0, "
            "tries = 0, losses = 0, token = NULL, owner = NULL, until = 0, progress = NULL, to_move = 0, "
            "queued_at = ?, started_at = NULL, finished_at = NULL WHERE id = ?",
            (held, priority, self.clock.wall(), row.id),
        )
        self._note(row.id, what)

    # What workers do

    def claim(self, owner: str) -> Entry | None:
        """Take the next job that is due, None when there is none."""
        now = self.clock.now()
        ready = "state = 'pending' AND held IS NULL AND (boot IS NOT ? OR until <= ?)"
        query = f"SELECT {COLUMNS} FROM files WHERE {ready} ORDER BY priority DESC, id LIMIT 1"
        if self.db.execute(query, (now.boot, now.steady)).fetchone() is None:
            return None
        with self._change():
            row = self.db.execute(query, (now.boot, now.steady)).fetchone()
            if row is None or self.paused:
                return None
            token = int(self.fact("token") or 0) + 1
            self.set_fact("token", str(token))
            taken = self.db.execute(
                "UPDATE files SET state = 'running', token = ?, owner = ?, boot = ?, until = ?, "
                f"attempts = attempts + 1, progress = NULL, started_at = ? WHERE id = ? RETURNING {COLUMNS}",
                (token, owner, now.boot, now.steady + self.lease, self.clock.wall(), row["id"]),
            ).fetchone()
            return entry(taken)

    def renew(self, claim: Entry, progress: str | None = None) -> bool:
        """Hold on to a job; False when it is not ours any more."""
        now = self.clock.now()
        return self._ours(
            claim, "boot = ?, until = ?, progress = ?", (now.boot, now.steady + self.lease, progress), "id"
        )

    def _ours(self, claim: Entry, changes: str, values: Iterable[Any], returning: str = "id") -> bool:
        row = self.db.execute(
            f"UPDATE files SET {changes} WHERE id = ? AND token = ? AND state = 'running' RETURNING {returning}",
            (*values, claim.id, claim.token),
        ).fetchone()
        return row is not None

    def identify(
        self, claim: Entry, sha256: str, fingerprint: str, output: str, report: str
    ) -> Literal["ours", "lost", "twin"]:
        """Write down what a job is of, and the names of what comes of it.

        Returns:
            "lost" when it is not ours any more, "twin" when the same is being rendered of another source already.
        """
        names = os.fsencode(output), os.fsencode(report)
        with self._change():
            changes = "sha256 = ?, fingerprint = ?, output = ?, report = ?"
            if not self._ours(claim, changes, (sha256, fingerprint, *names)):
                return "lost"
            others = [row for row in self.twins(sha256, fingerprint) if row.state == "running" and row.id != claim.id]
            return "twin" if others else "ours"

    def intend(self, claim: Entry, output_sha256: str) -> bool:
        """Write down what is about to be put in place, so that it is known again after a crash in between."""
        return self._ours(claim, "output_sha256 = ?", (output_sha256,))

    def finish(self, claim: Entry, place: Callable[[], None], *, move: bool = False, twin: str | None = None) -> bool:
        """Put a render in its place and call the job done, both or neither; False when it is not ours any more.

        Args:
            place: renames what is complete and synced to its final names.
            move: whether the source is to be taken out of the drop folder afterwards.
            twin: the source whose render was taken.
        """
        with self._change():
            row = self.get(claim.id)
            if row is None or row.state != "running" or row.token != claim.token:
                return False
            place()
            self.db.execute(
                "UPDATE files SET state = 'done', reason = NULL, token = NULL, owner = NULL, progress = NULL, "
                "to_move = ?, twin = ?, finished_at = ? WHERE id = ?",
                (int(move), os.fsencode(twin) if twin else None, self.clock.wall(), claim.id),
            )
            self._note(claim.id, "done", f"render of {twin}" if twin else None)
        return True

    def fail(self, claim: Entry, reason: str, *, move: bool = False) -> bool:
        """Give a job up for good, with the reason; False when it is not ours any more."""
        with self._change():
            done = self._ours(
                claim,
                "state = 'failed', reason = ?, token = NULL, owner = NULL, progress = NULL, to_move = ?, "
                "finished_at = ?",
                (reason, int(move), self.clock.wall()),
            )
            if done:
                self._note(claim.id, "failed", reason)
        return done

    def hand_back(
        self,
        claim: Entry,
        reason: str | None,
        *,
        after: float = 0.0,
        count: Literal["deaths", "tries", "losses"] | None = None,
        held: str | None = None,
    ) -> bool:
        """Make a job pending again; False when it is not ours any more.

        Args:
            after: seconds before it is taken again.
            count: what to count it as; None for nothing, then the attempt does not count either.
        """
        now = self.clock.now()
        counted = f"{count} = {count} + 1" if count else "attempts = attempts - 1"
        with self._change():
            done = self._ours(
                claim,
                f"state = 'pending', reason = ?, held = ?, token = NULL, owner = NULL, progress = NULL, boot = ?, "
                f"until = ?, {counted}",
                (reason, held, now.boot, now.steady + after),
            )
            if done and count:
                self._note(claim.id, "handed back", reason)
        return done

    def changed(self, claim: Entry, seen: Signature | None) -> bool:
        """Render a file again that became another meanwhile; `seen` is how it lies there now."""
        with self._change():
            row = self.get(claim.id)
            if row is None or row.token != claim.token or row.state != "running":
                return False
            self._renew(row, None if seen is None or row.signature == seen else SETTLING, row.priority, "changed")
        return True

    def reclaim(self, dead: Iterable[str] = ()) -> int:
        """Make jobs pending again whose lease ran out, or whose owner is known to have ended; returns how many."""
        now = self.clock.now()
        owners = list(dead)
        marks = ", ".join("?" * len(owners))
        with self._change():
            rows = self.db.execute(
                f"SELECT {COLUMNS} FROM files WHERE state = 'running' "
                f"AND (boot IS NOT ? OR until < ? OR owner IN ({marks}))",
                (now.boot, now.steady, *owners),
            ).fetchall()
            for row in map(entry, rows):
                given_up = row.losses + 1 >= MOST_LOSSES
                reason = f"{LOST}, {MOST_LOSSES} times" if given_up else LOST
                self.db.execute(
                    "UPDATE files SET state = ?, reason = ?, token = NULL, owner = NULL, progress = NULL, until = 0, "
                    "losses = losses + 1, finished_at = ? WHERE id = ?",
                    (
                        "failed" if given_up else "pending",
                        reason,
                        self.clock.wall() if given_up else None,
                        row.id,
                    ),
                )
                self._note(row.id, "failed" if given_up else "lost", reason)
        return len(rows)

    # What people ask for

    def retry(self, paths: Sequence[str] | None) -> int:
        """Make failed (or waiting) files pending and due now, all failed ones for None; returns how many."""
        count = 0
        with self._change():
            for row in self.entries(["failed"]) if paths is None else filter(None, map(self.find, paths)):
                if row.state in ("failed", "done") or (row.state == "pending" and not row.held):
                    self._renew(row, None, row.priority, "retry")
                    count += 1
        return count

    def hurry(self) -> int:
        """Let files that wait for another try be tried now, since what they waited for may have changed."""
        with self._change():
            return self.db.execute(
                "UPDATE files SET until = 0 WHERE state = 'pending' AND tries > 0 AND until > 0"
            ).rowcount

    def cancel(self, paths: Sequence[str]) -> list[str]:
        """Fail files that are pending or running, as cancelled; returns which."""
        cancelled = []
        with self._change():
            for row in filter(None, map(self.find, paths)):
                if row.state in ("pending", "running"):
                    self.db.execute(
                        "UPDATE files SET state = 'failed', reason = 'cancelled', held = NULL, token = NULL, "
                        "owner = NULL, progress = NULL, finished_at = ? WHERE id = ?",
                        (self.clock.wall(), row.id),
                    )
                    self._note(row.id, "cancelled")
                    cancelled.append(row.path)
        return cancelled

    def forget_moved(self, found: Mapping[str, Signature], gone: Callable[[str], bool]) -> list[tuple[str, str]]:
        """Forget files of which nothing was rendered and that have another path by now; (old, new) of each.

        Args:
            found: path -> signature of files that are there.
            gone: whether nothing is at a path any more.
        """
        places = {same_file(signature): path for path, signature in found.items()}
        moved = []
        with self._change():
            rows = self.db.execute(
                f"SELECT {COLUMNS} FROM files WHERE state = 'pending' OR (state = 'failed' AND reason = ?)", (GONE,)
            )
            for row in [entry(each) for each in rows]:
                place = places.get(same_file(row.signature), row.path)
                if place != row.path and gone(row.path):
                    self.db.execute("DELETE FROM files WHERE id = ?", (row.id,))
                    moved.append((row.path, place))
        return moved

    def moved(self, row: Entry) -> None:
        """Write down that a source was taken out of the drop folder."""
        self.db.execute("UPDATE files SET to_move = 0 WHERE id = ?", (row.id,))

    def prune(self, gone: Callable[[str], bool], before: float) -> int:
        """Forget finished files that are gone and finished before a time (seconds since 1970); returns how many."""
        with self._change():
            old = [
                row.id
                for row in self.entries(["done", "failed"])
                if (row.finished_at or 0) < before and not row.to_move and gone(row.path)
            ]
            self.db.executemany("DELETE FROM files WHERE id = ?", [(number,) for number in old])
        return len(old)

    @property
    def paused(self) -> bool:
        return self.fact("paused") is not None

    def pause(self, reason: str | None) -> None:
        """Take no further jobs, for this reason; None to go on."""
        self._tell("paused", reason)

    def set_waiting(self, reason: str | None) -> None:
        """Say for all to see that nothing is begun at the moment, and why; None when that is over."""
        self._tell("waiting", reason)

    def _tell(self, name: str, value: str | None) -> None:
        with self._change():
            if value is None:
                self.db.execute("DELETE FROM facts WHERE name = ?", (name,))
            else:
                self.set_fact(name, value)

    def set_fact(self, name: str, value: str) -> None:
        self.db.execute(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )
