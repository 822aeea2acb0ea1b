"""What a file says of its audio, carried from a source to its render: where it belongs, its markers, loops and names.

Contract: times are in samples of the file they are in. At a new rate they are scaled by it and rounded, so that a
marker stays at its second; at the same rate a chunk is carried byte for byte (bext gets one line of coding history).
What cannot be understood is carried as it is or left out, always with a warning, never with an error.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import soundfile as sf

from ttsr_studio.audio.container.contents import Chunk, Contents
from ttsr_studio.audio.container.flac import comments, reframed, unpacked
from ttsr_studio.audio.container.insert import Insert, legible
from ttsr_studio.audio.container.read import read_contents
from ttsr_studio.audio.container.riff import items
from ttsr_studio.audio.decode import SourceInfo, opened
from ttsr_studio.audio.formats import FAMILIES
from ttsr_studio.audio.metadata.conversion import Change
from ttsr_studio.audio.metadata.rescale import FITTED_ALWAYS, FITTERS
from ttsr_studio.errors import InputError, shown

_EXTENSIBLE = 0xFFFE
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
    contents = replace(found.contents, left_out=dict(found.contents.left_out), warnings=list(found.contents.warnings))
    family = FAMILIES[change.container]
    chunks, tags = contents.chunks, dict[str, str]()
    if FAMILIES.get(found.info.container) != family:
        chunks, tags = _translated(found, family, contents)
    fitted = [_fitted(chunk, change, contents) for chunk in chunks if _lasts(chunk, change, contents)]
    if family == "FLAC":
        width = change.channels * change.bits // 8
        fitted = reframed(fitted, change.rate, change.frames, width, change.bits)
    kept = _settled(fitted, family, contents)
    insert = Insert((*_from_tags(tags, family), *kept), *_format(found, change))
    names = dict.fromkeys([*tags, *(chunk.label for chunk in kept)])
    return Carried(insert, tuple(names), contents.left_out, tuple(contents.warnings))


def _translated(found: Found, family: str, contents: Contents) -> tuple[list[Chunk], dict[str, str]]:
    """(chunks, textual tags) that an output of another kind than the source can hold; the rest is noted."""
    tags, others = _tags(found)
    chunks = unpacked(contents.chunks) if (found.info.container, family) == ("FLAC", "WAV") else []
    chunks = [chunk for chunk in chunks if not (tags and chunk.label == "LIST INFO")]
    others -= {"APPLICATION riff"} if chunks else set()
    places, longest = _PLACES[family], _LONGEST_TEXT[family]
    others |= {tag for tag, text in tags.items() if tag not in places or len(text.encode()) > longest}
    contents.left_out |= dict.fromkeys(sorted(others), f"{family} has no place for it")
    return chunks, {tag: text for tag, text in tags.items() if tag not in others}


def _lasts(chunk: Chunk, change: Change, contents: Contents) -> bool:
    """Whether a chunk is whole and still true of the render; noted if not."""
    label = chunk.label
    timed = change.rate != change.old_rate if label == "regn" else change.converted
    why = _STALE.get(label) or (_STALE_WHEN_CONVERTED.get(label) if timed else None)
    if why:
        contents.left_out[label] = why
    try:
        list(items(chunk.data) if chunk.name in ("LIST", "list") else ())
    except ValueError as error:
        contents.refuse(label, str(error))  # libsndfile #1118: such a list hangs what opens the file
        return False
    return not why


def _settled(carried: list[Chunk], family: str, contents: Contents) -> list[Chunk]:
    """Chunks where soundfile, and so many a tool, finds the audio: after it, or not at all, where it has to be."""
    kept = []
    if family == "FLAC":
        for chunk in carried:
            if len(chunk.data) < _LONGEST_BLOCK:
                kept.append(chunk)
            else:
                contents.refuse(chunk.label, "a block of FLAC ends at 16 MiB")
        return kept
    if legible(family, carried):
        return carried
    for chunk in carried:
        chunk = replace(chunk, early=chunk.name in ("bext", "iXML"))
        if legible(family, [chunk]):
            kept.append(chunk)
        else:
            contents.refuse(chunk.label, "it is broken, and hides the audio from what reads the file")
    return kept


def _fitted(chunk: Chunk, change: Change, contents: Contents) -> Chunk:
    """A chunk as it holds for the render; as it was, with a warning, where it is not understood."""
    early = chunk.early or chunk.name in ("bext", "iXML")
    fitter = FITTERS.get(chunk.name)
    if fitter is None or (change.rate == change.old_rate and chunk.name not in FITTED_ALWAYS):
        return replace(chunk, early=early)
    try:
        return Chunk(chunk.name, fitter(chunk.data, change), early)
    except (ValueError, struct.error, IndexError) as error:
        why = str(error) if isinstance(error, ValueError) else "it ends early"
        contents.warnings.append(f"{chunk.label}: carried as it is: {why}")
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
