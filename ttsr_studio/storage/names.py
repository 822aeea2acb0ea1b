"""Names of files as the system takes them: which are the same, which cannot be, and what libraries want to get."""

import os
import re
import sys
import unicodedata
from collections.abc import Hashable
from pathlib import Path, PureWindowsPath

from ttsr_studio.errors import OptionError, shown

ON_WINDOWS = sys.platform == "win32"
RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')


class FileKeys:
    """Tells by equal keys which paths are of one file, as the file system sees it; none of them has to exist.

    A key is the folder itself and the name in it. Case and composed letters count where the folder says that they do;
    two links to one file are two, as one of them can be replaced without the other.
    """

    def __init__(self) -> None:
        self.known: dict[Path, tuple[Hashable, bool]] = {}

    def of(self, path: Path) -> Hashable:
        """The key of a path."""
        whole = Path(os.path.realpath(path))
        folder = next((each for each in whole.parents if each.is_dir()), whole.parent)
        if folder not in self.known:
            self.known[folder] = identity_of(folder), ignores_case(folder)
        identity, folds = self.known[folder]
        names = whole.relative_to(folder).parts
        return identity, tuple(unicodedata.normalize("NFC", name).casefold() for name in names) if folds else names


def identity_of(folder: Path) -> Hashable:
    """What tells a folder from others, whatever way led to it."""
    try:
        status = folder.stat()
    except OSError:
        return os.path.normcase(folder)
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.normcase(folder)


def ignores_case(folder: Path) -> bool:
    """Whether a folder finds a file by its name in other letters: asked of a file in it, or else of those above.

    One name is enough as a rule: a folder of many is not read to its end.
    """
    for each in (folder, *folder.parents):
        try:
            with os.scandir(each) as names:
                for name in names:
                    other = each / name.name.swapcase()
                    if other.name == name.name:
                        continue
                    if not os.path.lexists(other):
                        return False
                    if other.name not in os.listdir(each):
                        return same_file(each / name.name, other)
        except OSError:
            continue
    return ON_WINDOWS or sys.platform == "darwin"


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file that is there."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def refuse_impossible(path: Path, windows: bool = ON_WINDOWS) -> None:
    """Raise OptionError for an output that Windows would take for a device, a stream or another name."""
    if not windows:
        return
    parts = PureWindowsPath(path).parts
    for part in (part for part in parts if not part.endswith((":\\", ":", "\\")) and part not in ("..", ".")):
        if RESERVED.fullmatch(part):
            why = f"{part} is a device's name on Windows"
        elif FORBIDDEN.search(part):
            why = f"Windows has no names with {FORBIDDEN.findall(part)[0]!r}"
        elif part.endswith((".", " ")):
            why = f"Windows drops the end of {part!r}"
        else:
            continue
        raise OptionError(f"{shown(path)}: {why}; choose another -o")


def for_libsndfile(path: Path, windows: bool = ON_WINDOWS) -> str | bytes:
    """A path as soundfile needs it: bytes where a name may be no text, a text on Windows, where bytes lose letters."""
    return str(path) if windows else os.fsencode(path)
