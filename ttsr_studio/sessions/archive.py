"""Archives of sessions: read with mistrust, written again with all that was in them as it was."""

import copy
import shutil
import unicodedata
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote

from ttsr_studio.errors import InputError, shown

MOST_ENTRIES = 200_000
LARGEST_TEXT = 1 << 28
"""Bytes of a document; a session of a thousand tracks has a tenth of them."""
BOMB_BYTES, BOMB_RATIO = 1 << 32, 200
"""What unpacks to more than this, and to more than so many times its size, is a bomb."""
_ENCRYPTED, _UTF8 = 0x1, 0x800
BLOCK = 1 << 20


class Archive:
    """A zip archive that a session is. Raises InputError where it is none, or one to keep away from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self.entries, self.comment = archive.infolist(), archive.comment
        except zipfile.BadZipFile as error:
            raise InputError(f"{shown(path)}: not a zip archive, or a broken one ({error}); export it again") from error
        except (OSError, NotImplementedError, UnicodeDecodeError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise InputError(f"{shown(path)}: cannot be read ({why}); check its name and permissions") from error
        self._refuse_hostile()
        for entry in self.entries:
            entry.filename = readable(entry)
        self.named = {entry.filename: entry for entry in self.entries}

    def _refuse_hostile(self) -> None:
        size = max(1, self.path.stat().st_size)
        whole = sum(entry.file_size for entry in self.entries)
        if len(self.entries) > MOST_ENTRIES:
            raise InputError(f"{shown(self.path)}: {len(self.entries)} files in it, which is no session; not opened")
        if whole > BOMB_BYTES and whole > BOMB_RATIO * size:
            raise InputError(
                f"{shown(self.path)}: {size} bytes that unpack to {whole}, which is no session; not opened"
            )
        for entry in self.entries:
            if leads_out(entry.filename):
                name = ascii(entry.filename)
                raise InputError(f"{shown(self.path)}: holds {name}, a path that leads out of it; not opened")

    def find(self, name: str) -> str | None:
        """The entry that a session means by a path, in whatever way its slashes, letters and blanks are written.

        Raises InputError where several have that name.
        """
        for meant in dict.fromkeys([name, name.replace("\\", "/"), unquote(name), unquote(name.replace("\\", "/"))]):
            meant = str(PurePosixPath(meant))
            for key in (str, lambda text: unicodedata.normalize("NFC", text), lambda text: same_letters(text)):
                found = [entry for entry in self.entries if key(entry.filename) == key(meant)]
                if len(found) > 1:
                    raise InputError(f"{ascii(name)[1:-1]}: is in the archive {len(found)} times; which is meant?")
                if found:
                    return found[0].filename
        return None

    def text(self, name: str) -> bytes:
        """A document of the archive. Raises InputError where it is missing, damaged, or there twice."""
        if Counter(entry.filename for entry in self.entries)[name] > 1:
            raise InputError(f"{shown(self.path)}: {name} is in it more than once; export it again")
        if name not in self.named:
            raise InputError(f"{shown(self.path)}: there is no {name} in it, so it is no DAWproject; export it again")
        if self.named[name].file_size > LARGEST_TEXT:
            raise InputError(f"{shown(self.path)}: {name} has {self.named[name].file_size} bytes; not read")
        with zipfile.ZipFile(self.path) as archive, self._open(archive, self.named[name]) as file:
            return self._read(name, file, LARGEST_TEXT)

    def extract(self, name: str, target: Path) -> None:
        """Write one entry's content to a file. Raises InputError for damage, OSError."""
        entry = self.named[name]
        if entry.file_size > shutil.disk_usage(target.parent).free:
            raise InputError(f"{name}: {entry.file_size} bytes, more than there is room for in {target.parent}")
        with zipfile.ZipFile(self.path) as archive, self._open(archive, entry) as file, target.open("wb") as out:
            while block := self._read(name, file, BLOCK):
                out.write(block)

    def _open(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> IO[bytes]:
        if entry.flag_bits & _ENCRYPTED:
            raise InputError(f"{shown(self.path)}: {entry.filename} is encrypted; export it without a password")
        original = archive.infolist()[self.entries.index(entry)]
        try:
            return archive.open(original)
        except (NotImplementedError, zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{shown(self.path)}: {entry.filename} cannot be unpacked ({error})") from error

    def _read(self, name: str, file: IO[bytes], size: int) -> bytes:
        try:
            return file.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise InputError(f"{shown(self.path)}: {name} is damaged ({error}); export it again") from error

    def write_with(self, target: Path, changed: Mapping[str, bytes], added: Mapping[str, Path], like: str) -> None:
        """Write the archive again: entries in their order, packed, dated and described as they were.

        Args:
            changed: documents with another content. added: files for entries at the end, packed as `like` is.

        Raises InputError for damage, OSError.
        """
        with zipfile.ZipFile(target, "w") as out, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that were there twice
            out.comment = self.comment
            with zipfile.ZipFile(self.path) as archive:
                for entry in self.entries:
                    told = described_as(entry, entry.filename)
                    if entry.filename in changed:
                        told.file_size = 0
                        out.writestr(told, changed[entry.filename], told.compress_type)
                        continue
                    with self._open(archive, entry) as file, out.open(told, "w", force_zip64=large(entry)) as copied:
                        while block := self._read(entry.filename, file, BLOCK):
                            copied.write(block)
            for name, path in added.items():
                told = described_as(self.named[like], name)
                told.file_size = path.stat().st_size
                with path.open("rb") as file, out.open(told, "w", force_zip64=large(told)) as copied:
                    shutil.copyfileobj(file, copied, BLOCK)


def described_as(entry: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    """What is said of an entry, without where it lies."""
    told = zipfile.ZipInfo(name, entry.date_time)
    told.compress_type, told.comment = entry.compress_type, entry.comment
    told.create_system, told.external_attr, told.internal_attr = (
        entry.create_system,
        entry.external_attr,
        entry.internal_attr,
    )
    told.extra = copy.copy(entry.extra) if not entry.extra.startswith(b"\x01\x00") else b""
    return told


def large(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry may need sizes of 64 bits."""
    return entry.file_size > 1 << 30


def leads_out(name: str) -> bool:
    """Whether a path in an archive is absolute, of a drive, or goes up."""
    parts = name.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or (len(parts[0]) == 2 and parts[0][1] == ":") or "\0" in name


def readable(entry: zipfile.ZipInfo) -> str:
    """An entry's name: many programs write UTF-8 without saying so."""
    if entry.flag_bits & _UTF8 or entry.filename.isascii():
        return entry.filename
    for encoding in ("utf-8", "cp1252"):
        try:
            return entry.filename.encode("cp437").decode(encoding)
        except UnicodeError:
            continue
    return entry.filename


def same_letters(text: str) -> str:
    """A text in which neither case nor composition counts."""
    return unicodedata.normalize("NFC", text).casefold()
