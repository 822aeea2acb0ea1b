"""REAPER's projects (.RPP): lines of words, and blocks from `<NAME` to `>`.

A take beside the others is what REAPER itself writes: https://github.com/ReaTeam/Doc/blob/master/State%20Chunk%20Definitions
"""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from ttsr_studio.errors import InputError, shown
from ttsr_studio.sessions.media import Replacement, Use, Way
from ttsr_studio.sessions.text_session import Reference, TextSession, read_text
from ttsr_studio.sessions.xml_text import Edit, changed

_WORD = re.compile(r"\"([^\"]*)\"|'([^']*)'|`([^`]*)`|(\S+)")
AUDIO = ("WAVE", "MP3", "FLAC", "VORBIS", "WAVPACK", "OPUS", "VIDEO", "AIFF")
"""Names of sources that are files with sound."""
OF_THE_TAKE = re.compile(r"\s*(NAME|TAKEVOLPAN|SOFFS|PLAYRATE|CHANMODE|SM|TKM|TAKECOLOR|RECPASS)\b")
"""Lines that belong to a take, and are copied with it."""


@dataclass(eq=False)
class ProjectBlock:
    """Lines of a project from `<` to `>`, by their numbers."""

    words: list[str]
    first: int
    parent: "ProjectBlock | None"
    last: int = 0
    children: list["ProjectBlock"] = field(default_factory=list)

    def walk(self) -> Iterator["ProjectBlock"]:
        """This block and all within it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def above(self) -> Iterator["ProjectBlock"]:
        """The blocks that this one is in, from the nearest on."""
        each = self.parent
        while each is not None:
            yield each
            each = each.parent


@dataclass(frozen=True, eq=False)
class TakeLines:
    """A take of an item: its lines, from `first` up to `stop`; whether it plays; its source."""

    first: int
    stop: int
    active: bool
    source: ProjectBlock | None


class ReaperProject(TextSession):
    """A project of REAPER. Raises InputError where it is none."""

    kind = "REAPER project"
    ways: tuple[Way, ...] = ("replace", "alternatives")

    def __init__(self, path: Path) -> None:
        self.data = read_text(path)
        self.encoding = encoding_of_project(self.data)
        self.lines = self.data.decode(self.encoding).splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line.encode(self.encoding)))
        self.root = self._read(shown(path))
        tracks = [each for each in self.root.walk() if each.words[0] == "TRACK"]
        self.track_names = {id(each): self._value(each, "NAME") or f"Track {n}" for n, each in enumerate(tracks, 1)}
        super().__init__(path, list(self.track_names.values()))
        self.references = [each for block in self.root.walk() if block.words[0] == "ITEM" for each in self._item(block)]

    def _read(self, name: str) -> ProjectBlock:
        stack, roots = list[ProjectBlock](), list[ProjectBlock]()
        for number, line in enumerate(self.lines):
            text = line.strip()
            if text.startswith("<"):
                block = ProjectBlock(words_of(text[1:]) or [""], number, stack[-1] if stack else None)
                (stack[-1].children if stack else roots).append(block)
                stack.append(block)
            elif text == ">" and stack:
                stack.pop().last = number
        if not roots or roots[0].words[0] != "REAPER_PROJECT":
            raise InputError(f"{name}: no project of REAPER; save it anew")
        if stack:
            raise InputError(f"{name}: breaks off in <{stack[-1].words[0]} of line {stack[-1].first + 1}; save it anew")
        return roots[0]

    def _own(self, block: ProjectBlock, first: int | None = None, stop: int | None = None) -> Iterator[int]:
        """Numbers of the lines of a block that are in none of its own blocks."""
        inside = {number for child in block.children for number in range(child.first, child.last + 1)}
        stop = block.last if stop is None else stop
        return (number for number in range(first or block.first + 1, stop) if number not in inside)

    def _value(self, block: ProjectBlock, key: str, first: int | None = None, stop: int | None = None) -> str:
        """The first word after a key; empty where it is not there."""
        for number in self._own(block, first, stop):
            words = words_of(self.lines[number])
            if words[:1] == [key]:
                return words[1] if len(words) > 1 else ""
        return ""

    def _takes(self, item: ProjectBlock) -> list[TakeLines]:
        """The takes of an item. The first one has no line of its own; it plays where no other does."""
        marks = [number for number in self._own(item) if words_of(self.lines[number])[:1] == ["TAKE"]]
        edges = [item.first + 1, *marks, item.last]
        selected = [mark for mark in marks if "SEL" in words_of(self.lines[mark])]
        found = []
        for first, stop in pairwise(edges):
            inside = [each for each in item.children if first <= each.first < stop and each.words[0] == "SOURCE"]
            plays = first == selected[0] if selected else first == edges[0]
            found.append(TakeLines(first, stop, plays, inside[0] if inside else None))
        return found

    def _item(self, item: ProjectBlock) -> Iterator[Reference]:
        track = next((self.track_names[id(each)] for each in item.above() if id(each) in self.track_names), "")
        for take in self._takes(item):
            for source in take.source.walk() if take.source and take.active else ():
                said = self._value(source, "FILE")
                if len(source.words) > 1 and source.words[1] in AUDIO and said:
                    use = self._use(item, take, track)
                    beside = partial(self._new_take, item, take, source)
                    yield Reference(said, (use,), partial(self._renamed, source), beside)

    def _use(self, item: ProjectBlock, take: TakeLines, track: str) -> Use:
        def value(key: str, default: float) -> float:
            said = self._value(item, key, take.first if key in ("SOFFS", "PLAYRATE") else None, take.stop)
            try:
                return float(said)
            except ValueError:
                return default

        name, at = self._value(item, "NAME", take.first, take.stop), f"{self._value(item, 'POSITION') or 0} s"
        plain = take.source is not None and len(take.source.words) > 1 and take.source.words[1] != "SECTION"
        lines = [self.lines[number] for number in self._own(item, take.first, take.stop)]
        stretched = any(words_of(line)[:1] == ["SM"] for line in lines)
        start, rate, length = value("SOFFS", 0.0), value("PLAYRATE", 1.0), value("LENGTH", 0.0)
        if not plain or stretched or start < 0 or length <= 0:
            return Use(track, name, at)
        return Use(track, name, at, start, start + length * rate)  # beyond the file's end an item begins again

    def _renamed(self, source: ProjectBlock, name: str, _render: Replacement | None) -> list[Edit]:
        for number in self._own(source):
            line = self.lines[number]
            if words_of(line)[:1] == ["FILE"]:
                found = list(_WORD.finditer(line))[1]
                start = self.starts[number] + len(line[: found.start()].encode(self.encoding))
                return [(start, start + len(found[0].encode(self.encoding)), self._encoded(in_quotes(name)))]
        return []

    def _new_take(
        self, item: ProjectBlock, take: TakeLines, source: ProjectBlock, name: str, _render: Replacement | None
    ) -> list[Edit]:
        """A take like the one that plays, with the render for its file; it is not the one that plays."""
        if take.source is None:
            return []
        indent = re.match(r"\s*", self.lines[item.first + 1])
        blank, lines = indent[0] if indent else "    ", list[bytes]()
        for number in self._own(item, take.first, take.stop):
            line, words = self.lines[number], words_of(self.lines[number])
            if words[:1] == ["VOLPAN"] and len(words) > 4:
                line = f"{blank}TAKEVOLPAN {words[2]} {words[3]} {words[4]}{ending_of(line)}"
            elif words[:1] == ["NAME"]:
                line = f"{blank}NAME {in_quotes(f'{words[1] if len(words) > 1 else name} - TTSR')}{ending_of(line)}"
            elif not OF_THE_TAKE.match(line):
                continue
            lines.append(self._encoded(line))
        start, stop = self.starts[take.source.first], self.starts[take.source.last + 1]
        moved = [(a - start, b - start, text) for a, b, text in self._renamed(source, name, None)]
        end = ending_of(self.lines[item.first])
        head = self._encoded(f"{blank}TAKE{end}")
        identity = self._encoded(f"{blank}GUID {{{str(uuid.uuid4()).upper()}}}{end}")
        text = b"".join([head, *lines, identity, changed(self.data[start:stop], moved)])
        return [(self.starts[item.last], self.starts[item.last], text)]

    def _encoded(self, text: str) -> bytes:
        return text.encode(self.encoding, "replace")

    def finish(self, edits: list[Edit]) -> bytes:
        """The text with edits."""
        return changed(self.data, edits)


def encoding_of_project(data: bytes) -> str:
    """UTF-8, as REAPER writes since version 4; else what older ones wrote on Windows."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def words_of(line: str) -> list[str]:
    """Words of a line, without their quotes."""
    return [next(part for part in found.groups() if part is not None) for found in _WORD.finditer(line)]


def in_quotes(text: str) -> str:
    """A text in the first quotes that it has none of; where it has all, the last kind is changed to single ones."""
    for mark in ('"', "'", "`"):
        if mark not in text:
            return f"{mark}{text}{mark}"
    return f"`{text.replace('`', chr(39))}`"


def ending_of(line: str) -> str:
    """How a line ends."""
    return line[len(line.rstrip("\r\n")) :]
