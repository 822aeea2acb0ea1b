"""What a file says of its audio, carried from a source to its render: where it belongs, its markers, loops and names.

Contract: times are in samples of the file they are in. At a new rate they are scaled by it and rounded, so that a
marker stays at its second; at the same rate a chunk is carried byte for byte (bext gets one line of coding history).
What cannot be understood is carried as it is or left out, always with a warning, never with an error.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from xml.parsers import expat

import numpy as np
import soundfile as sf

from ttsr_studio import __version__
from ttsr_studio.audio.files import WIDTHS, SourceInfo, opened
from ttsr_studio.audio.riff import (
    FAMILIES,
    Chunk,
    Contents,
    Insert,
    comments,
    items,
    legible,
    read_contents,
    reframed,
    unpacked,
)
from ttsr_studio.errors import InputError, shown

_EXTENSIBLE = 0xFFFE
_BEXT = 602  # bytes before the coding history
_EDITED_XML = 4 << 20  # bytes; an iXML above it is none
_LONGEST_TEXT = {"AIFF": 8000, "WAV": 1 << 20, "FLAC": 1 << 20}  # bytes: what soundfile reads; a block of FLAC
_LONGEST_BLOCK = (1 << 24) - (1 << 10)  # RFC 9639, 8.1, less room for a vendor string
_STALE = {"levl": "it draws the source's level", "MD5": "it is a checksum of the source's audio"}
_STALE_WHEN_CONVERTED = {
    "regn": "it holds Pro Tools' positions at the old rate; bext holds the new one",
    "APPLICATION aiff": "it describes an AIFF of the old rate and depth",
}
_TAGS = ("title", "copyright", "software", "artist", "comment", "date", "album", "license", "tracknumber", "genre")
# Where a container holds what soundfile calls a title, an artist and so on.
_PLACES = {
    "WAV": {
        "title": "INAM", "copyright": "ICOP", "software": "ISFT", "artist": "IART", "comment": "ICMT", "date": "ICRD",
        "album": "IPRD", "tracknumber": "ITRK", "genre": "IGNR",
    },
    "AIFF": {"title": "NAME", "copyright": "(c) ", "artist": "AUTH", "comment": "ANNO"},
    "FLAC": {tag: tag.upper() for tag in _TAGS},
}  # fmt: skip
_TAG_OF = {tag: tag for tag in _TAGS} | {name: tag for places in _PLACES.values() for tag, name in places.items()}


@dataclass(frozen=True)
class Found:
    """A source's metadata. ``tags`` are what soundfile tells of a container that is not read here, e.g. MP3."""

    info: SourceInfo
    contents: Contents
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """What a render made of its source.

    Attributes:
        container, subtype: of the output.
        old_rate, rate: Hz.
        old_frames, frames: samples per channel.
        level_kept: the loudness is the source's within 0.1 LU.
    """

    container: str
    old_subtype: str
    subtype: str
    old_rate: int
    rate: int
    old_frames: int
    frames: int
    channels: int
    level_kept: bool = True

    @property
    def bits(self) -> int:
        return 8 * WIDTHS[self.subtype]

    @property
    def converted(self) -> bool:
        return (self.rate, self.subtype) != (self.old_rate, self.old_subtype)

    def scaled(self, samples: int, bits: int = 32) -> int:
        """A count of the source's samples as one of the render's, rounded; the most that ``bits`` hold if more."""
        return min((2 * samples * self.rate + self.old_rate) // (2 * self.old_rate), (1 << bits) - 1)

    def scaled_all(self, samples: np.ndarray) -> np.ndarray:
        """The same for counts of up to 33 bits, as uint64."""
        whole = samples.astype(np.uint64) * np.uint64(2 * self.rate) + np.uint64(self.old_rate)
        return np.minimum(whole // np.uint64(2 * self.old_rate), np.uint64(0xFFFFFFFF))


@dataclass(frozen=True)
class Carried:
    """What goes into a render, and what its report says of it."""

    insert: Insert = field(default_factory=Insert)
    names: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_metadata(info: SourceInfo) -> Found:
    """Read a source's metadata, at most 64 MiB; raise InputError when the file cannot be read."""
    try:
        if info.container in FAMILIES:
            return Found(info, read_contents(info.path, info.raw_offset is not None))
        with opened(info.path) as file:
            return Found(info, Contents(), file.copy_metadata())
    except (OSError, sf.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or "its header is broken"
        raise InputError(f"{shown(info.path)}: cannot be read ({reason}); check its permissions") from error


def carry(found: Found, change: Change) -> Carried:
    """Return what a render holds of its source's metadata."""
    said = replace(found.contents, left_out=dict(found.contents.left_out), warnings=list(found.contents.warnings))
    family = FAMILIES[change.container]
    chunks, tags = said.chunks, dict[str, str]()
    if FAMILIES.get(found.info.container) != family:
        chunks, tags = _translated(found, family, said)
    fitted = [_fitted(chunk, change, said) for chunk in chunks if _lasts(chunk, change, said)]
    if family == "FLAC":
        width = change.channels * change.bits // 8
        fitted = reframed(fitted, change.rate, change.frames, width, change.bits)
    kept = _settled(fitted, family, said)
    insert = Insert((*_from_tags(tags, family), *kept), *_format(found, change))
    names = dict.fromkeys([*tags, *(chunk.label for chunk in kept)])
    return Carried(insert, tuple(names), said.left_out, tuple(said.warnings))


def _translated(found: Found, family: str, said: Contents) -> tuple[list[Chunk], dict[str, str]]:
    """(chunks, textual tags) that an output of another kind than the source can hold; the rest is noted."""
    tags, others = _tags(found)
    chunks = unpacked(said.chunks) if (found.info.container, family) == ("FLAC", "WAV") else []
    chunks = [chunk for chunk in chunks if not (tags and chunk.label == "LIST INFO")]
    others -= {"APPLICATION riff"} if chunks else set()
    places, longest = _PLACES[family], _LONGEST_TEXT[family]
    others |= {tag for tag, text in tags.items() if tag not in places or len(text.encode()) > longest}
    said.left_out |= dict.fromkeys(sorted(others), f"{family} has no place for it")
    return chunks, {tag: text for tag, text in tags.items() if tag not in others}


def _lasts(chunk: Chunk, change: Change, said: Contents) -> bool:
    """Whether a chunk is whole and still true of the render; noted if not."""
    label = chunk.label
    timed = change.rate != change.old_rate if label == "regn" else change.converted
    why = _STALE.get(label) or (_STALE_WHEN_CONVERTED.get(label) if timed else None)
    if why:
        said.left_out[label] = why
    try:
        list(items(chunk.data) if chunk.name in ("LIST", "list") else ())
    except ValueError as error:
        said.refuse(label, str(error))  # libsndfile #1118: such a list hangs what opens the file
        return False
    return not why


def _settled(carried: list[Chunk], family: str, said: Contents) -> list[Chunk]:
    """Chunks where soundfile, and so many a tool, finds the audio: after it, or not at all, where it has to be."""
    kept = []
    if family == "FLAC":
        for chunk in carried:
            if len(chunk.data) < _LONGEST_BLOCK:
                kept.append(chunk)
            else:
                said.refuse(chunk.label, "a block of FLAC ends at 16 MiB")
        return kept
    if legible(family, carried):
        return carried
    for chunk in carried:
        chunk = replace(chunk, early=chunk.name in ("bext", "iXML"))
        if legible(family, [chunk]):
            kept.append(chunk)
        else:
            said.refuse(chunk.label, "it is broken, and hides the audio from what reads the file")
    return kept


def _fitted(chunk: Chunk, change: Change, said: Contents) -> Chunk:
    """A chunk as it holds for the render; as it was, with a warning, where it is not understood."""
    early = chunk.early or chunk.name in ("bext", "iXML")
    fitter = _FITTERS.get(chunk.name)
    if fitter is None or (change.rate == change.old_rate and chunk.name not in _FITTED_ALWAYS):
        return replace(chunk, early=early)
    try:
        return Chunk(chunk.name, fitter(chunk.data, change), early)
    except (ValueError, struct.error, IndexError) as error:
        why = str(error) if isinstance(error, ValueError) else "it ends early"
        said.warnings.append(f"{chunk.label}: carried as it is: {why}")
        return replace(chunk, early=early)


def _format(found: Found, change: Change) -> tuple[int | None, int | None]:
    """Speakers of an extensible WAV, and its bits in use if the depth is kept (samples are not rounded to them)."""
    fmt = found.contents.fmt
    if len(fmt) < 40 or change.container not in ("WAVEX", "RF64"):
        return None, None
    tag, bits, valid, mask = struct.unpack_from("<H12xH2xHI", fmt)
    if tag != _EXTENSIBLE:
        return None, None
    return mask, valid if change.subtype == change.old_subtype and 0 < valid <= bits else None


def _tags(found: Found) -> tuple[dict[str, str], set[str]]:
    """(text by soundfile's names, names of all else) of a source."""
    texts, others = list(found.tags.items()), set[str]()
    for chunk in found.contents.chunks:
        if chunk.label == "LIST INFO":
            try:
                entries = [(name.decode("latin-1"), start, size) for name, start, size in items(chunk.data)]
            except ValueError:
                entries, others = [], others | {chunk.label}
            texts += [(name, _text(chunk.data[start : start + size])) for name, start, size in entries]
        elif chunk.name in _PLACES["AIFF"].values():
            texts.append((chunk.name, _text(chunk.data)))
        elif chunk.name == "VORBIS_COMMENT":
            pairs = (_text(comment).partition("=") for comment in comments(chunk.data) or ())
            texts += [(key.upper(), value) for key, _, value in pairs]
        else:
            others.add(chunk.label)
    tags: dict[str, str] = {}
    for name, text in texts:
        if name not in _TAG_OF:
            others.add(name.strip())
        elif text:
            tags[_TAG_OF[name]] = f"{tags[_TAG_OF[name]]}; {text}" if _TAG_OF[name] in tags else text
    return tags, others


def _text(data: bytes) -> str:
    data = data.rstrip(b"\0")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _from_tags(tags: Mapping[str, str], family: str) -> list[Chunk]:
    """Textual tags as the output's container has them, in UTF-8."""
    texts = {_PLACES[family][tag]: text.encode() for tag, text in tags.items()}
    if family == "AIFF" or not texts:
        return [Chunk(name, text) for name, text in texts.items()]
    if family == "FLAC":
        entries = [name.encode() + b"=" + text for name, text in texts.items()]
        block = b"".join(struct.pack("<I", len(entry)) + entry for entry in entries)
        return [Chunk("VORBIS_COMMENT", struct.pack("<I", len(entries)) + block)]
    info = (
        struct.pack("<4sI", name.encode(), len(text) + 1) + text + bytes(2 - len(text) % 2)
        for name, text in texts.items()
    )
    return [Chunk("LIST", b"INFO" + b"".join(info))]


# WAV


def _bext(data: bytes, change: Change) -> bytes:
    """EBU Tech 3285: TimeReference in samples since midnight; loudness "not set" unless kept; R 98 coding history."""
    if len(data) < _BEXT:
        raise ValueError(f"it has {len(data)} bytes, not {_BEXT} or more; its time reference is the source's")
    head = bytearray(data[:_BEXT])
    time, version = struct.unpack_from("<QH", head, 338)
    struct.pack_into("<Q", head, 338, change.scaled(time, 64))
    if version >= 2 and not change.level_kept:
        struct.pack_into("<5h", head, 412, *[0x7FFF] * 5)
    history, _, rest = data[_BEXT:].partition(b"\0")
    if history and not history.endswith(b"\n"):
        history += b"\r\n"
    mode = {1: "mono", 2: "stereo"}.get(change.channels, f"{change.channels}chn")
    history += f"A=PCM,F={change.rate},W={change.bits},M={mode},T=TTSR Studio {__version__}\r\n".encode()
    history += b"\0" + rest if rest.strip(b"\0") else b""
    return bytes(head) + history.ljust(len(data) - _BEXT, b"\0")


def _cue(data: bytes, change: Change) -> bytes:
    """Microsoft's `cue `: 24 bytes a point, of which dwPosition and dwSampleOffset are samples."""
    points = _table(data, 4, struct.unpack_from("<I", data)[0], 6)
    points[:, [1, 5]] = change.scaled_all(points[:, [1, 5]])
    return data[:4] + points.tobytes() + data[4 + points.nbytes :]


def _smpl(data: bytes, change: Change) -> bytes:
    """Microsoft's `smpl`: the period of a sample in ns, and loops from a sample to one that is still played."""
    head = list(struct.unpack_from("<9I", data))
    loops = _table(data, 36, head[7], 6)
    usual = abs(head[2] - 1e9 / change.old_rate) <= 1
    head[2] = round((1e9 if usual else head[2] * change.old_rate) / change.rate)
    last = np.uint64(change.frames - 1)
    ends = change.scaled_all(loops[:, 3].astype(np.uint64) + np.uint64(1))
    loops[:, 2] = np.minimum(change.scaled_all(loops[:, 2]), last)
    loops[:, 3] = np.minimum(np.maximum(ends, np.uint64(1)) - np.uint64(1), last)
    return struct.pack("<9I", *head) + loops.tobytes() + data[36 + loops.nbytes :]


def _table(data: bytes, start: int, count: int, width: int) -> np.ndarray:
    """Rows of 32-bit numbers; ValueError where a count promises more than there is."""
    if start + 4 * width * count > len(data):
        raise ValueError(f"it counts {count} entries and ends before")
    return np.frombuffer(data, "<u4", count * width, start).reshape(count, width).copy()


def _list(data: bytes, change: Change) -> bytes:
    """Labels of cue points (`adtl`): dwSampleLength of a labelled region is samples."""
    out = bytearray(data)
    for name, start, size in items(data) if data[:4] == b"adtl" else ():
        if name == b"ltxt" and size >= 8:
            struct.pack_into("<I", out, start + 4, change.scaled(struct.unpack_from("<I", data, start + 4)[0]))
    return bytes(out)


def _cart(data: bytes, change: Change) -> bytes:
    """AES46: eight post timers of a name and samples; one without a name is not in use."""
    out = bytearray(data)
    for at in range(684, 748, 8):
        if any(data[at : at + 4]):
            struct.pack_into("<I", out, at + 4, change.scaled(struct.unpack_from("<I", data, at + 4)[0]))
    return bytes(out)


# iXML 3

_PAIRS = {
    "TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO": "TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI",
    "BWF_TIME_REFERENCE_LOW": "BWF_TIME_REFERENCE_HIGH",
    "SYNC_POINT_LOW": "SYNC_POINT_HIGH",
}
_RATES = ("TIMESTAMP_SAMPLE_RATE", "FILE_SAMPLE_RATE", "DIGITIZER_SAMPLE_RATE")
_LENGTH = "SYNC_POINT_EVENT_DURATION"
_FIELDS = {*_PAIRS, *_PAIRS.values(), *_RATES, _LENGTH, "AUDIO_BIT_DEPTH"}


@dataclass(frozen=True)
class _Number:
    """A whole number in an XML text: the byte at which its digits start, and their encoding."""

    start: int
    digits: str
    encoding: str

    def edit(self, value: int) -> tuple[int, int, bytes]:
        """(start, end, new text) that replaces it; a number with leading zeros keeps its width."""
        text = str(value).zfill(len(self.digits) if self.digits.startswith("0") else 0)
        return self.start, self.start + len(self.digits.encode(self.encoding)), text.encode(self.encoding)


_Fields = dict[str, list[_Number]]


def _ixml(data: bytes, change: Change) -> bytes:
    """iXML: the numbers that a new rate or depth changes are replaced in the text; all else stays byte for byte."""
    out, at = [], 0
    for start, end, text in sorted(edit for fields in _elements(data) for edit in _edits(fields, change)):
        out += [data[at:start], text]
        at = end
    return b"".join([*out, data[at:]])


def _edits(fields: _Fields, change: Change) -> Iterator[tuple[int, int, bytes]]:
    """What changes among the fields of one element, e.g. SPEED."""
    if change.subtype != change.old_subtype:
        yield from (number.edit(change.bits) for number in fields.get("AUDIO_BIT_DEPTH", ()))
    if change.rate == change.old_rate:
        return
    clock = fields.get("TIMESTAMP_SAMPLE_RATE")
    for low, high in _PAIRS.items():
        if low not in fields or (low.startswith("TIMESTAMP") and clock and int(clock[0].digits) != change.old_rate):
            continue  # counted by another clock, whose rate is beside it
        upper = fields.get(high, [])
        old = int(fields[low][0].digits) + (int(upper[0].digits) << 32 if upper else 0)
        new = change.scaled(old, 64)
        yield from (number.edit(new & 0xFFFFFFFF if upper else new) for number in fields[low])
        yield from (number.edit(new >> 32) for number in upper)
    yield from (number.edit(change.scaled(int(number.digits), 64)) for number in fields.get(_LENGTH, ()))
    for name in _RATES:
        for number in fields.get(name, ()):
            if name == "FILE_SAMPLE_RATE" or int(number.digits) == change.old_rate:
                yield number.edit(change.rate)


def _elements(data: bytes) -> list[_Fields]:
    """The fields of `_FIELDS` that hold a whole number, by the element that they are in."""
    wide = {b"\xff\xfe": "utf-16-le", b"<\0": "utf-16-le", b"\xfe\xff": "utf-16-be", b"\0<": "utf-16-be"}
    encoding = wide.get(data[:2], "ascii")
    length = len(data.rstrip(b"\0"))
    text = data[: length + length % 2 * (encoding != "ascii")]
    if len(text) > _EDITED_XML:
        raise ValueError(f"it is larger than {_EDITED_XML >> 20} MiB")
    elements: list[_Fields] = []
    stack: list[_Fields] = [{}]
    words: list[tuple[int, str]] = []  # since the last tag: the byte at which each starts, and it
    parser = expat.ParserCreate()

    def opened(name: str, _: dict[str, str]) -> None:
        stack.append({})
        words.clear()

    def closed(name: str) -> None:
        elements.append(stack.pop())
        digits = "".join(word for _, word in words).strip()
        if name in _FIELDS and digits.isascii() and digits.isdecimal() and len(digits) <= 20:
            at = text.find(digits.encode(encoding), words[0][0], parser.CurrentByteIndex)
            if at >= 0:
                stack[-1].setdefault(name, []).append(_Number(at, digits, encoding))
        words.clear()

    def refused(*_: object) -> None:
        raise ValueError("it has a document type, which iXML does not have")

    parser.StartElementHandler, parser.EndElementHandler = opened, closed
    parser.CharacterDataHandler = lambda word: words.append((parser.CurrentByteIndex, word))
    parser.StartDoctypeDeclHandler = refused
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, LookupError) as error:  # an encoding that nothing knows
        raise ValueError(f"it is not XML ({error}); times in it are the source's") from error
    return [fields for fields in elements if fields]


# AIFF and FLAC


def _mark(data: bytes, change: Change) -> bytes:
    """AIFF 1.3, Marker Chunk: number, position in samples, name as a Pascal string of even length."""
    out, at = bytearray(data), 2
    for _ in range(struct.unpack_from(">H", data)[0]):
        position, name = struct.unpack_from(">IB", data, at + 2)
        struct.pack_into(">I", out, at + 2, change.scaled(position))
        at += 6 + (name + 2) // 2 * 2
    return bytes(out)


def _cuesheet(data: bytes, change: Change) -> bytes:
    """RFC 9639, 8.7: lead-in, track and index offsets in samples; at a new rate it is not that of a CD any more."""
    out, at = bytearray(data), 396
    struct.pack_into(">Q", out, 128, change.scaled(struct.unpack_from(">Q", data, 128)[0], 64))
    compact_disc = data[136] >> 7
    out[136] &= 0x7F
    for _ in range(data[395]):
        offset, number, indices = struct.unpack_from(">QB26xB", data, at)
        new = change.frames if offset == change.old_frames else change.scaled(offset, 64)
        struct.pack_into(">QB", out, at, new, 255 if compact_disc and number == 170 else number)
        for index in range(at + 36, at + 36 + 12 * indices, 12):
            struct.pack_into(">Q", out, index, change.scaled(struct.unpack_from(">Q", data, index)[0], 64))
        at += 36 + 12 * indices
    return bytes(out)


def _application(data: bytes, change: Change) -> bytes:
    """A WAV's chunk that `flac --keep-foreign-metadata` put into a FLAC ("riff", name, size, content)."""
    name = data[4:8].decode("latin-1")
    if data[:4] != b"riff" or name not in _FITTERS or (change.rate == change.old_rate and name not in _FITTED_ALWAYS):
        return data
    (size,) = struct.unpack_from("<I", data, 8)
    body = _FITTERS[name](data[12 : 12 + size], change)
    return data[:8] + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


Fitter = Callable[[bytes, Change], bytes]
_FITTERS: dict[str, Fitter] = {
    "bext": _bext, "iXML": _ixml, "cue ": _cue, "smpl": _smpl, "LIST": _list, "list": _list,
    "cart": _cart, "MARK": _mark, "CUESHEET": _cuesheet, "APPLICATION": _application,
}  # fmt: skip
_FITTED_ALWAYS = ("bext", "iXML", "APPLICATION")
