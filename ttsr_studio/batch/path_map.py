"""Paths as another machine has them, where it mounts the same share elsewhere."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

from ttsr_studio.errors import OptionError, shown
from ttsr_studio.storage.home import from_home


def pure(path: str) -> PurePath | None:
    """An absolute path of either kind; None for a relative one."""
    kinds: Iterable[PurePath] = (PurePosixPath(path), PureWindowsPath(path))
    return next((each for each in kinds if each.is_absolute()), None)


def of_windows_only(path: str) -> bool:
    """Whether a path is one of Windows and this machine's are of another kind; nothing of that name is here."""
    return os.name != "nt" and isinstance(pure(path), PureWindowsPath) and not os.path.lexists(path)


def refuse_of_windows(path: str, said: str, cure: str) -> None:
    """Raise OptionError for a path as only machines under Windows have it.

    Args:
        said: what it was given as, before its name.
        cure: what to do.
    """
    if of_windows_only(path):
        raise OptionError(f"{said}{shown(Path(path))}: a path of Windows, which is not one of this machine; {cure}")


@dataclass(frozen=True)
class PathMap:
    """Folders, each with what another machine calls it; of several that hold a path the innermost counts."""

    rules: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _pairs(self) -> list[tuple[PurePath, PurePath]]:
        pairs = [(one, other) for source, target in self.rules if (one := pure(source)) and (other := pure(target))]
        return sorted(pairs, key=lambda pair: -len(pair[0].parts))

    def find(self, path: str) -> str | None:
        """A path as the other machine has it; None for one that no rule is of."""
        for source, target in self._pairs:
            whole = type(source)(path)
            if whole.is_relative_to(source):  # on Windows whatever the case of letters
                return str(target.joinpath(*whole.parts[len(source.parts) :]))
        return None

    def unused(self, paths: Collection[str]) -> list[tuple[str, str]]:
        """Rules whose folder holds none of these paths."""
        folders = {each for path in paths if (whole := pure(path)) for each in (whole, *whole.parents)}
        return [rule for rule in self.rules if pure(rule[0]) not in folders]

    def of(self, path: str) -> str:
        """The same; a path that no rule is of stays."""
        found = self.find(path)
        return path if found is None else found

    def back(self) -> "PathMap":
        """From the other machine to this one."""
        return PathMap(tuple((target, source) for source, target in self.rules))


AS_THEY_ARE = PathMap()


def parse_map(text: str) -> tuple[str, str]:
    """A rule of `HERE=THERE`; where names hold a "=", a folder that is here decides. Raises OptionError."""
    places = [at for at, letter in enumerate(text) if letter == "=" and pure(text[at + 1 :])]
    pairs = [(os.path.abspath(from_home(text[:at])), text[at + 1 :]) for at in places if text[:at]]
    if not pairs:
        raise OptionError(f"--map {shown(Path(text))}: write HERE=THERE, two folders, the second one absolute")
    return next((pair for pair in pairs if Path(pair[0]).is_dir()), pairs[0])
