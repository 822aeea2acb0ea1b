"""DAWproject (Bitwig Studio, Cubase, Studio One): an archive with `project.xml` in it.

The format: https://github.com/bitwig/dawproject, version 1.0.
"""

import os
import posixpath
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ttsr_studio.errors import InputError, OutputError, shown
from ttsr_studio.sessions.archive import Archive, leads_out
from ttsr_studio.sessions.dawproject_copy import muted_copies
from ttsr_studio.sessions.dawproject_time import EVERYTHING_PLAYED, PlayedParts, numeric
from ttsr_studio.sessions.media import Medium, Replacement, SessionChange, Target, Use, Way
from ttsr_studio.sessions.places import found_file, name_of, path_said, written_like
from ttsr_studio.sessions.schema import differences
from ttsr_studio.sessions.writing import write_session
from ttsr_studio.sessions.xml_text import Edit, Element, XmlText, attribute_change
from ttsr_studio.storage.atomic import fit_name

PROJECT = "project.xml"
KNOWN_VERSION = "1.0"
SAME_LENGTH_S = 0.01


class DawProject:
    """A DAWproject file. Raises InputError where it is none."""

    kind = "DAWproject"
    ways: tuple[Way, ...] = ("replace", "alternatives")

    def __init__(self, path: Path) -> None:
        self.path, self.folder, self.notes = path, path.parent, list[str]()
        self.archive = Archive(path)
        self.document = XmlText(self.archive.text(PROJECT), f"{shown(path)}: {PROJECT}")
        root = self.document.root
        if root.tag != "Project":
            raise InputError(f"{shown(path)}: {PROJECT} holds a <{root.tag}>, no project; export it again")
        self._look_at_version(root.get("version"))
        self.invalid = differences(self.document.data, "Project")
        self.notes += [self.invalid.note] if self.invalid.note else []
        self.names = {
            each.get("id"): each.get("name") or each.get("id")
            for each in root.walk()
            if each.tag in ("Track", "Channel") and each.get("id")
        }
        self._collect()

    @property
    def tracks(self) -> Sequence[str]:
        """Names of its tracks, in order."""
        structure = self.document.root.first("Structure")
        return (
            [self.names[each.get("id")] for each in structure.walk() if each.tag == "Track" and each.get("id")]
            if (structure)
            else []
        )

    def _look_at_version(self, version: str) -> None:
        major = version.split(".")[0]
        if major.isdigit() and int(major) > int(KNOWN_VERSION.split(".")[0]):
            raise InputError(
                f"{shown(self.path)}: DAWproject {version}, newer than {KNOWN_VERSION}, which this knows; "
                "export it as an earlier version, or update ttsr"
            )
        if version != KNOWN_VERSION:
            self.notes.append(f"DAWproject {version or 'without a version'}: this knows {KNOWN_VERSION}; look it over")

    def _collect(self) -> None:
        """Sort the places that play audio by the file that they play."""
        self.audio = [each for each in self.document.root.walk() if each.tag == "Audio" and each.first("File")]
        parts = PlayedParts(self.document)
        media: dict[object, Medium] = {}
        self.key_of = {id(each): self._key(each) for each in self.audio}
        for each in self.audio:
            key = self.key_of[id(each)]
            known = media.get(key) or self._medium(each)
            windows = dict.fromkeys(parts.of_audio.get(id(each), [EVERYTHING_PLAYED]))
            media[key] = replace(known, uses=(*known.uses, *(self._use(each, *window) for window in windows)))
        self.by_key = media
        videos = {file_of(each).get("path") for each in self.document.root.walk() if each.tag == "Video"}
        self.others = [
            Medium(name, name_of(name), None, aside="of a video; only audio clips are rendered")
            for name in sorted(videos)
        ]

    def _key(self, audio: Element) -> object:
        """Equal for places that play one file."""
        file = file_of(audio)
        said = file.get("path")
        if is_external(file):
            return found_file(said, self.folder)[0] or said
        try:
            return ("entry", self.archive.find(said) or said)
        except InputError:
            return ("entry", said)

    def _medium(self, audio: Element) -> Medium:
        file = file_of(audio)
        said = file.get("path")
        if is_external(file):
            path, trouble, note = found_file(said, self.folder)
            return Medium(said, name_of(said), path, None, (), trouble, note)
        try:
            entry = self.archive.find(said)
            trouble = "" if entry else "is not in the archive"
        except InputError as error:
            entry, trouble = None, str(error)
        if entry is None and leads_out(said):
            trouble = "leads out of the archive; mark it as external, or export again with the audio in it"
        return Medium(said, name_of(said), None, entry, (), trouble)

    def _use(self, audio: Element, start: float, stop: float) -> Use:
        clips = [each for each in audio.above() if each.tag == "Clip"]
        top = clips[-1] if clips else None
        name = next((each.get("name") for each in clips if each.get("name")), "")
        unit = next((each.get("timeUnit") for each in (top.above() if top else ()) if each.get("timeUnit")), "beats")
        at = f"{top.get('time')} {unit}" if top else ""
        return Use(self._track(audio), name, at, start, None if stop == float("inf") else stop)

    def _track(self, audio: Element) -> str:
        owner = next((each.get("track") for each in audio.above() if each.get("track")), "")
        return self.names.get(owner, owner)

    def media(self) -> Sequence[Medium]:
        """Everything that it plays or refers to, in order."""
        return [*self.by_key.values(), *self.others]

    def fetch(self, medium: Medium, folder: Path) -> Path:
        """A file with the medium's content: where it lies, or taken out of the archive into a folder."""
        if medium.entry is None:
            if medium.path is None:
                raise InputError(f"{medium.reference}: {medium.trouble}")
            return medium.path
        path = folder / fit_name(medium.name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.archive.extract(medium.entry, path)
        except OSError as error:
            raise OutputError(f"{shown(path)}: cannot be written ({error.strerror}); make room there") from error
        return path

    def write(self, target: Target, renders: Sequence[Replacement]) -> SessionChange:
        """Write the session with renders in it. Raises OutputError, and InputError for a damaged archive."""
        change = SessionChange(notes=[])
        of_key = {self.key_of_medium(each.medium): each for each in renders}
        places = self._names_of(renders, target)
        wanted = dict[int, list[Edit]]()
        for audio in self.audio:
            render = of_key.get(self.key_of[id(audio)])
            if render is None or (target.tracks and self._track(audio) not in target.tracks):
                continue
            wanted[id(audio)] = self._to_render(audio, render, places[id(render)])
            change.replaced[render.medium.reference] = change.replaced.get(render.medium.reference, 0) + 1
        if target.way == "replace":
            self.document.changes += [each for changes in wanted.values() for each in changes]
        else:
            change.notes += muted_copies(self.document, wanted)
        change.notes += self._rebase(target, wanted)
        content = self.document.content()
        self._refuse_invalid(content)
        added = {places[id(each)]: each.render for each in renders if each.medium.entry is not None}
        like = next((each.medium.entry for each in renders if each.medium.entry), PROJECT)
        write_session(
            target.out,
            target.overwrite,
            lambda temporary: self.archive.write_with(temporary, {PROJECT: content}, added, like),
        )
        return change

    def key_of_medium(self, medium: Medium) -> object:
        """The key of a medium of this session."""
        return next(key for key, known in self.by_key.items() if known == medium)

    def _names_of(self, renders: Sequence[Replacement], target: Target) -> dict[int, str]:
        """What renders are called in the session: entries beside the old ones, files in the way of the old ones."""
        taken, names = {each.casefold() for each in self.archive.named}, dict[int, str]()
        for each in renders:
            if each.medium.entry is None:
                names[id(each)] = written_like(each.medium.reference, each.render, target.out.parent)
                continue
            name = str(PurePosixPath(each.medium.entry).with_name(each.render.name))
            stem, ending = posixpath.splitext(name)
            number_of = 2
            while name.casefold() in taken:
                name, number_of = f"{stem}_{number_of}{ending}", number_of + 1
            taken.add(name.casefold())
            names[id(each)] = name
        return names

    def _to_render(self, audio: Element, render: Replacement, name: str) -> list[Edit]:
        """What changes where a place plays a render: path, rate, and a length that was the file's."""
        data, changes = self.document.data, [attribute_change(self.document.data, file_of(audio), "path", name)]
        for attribute, value in (("sampleRate", render.rate), ("channels", render.channels)):
            if audio.get(attribute) and audio.get(attribute) != str(value):
                changes.append(attribute_change(data, audio, attribute, str(value)))
        length = numeric(audio, "duration")
        was_files = length is not None and abs(length - render.source_seconds) < SAME_LENGTH_S
        if was_files and render.rate != render.source_rate and length != render.seconds:
            changes.append(attribute_change(data, audio, "duration", repr(render.seconds)))
        return changes

    def _rebase(self, target: Target, wanted: dict[int, list[Edit]]) -> list[str]:
        """Where the session moves to another folder, let what is left of relative paths lead to the same files."""
        if os.path.abspath(target.out.parent) == os.path.abspath(self.folder):
            return []
        replaced = {id(audio.first("File")) for audio in self.audio if id(audio) in wanted}
        replaced = replaced if target.way == "replace" else set()
        notes = []
        for file in self.document.root.walk():
            said = file.get("path")
            if not is_external(file) or id(file) in replaced or not said or os.path.isabs(said):
                continue
            if path_said(said)[0] != said or leads_elsewhere(said):
                continue
            new = written_like(said, self.folder / said, target.out.parent)
            self.document.changes += self.document.new_attribute(file, "path", new)
            notes.append(f"{said}: named as {new} from the new session's folder")
        return notes

    def _refuse_invalid(self, content: bytes) -> None:
        """Raises OutputError where a project that fitted its schema would not do so any more."""
        after = differences(XmlText(content, PROJECT).data, "Project")
        if after.errors and not self.invalid.errors:
            raise OutputError(f"{shown(self.path)}: the new project would be wrong ({after.errors[0]}); not written")


def file_of(media: Element) -> Element:
    """The `File` of an `Audio` or a `Video`."""
    return media.first("File") or media


def is_external(file: Element) -> bool:
    """Whether a reference is to a file outside the archive."""
    return file.get("external").strip().lower() in ("true", "1")


def leads_elsewhere(said: str) -> bool:
    """Whether a path is no relative one of this system."""
    return (len(said) > 1 and said[1] == ":") or said.startswith("\\")
