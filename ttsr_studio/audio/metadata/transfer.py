"""What a file says of its audio, carried from a source to its render: where it belongs, its markers, loops and names.

Contract: times are in samples of the file they are in. At a new rate they are scaled by it and rounded, so that a
marker stays at its second; at the same rate a chunk is carried byte for byte (bext gets one line of coding history).
What cannot be understood is carried as it is or left out, always with a warning, never with an error. Tags that are
about the source's level, encoding or checksum are left out.
"""

import contextlib
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import soundfile as sf

from ttsr_studio.audio.container.caf import caf_regions, markers
from ttsr_studio.audio.container.chunks import is_name
from ttsr_studio.audio.container.contents import Chunk, Contents
from ttsr_studio.audio.container.flac import comments, id3_tag, reframed, unpacked
from ttsr_studio.audio.container.insert import Insert, legible
from ttsr_studio.audio.container.ogg import comment_block
from ttsr_studio.audio.container.read import read_contents
from ttsr_studio.audio.container.riff import items
from ttsr_studio.audio.container.sound import sound_file
from ttsr_studio.audio.decode import SourceInfo
from ttsr_studio.audio.formats import FAMILIES
from ttsr_studio.audio.libav.media import Media
from ttsr_studio.audio.metadata.conversion import Change
from ttsr_studio.audio.metadata.id3 import chapter_tags, numbered, own_texts
from ttsr_studio.audio.metadata.id3 import frames as id3_frames
from ttsr_studio.audio.metadata.loops import cue_chunks, loop_chunks, loop_tags, rounded_loops, texts, wav_chunks
from ttsr_studio.audio.metadata.rescale import FITTED_ALWAYS, FITTERS, TEXT_FITTERS, WITHOUT_POSITIONS
from ttsr_studio.audio.metadata.tags import Loop, plain
from ttsr_studio.audio.metadata.timecode import time_reference
from ttsr_studio.errors import InputError, shown

_EXTENSIBLE = 0xFFFE
_AS = {"W64": "WAV", "CAF": "WAV", "MP3": "WAV", "OGG": "FLAC"}
"""Containers whose metadata is read as another's chunks."""
_LOOPS = r"\w*LOOP(START|LENGTH|END|BEGIN|STOP|LEN)"
_KINDS = ("LIST", "list", "APPLICATION")
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
_OF_THE_CONTAINER = ("major_brand", "minor_version", "compatible_brands", "handler_name", "vendor_id", "encoder")
_TAG_OF = {tag: tag for tag in _TAGS} | {name: tag for places in _PLACES.values() for tag, name in places.items()}


@dataclass(frozen=True)
class Found:
    """A source's metadata: chunks as its family has them, and ``tags``, what soundfile tells of other containers."""

    info: SourceInfo
    contents: Contents
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def family(self) -> str | None:
        """Whose chunks it has: those of a WAV, an AIFF or a FLAC."""
        return FAMILIES.get(self.info.container) or _AS.get(self.info.container)


@dataclass(frozen=True)
class Carried:
    """What goes into a render, and what its report says of it."""

    insert: Insert = field(default_factory=Insert)
    names: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_metadata(info: SourceInfo) -> Found:
    """Read a source's metadata, at most 64 MiB; raise InputError when the file cannot be read."""
    if info.media and info.container not in FAMILIES.keys() | _AS.keys():
        return _of_media(info, info.media)
    try:
        if info.container in FAMILIES or info.container == "W64":
            return Found(info, read_contents(info.path, info.raw_offset is not None))
        if info.media:
            return read_foreign(info, {tag: text for tag, text in _tags_of_media(info.media).items() if tag in _TAGS})
        with sound_file(info.path) as file:
            return read_foreign(info, file.copy_metadata())
    except (OSError, sf.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or "its header is broken"
        raise InputError(f"{shown(info.path)}: cannot be read ({reason}); check its permissions") from error


def read_foreign(info: SourceInfo, tags: Mapping[str, str]) -> Found:
    """What an Ogg, CAF or MP3 says, as chunks of a FLAC or WAV; soundfile's tags of all others."""
    with info.path.open("rb") as file:
        head = file.read(10)
        file.seek(0)
        if head[:4] == b"OggS" and (block := comment_block(file)) is not None and comments(block) is not None:
            return Found(info, Contents(chunks=[Chunk("VORBIS_COMMENT", block)]))
        if head[:3] == b"ID3" and info.container == "MP3":
            return Found(info, Contents(chunks=[Chunk("id3 ", id3_tag(file), early=False)]), tags)
    return Found(info, _of_caf(info) if head[:4] == b"caff" else Contents(), tags)


def _tags_of_media(media: Media) -> dict[str, str]:
    return {name.lower(): text for name, text in media.tags.items() if name.lower() not in _OF_THE_CONTAINER}


def _of_media(info: SourceInfo, media: Media) -> Found:
    """Tags of a film or of players' audio; its loops and chapters as comments of a FLAC."""
    tags = _tags_of_media(media)
    timed = [(name.upper(), tags.pop(name)) for name in list(tags) if re.fullmatch(_LOOPS, plain(name))]
    timed += numbered([(round(1000 * seconds), title) for seconds, title in media.chapters])
    entries = [f"{name}={text}".encode() for name, text in timed]
    block = struct.pack("<I", len(entries)) + b"".join(struct.pack("<I", len(each)) + each for each in entries)
    return Found(info, Contents(chunks=[Chunk("VORBIS_COMMENT", block)] if entries else []), tags)


def _of_caf(info: SourceInfo) -> Contents:
    """A CAF's markers and regions as those of a WAV; what else it has is noted as left out."""
    read = read_contents(info.path, info.raw_offset is not None)
    by_name = {chunk.name: chunk.data for chunk in read.chunks}
    contents = Contents(left_out=dict(read.left_out), warnings=list(read.warnings))
    names, points, loops = by_name.get("strg", b""), [], []
    for kind in by_name.keys() & {"mark", "regn"}:
        try:
            if kind == "mark":
                points += [(at, name, 0) for at, name in markers(by_name[kind], names)]
                continue
            for region in caf_regions(by_name[kind], names):
                length = region.stop - region.start
                points.append((region.start, region.name, length))
                loops += [Loop(region.start, length)] if region.loops else []
        except (ValueError, struct.error) as error:
            contents.refuse(kind, str(error))
    contents.chunks += [*loop_chunks(loops, info.rate), *cue_chunks(sorted(points))]
    others = by_name.keys() - {"mark", "regn", "strg", "desc", "pakt", "free", "kuki", "chan", "info", "peak", "ovvw"}
    contents.left_out |= dict.fromkeys(sorted(others), "what a CAF has there is not known here")
    return contents


def carry(found: Found, change: Change) -> Carried:
    """Return what a render holds of its source's metadata."""
    contents = replace(found.contents, left_out=dict(found.contents.left_out), warnings=list(found.contents.warnings))
    family = FAMILIES[change.container]
    chunks, tags = _translated(found, family, contents)
    lasting = [chunk for chunk in chunks if _lasts(chunk, change, contents)]
    written = _from_tags(tags, family)
    said = [_fitted(chunk, change, contents) for chunk in written]
    fitted = [_fitted(chunk, change, contents) for chunk in lasting]
    contents.warnings += rounded_loops([*written, *lasting], [*said, *fitted], change)
    contents.warnings += _unknown(fitted, change)
    if family == "FLAC":
        width = change.channels * change.bits // 8
        fitted = reframed(fitted, change.rate, change.frames, width, change.bits)
    kept = _settled(fitted, family, contents)
    insert = Insert((*said, *kept), *_format(found, change))
    names = dict.fromkeys([*(tag for tag in tags if tag not in contents.left_out), *(chunk.label for chunk in kept)])
    return Carried(insert, tuple(names), contents.left_out, tuple(contents.warnings))


def _unknown(carried: list[Chunk], change: Change) -> list[str]:
    """A line that names what is carried at a new rate without being understood."""
    known = WITHOUT_POSITIONS | FITTERS.keys() | TEXT_FITTERS.keys()
    labels = ("LIST INFO", "LIST adtl", "LIST wavl", "LIST exif", "APPLICATION riff")
    odd = [c.label for c in carried if c.name not in known or (c.name in _KINDS and c.label not in labels)]
    if change.rate == change.old_rate or not odd:
        return []
    return [f"{', '.join(dict.fromkeys(odd))}: carried as it is: positions in it, if any, count {change.old_rate} Hz"]


def _translated(found: Found, family: str, contents: Contents) -> tuple[list[Chunk], dict[str, str]]:
    """(chunks, textual tags) of a source as its output's kind can hold them; the rest is noted."""
    same = found.family == family
    tags, others = ({tag: text for tag, text in found.tags.items() if text}, set[str]()) if same else _tags(found)
    chunks = unpacked(contents.chunks) if (found.family, family) == ("FLAC", "WAV") else []
    chunks = [chunk for chunk in chunks if not (tags and chunk.label == "LIST INFO")]
    others -= {"APPLICATION riff"} if chunks else set()
    moved, gone = (contents.chunks, set()) if same else _moved(found, family, {chunk.name for chunk in chunks})
    own = dict(_tags_of_chunks(contents.chunks)) if family == "FLAC" and not same else {}
    places, longest = _PLACES[family], _LONGEST_TEXT[family]
    others |= {tag for tag, text in tags.items() if tag not in places or len(text.encode()) > longest}
    others -= gone | own.keys() | ({"smpl"} if "LOOPSTART" in own else set())
    contents.left_out |= dict.fromkeys(sorted(others), f"{family} has no place for it")
    return [*chunks, *moved], own | {tag: text for tag, text in tags.items() if tag not in others}


def _moved(found: Found, family: str, there: set[str]) -> tuple[list[Chunk], set[str]]:
    """(chunks that hold for another kind of file what the source's hold, names of what went into them)."""
    held, info = found.contents.chunks, found.info
    if family == "FLAC":
        return [], set()
    out = [replace(c, name="ID3 " if family == "AIFF" else "id3 ") for c in held if c.name in ("id3 ", "ID3 ")]
    gone = {chunk.label for chunk in held if chunk.name in ("id3 ", "ID3 ")}
    said = [pair for chunk in held if chunk.name == "VORBIS_COMMENT" for pair in texts(chunk.data)]
    if family == "WAV":
        made = [chunk for chunk in wav_chunks(said, info.rate, info.frames) if chunk.name not in there]
        names = {"smpl": _LOOPS, "cue ": r"CHAPTER\d+(NAME)?"}
        into = [names[chunk.name] for chunk in made if chunk.name in names]
        if "timecode" in found.tags:
            with contextlib.suppress(ValueError):
                made.append(time_reference(found.tags["timecode"], info.rate))
                gone.add("timecode")
        gone |= {name.upper() for name, _ in said if any(re.fullmatch(each, plain(name)) for each in into)}
        out += made
    return out, gone


def _tags_of_chunks(held: list[Chunk]) -> list[tuple[str, str]]:
    """What a FLAC has in the place of a WAV's loop, an ID3 tag's chapters and own texts, and those of a film."""
    out: list[tuple[str, str]] = []
    for chunk in held:
        if chunk.name == "smpl":
            out += loop_tags(chunk.data)
        elif chunk.name == "VORBIS_COMMENT":
            out += texts(chunk.data)
        elif chunk.name in ("id3 ", "ID3 "):
            with contextlib.suppress(ValueError):
                frames = id3_frames(chunk.data)[0]
                out += [*chapter_tags(frames), *((n.upper(), t) for n, t in own_texts(frames) if is_name(n.encode()))]
    return out


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
    fitter, texts_of = FITTERS.get(chunk.name), TEXT_FITTERS.get(chunk.name)
    try:
        if texts_of:
            return Chunk(chunk.name, texts_of(chunk.data, change, contents), early)
        if fitter is None or (change.rate == change.old_rate and chunk.name not in FITTED_ALWAYS):
            return replace(chunk, early=early)
        return Chunk(chunk.name, fitter(chunk.data, change), early)
    except (ValueError, struct.error, IndexError) as error:
        why = str(error) if isinstance(error, ValueError) else "it ends early"
        contents.warnings.append(f"{chunk.label}: carried as it is: {why}")
        return replace(chunk, early=early)


def _format(found: Found, change: Change) -> tuple[int | None, int | None]:
    """Speakers of an extensible WAV, and its bits in use if the depth is kept (samples are not rounded to them)."""
    fmt = found.contents.fmt
    if found.info.media and change.container == "WAVEX":
        return found.info.media.mask or None, None
    if len(fmt) < 40 or change.container not in ("WAVEX", "RF64"):
        return None, None
    tag, bits, valid, mask = struct.unpack_from("<H12xH2xHI", fmt)
    if tag != _EXTENSIBLE:
        return None, None
    return mask, valid if change.subtype == change.old_subtype and 0 < valid <= bits else None


def _tags(found: Found) -> tuple[dict[str, str], set[str]]:
    """(text by soundfile's names, names of all else) of a source."""
    own, others = list(found.tags.items()), set[str]()
    for chunk in found.contents.chunks:
        if chunk.label == "LIST INFO":
            try:
                entries = [(name.decode("latin-1"), start, size) for name, start, size in items(chunk.data)]
            except ValueError:
                entries, others = [], others | {chunk.label}
            own += [(name, _text(chunk.data[start : start + size])) for name, start, size in entries]
        elif chunk.name in _PLACES["AIFF"].values():
            own.append((chunk.name, _text(chunk.data)))
        elif chunk.name == "VORBIS_COMMENT":
            own += [(key.upper(), value) for key, value in texts(chunk.data)]
        else:
            others.add(chunk.label)
    tags: dict[str, str] = {}
    for name, text in own:
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
    texts = {_PLACES[family].get(tag, tag): text.encode() for tag, text in tags.items()}
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
