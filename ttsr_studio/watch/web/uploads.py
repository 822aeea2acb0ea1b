"""What was uploaded and is not yet to be rendered: sound files in the work folder, each with a note of what it is.

A file is written under a temporary name, synced and renamed; its note is written last, so that what has one is whole.
All of it outlives the service.
"""

import contextlib
import json
import re
import secrets
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from ttsr_studio.audio.formats import SOUNDING
from ttsr_studio.errors import OptionError, shown
from ttsr_studio.storage.atomic import fit_name, rename, sync_folder, write_atomic
from ttsr_studio.storage.names import ON_WINDOWS, refuse_impossible
from ttsr_studio.watch.filesystem.root import RESERVED, Root, is_ignored

MOST_STAGED = 1000
PARTIAL_SECONDS, STAGED_SECONDS = 3600.0, 7 * 86400.0
"""After so long what is left of an upload that broke off, and what nobody had rendered, is removed."""

DEEPEST = 16
CONTROLS = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
NUMBER = re.compile(r"[0-9a-f]{16}")


class FullError(OptionError):
    """There is no room for an upload."""


@dataclass(frozen=True)
class Upload:
    """A file that was uploaded.

    Attributes:
        folder: below the root in which it is to land, with "/" between; empty for the root.
        at: when it came, in seconds since 1970.
    """

    id: str
    name: str
    folder: str
    size: int
    at: float

    @property
    def data(self) -> str:
        """Name of its data in the folder of uploads."""
        return self.id + PurePosixPath(self.name).suffix.lower()


class Uploads:
    """The uploads of a root.

    Args:
        keep_free: bytes of the disk that stay free.
    """

    def __init__(self, root: Root, keep_free: int) -> None:
        self.root, self.keep_free = root, keep_free
        self.folder = root.work / "uploads"

    def path(self, upload: Upload) -> Path:
        return self.folder / upload.data

    def all(self) -> list[Upload]:
        """Every upload that is whole and waits, the first one first."""
        found = [self.get(path.stem) for path in self.folder.glob("*.json")] if self.folder.is_dir() else []
        return sorted(filter(None, found), key=lambda upload: (upload.at, upload.id))

    def get(self, number: str) -> Upload | None:
        """An upload by its number; None where there is none."""
        if not NUMBER.fullmatch(number):
            return None
        try:
            upload = Upload(**json.loads((self.folder / f"{number}.json").read_text(encoding="utf-8")))
            return upload if self.path(upload).lstat().st_nlink == 1 else None  # with two it has landed
        except (OSError, ValueError, TypeError):
            return None

    def begin(self, name: str, folder: str, size: int) -> Upload:
        """A number and a place for what comes. Raises OptionError for a name that cannot be, FullError without room."""
        upload = Upload(secrets.token_hex(8), refuse_name(name), refuse_folder(folder), size, time.time())
        self.folder.mkdir(parents=True, exist_ok=True)
        self.refuse_full(size)
        return upload

    def refuse_full(self, size: int) -> None:
        """Raise FullError where so many bytes more would not fit."""
        free = shutil.disk_usage(self.folder).free - self.keep_free
        if size > free:
            raise FullError(f"{size / 1e6:.0f} MB do not fit: {max(free, 0) / 1e6:.0f} MB of the disk may be used")
        if len(list(self.folder.iterdir())) >= 2 * MOST_STAGED:
            raise FullError(f"{MOST_STAGED} uploads wait to be rendered; render or remove some first")

    def partial(self, upload: Upload) -> Path:
        return self.folder / f"{upload.id}.partial"

    def finish(self, upload: Upload) -> None:
        """Keep what was written to `partial` and synced."""
        rename(self.partial(upload), self.path(upload))
        sync_folder(self.folder)
        write_atomic(self.folder / f"{upload.id}.json", json.dumps(asdict(upload)).encode())

    def remove(self, upload: Upload) -> None:
        for path in (self.folder / f"{upload.id}.json", self.path(upload), self.partial(upload)):
            with contextlib.suppress(OSError):
                path.unlink()

    def sweep(self) -> None:
        """Remove what is left of uploads that broke off, landed, or were forgotten."""
        now = time.time()
        for path in list(self.folder.iterdir()) if self.folder.is_dir() else []:
            with contextlib.suppress(OSError):
                age, known = now - path.stat().st_mtime, self.get(path.stem)
                if age > STAGED_SECONDS or (age > PARTIAL_SECONDS and known is None):
                    path.unlink()


def refuse_name(name: str) -> str:
    """A name that a stem may have. Raises OptionError for another."""
    if not name or name in (".", "..") or set(name) & set("/\\") or CONTROLS.search(name):
        raise OptionError(f"{shown(Path(name)) if name else 'no name'}: not the name of a file")
    if not name.lower().endswith(SOUNDING):
        raise OptionError(f"{shown(Path(name))}: neither audio nor video by its ending")
    if is_ignored(name):
        raise OptionError(f"{shown(Path(name))}: files of such names are left alone; rename it")
    refuse_odd(name)
    return fit_name(name, 200)


def refuse_folder(folder: str) -> str:
    """A folder below the root, in its plain form. Raises OptionError for one that cannot be."""
    parts = [part for part in folder.split("/") if part]
    if folder.startswith("/") or "\\" in folder or len(parts) > DEEPEST or len(folder) > 1000:
        raise OptionError(f"{shown(Path(folder))}: not a folder below the root")
    for number, part in enumerate(parts):
        if part in (".", "..") or CONTROLS.search(part) or is_ignored(part) or (not number and part in RESERVED):
            raise OptionError(f"{shown(Path(folder))}: not a folder in which stems may lie")
        refuse_odd(part)
    return "/".join(parts)


def refuse_odd(name: str) -> None:
    """Raise OptionError for a name that this system cannot have."""
    if ON_WINDOWS and ":" in name:
        raise OptionError(f"{shown(Path(name))}: Windows has no names with ':'; rename it")
    try:
        refuse_impossible(Path(name))
    except OptionError as error:
        raise OptionError(str(error).replace("choose another -o", "rename it")) from None
