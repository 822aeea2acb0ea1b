"""The database of a watch folder, as it is read: every file that was ever seen, and what became of it.

It outlives the service, so its columns keep the names that they were given first; `OLD_NAMES` says what they are here.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ttsr_studio.errors import TtsrError, shown
from ttsr_studio.watch.filesystem.root import Signature
from ttsr_studio.watch.queue.clock import Clock
from ttsr_studio.watch.queue.states import Happened, JobState

SCHEMA_VERSION = 1
BUSY_SECONDS = 60.0
VIEW_SECONDS = 5.0
SKIPPED = "(state = 'done' AND reason LIKE 'skipped: %')"
"""Which files were left as they are, there being nothing to add; in SQL."""

TABLES = """
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

OLD_NAMES = {"crashes": "deaths", "expired_leases": "losses", "duplicate_of": "twin"}


class DamagedError(TtsrError):
    """A database that cannot be read as what it should be."""


@dataclass(frozen=True)
class JobRecord:
    """One file, as the database has it. Paths are relative to the root; times are seconds since 1970.

    Attributes:
        held: why a pending file is not taken yet, None when it may be.
        attempts: times that it was taken.
        crashes: times that its worker crashed or had to be ended.
        tries: times that something around it failed: a full disk, a share that was away.
        expired_leases: times that the service ended while it was rendered.
        token: of whoever renders it; another one every time.
        owner: the service that does.
        boot, until: when its lease or its wait ends, see `Moment`.
        sha256, fingerprint: of the source's content, and of everything that the render depends on besides.
        output, report: the render and its report, when there is one or is to be.
        duplicate_of: another source with the same content whose render this is.
        to_move: whether the source is still to be taken out of the drop folder.
    """

    id: int
    path: str
    state: JobState
    held: str | None
    priority: int
    size: int
    mtime_ns: int
    inode: int
    sidecar: str
    reason: str | None
    attempts: int
    crashes: int
    tries: int
    expired_leases: int
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
    duplicate_of: str | None
    to_move: int
    queued_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def signature(self) -> Signature:
        return Signature(self.size, self.mtime_ns, self.inode, self.sidecar)

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> "JobRecord":
        values = dict(row)
        for name in ("path", "output", "report", "duplicate_of"):
            values[name] = None if values[name] is None else os.fsdecode(values[name])
        return cls(**values | {"state": JobState(values["state"])})


SELECTED = ", ".join(
    f"{OLD_NAMES[field.name]} AS {field.name}" if field.name in OLD_NAMES else field.name for field in fields(JobRecord)
)
"""The columns of a `JobRecord`, by their names here."""


class Store:
    """The database of one root, for one thread.

    Args:
        path: of the database; its folder is there.
        lease: seconds for which a job is taken; whoever renders it renews that in time.
        view: only to look at what is there: nothing is made, changed or waited for.

    Raises DamagedError when the file is no sound database of this version.
    """

    def __init__(self, path: Path, clock: Clock | None = None, lease: float = 60.0, *, view: bool = False) -> None:
        self.path, self.clock, self.lease = path, clock or Clock(), lease
        name = f"{path.absolute().as_uri()}?mode=ro" if view else path
        wait = VIEW_SECONDS if view else BUSY_SECONDS
        self.db = sqlite3.connect(name, uri=view, timeout=wait, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        try:
            if not view:
                self._make()
            version = self._version()
            if version != SCHEMA_VERSION:
                raise sqlite3.DatabaseError(f"made by another version ({version}, not {SCHEMA_VERSION})")
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self.close()
            raise DamagedError(f"{shown(path)}: not a sound database ({error})") from error

    def _make(self) -> None:
        """Set the connection up for writing; make the tables where there are none."""
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute("PRAGMA foreign_keys = ON")
        with self._change():
            if self._version() == 0:
                for statement in TABLES.split(";\n"):
                    if statement.strip():
                        self.db.execute(statement)
                self.db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _version(self) -> int:
        return int(self.db.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.db.close()

    def check(self) -> None:
        """Look through the whole file. Raises DamagedError when something is wrong with it."""
        try:
            found = self.db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            found = str(error)
        if found != "ok":
            raise DamagedError(f"{shown(self.path)}: {' '.join(found.split())}")

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
    def snapshot(self) -> Iterator[None]:
        """What is read within is as it was at one moment, whatever others write meanwhile."""
        self.db.execute("BEGIN")
        try:
            yield
        finally:
            self.db.execute("ROLLBACK")

    def fact(self, name: str) -> str | None:
        row = self.db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    @property
    def paused(self) -> bool:
        return self.fact("paused") is not None

    # What is known

    def _select(self, condition: str, values: Iterable[Any] = ()) -> list[JobRecord]:
        rows = self.db.execute(f"SELECT {SELECTED} FROM files WHERE {condition}", tuple(values))
        return [JobRecord.from_row(row) for row in rows]

    def _first(self, condition: str, *values: Any) -> JobRecord | None:
        return next(iter(self._select(f"{condition} LIMIT 1", values)), None)

    def get(self, number: int) -> JobRecord | None:
        return self._first("id = ?", number)

    def find(self, path: str) -> JobRecord | None:
        return self._first("path = ?", os.fsencode(path))

    def reported(self, report: str) -> JobRecord | None:
        """Whose report has this name."""
        return self._first("report = ?", os.fsencode(report))

    def duplicates(self, sha256: str, fingerprint: str) -> list[JobRecord]:
        """Files of the same content that are rendered the same way, the first one first."""
        return self._select("sha256 = ? AND fingerprint = ? ORDER BY id", (sha256, fingerprint))

    def paths_of_same_file(self, row: JobRecord) -> list[str]:
        """Other paths at which the very same file was seen."""
        same = self._select(
            "inode = ? AND size = ? AND mtime_ns = ? AND id != ?", (row.inode, row.size, row.mtime_ns, row.id)
        )
        return [each.path for each in same]

    def jobs(self, states: Sequence[str] = tuple(JobState), limit: int = -1, newest: bool = False) -> list[JobRecord]:
        marks = ", ".join("?" * len(states))
        order = "COALESCE(finished_at, started_at, queued_at) DESC, id DESC" if newest else "priority DESC, id"
        skipped = SKIPPED if Happened.SKIPPED in states else "0"
        return self._select(f"(state IN ({marks}) OR {skipped}) ORDER BY {order} LIMIT ?", (*states, limit))

    def held_up(self, limit: int = -1) -> list[JobRecord]:
        """Pending files that wait for something, in the order in which they will be taken."""
        return self._select(
            "state = 'pending' AND (held IS NOT NULL OR reason IS NOT NULL) ORDER BY priority DESC, id LIMIT ?",
            (limit,),
        )

    def next_up(self, limit: int = -1) -> list[JobRecord]:
        """Pending files that wait for nothing but those before them, in the order in which they will be taken."""
        return self._select(
            "state = 'pending' AND held IS NULL AND reason IS NULL ORDER BY priority DESC, id LIMIT ?", (limit,)
        )

    def pace(self, of: int = 20) -> float | None:
        """Seconds that a render took on average, of the newest; None where there was none yet."""
        rendered = "state = 'done' AND started_at IS NOT NULL AND twin IS NULL AND reason IS NULL"
        newest = (
            f"SELECT finished_at - started_at AS took FROM files WHERE {rendered} ORDER BY finished_at DESC LIMIT ?"
        )
        found = self.db.execute(f"SELECT avg(took) FROM ({newest})", (of,)).fetchone()[0]
        return None if found is None else max(0.0, float(found))

    def unmoved(self) -> list[JobRecord]:
        """Finished files whose sources are still to be taken out of the drop folder."""
        return self._select("to_move = 1 AND state IN ('done', 'failed')")

    def counts(self) -> dict[JobState, int]:
        found = dict(self.db.execute("SELECT state, count(*) FROM files GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in JobState}

    def skipped(self) -> int:
        """How many of those that are done were left as they are, there being nothing to add."""
        found = self.db.execute(f"SELECT count(*) FROM files WHERE {SKIPPED}")
        return int(found.fetchone()[0])

    def history(self, row: JobRecord) -> list[dict[str, Any]]:
        """Everything that happened to a file, in order."""
        rows = self.db.execute("SELECT at, what, reason FROM history WHERE file = ? ORDER BY id", (row.id,))
        return [dict(each) for each in rows]
