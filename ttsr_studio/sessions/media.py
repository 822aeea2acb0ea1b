"""What a session is to the rest: media, where they are used, and what is to be put in their place."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ttsr_studio.errors import OptionError, nearest

Way = Literal["replace", "alternatives"]
"""Whether clips play the renders, or get them as alternatives that are muted."""


@dataclass(frozen=True)
class Use:
    """A place where a session plays a medium.

    Attributes:
        track: its name.
        clip: name of the clip; may be empty.
        at: where on the timeline it begins, in words of the format.
        start_s, stop_s: what is played of the medium, in seconds of it; stop_s None for all from there on.
    """

    track: str
    clip: str
    at: str
    start_s: float = 0.0
    stop_s: float | None = None


@dataclass(frozen=True)
class Medium:
    """A file that a session plays.

    Attributes:
        reference: as it stands in the session.
        name: of the file, without a folder.
        path: the file, where it lies on the disk; None for an entry of the archive, or what is not there.
        entry: of the session's own archive; None for a file.
        uses: where it is played.
        trouble: why it cannot be rendered; empty where it can.
        aside: why nobody would want it to be: a picture, a title; empty where that is not so.
        note: what else there is to say of it.
    """

    reference: str
    name: str
    path: Path | None
    entry: str | None = None
    uses: tuple[Use, ...] = ()
    trouble: str = ""
    aside: str = ""
    note: str = ""

    @property
    def tracks(self) -> tuple[str, ...]:
        """Names of the tracks that play it."""
        return tuple(dict.fromkeys(use.track for use in self.uses))

    def to_json(self) -> dict[str, Any]:
        """What `--list --json` says of it."""
        return {
            "reference": self.reference,
            "path": str(self.path) if self.path else None,
            "entry": self.entry,
            "tracks": list(self.tracks),
            "uses": [vars(use) for use in self.uses],
            "trouble": self.trouble or self.aside,
            "note": self.note,
        }


@dataclass(frozen=True)
class Replacement:
    """A render, and what of it a session may want to know.

    Attributes:
        render: the file.
        rate: Hz. seconds, source_seconds: length of the render and of its source. source_rate: Hz, of the source.
    """

    medium: Medium
    render: Path
    rate: int
    channels: int
    seconds: float
    source_rate: int
    source_seconds: float


@dataclass
class SessionChange:
    """What was done to a session.

    Attributes:
        replaced: number of references that are another's now, by reference of the medium.
        notes: what else a user has to know.
    """

    replaced: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """Where the changed session goes.

    Attributes:
        out: the file. folder: beside it, for renders. tracks: names of those that are meant; empty for all.
        overwrite: whether a file that has the name may be replaced.
    """

    out: Path
    folder: Path
    tracks: frozenset[str] = frozenset()
    way: Way = "replace"
    overwrite: bool = False


class SessionFile(Protocol):
    """A session as it was read.

    Attributes:
        kind: of session, in words. ways: what can be done to it.
        notes: what a user has to know of it.
    """

    path: Path
    kind: str
    ways: tuple[Way, ...]
    notes: list[str]

    @property
    def tracks(self) -> Sequence[str]:
        """Names of its tracks, in order."""
        ...

    def media(self) -> Sequence[Medium]:
        """Everything that it plays or refers to, in order."""
        ...

    def fetch(self, medium: Medium, folder: Path) -> Path:
        """A file with the medium's content: where it lies, or taken out of the archive into a folder.

        Raises InputError for what cannot be read.
        """
        ...

    def write(self, target: Target, renders: Sequence[Replacement]) -> SessionChange:
        """Write the session with renders in it, whole or not at all.

        Raises OutputError where that cannot be done, InputError for a damaged archive.
        """
        ...


def chosen(session: SessionFile, names: Sequence[str]) -> frozenset[str]:
    """Tracks by the names that a user gave, each a text of one or, with commas, of several.

    Raises OptionError for a name that no track has, with the nearest.
    """
    known = list(dict.fromkeys(session.tracks))
    folded = {each.casefold(): each for each in reversed(known)}
    names = [
        part.strip() for name in names for part in ([name] if name.casefold() in folded else name.split(","))
    ]  # fmt: skip
    for name in names:
        if name not in known and name.casefold() not in folded:
            listed = ", ".join(map(repr, known)) or "none"
            raise OptionError(f"--tracks {name!r}: no track of that name; there are: {listed}{nearest(name, known)}")
    return frozenset(name if name in known else folded[name.casefold()] for name in names)


def of_tracks(medium: Medium, tracks: frozenset[str]) -> bool:
    """Whether a medium is played on one of some tracks, or on any where none is named."""
    return not tracks or bool(tracks & set(medium.tracks))
