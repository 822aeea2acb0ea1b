"""Chunks and blocks that hold times or depths, fitted to a render. A fitter raises ValueError for what is broken."""

import re
import struct
from collections.abc import Callable

import numpy as np

from ttsr_studio import __version__
from ttsr_studio.audio.container.contents import Contents
from ttsr_studio.audio.container.flac import comments
from ttsr_studio.audio.container.riff import items
from ttsr_studio.audio.metadata.conversion import Change
from ttsr_studio.audio.metadata.id3 import fit_id3
from ttsr_studio.audio.metadata.ixml import fit_ixml
from ttsr_studio.audio.metadata.tags import fitted_texts

_BEXT = 602  # bytes before the coding history

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
    """Lengths in samples: dwSampleLength of a labelled region (`adtl`), dwSamples of a silence (`wavl`)."""
    out, counted = bytearray(data), {b"adtl": (b"ltxt", 4), b"wavl": (b"slnt", 0)}.get(data[:4], (b"", 0))
    for name, start, size in items(data):
        if name == counted[0] and size >= counted[1] + 4:
            _scale_at(out, start + counted[1], change)
    return bytes(out)


def _scale_at(out: bytearray, at: int, change: Change) -> None:
    struct.pack_into("<I", out, at, change.scaled(struct.unpack_from("<I", out, at)[0]))


def _plst(data: bytes, change: Change) -> bytes:
    """Microsoft's `plst`: segments of a cue point, a length in samples, and how often."""
    segments = _table(data, 4, struct.unpack_from("<I", data)[0], 3)
    segments[:, 1] = change.scaled_all(segments[:, 1])
    return data[:4] + segments.tobytes() + data[4 + segments.nbytes :]


def _wsmp(data: bytes, change: Change) -> bytes:
    """DLS 1, `wsmp`: loops of a size, a kind, a start and a length in samples."""
    size, count = struct.unpack_from("<I12xI", data)
    loops = _table(data, size, count, 4)
    loops[:, 2:] = change.scaled_all(loops[:, 2:])
    return data[:size] + loops.tobytes() + data[size + loops.nbytes :]


def _strc(data: bytes, change: Change) -> bytes:
    """ACID's slices, which nobody documents: 28 bytes, then 32 a slice, of which two are positions of 64 bits.

    Taken for that only where the sizes agree and the positions ascend within the file.
    """
    count = struct.unpack_from("<I", data, 4)[0]
    if len(data) != 28 + 32 * count:
        raise ValueError("its layout is not known here; positions in it are the source's")
    places = [28 + 32 * number + 8 for number in range(count)]
    starts = [struct.unpack_from("<Q", data, at)[0] for at in places]
    if starts != sorted(starts) or any(start > change.old_frames for start in starts):
        raise ValueError("its layout is not known here; positions in it are the source's")
    out = bytearray(data)
    for at in places:
        struct.pack_into("<2Q", out, at, *(change.scaled(n, 64) for n in struct.unpack_from("<2Q", data, at)))
    return bytes(out)


_R64M = 320


def _r64m(data: bytes, change: Change) -> bytes:
    """EBU Tech 3306, `r64m`: markers of flags, a sample, its byte and what follows; bytes are marked as not valid."""
    if len(data) % _R64M:
        raise ValueError(f"it is no whole number of markers of {_R64M} bytes; positions in it are the source's")
    out = bytearray(data)
    for at in range(0, len(data), _R64M):
        flags, low, high = struct.unpack_from("<3I", data, at)
        new = change.scaled(low | high << 32, 64)
        struct.pack_into("<5I", out, at, flags & ~2, new & 0xFFFFFFFF, new >> 32, 0, 0)
    return bytes(out)


_RATE_IN_XML = re.compile(
    rb"((?:sampleRate|xmpDM:audioSampleRate)\s*=\s*[\"']|<xmpDM:audioSampleRate>\s*)(\d+)(?=[\"'<\s])"
)


def _xml_rate(data: bytes, change: Change) -> bytes:
    """ADM (`axml`, BS.2076) and XMP (`_PMX`): the rate of the audio. Their times name the rate that they count in."""
    old = str(change.old_rate).encode()
    return _RATE_IN_XML.sub(lambda m: m[1] + (str(change.rate).encode() if m[2] == old else m[2]), data)


def _cart(data: bytes, change: Change) -> bytes:
    """AES46: eight post timers of a name and samples; one without a name is not in use."""
    out = bytearray(data)
    for at in range(684, 748, 8):
        if any(data[at : at + 4]):
            _scale_at(out, at + 4, change)
    return bytes(out)


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
    if data[:4] != b"riff" or name not in FITTERS or (change.rate == change.old_rate and name not in FITTED_ALWAYS):
        return data
    (size,) = struct.unpack_from("<I", data, 8)
    body = FITTERS[name](data[12 : 12 + size], change)
    return data[:8] + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _comments(data: bytes, change: Change, contents: Contents) -> bytes:
    """Texts of a FLAC or Ogg, of which some count samples."""
    held = comments(data) or []
    pairs = [comment.decode("utf-8", "replace").partition("=") for comment in held]
    new = fitted_texts([(name, text) for name, _, text in pairs], change, contents)
    out = [
        comment if text == pair[2] else f"{pair[0]}={text}".encode()
        for comment, pair, text in zip(held, pairs, new, strict=True)
        if text is not None
    ]
    return struct.pack("<I", len(out)) + b"".join(struct.pack("<I", len(comment)) + comment for comment in out)


Fitter = Callable[[bytes, Change], bytes]
FITTERS: dict[str, Fitter] = {
    "bext": _bext, "iXML": fit_ixml, "cue ": _cue, "smpl": _smpl, "LIST": _list, "list": _list, "plst": _plst,
    "wsmp": _wsmp, "strc": _strc, "r64m": _r64m, "axml": _xml_rate, "_PMX": _xml_rate,
    "cart": _cart, "MARK": _mark, "CUESHEET": _cuesheet, "APPLICATION": _application,
}  # fmt: skip
FITTED_ALWAYS = ("bext", "iXML", "APPLICATION")

TextFitter = Callable[[bytes, Change, Contents], bytes]
TEXT_FITTERS: dict[str, TextFitter] = {"VORBIS_COMMENT": _comments, "id3 ": fit_id3, "ID3 ": fit_id3}
"""Tags: what of them is left out is noted in the contents that they are given."""

WITHOUT_POSITIONS = {"acid", "inst", "chna", "DISP", "INST", "MIDI", "NAME", "AUTH", "(c) ", "ANNO", "COMT", "PICTURE"}
"""Chunks and blocks that are known to hold no positions in samples, besides those that are fitted."""
