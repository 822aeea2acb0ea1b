"""OpenTimelineIO's own files (.otio): JSON in which clips name their media.

The format: https://opentimelineio.readthedocs.io, schema `Clip.1` and `Clip.2`.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ttsr_studio.errors import InputError, shown
from ttsr_studio.sessions.json_text import JsonText, Node
from ttsr_studio.sessions.media import Replacement, Use, Way
from ttsr_studio.sessions.text_session import Reference, TextSession, read_text
from ttsr_studio.sessions.xml_text import Edit

SCHEMA, EXTERNAL = "OTIO_SCHEMA", "ExternalReference."
IN_TIME = ("LinearTimeWarp.", "FreezeFrame.", "TimeEffect.")
OWN_KEY = "TTSR"


class OtioFile(TextSession):
    """A timeline, or a collection of them. Raises InputError where it is none."""

    kind = "OpenTimelineIO"
    ways: tuple[Way, ...] = ("replace", "alternatives")

    def __init__(self, path: Path) -> None:
        self.document = JsonText(read_text(path), shown(path))
        if not isinstance(self.document.root.get(SCHEMA), str):
            raise InputError(f"{shown(path)}: JSON, but no OpenTimelineIO session; save it anew")
        tracks = [each for each in self.document.root.walk() if is_a(each, "Track.")]
        self.track_names = {id(each): name_of_track(each, number) for number, each in enumerate(tracks, 1)}
        super().__init__(path, list(self.track_names.values()))
        self.references = list(self._references())

    def _references(self) -> Iterator[Reference]:
        for each in self.document.root.walk():
            if is_a(each, EXTERNAL) and isinstance(each.get("target_url"), str):
                clip = next((above for above in each.above() if is_a(above, "Clip.")), None)
                if clip is None or not is_active(each, clip):
                    continue
                beside = partial(self._alternative, each, clip) if "media_references" in clip.members else None
                yield Reference(each.get("target_url"), (self._use(each, clip),), partial(self._renamed, each), beside)

    def _use(self, media: Node, clip: Node) -> Use:
        track = next((self.track_names[id(above)] for above in clip.above() if id(above) in self.track_names), "")
        name, played = str(clip.get("name") or ""), span_of(clip.members.get("source_range"))
        at = place_on_track(clip)
        effects = clip.members["effects"].items if "effects" in clip.members else []
        if played is None or any(is_a(each, schema) for each in effects for schema in IN_TIME):
            return Use(track, name, at)
        there = span_of(media.members.get("available_range"))
        start = max(0.0, played[0] - (there[0] if there else 0.0))
        return Use(track, name, at, start, start + played[1])

    def _renamed(self, media: Node, name: str, _render: Replacement | None) -> list[Edit]:
        return [self._edit(media.members["target_url"], name)]

    def _edit(self, node: Node, text: str) -> Edit:
        return node.start, node.end, json.dumps(text, ensure_ascii=False).encode()

    def _alternative(self, media: Node, clip: Node, name: str, _render: Replacement | None) -> list[Edit]:
        """Another media reference of a clip, which is not the active one."""
        known, number, key = clip.members["media_references"], 2, OWN_KEY
        while key in known.members:
            key, number = f"{OWN_KEY} {number}", number + 1
        url = media.members["target_url"]
        text = self.document.text
        copied = text[media.start : url.start] + json.dumps(name, ensure_ascii=False) + text[url.end : media.end]
        before = text[: media.start].rstrip()
        key_at = text.rindex('"', 0, text.rindex('"', 0, len(before) - 1))
        blanks = text[len(text[:key_at].rstrip()) : key_at]
        return [(media.end, media.end, f",{blanks}{json.dumps(key)}: {copied}".encode())]

    def finish(self, edits: list[Edit]) -> bytes:
        """The text with edits, which count characters here."""
        parts, at = list[str](), 0
        for start, end, text in sorted(edits, key=lambda edit: edit[:2]):
            parts += [self.document.text[at:start], text.decode()]
            at = end
        return "".join([*parts, self.document.text[at:]]).encode()


def is_a(node: Node, schema: str) -> bool:
    """Whether a value is of a schema, of any version."""
    return str(node.get(SCHEMA) or "").startswith(schema)


def is_active(media: Node, clip: Node) -> bool:
    """Whether a clip plays this one of its media."""
    many = clip.members.get("media_references")
    return many is None or many.members.get(str(clip.get("active_media_reference_key"))) is media


def name_of_track(track: Node, number: int) -> str:
    """A track's name, or its kind and its place."""
    return str(track.get("name") or f"{track.get('kind') or 'Track'} {number}")


def in_seconds(node: Node | None) -> float | None:
    """A `RationalTime` in seconds."""
    if node is None:
        return None
    value, rate = node.get("value"), node.get("rate")
    numbers = isinstance(value, int | float) and isinstance(rate, int | float) and rate > 0
    return value / rate if numbers else None


def span_of(node: Node | None) -> tuple[float, float] | None:
    """Start and duration of a `TimeRange`, in seconds; None where there is none."""
    if node is None:
        return None
    start, length = in_seconds(node.members.get("start_time")), in_seconds(node.members.get("duration"))
    return None if start is None or length is None else (start, length)


def place_on_track(clip: Node) -> str:
    """Where on its track a clip begins, in words."""
    beside = clip.parent.items if clip.parent else []
    before = beside[: beside.index(clip)] if clip in beside else []
    spans = [span_of(each.members.get("source_range")) for each in before if not is_a(each, "Transition.")]
    if any(each is None for each in spans):
        return f"item {len(before) + 1}"
    return f"{sum(each[1] for each in spans if each):.3f} s"
