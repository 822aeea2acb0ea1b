"""AAF (Pro Tools, Media Composer, Premiere): read only, for what it plays of which files. By pyaaf2."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ttsr_studio.errors import InputError, MissingError, OutputError, first_line, pip_install, shown
from ttsr_studio.sessions.media import Medium, Replacement, SessionChange, Target, Use, Way
from ttsr_studio.sessions.places import found_file, name_of

DEEPEST = 60
"""Mobs and groups within each other that are followed."""


class AafFile:
    """An AAF file. Raises InputError where it is none, MissingError without pyaaf2."""

    kind = "AAF"
    ways: tuple[Way, ...] = ()

    def __init__(self, path: Path) -> None:
        try:
            import aaf2
        except ImportError as error:
            raise MissingError(f"AAF needs pyaaf2: {pip_install('ttsr-studio[sessions]')}") from error
        self.path, self.folder, self.notes = path, path.parent, list[str]()
        self.found, names = dict[str, Medium](), dict[str, None]()
        try:
            with aaf2.open(str(path), "r") as file:
                for mob in list(file.content.toplevel()) or list(file.content.compositionmobs()):
                    self._composition(mob, names)
        except Exception as error:  # whatever pyaaf2 meets in a file that is broken
            raise InputError(f"{shown(path)}: cannot be read as AAF ({first_line(error)}); export it again") from error
        self.tracks: Sequence[str] = list(names)

    def _composition(self, mob: Any, names: dict[str, None]) -> None:
        for number, slot in enumerate(mob.slots, 1):
            kind = str(getattr(slot, "media_kind", ""))
            if "ound" not in kind or not hasattr(slot, "edit_rate"):
                continue
            name = slot.name or f"Track {number}"
            names[name] = None
            rate, at = float(slot.edit_rate), 0
            for part in parts_of(slot.segment):
                for clip in clips_of(part, 0):
                    self._add(clip, rate, name, at / rate)
                at += length_of(part)

    def _add(self, clip: Any, rate: float, track: str, at: float) -> None:
        source, start, title = source_of(clip, rate)
        if source is None:
            return
        reference, embedded = locator_of(source)
        reference = reference or source.name or str(source.mob_id)
        use = Use(track, title, f"{at:.3f} s", start, start + length_of(clip) / rate)
        known = self.found.get(reference)
        if known is None:
            path, trouble, note = (None, "", "") if embedded else found_file(reference, self.folder)
            entry = f"essence of {source.name or source.mob_id}" if embedded else None
            known = Medium(reference, name_of(reference), path, entry, (), trouble, "", note)
        self.found[reference] = replace(known, uses=(*known.uses, use))

    def media(self) -> Sequence[Medium]:
        """Every file that its sound is taken from, in order."""
        return list(self.found.values())

    def fetch(self, medium: Medium, folder: Path) -> Path:
        """The file, where it lies."""
        if medium.path is None:
            raise InputError(f"{medium.reference}: {medium.trouble or 'is within the AAF file'}")
        return medium.path

    def write(self, target: Target, renders: Sequence[Replacement]) -> SessionChange:
        """Not done."""
        raise OutputError(f"{shown(self.path)}: AAF is only read; pass --list")


def parts_of(segment: Any) -> Iterator[Any]:
    """What a slot plays one after the other."""
    components = getattr(segment, "components", None)
    yield from [segment] if components is None else components


def length_of(part: Any) -> int:
    """Edit units that a part takes; a transition overlaps what is beside it."""
    length = int(getattr(part, "length", 0) or 0)
    return -length if type(part).__name__ == "Transition" else length


def clips_of(part: Any, depth: int) -> Iterator[Any]:
    """The source clips of a part, in effects and groups as well."""
    if depth > DEEPEST or part is None:
        return
    kind = type(part).__name__
    if kind == "SourceClip":
        yield part
    elif kind == "Sequence":
        for each in part.components:
            yield from clips_of(each, depth + 1)
    elif kind in ("OperationGroup", "Selector", "NestedScope"):
        inside = {"OperationGroup": "segments", "NestedScope": "slots"}.get(kind)
        for each in getattr(part, inside) if inside else [part.get("Selected").value]:
            yield from clips_of(each, depth + 1)


def source_of(clip: Any, rate: float) -> tuple[Any, float, str]:
    """The file's mob that a clip leads to, where in it the clip begins in seconds, and the clip's name."""
    start, title = 0.0, ""
    for _ in range(DEEPEST):
        mob = clip.mob
        if mob is None:
            return None, start, title
        start += float(clip.start or 0) / rate
        title = title or mob.name or ""
        if type(mob).__name__ == "SourceMob":
            return mob, start, title
        slot = clip.slot
        inner = next((each for part in parts_of(slot.segment) for each in clips_of(part, 0)), None) if slot else None
        if inner is None:
            return None, start, title
        clip, rate = inner, float(slot.edit_rate)
    return None, start, title


def locator_of(mob: Any) -> tuple[str, bool]:
    """The URL of the file that a mob describes, and whether its sound is in the AAF file itself."""
    locators = getattr(mob.descriptor, "locator", None) or []
    urls = [str(each["URLString"].value) for each in locators if "URLString" in each]
    return (urls[0] if urls else ""), not urls and mob.essence is not None
