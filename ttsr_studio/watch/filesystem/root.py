"""A watched root: its reserved folders, and the audio files that were dropped into it."""

import fnmatch
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from ttsr_studio.audio.formats import SOUNDING
from ttsr_studio.config.sidecar import sidecar
from ttsr_studio.errors import OptionError, shown
from ttsr_studio.watch.filesystem.instance_lock import living

RENDERS, DONE, FAILED, WORK = "_renders", "_done", "_failed", "_work"
RESERVED = (RENDERS, DONE, FAILED, WORK)
SIDECAR_ENDING = ".ttsr.toml"
MARK = "root.json"
"""In the work folder: says that this is a root, and where its database is."""

IGNORED = (
    ".*",
    "@eaDir",
    "#recycle",
    "lost+found",
    "$RECYCLE.BIN",
    "System Volume Information",
    "~syncthing~*",
    "*.partial",
    "*.part",
    "*.tmp",
    "*.temp",
    "*.crdownload",
    "*.download",
    "*.filepart",
    "~$*",
)
"""Names that are never looked at: the leavings of systems, browsers and copiers on their way."""

_NEVER = re.compile("|".join(fnmatch.translate(pattern) for pattern in IGNORED))


@dataclass(frozen=True)
class Signature:
    """What tells that a file is another than before, without reading it; the sidecar's own, empty without one."""

    size: int
    mtime_ns: int
    inode: int
    sidecar: str = ""


@dataclass
class Scan:
    """What one scan of the tree found.

    Attributes:
        files: path relative to the root -> signature.
        unreadable: folders that could not be read -> why.
    """

    files: dict[str, Signature] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


class Root:
    """A watched root.

    Args:
        state: folder of the database and logs; None for the root's own work folder.
    """

    def __init__(self, path: Path, state: Path | None = None) -> None:
        self.path = Path(os.path.abspath(path))
        self.renders, self.done, self.failed, self.work = (self.path / name for name in RESERVED)
        self.state = Path(os.path.abspath(state)) if state else self.work

    @property
    def database(self) -> Path:
        return self.state / "queue.sqlite"

    @property
    def stages(self) -> Path:
        return self.work / "stage"

    @property
    def mark(self) -> Path:
        return self.work / MARK

    @property
    def available(self) -> bool:
        """Whether the root is there; a share that went away leaves an empty folder behind."""
        return self.mark.is_file()

    def make(self) -> None:
        """Make the reserved folders. Raises OptionError where the root cannot be one."""
        if not self.path.is_dir():
            raise OptionError(f"{shown(self.path)}: no such folder; make it first")
        self.refuse_nested()
        try:
            for folder in (self.renders, self.failed, self.stages, self.state):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.stages / f"probe-{os.getpid()}"
            probe.write_bytes(b"")
            moved = self.renders / f".{probe.name}.partial"
            probe.rename(moved)
            moved.unlink()
            with FileLock(self.state / "start.lock"):
                self.leave_mark()
        except OSError as error:
            raise OptionError(
                f"{shown(self.path)}: cannot be written to ({error.strerror}: {error.filename}); "
                "check its permissions, and that its folders are on one disk"
            ) from error

    def leave_mark(self) -> None:
        """Say where the database is; a mark that says so is left as it is, as running services look after theirs.

        Raises OptionError when services run here on another database.
        """
        marked = self.marked()
        if marked == self.state:
            return
        if marked and living(marked):
            raise OptionError(
                f"{shown(self.path)}: is watched with its database in {shown(marked)}; "
                "stop that service first, or start this one without --state"
            )
        mark = self.stages / f"mark-{os.getpid()}"
        with mark.open("w") as file:
            file.write(json.dumps({"state": None if self.state == self.work else str(self.state)}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        mark.replace(self.mark)

    def share_mark(self) -> Path:
        """A file by which another machine tells that it sees this root: its name is like no other root's.

        Raises OptionError where the root cannot be one.
        """
        self.make()
        found = sorted(self.work.glob("share-*"))
        mark = found[0] if found else self.work / f"share-{secrets.token_hex(8)}"
        mark.touch()
        return mark

    def marked(self) -> Path | None:
        """Where the root's mark says that its database is; None without a mark that can be read."""
        try:
            state = json.loads(self.mark.read_text())["state"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Path(state) if state else self.work

    def refuse_nested(self) -> None:
        """Raise OptionError for a root within a root, or around one."""
        for above in self.path.parents:
            if (above / WORK / MARK).is_file():
                raise OptionError(f"{shown(self.path)}: lies within the watched root {shown(above)}; watch only one")
        for folder, names, _ in os.walk(self.path):
            names[:] = [name for name in names if name not in RESERVED and not is_ignored(name)]
            if Path(folder) != self.path and (Path(folder) / WORK / MARK).is_file():
                raise OptionError(f"{shown(self.path)}: holds the watched root {shown(Path(folder))}; watch only one")

    def scan(self) -> Scan:
        """List every folder; links are not followed, so nothing outside the root is ever read."""
        found = Scan()
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                waiting += self._scan_folder(folder, found)
            except OSError as error:
                found.unreadable[folder or "."] = error.strerror or str(error)
        return found

    def _scan_folder(self, folder: str, found: Scan) -> Iterator[str]:
        files: dict[str, os.stat_result] = {}
        folders = []
        with os.scandir(self.path / folder) as entries:
            for entry in entries:
                if is_ignored(entry.name) or (not folder and entry.name in RESERVED):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(os.path.join(folder, entry.name))
                elif entry.name.lower().endswith((*SOUNDING, SIDECAR_ENDING)):
                    status = entry.stat(follow_symlinks=False)
                    if not status.st_ino:  # on Windows, where a listing has no inodes, and sizes of a while ago
                        status = os.lstat(entry.path)
                    if stat.S_ISREG(status.st_mode):
                        files[entry.name] = status
        for name, status in files.items():
            if not name.endswith(SIDECAR_ENDING):
                beside = files.get(sidecar(Path(name)).name)
                found.files[os.path.join(folder, name)] = signature(status, beside)
        return iter(folders)

    def signature_of(self, path: str) -> Signature | None:
        """The signature of one file now, None when it is gone or no regular file."""
        source = self.path / path
        status = regular(source)
        return None if status is None else signature(status, regular(sidecar(source)))

    def without_root(self, text: Path | str) -> str:
        """A text without the root's own place in it."""
        return str(text).replace(str(self.path) + os.sep, "").replace(str(self.path), ".")


def find_root(path: Path) -> Root:
    """A folder that is, or was, watched. Raises OptionError for another."""
    state = Root(path).marked()
    if state is None:
        raise OptionError(f"{shown(path)}: not a watched root; start `ttsr watch` on it first")
    return Root(path, state)


def regular(path: Path) -> os.stat_result | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def signature(status: os.stat_result, beside: os.stat_result | None) -> Signature:
    side = f"{beside.st_size}:{beside.st_mtime_ns}" if beside else ""
    return Signature(status.st_size, status.st_mtime_ns, status.st_ino, side)


def is_ignored(name: str) -> bool:
    return _NEVER.match(name) is not None
