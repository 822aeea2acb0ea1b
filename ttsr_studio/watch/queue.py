"""What was ever seen, and what became of it: a database that survives whatever ends the processes that use it.

Every file is in exactly one of four states. A job is taken with a lease and a token; whoever comes back with another
token than the row has finds the door closed. Times that decide are those of a clock that does not jump (`clock`).
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from ttsr_studio.errors import TtsrError
from ttsr_studio.watch.clock import Clock
from ttsr_studio.watch.tree import Signature

State = Literal["pending", "running", "done", "failed"]
STATES: tuple[State, ...] = ("pending", "running", "done", "failed")
VERSION = 1
BUSY_SECONDS = 60.0
VIEW_SECONDS = 5.0
MOST_LOSSES = 10
"""Times that the service itself may end during one job, before that job is held to be the cause."""

SETTLING = "still being written"
SIDECAR = "waits for its sidecar"
GONE = "gone before it was rendered; drop it again"
LOST = "the service ended while this was rendered"

SCHEMA = """
CREATE TABLE files (
  id INTEGER PRIMARY KEY,
  path BLOB NOT NULL UNIQUE,
  state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed')),
  held TEXT,
  priority INTEGER NOT NULL DEFAULT 0,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, sidecar TEXT NOT NULL,
  reason TEXT,
  attempts INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
  tries INTEGER NOT NULL DEFAULT 0, losses INTEGER NOT NULL DEFAULT 0,
  token INTEGER, owner TEXT, boot TEXT, until REAL NOT NULL DEFAULT 0,
  progress TEXT,
  sha256 TEXT, fingerprint TEXT,
  output BLOB, report BLOB UNIQUE, output_sha256 TEXT, twin BLOB,
  to_move INTEGER NOT NULL DEFAULT 0,
  queued_at REAL NOT NULL, started_at REAL, finished_at REAL
) STRICT;
CREATE INDEX by_state ON files (state, priority DESC, id);
CREATE INDEX by_content ON files (sha256, fingerprint);
CREATE TABLE history (
  id INTEGER PRIMARY KEY,
  file INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
  at REAL NOT NULL, what TEXT NOT NULL, reason TEXT
) STRICT;
CREATE INDEX by_file ON history (file);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO facts VALUES ('token', '0');
"""


class DamagedError(TtsrError):
    """A database that cannot be read as what it should be."""


@dataclass(frozen=True)
class Entry:
    """One file, as the database has it. Paths are relative to the root; times are seconds since 1970.

    Attributes:
        held: why a pending file is not taken yet, None when it may be.
        attempts: times that it was taken.
        deaths: times that its worker died of it.
        tries: times that something around it failed: a full disk, a share that was away.
        token: of whoever renders it; another one every time.
        owner: the service that does.
        sha256, fingerprint: of the source's content, and of everything that the render depends on besides.
        output, report: the render and its report, when there is one or is to be.
        twin: another source with the same content whose render this is.
        to_move: whether the source is still to be taken out of the drop folder.
    """

    id: int
    path: str
    state: State
    held: str | None
    priority: int
    size: int
    mtime_ns: int
    inode: int
    sidecar: str
    reason: str | None
    attempts: int
    deaths: int
    tries: int
    losses: int
    token: int | None
    owner: str | None
    boot: str | None
    until: float
    progress: str | None
    sha256: str | None
    fingerprint: str | None
    output: str | None
    report: str | None
    output_sha256: str | None
    twin: str | None
    to_move: int
    queued_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def signature(self) -> Signature:
        return Signature(self.size, self.mtime_ns, self.inode, self.sidecar)


COLUMNS = ", ".join(field.name for field in fields(Entry))
PATHS = ("path", "output", "report", "twin")


@dataclass(frozen=True)
class Offer:
    """A file as a scan found it; `held` says why it is not to be taken yet."""

    path: str
    signature: Signature
    priority: int = 0
    held: str | None = None


class Queue:
    """The database of one root, for one thread.

    Args:
        path: of the database; its folder is there.
        lease: seconds for which a job is taken; whoever renders it renews that in time.
        view: only to look at what is there: nothing is made, changed or waited for.

    Raises DamagedError when the file is no sound database of this version.
    """

    def __init__(self, path: Path, clock: Clock | None = None, lease: float = 60.0, *, view: bool = False) -> None:
        self.path, self.clock, self.lease = path, clock or Clock(), lease
        try:
            if view:
                self._view()
            else:
                self._open()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self.close()
            raise DamagedError(f"{path}: not a sound database ({error})") from error

    def _open(self) -> None:
        self.db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute("PRAGMA foreign_keys = ON")
        with self._change():
            version = self.db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in SCHEMA.split(";\n"):
                    if statement.strip():
                        self.db.execute(statement)
                self.db.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise sqlite3.DatabaseError(f"made by another version ({version}, not {VERSION})")

    def _view(self) -> None:
        name = f"{self.path.absolute().as_uri()}?mode=ro"
        self.db = sqlite3.connect(name, uri=True, timeout=VIEW_SECONDS, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        version = self.db.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            raise sqlite3.DatabaseError(f"made by another version ({version}, not {VERSION})")

    def close(self) -> None:
        with contextlib.suppress(AttributeError, sqlite3.Error):
            self.db.close()

    def check(self) -> None:
        """Look through the whole file. Raises DamagedError when something is wrong with it."""
        try:
            said = self.db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            said = str(error)
        if said != "ok":
            raise DamagedError(f"{self.path}: {' '.join(said.split())}")

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Everything within happens, or nothing; nobody else writes meanwhile."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    @contextmanager
    def moment(self) -> Iterator[None]:
        """What is read within is as it was at one moment, whatever others write meanwhile."""
        self.db.execute("BEGIN")
        try:
            yield
        finally:
            self.db.execute("ROLLBACK")

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

    def fact(self, name: str) -> str | None:
        row = self.db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_fact(self, name: str, value: str) -> None:
        self.db.execute(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )

    # What is known

    def get(self, number: int) -> Entry | None:
        row = self.db.execute(f"SELECT {COLUMNS} FROM files WHERE id = ?", (number,)).fetchone()
        return None if row is None else entry(row)

    def find(self, path: str) -> Entry | None:
        row = self.db.execute(f"SELECT {COLUMNS} FROM files WHERE path = ?", (os.fsencode(path),)).fetchone()
        return None if row is None else entry(row)

    def twins(self, sha256: str, fingerprint: str) -> list[Entry]:
        """Files of the same content that are rendered the same way, the first one first."""
        rows = self.db.execute(
            f"SELECT {COLUMNS} FROM files WHERE sha256 = ? AND fingerprint = ? ORDER BY id", (sha256, fingerprint)
        )
        return [entry(row) for row in rows]

    def reported(self, report: str) -> Entry | None:
        """Whose report has this name."""
        row = self.db.execute(f"SELECT {COLUMNS} FROM files WHERE report = ?", (os.fsencode(report),)).fetchone()
        return None if row is None else entry(row)

    def entries(self, states: Sequence[str] = STATES, limit: int = -1, newest: bool = False) -> list[Entry]:
        marks = ", ".join("?" * len(states))
        order = "COALESCE(finished_at, started_at, queued_at) DESC, id DESC" if newest else "priority DESC, id"
        rows = self.db.execute(
            f"SELECT {COLUMNS} FROM files WHERE state IN ({marks}) ORDER BY {order} LIMIT ?", (*states, limit)
        )
        return [entry(row) for row in rows]

    def held_up(self, limit: int = -1) -> list[Entry]:
        """Pending files that wait for something, in the order in which they will be taken."""
        rows = self.db.execute(
            f"SELECT {COLUMNS} FROM files WHERE state = 'pending' AND (held IS NOT NULL OR reason IS NOT NULL) "
            "ORDER BY priority DESC, id LIMIT ?",
            (limit,),
        )
        return [entry(row) for row in rows]

    def unmoved(self) -> list[Entry]:
        rows = self.db.execute(f"SELECT {COLUMNS} FROM files WHERE to_move = 1 AND state IN ('done', 'failed')")
        return [entry(row) for row in rows]

    def counts(self) -> dict[State, int]:
        found = dict(self.db.execute("SELECT state, count(*) FROM files GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def waiting(self) -> int:
        """Pending files that may be taken, now or after their wait."""
        return int(self.db.execute("SELECT count(*) FROM files WHERE state = 'pending' AND held IS NULL").fetchone()[0])

    def history(self, row: Entry) -> list[dict[str, Any]]:
        """Everything that happened to a file, in order."""
        rows = self.db.execute("SELECT at, what, reason FROM history WHERE file = ? ORDER BY id", (row.id,))
        return [dict(each) for each in rows]


def entry(row: sqlite3.Row) -> Entry:
    values = dict(row)
    for name in PATHS:
        values[name] = None if values[name] is None else os.fsdecode(values[name])
    return Entry(**values)
