"""ID3v2.2 to 2.4, in a chunk of a WAV or AIFF or before an MP3: frames that count bytes, samples or the level.

Source: id3.org, ID3v2.2.0, ID3v2.3.0 and ID3v2.4.0; ID3v2 Chapter Frame Addendum (times in ms, offsets in bytes).
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ttsr_studio.audio.container.contents import Contents
from ttsr_studio.audio.metadata.conversion import Change
from ttsr_studio.audio.metadata.tags import fitted_texts

_HEADER = 10
_UNSYNC_OR_EXTENDED = 0xC0
_ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")
_STALE = {
    **dict.fromkeys(("MLLT", "ASPI", "SEEK", "TSIZ"), "it is about the source's bytes"),
    **dict.fromkeys(("RVA2", "RVAD", "RGAD", "XRVA"), "it holds the source's level and peak"),
    "TSSE": "it is the source's encoder",
}  # fmt: skip
_STAMPED = {"ETCO": 0, "SYTC": 0, "POSS": 0, "SYLT": 4}  # where the format of their times is; 1: MPEG frames
_OLD = {
    "TXX": "TXXX", "COM": "COMM", "RVA": "RVAD", "TSS": "TSSE", "MLL": "MLLT", "ETC": "ETCO", "STC": "SYTC",
    "SLT": "SYLT", "POS": "POSS", "TSI": "TSIZ",
}  # fmt: skip
"""Frames of version 2.2 whose content is that of later ones."""
_NO_OFFSET = b"\xff" * 8


@dataclass(frozen=True)
class Frame:
    """A frame of a tag: its name, its flags, and its content."""

    name: str
    flags: bytes
    data: bytes

    @property
    def plain(self) -> bool:
        """Whether its content is neither compressed nor encrypted."""
        return not self.flags[1]


def frames(tag: bytes) -> tuple[list[Frame], int]:
    """(frames, bytes that they and the header take). Raises ValueError for what is not understood."""
    if len(tag) < _HEADER or tag[:3] != b"ID3":
        raise ValueError("it is no ID3 tag")
    version, flags = tag[3], tag[5]
    if version not in (2, 3, 4) or flags & _UNSYNC_OR_EXTENDED:
        raise ValueError(f"an ID3 tag of version 2.{version} that is laid out in a way not known here")
    end, at, found = min(len(tag), _HEADER + _syncsafe(tag[6:10])), _HEADER, []
    wide = 3 if version == 2 else 4
    header = 2 * wide if version == 2 else _HEADER
    while at + header <= end and tag[at]:
        name, size = tag[at : at + wide].decode("latin-1"), tag[at + wide : at + 2 * wide]
        length = _syncsafe(size) if version == 4 else int.from_bytes(size, "big")
        if at + header + length > end:
            raise ValueError(f"its frame {name} is longer than it")
        kind = tag[at + 8 : at + 10] if version > 2 else bytes(2)
        found.append(Frame(_OLD.get(name, name), kind, tag[at + header : at + header + length]))
        at += header + length
    return found, at


def fit_id3(tag: bytes, change: Change, contents: Contents) -> bytes:
    """A tag as it holds for the render. Raises ValueError for one that is not understood, at a new rate."""
    try:
        held, used = frames(tag)
    except ValueError:
        if change.rate == change.old_rate:
            return tag
        raise
    kept = [frame for frame in held if not _left_out(frame, contents)]
    kept = list(_with_texts(kept, change, contents))
    kept = [_chapter(frame) if frame.name == "CHAP" and frame.plain else frame for frame in kept]
    odd = [f.name for f in kept if f.name in _STAMPED and f.data[_STAMPED[f.name] :][:1] == b"\1"]
    contents.warnings += [f"id3 {name}: carried as it is: its times are in MPEG frames of the source" for name in odd]
    if kept == held:
        return tag
    body = b"".join(_frame(frame, tag[3]) for frame in kept) + bytes(len(tag) - used)
    return tag[:6] + _to_syncsafe(len(body)) + body


def _left_out(frame: Frame, contents: Contents) -> bool:
    why = _STALE.get(frame.name)
    if why:
        contents.left_out[f"id3 {frame.name}"] = why
    return bool(why)


def own_texts(held: list[Frame]) -> list[tuple[str, str]]:
    """(name, text) of frames that bear a name of the user's (TXXX, and COMM with one)."""
    return [(name, text) for frame in held if (parts := _named_text(frame)) for name, text in [parts[2:]]]


def chapter_tags(held: list[Frame]) -> list[tuple[str, str]]:
    """CHAPTERxxx and CHAPTERxxxNAME of the chapters, by time."""
    return numbered(sorted(_chapters(held)))


def numbered(chapters: Sequence[tuple[int, str]]) -> list[tuple[str, str]]:
    """CHAPTERxxx and CHAPTERxxxNAME of chapters: (start in ms, title)."""
    out: list[tuple[str, str]] = []
    for number, (start, name) in enumerate(chapters, 1):
        rest, ms = divmod(start, 1000)
        time = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}.{ms:03}"
        out += [(f"CHAPTER{number:03}", time), *([(f"CHAPTER{number:03}NAME", name)] if name else [])]
    return out


def _chapters(held: list[Frame]) -> Iterator[tuple[int, str]]:
    """(start in ms, title) of every chapter."""
    for frame in held:
        if frame.name != "CHAP" or not frame.plain:
            continue
        rest = frame.data.partition(b"\0")[2]
        if len(rest) < 16:
            continue
        sub, title = rest[16:], ""
        while len(sub) > _HEADER:
            size = int.from_bytes(sub[4:8], "big")
            body, sub = (sub[:4], sub[_HEADER : _HEADER + size]), sub[_HEADER + size :]
            if body[0] == b"TIT2" and body[1]:
                title = _decoded(body[1][1:], body[1][0])
        yield struct.unpack(">I", rest[:4])[0], title


def _chapter(frame: Frame) -> Frame:
    """A chapter whose bytes are not given, so that its times count."""
    name, _, rest = frame.data.partition(b"\0")
    return replace(frame, data=name + b"\0" + rest[:8] + _NO_OFFSET + rest[16:]) if len(rest) >= 16 else frame


def _named_text(frame: Frame) -> tuple[bytes, int, str, str] | None:
    """(what stands before the name, encoding, name, text) of TXXX and COMM; None for others."""
    lead = {"TXXX": 1, "COMM": 4}.get(frame.name)
    if lead is None or not frame.plain or len(frame.data) <= lead or frame.data[0] >= len(_ENCODINGS):
        return None
    encoding = frame.data[0]
    name, text = _split(frame.data[lead:], encoding)
    return (frame.data[:lead], encoding, _decoded(name, encoding), _decoded(text, encoding)) if name else None


def _split(data: bytes, encoding: int) -> tuple[bytes, bytes]:
    if encoding not in (1, 2):
        name, _, text = data.partition(b"\0")
        return name, text
    at = next((i for i in range(0, len(data) - 1, 2) if data[i : i + 2] == b"\0\0"), len(data))
    return data[:at], data[at + 2 :]


def _decoded(data: bytes, encoding: int) -> str:
    kind = _ENCODINGS[encoding] if encoding < len(_ENCODINGS) else "latin-1"
    return data.decode(kind, "replace").rstrip("\0")


def _with_texts(held: list[Frame], change: Change, contents: Contents) -> Iterator[Frame]:
    """The frames with named texts that hold for the render."""
    named = {place: parts for place, frame in enumerate(held) if (parts := _named_text(frame))}
    new = dict(zip(named, fitted_texts([parts[2:] for parts in named.values()], change, contents), strict=True))
    for place, frame in enumerate(held):
        if place not in named or new[place] == named[place][3]:
            yield frame
            continue
        lead, encoding, name, _ = named[place]
        text = new[place]
        if text is not None:
            kind, end = _ENCODINGS[encoding], bytes(2 if encoding in (1, 2) else 1)
            yield replace(frame, data=lead + name.encode(kind) + end + text.encode(kind, "replace"))


def _frame(frame: Frame, version: int) -> bytes:
    if version == 2:
        name = next((old for old, new in _OLD.items() if new == frame.name), frame.name)
        return name.encode("latin-1") + len(frame.data).to_bytes(3, "big") + frame.data
    size = _to_syncsafe(len(frame.data)) if version == 4 else len(frame.data).to_bytes(4, "big")
    return frame.name.encode("latin-1") + size + frame.flags + frame.data


def _syncsafe(size: bytes) -> int:
    return sum((byte & 127) << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))


def _to_syncsafe(size: int) -> bytes:
    return bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
