"""What clips of a DAWproject play of their files: warps, loops, clips within clips, beats and seconds.

Where that cannot be told exactly, more is taken: the slowest tempo, the whole of a loop, the whole file.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ttsr_studio.sessions.xml_text import Element, XmlText

PlayedPart = tuple[float, float]
"""From and to, in the unit of a timeline; to may be infinite."""
EVERYTHING_PLAYED: PlayedPart = (0.0, math.inf)
TIMELINES = {"Timeline", "Lanes", "Notes", "Clips", "ClipSlot", "markers", "Warps", "Audio", "Video", "Points"}
DEEPEST = 60
"""References from clip to clip that are followed; a circle of them ends there."""


@dataclass(frozen=True)
class Span:
    """A window on a timeline of a unit, "beats" or "seconds"."""

    window: PlayedPart
    unit: str


def numeric(element: Element, name: str) -> float | None:
    """An attribute as a number; None where it is not there or none."""
    try:
        value = float(element.get(name, "nan"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


class PlayedParts:
    """Finds what is played of every file.

    Attributes:
        of_audio: by `Audio` element, by `id()`, the windows in seconds of the file.
    """

    def __init__(self, document: XmlText) -> None:
        root = document.root
        self.by_id = {each.get("id"): each for each in root.walk() if each.get("id")}
        self.tempo = tempo_range(root)
        self.of_audio: dict[int, list[PlayedPart]] = defaultdict(list)
        arrangement, scenes = root.first("Arrangement"), root.first("Scenes")
        for timeline in arrangement.children if arrangement else ():
            self._follow(timeline, Span(EVERYTHING_PLAYED, "beats"), 0)
        for scene in scenes.children if scenes else ():
            for timeline in scene.children:
                self._follow(timeline, Span(EVERYTHING_PLAYED, "beats"), 0)

    def _follow(self, timeline: Element, span: Span, depth: int) -> None:
        """Note what a window on a timeline plays; `span.unit` is that of what the timeline is in."""
        if depth > DEEPEST:
            return
        span = Span(span.window, timeline.get("timeUnit") or span.unit)
        if timeline.tag == "Audio":
            low, high = self._in(span.window[0], span.unit, "seconds", least=True), span.window[1]
            self.of_audio[id(timeline)].append((max(0.0, low), self._in(high, span.unit, "seconds")))
        elif timeline.tag == "Warps":
            unit = timeline.get("contentTimeUnit") or span.unit
            for child in timelines_in(timeline):
                self._follow(child, Span(warped(timeline, span.window), unit), depth + 1)
        elif timeline.tag in ("Clips", "ClipSlot"):
            for clip in timeline.children:
                if clip.tag == "Clip":
                    self._clip(clip, span if timeline.tag == "Clips" else Span(EVERYTHING_PLAYED, span.unit), depth)
        elif timeline.tag == "Lanes":
            for child in timeline.children:
                self._follow(child, span, depth + 1)

    def _clip(self, clip: Element, span: Span, depth: int) -> None:
        unit = clip.get("contentTimeUnit") or span.unit
        content = [*timelines_in(clip)]
        if clip.get("reference") in self.by_id:
            content.append(self.by_id[clip.get("reference")])
        for window in self._windows(clip, span, unit):
            for timeline in content:
                self._follow(timeline, Span(window, unit), depth + 1)

    def _windows(self, clip: Element, span: Span, unit: str) -> Iterator[PlayedPart]:
        """What of its content a clip plays where the window on its timeline lies."""
        time, start = numeric(clip, "time") or 0.0, numeric(clip, "playStart") or 0.0
        stop, duration = numeric(clip, "playStop"), numeric(clip, "duration")
        fade_unit = clip.get("fadeTimeUnit") or span.unit
        before, after = (
            self._in(max(0.0, -(numeric(clip, name) or 0.0)), fade_unit, span.unit)
            for name in ("fadeInTime", "fadeOutTime")
        )  # a negative fade reaches beyond the clip
        length = math.inf if duration is None else duration
        low, high = max(span.window[0] - time, -before), min(span.window[1] - time, length + after)
        if high <= low:
            return
        begin = start + self._in(low, span.unit, unit, least=low > 0)
        end = start + self._in(high, span.unit, unit)
        loop = numeric(clip, "loopStart") or 0.0, numeric(clip, "loopEnd")
        if loop[1] is not None and loop[1] > loop[0] and end > loop[1]:
            yield min(begin, loop[1]) if begin < loop[1] else loop[0], loop[1]
            yield loop[0], loop[1]
        elif duration is None and stop is not None:
            yield begin, min(end, stop)
        else:
            yield begin, end

    def _in(self, length: float, unit: str, other: str, least: bool = False) -> float:
        """A length in another unit: the longest that it may be, or the shortest."""
        if unit == other or not math.isfinite(length):
            return length
        slow, fast = self.tempo
        return length * 60 / (fast if least else slow) if unit == "beats" else length * (slow if least else fast) / 60


def timelines_in(element: Element) -> list[Element]:
    return [child for child in element.children if child.tag in TIMELINES]


def warped(warps: Element, window: PlayedPart) -> PlayedPart:
    """A window in the time of the content; beyond its first and last point a warp goes on as it was."""
    points = sorted(
        (time, content)
        for each in warps.children
        if each.tag == "Warp" and (time := numeric(each, "time")) is not None
        if (content := numeric(each, "contentTime")) is not None
    )
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(points) if b[0] > a[0]]
    if len(points) < 2 or len(slopes) != len(points) - 1:
        return EVERYTHING_PLAYED

    def at(time: float) -> float:
        if math.isinf(time):
            return time
        index = min(max(bisect_right(points, (time, math.inf)) - 1, 0), len(slopes) - 1)
        return points[index][1] + (time - points[index][0]) * slopes[index]

    inside = [content for time, content in points if window[0] < time < window[1]]
    ends = [at(window[0]), at(window[1]), *inside]
    return min(ends), max(ends)


def tempo_range(root: Element) -> tuple[float, float]:
    """The slowest and the fastest tempo of a project, in beats a minute; 120 where it has none."""
    found = list[float]()
    for each in root.walk():
        if each.tag == "Tempo":
            found.append(numeric(each, "value") or 0.0)
        elif each.tag == "TempoAutomation":
            found += [numeric(point, "value") or 0.0 for point in each.children if point.tag == "RealPoint"]
    found = [value for value in found if value > 0]
    return (min(found), max(found)) if found else (120.0, 120.0)
