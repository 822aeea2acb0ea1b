"""What sessions that are texts share: files are named in them, and the names are changed where they stand."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ttsr_studio.audio.formats import SOUNDING
from ttsr_studio.errors import InputError, shown
from ttsr_studio.sessions.media import Medium, Replacement, SessionChange, Target, Use, Way
from ttsr_studio.sessions.places import found_file, name_of, path_said, written_like
from ttsr_studio.sessions.writing import write_session
from ttsr_studio.sessions.xml_text import Edit

Edits = Callable[[str, Replacement | None], list[Edit]]
"""What changes where another file is named: by its new name, and the render that it is, None for the same file."""


UNUSED = "is played nowhere"


@dataclass(frozen=True, eq=False)
class Reference:
    """A place that names a file.

    Attributes:
        said: as it stands there. uses: where the session plays it.
        edits: how another name is put there. beside: how it is added as an alternative; None where that cannot be.
        trouble, aside: as of `Medium`.
    """

    said: str
    uses: tuple[Use, ...]
    edits: Edits
    beside: Edits | None = None
    trouble: str = ""
    aside: str = ""


class TextSession(ABC):
    """A session that is one text, and its media files.

    Args:
        references: all places that name files. finish: makes the text with edits.
        folder: that relative names start from. fixed: whether they still do when the session is elsewhere.
    """

    kind = "session"
    ways: tuple[Way, ...] = ("replace",)

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self.tracks, self.notes = path, names, list[str]()
        self.folder, self.fixed = path.parent, False
        self.references: Sequence[Reference] = ()

    @abstractmethod
    def finish(self, edits: list[Edit]) -> bytes:
        """The text with edits."""

    def media(self) -> Sequence[Medium]:
        """Every file that is named, in order."""
        found = dict[object, Medium]()
        for each in self.references:
            key = self._key(each)
            known = found.get(key)
            if known is None:
                path, trouble, note = found_file(each.said, self.folder)
                known = Medium(each.said, name_of(each.said), path, None, (), trouble, "", note)
            trouble = each.trouble or known.trouble
            aside = each.aside or soundless(known.name)
            found[key] = replace(known, uses=(*known.uses, *each.uses), trouble="" if aside else trouble, aside=aside)
        return [each if each.uses or each.aside else replace(each, aside=UNUSED) for each in found.values()]

    def _key(self, reference: Reference) -> object:
        """Equal for places that name one file."""
        return found_file(reference.said, self.folder)[0] or reference.said

    def fetch(self, medium: Medium, folder: Path) -> Path:
        """The file, where it lies."""
        if medium.path is None:
            raise InputError(f"{medium.reference}: {medium.trouble}")
        return medium.path

    def write(self, target: Target, renders: Sequence[Replacement]) -> SessionChange:
        """Write the session with renders in it, whole or not at all. Raises OutputError."""
        content, change = self.changed(target, renders)
        write_session(target.out, target.overwrite, lambda temporary: store(temporary, content))
        return change

    def changed(self, target: Target, renders: Sequence[Replacement]) -> tuple[bytes, SessionChange]:
        """The session's text with renders in it, and what was done."""
        change, edits = SessionChange(), list[Edit]()
        of_file: dict[object, Replacement] = {each.medium.path: each for each in renders}
        base = self.folder if self.fixed else target.out.parent
        for each in self.references:
            render = of_file.get(self._key(each))
            if render and not each.aside and is_meant(each, target):
                name = written_like(each.said, render.render, base)
                how = each.beside if target.way == "alternatives" else each.edits
                if how is None:
                    change.notes.append(f"{each.said}: takes no alternatives where it stands; it stays as it is")
                    continue
                edits += how(name, render)
                change.replaced[render.medium.reference] = change.replaced.get(render.medium.reference, 0) + 1
                change.notes += shared(each, target)
                if target.way == "replace":
                    continue
            edits += self._rebased(each, base, change)
        return self.finish(edits), change

    def _rebased(self, reference: Reference, base: Path, change: SessionChange) -> list[Edit]:
        """What lets a relative name lead to the same file where the session is in another folder."""
        said = reference.said
        if os.path.abspath(base) == os.path.abspath(self.folder) or not is_relative(said):
            return []
        path = found_file(said, self.folder)[0] or self.folder / said
        new = written_like(said, path, base)
        change.notes.append(f"{said}: named as {new} from the new session's folder")
        return reference.edits(new, None)


def store(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def is_meant(reference: Reference, target: Target) -> bool:
    """Whether a place is on a track that is meant."""
    return not target.tracks or any(use.track in target.tracks for use in reference.uses)


def shared(reference: Reference, target: Target) -> list[str]:
    """What to say of a file that is named once for tracks that are meant and others."""
    others = sorted({use.track for use in reference.uses} - target.tracks) if target.tracks else []
    return (
        [f"{reference.said}: is named once for {', '.join(others)}, too, which now play the render"] if others else []
    )


def is_relative(said: str) -> bool:
    """Whether a reference starts from the session's folder."""
    path, _ = path_said(said)
    return path == said and bool(said) and not os.path.isabs(said) and "\\" not in said[:3] and said[1:2] != ":"


def soundless(name: str) -> str:
    """Why a file of this name is no matter of sound; empty where it may be."""
    ending = os.path.splitext(name)[1].lower()
    return "" if ending in SOUNDING or not ending else f"{ending} has no sound"


def read_text(path: Path) -> bytes:
    """A session's content. Raises InputError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot be read ({error.strerror}); check its permissions") from error
