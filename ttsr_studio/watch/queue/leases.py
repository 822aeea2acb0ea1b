"""What job runners write. A job is taken with a lease and a token; whoever comes back with another token than the row
has finds the door closed. Times that decide are those of a clock that does not jump (`clock`).
"""

import os
from collections.abc import Callable, Iterable

from ttsr_studio.watch.filesystem.root import Signature
from ttsr_studio.watch.queue.states import Claim, Failure, Happened, Hold, JobState, Reason
from ttsr_studio.watch.queue.store import SELECTED, JobRecord, Store

MOST_EXPIRED_LEASES = 10
"""Times that the service itself may end during one job, before that job is held to be the cause."""

DUE = "state = 'pending' AND held IS NULL AND (boot IS NOT ? OR until <= ?) ORDER BY priority DESC, id"
RELEASED = "token = NULL, owner = NULL, progress = NULL"


def as_text(text: str) -> str:
    """Text that a database can hold: names that are none have bytes in them that are no characters."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Leases(Store):
    """The jobs that are taken, and what comes of them."""

    def _note(self, file: int, what: Happened, reason: str | None = None) -> None:
        reason = None if reason is None else as_text(reason)
        self.db.execute(
            "INSERT INTO history (file, at, what, reason) VALUES (?, ?, ?, ?)", (file, self.clock.wall(), what, reason)
        )

    def _set_fact(self, name: str, value: str | None) -> None:
        if value is None:
            self.db.execute("DELETE FROM facts WHERE name = ?", (name,))
        else:
            self.db.execute(
                "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
            )

    def _requeue(self, row: JobRecord, held: str | None, priority: int, what: Happened) -> None:
        """Begin anew with a file: whatever was known of its render is forgotten."""
        self.db.execute(
            f"UPDATE files SET state = 'pending', held = ?, priority = ?, reason = NULL, attempts = 0, deaths = 0, "
            f"tries = 0, losses = 0, {RELEASED}, until = 0, to_move = 0, "
            "queued_at = ?, started_at = NULL, finished_at = NULL WHERE id = ?",
            (held, priority, self.clock.wall(), row.id),
        )
        self._note(row.id, what)

    def due(self) -> bool:
        """Whether there is a job that could be taken now."""
        now = self.clock.now()
        return not self.paused and self._first(DUE, now.boot, now.steady) is not None

    def claim(self, owner: str) -> JobRecord | None:
        """Take the next job that is due, None when there is none."""
        now = self.clock.now()
        if self._first(DUE, now.boot, now.steady) is None:
            return None
        with self._change():
            row = self._first(DUE, now.boot, now.steady)
            if row is None or self.paused:
                return None
            token = int(self.fact("token") or 0) + 1
            self._set_fact("token", str(token))
            taken = self.db.execute(
                "UPDATE files SET state = 'running', token = ?, owner = ?, boot = ?, until = ?, "
                f"attempts = attempts + 1, progress = NULL, started_at = ? WHERE id = ? RETURNING {SELECTED}",
                (token, owner, now.boot, now.steady + self.lease, self.clock.wall(), row.id),
            ).fetchone()
            return JobRecord.from_row(taken)

    def _update(self, claim: JobRecord, changes: str, *values: object) -> bool:
        """Change the row of a job; False when it is not ours any more."""
        row = self.db.execute(
            f"UPDATE files SET {changes} WHERE id = ? AND token = ? AND state = 'running' RETURNING id",
            (*(as_text(value) if isinstance(value, str) else value for value in values), claim.id, claim.token),
        ).fetchone()
        return row is not None

    def renew(self, claim: JobRecord, progress: str | None = None) -> bool:
        """Hold on to a job; False when it is not ours any more."""
        now = self.clock.now()
        return self._update(claim, "boot = ?, until = ?, progress = ?", now.boot, now.steady + self.lease, progress)

    def identify(self, claim: JobRecord, sha256: str, fingerprint: str, output: str, report: str) -> Claim:
        """Write down what a job is of, and the names of what comes of it.

        Returns:
            LOST when it is not ours any more, DUPLICATE when the same is being rendered of another source already.
        """
        names = os.fsencode(output), os.fsencode(report)
        with self._change():
            changes = "sha256 = ?, fingerprint = ?, output = ?, report = ?"
            if not self._update(claim, changes, sha256, fingerprint, *names):
                return Claim.LOST
            for row in self.duplicates(sha256, fingerprint):
                if row.state is JobState.RUNNING and row.id != claim.id:
                    return Claim.DUPLICATE
            return Claim.OURS

    def intend(self, claim: JobRecord, output_sha256: str) -> bool:
        """Write down what is about to be put in place, so that it is known again after a crash in between."""
        return self._update(claim, "output_sha256 = ?", output_sha256)

    def finish(
        self, claim: JobRecord, place: Callable[[], None], *, move: bool = False, duplicate_of: str | None = None
    ) -> bool:
        """Put a render in its place and call the job done, both or neither; False when it is not ours any more.

        Args:
            place: renames what is complete and synced to its final names.
            move: whether the source is to be taken out of the drop folder afterwards.
            duplicate_of: the source whose render was taken.
        """
        with self._change():
            row = self.get(claim.id)
            if row is None or row.state is not JobState.RUNNING or row.token != claim.token:
                return False
            other = os.fsencode(duplicate_of) if duplicate_of else None
            self._update(
                claim,
                f"state = 'done', reason = NULL, {RELEASED}, to_move = ?, twin = ?, finished_at = ?",
                *(int(move), other, self.clock.wall()),
            )
            self._note(claim.id, Happened.DONE, f"render of {duplicate_of}" if duplicate_of else None)
            place()  # last: where the database refuses anything, nothing is in its place
        return True

    def skip(self, claim: JobRecord, reason: str, *, move: bool = False) -> bool:
        """Call a job done without a render, with the reason; False when it is not ours any more."""
        with self._change():
            done = self._update(
                claim,
                f"state = 'done', reason = ?, {RELEASED}, to_move = ?, finished_at = ?",
                *(reason, int(move), self.clock.wall()),
            )
            if done:
                self._note(claim.id, Happened.SKIPPED, reason)
        return done

    def fail(self, claim: JobRecord, reason: str, *, move: bool = False) -> bool:
        """Give a job up for good, with the reason; False when it is not ours any more."""
        with self._change():
            done = self._update(
                claim,
                f"state = 'failed', reason = ?, {RELEASED}, to_move = ?, finished_at = ?",
                *(reason, int(move), self.clock.wall()),
            )
            if done:
                self._note(claim.id, Happened.FAILED, reason)
        return done

    def hand_back(
        self, claim: JobRecord, reason: str | None, *, after: float = 0.0, count: Failure | None = None
    ) -> bool:
        """Make a job pending again; False when it is not ours any more.

        Args:
            after: seconds before it is taken again.
            count: what to count it as; None for nothing, then the attempt does not count either, as it does not where
                only the worker was lost.
        """
        now = self.clock.now()
        counted = [f"{count} = {count} + 1"] if count else []
        counted += ["attempts = attempts - 1"] if count in (None, Failure.LOSS) else []
        with self._change():
            done = self._update(
                claim,
                f"state = 'pending', reason = ?, held = NULL, {RELEASED}, boot = ?, until = ?, {', '.join(counted)}",
                *(reason, now.boot, now.steady + after),
            )
            if done and count:
                self._note(claim.id, Happened.HANDED_BACK, reason)
        return done

    def changed(self, claim: JobRecord, seen: Signature | None) -> bool:
        """Render a file again that became another meanwhile; `seen` is how it lies there now."""
        with self._change():
            row = self.get(claim.id)
            if row is None or row.token != claim.token or row.state is not JobState.RUNNING:
                return False
            held = None if seen is None or row.signature == seen else Hold.UNSTABLE
            self._requeue(row, held, row.priority, Happened.CHANGED)
        return True

    def reclaim(self, ended: Iterable[str] = ()) -> int:
        """Make jobs pending again whose lease ran out, or whose owner is known to have ended; returns how many."""
        now = self.clock.now()
        owners = list(ended)
        marks = ", ".join("?" * len(owners))
        with self._change():
            rows = self._select(
                f"state = 'running' AND (boot IS NOT ? OR until < ? OR owner IN ({marks}))",
                (now.boot, now.steady, *owners),
            )
            for row in rows:
                given_up = row.expired_leases + 1 >= MOST_EXPIRED_LEASES
                reason = f"{Reason.EXPIRED}, {MOST_EXPIRED_LEASES} times" if given_up else str(Reason.EXPIRED)
                state = JobState.FAILED if given_up else JobState.PENDING
                self._update(
                    row,
                    f"state = ?, reason = ?, {RELEASED}, until = 0, losses = losses + 1, finished_at = ?",
                    *(state, reason, self.clock.wall() if given_up else None),
                )
                self._note(row.id, Happened.FAILED if given_up else Happened.EXPIRED, reason)
        return len(rows)
