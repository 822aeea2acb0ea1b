"""The database of a watch folder, as it is read: every file that was ever seen, and what became of it."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from ttsr_studio.errors import TtsrError
from ttsr_studio.watch.filesystem.root import Signature
from ttsr_studio.watch.queue.clock import Clock

State = Literal["pending", "running", "done", "failed"]
STATES: tuple[State, ...] = ("pending", "running", "done", "failed")
VERSION = 1
BUSY_SECONDS = 60.0
VIEW_SECONDS = 5.0

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


class Ledger:
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

    def fact(self, name: str) -> str | None:
        row = self.db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

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

    def same_as(self, row: Entry) -> list[str]:
        """Other paths at which the very same file was seen."""
        rows = self.db.execute(
            "SELECT path FROM files WHERE inode = ? AND size = ? AND mtime_ns = ? AND id != ?",
            (row.inode, row.size, row.mtime_ns, row.id),
        )
        return [os.fsdecode(each["path"]) for each in rows]

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
