"""Texts of tags that count samples, or that say something of the source's level and encoding.

Names are compared in capitals without marks between their words: Loop_Start, LOOP-START and LOOPSTART are one.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ttsr_studio.audio.container.contents import Contents
from ttsr_studio.audio.metadata.conversion import Change

_MARKS = re.compile(r"[\W_]+")
_LOOP = re.compile(r"(.*)LOOP(START|BEGIN|POINT|END|STOP|LENGTH|LEN|OFFSET|POINTSTART|POINTEND)(?:SAMPLES?)?")
_EDGE = {"END": "end", "STOP": "end", "POINTEND": "end", "LENGTH": "length", "LEN": "length"}
_POSITION = re.compile(
    r".*SAMPLES?(?:OFFSET|START|END|STOP|POSITION|POS|LENGTH|COUNT)S?"
    r"|.*(?:OFFSET|START|END|STOP|POSITION|POS|LENGTH|PREGAP|MARKER\d*)(?:IN)?SAMPLES?"
    r"|(?:BWF)?TIMEREFERENCE|(?:TOTAL|NUM)SAMPLES"
)
_HARMLESS = re.compile(r".*LOOP(?:S|COUNT|MODE|TYPE|ED|ING|FLAG|MS|TIME|SECONDS)|.*(?:MS|SECONDS|TIME)")
_MAYBE = re.compile(r".*(?:LOOP|SAMPLEPOS|MARKERS?\d*$|CUEPOINTS?\d*$|REGIONS?\d*$).*")
_RATE = re.compile(r"(?!ORIG|SOURCE).*(?:SAMPLE|SAMPLING)(?:RATE|FREQUENCY)")
_BITS = re.compile(r"(?!ORIG|SOURCE).*(?:BITDEPTH|BITSPERSAMPLE)")
_NUMBERS = re.compile(r"\d+(?:[\s,;|/]+\d+)*")
_TIME = re.compile(r"(?:\d+:)*\d+(?:\.\d+)?\s*(?:ms|s)?")
_INSIDE = re.compile(r"(LOOP[_ -]?(?:START|BEGIN|END|STOP|LENGTH|LEN)\s*[=:]\s*)(\d+)\b(?![.:])", re.IGNORECASE)
_CUE_INDEX = re.compile(r"(?m)^(\s*INDEX\s+\d+\s+)(\d+)(\s*)$", re.IGNORECASE)
_CUE_REMARK = re.compile(r"(?m)^\s*REM\s+(?:REPLAYGAIN_|R128_|CRC|ACCURATERIP|MD5)[^\n]*\n?", re.IGNORECASE)

_LEVEL = "it is the source's level"
_STALE = {
    r"REPLAYGAIN\w*PEAK|R128\w*PEAK|ITUNNORM": "it holds the source's peak",
    r"MP3GAIN\w*": "it is about the source's frames",
    r"ITUNSMPB": "it is the delay of the source's encoder",
    r"MD5(?:SUM|AUDIO)?|AUDIOMD5|\w*CRC(?:32)?|ACCURATERIP\w*|CTDB\w*|SHA\d+": "it is a checksum of the source's audio",
    r"ENCODER\w*|ENCODINGTOOL|ENCODING|ENCODERSETTINGS|TOOL|TSSE": "it is the source's encoder",
    r"(?:NOMINAL)?BITRATE|BPS|NUMBEROF(?:FRAMES|BYTES)|STATISTICS\w*|TSIZ|FILESIZE": "it is about the source's bytes",
}  # fmt: skip
_STALE_WITH_LEVEL = re.compile(r"REPLAYGAIN(?!REFERENCE)\w*|R128\w*")


@dataclass(frozen=True)
class Loop:
    """A loop in samples, from `start` on and for so many; where its tags have no end, up to the end of the file."""

    start: int
    length: int


def plain(name: str) -> str:
    """A tag's name as names are compared."""
    return _MARKS.sub("", name).upper()


def stale(name: str, change: Change) -> str | None:
    """Why a tag is not true of the render; None where it is."""
    found = next((why for names, why in _STALE.items() if re.fullmatch(names, plain(name))), None)
    level = not change.level_kept and _STALE_WITH_LEVEL.fullmatch(plain(name))
    return found or (_LEVEL if level else None)


def fitted_texts(tags: Sequence[tuple[str, str]], change: Change, contents: Contents) -> list[str | None]:
    """The texts of (name, text) as they hold for the render, None for one that is left out, which is noted."""
    out: list[str | None] = []
    loops = _fitted_loops(tags, change)
    for place, (name, text) in enumerate(tags):
        if why := stale(name, change):
            contents.left_out[name] = why
            out.append(None)
            continue
        out.append(loops.get(place) or _fitted(name, text, change, contents))
    return out


def _fitted(name: str, text: str, change: Change, contents: Contents) -> str:
    key, stripped = plain(name), text.strip()
    if key == "CUESHEET":
        text = _CUE_REMARK.sub("", text)
    if _BITS.fullmatch(key) and change.converted and stripped.isdecimal():
        return str(change.bits)
    if change.rate == change.old_rate:
        return text
    if key == "CUESHEET":  # mm:ss:ff are times; metaflac also takes samples
        return _CUE_INDEX.sub(lambda m: f"{m[1]}{change.scaled(int(m[2]), 64)}{m[3]}", text)
    if _RATE.fullmatch(key):
        return str(change.rate) if stripped == str(change.old_rate) else text
    counts = (_POSITION.fullmatch(key) or _LOOP.fullmatch(key)) and not _HARMLESS.fullmatch(key)
    if counts and _NUMBERS.fullmatch(stripped):
        return re.sub(r"\d+", lambda m: str(_moved(int(m[0]), change)), text)
    chapter = re.fullmatch(r"CHAPTER\d+", key)
    suspect = counts or chapter or (_MAYBE.fullmatch(key) and not _HARMLESS.fullmatch(key))
    if suspect and re.search(r"\d\D+\d|\d{3}", text) and not (_is_time(stripped, change) and not stripped.isdecimal()):
        contents.warnings.append(f"{name}: carried as it is: positions in it are not understood ({stripped[:40]})")
    return _INSIDE.sub(lambda m: m[1] + str(_moved(int(m[2]), change)), text)


def _is_time(text: str, change: Change) -> bool:
    """Whether a text is a time that lies within the source."""
    if not _TIME.fullmatch(text):
        return False
    seconds = 0.0
    for part in re.sub(r"\s*m?s$", "", text).split(":"):
        seconds = 60 * seconds + float(part)
    seconds *= 0.001 if text.endswith("ms") else 1.0
    return seconds <= change.old_frames / change.old_rate + 1


def _moved(samples: int, change: Change) -> int:
    """A position, with the end of the file staying its end."""
    ends = {change.old_frames: change.frames, change.old_frames - 1: change.frames - 1}
    return ends.get(samples, change.scaled(samples, 64))


def _loop_edges(tags: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, int, int]]:
    """(what stands before the name, which edge, samples, place) of tags that give loops in samples."""
    for place, (name, text) in enumerate(tags):
        match = _LOOP.fullmatch(plain(name))
        if match and text.strip().isdecimal() and len(text.strip()) < 19:
            yield match[1], _EDGE.get(match[2], "start"), int(text), place


def _fitted_loops(tags: Sequence[tuple[str, str]], change: Change) -> dict[int, str]:
    """Texts of loops by place, so that start, length and end still agree with each other."""
    if change.rate == change.old_rate:
        return {}
    edges = list(_loop_edges(tags))
    out: dict[int, str] = {}
    for group in dict.fromkeys(prefix for prefix, *_ in edges):
        had = {edge: samples for prefix, edge, samples, _ in edges if prefix == group}
        start, length = had.get("start", 0), had.get("length")
        new = {"start": _moved(start, change), "end": _moved(had.get("end", 0), change)}
        if length is not None:
            new["length"] = max(min(length, 1), change.scaled(length, 64))
            if start + length <= change.old_frames:
                new["length"] = min(new["length"], change.frames - new["start"])
            after = had.get("end", -1) - start - length
            if after in (0, -1):
                new["end"] = new["start"] + new["length"] + after
        out |= {place: str(new[edge]) for prefix, edge, _, place in edges if prefix == group}
    return out


def tag_loops(tags: Iterable[tuple[str, str]], frames: int) -> dict[str, Loop]:
    """Loops that tags give in samples, by what stands before their names, of a file of so many samples."""
    had: dict[str, dict[str, int]] = {}
    for prefix, edge, samples, _ in _loop_edges(tags):
        had.setdefault(prefix, {}).setdefault(edge, samples)
    loops = {
        prefix: Loop(
            edges.get("start", 0), edges.get("length", min(edges.get("end", frames), frames) - edges.get("start", 0))
        )
        for prefix, edges in had.items()
    }
    return {prefix: loop for prefix, loop in loops.items() if loop.length > 0}


def chapters(tags: Iterable[tuple[str, str]]) -> list[tuple[float, str]]:
    """(seconds, name) of CHAPTERxxx and CHAPTERxxxNAME."""
    texts = {plain(name): text.strip() for name, text in tags}
    found = []
    for name, text in texts.items():
        match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", text)
        if match and re.fullmatch(r"CHAPTER\d+", name):
            seconds = 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])
            found.append((seconds, texts.get(f"{name}NAME", "")))
    return sorted(found)
