"""Loops that chunks and tags give in samples, and by how much rounding at a new rate changes their length."""

import struct
from collections.abc import Iterable, Sequence

from ttsr_studio.audio.container.contents import Chunk
from ttsr_studio.audio.container.flac import comments
from ttsr_studio.audio.metadata.conversion import Change
from ttsr_studio.audio.metadata.tags import Loop, chapters, tag_loops

_NEVER_MIND = 1e-6


def texts(block: bytes) -> list[tuple[str, str]]:
    """(name, text) of the comments of a VORBIS_COMMENT without its vendor string."""
    pairs = (comment.decode("utf-8", "replace").partition("=") for comment in comments(block) or ())
    return [(name, text) for name, _, text in pairs]


def rounded_loops(held: Sequence[Chunk], fitted: Sequence[Chunk], change: Change) -> list[str]:
    """A line for the loops of chunks that are no whole number of samples at the new rate."""
    before, after = _loops(held, change.old_frames), _loops(fitted, change.frames)
    off = {}
    for name in before.keys() & after.keys():
        exact = before[name].length * change.rate / change.old_rate
        error = after[name].length - exact
        inside = before[name].start + before[name].length <= change.old_frames
        if inside and abs(error) > _NEVER_MIND:
            off[name] = error, exact
    if not off:
        return []
    worst = max(off, key=lambda name: (abs(off[name][0]), name))
    error, exact = off[worst]
    which = f"{len(off)} loops are" if len(off) > 1 else "a loop is"
    return [
        f"{which} no whole number of samples at {change.rate} Hz: {worst} was rounded from {exact:.3f} to "
        f"{after[worst].length} ({error:+.3f} samples)"
    ]


def _loops(held: Iterable[Chunk], frames: int) -> dict[str, Loop]:
    """Loops by what they are called; broken chunks have none."""
    by_name = {chunk.name: chunk.data for chunk in held}
    found: dict[str, Loop] = {}
    for name, read in (("smpl", _smpl), ("wsmp", _wsmp)):
        loops = read(by_name.get(name, b""))
        found |= {f"{name} {number}" if len(loops) > 1 else name: loop for number, loop in enumerate(loops, 1)}
    found |= _aiff(by_name.get("MARK", b""), by_name.get("INST", b""))
    tags = tag_loops(texts(by_name.get("VORBIS_COMMENT", b"")), frames)
    return found | {f"{prefix}LOOP": loop for prefix, loop in tags.items()}


def _smpl(data: bytes) -> list[Loop]:
    count = min(struct.unpack_from("<I", data, 28)[0], (len(data) - 36) // 24) if len(data) >= 36 else 0
    rows = [struct.unpack_from("<II", data, 44 + 24 * number) for number in range(count)]
    return [Loop(start, stop + 1 - start) for start, stop in rows if stop >= start]


def _wsmp(data: bytes) -> list[Loop]:
    size, count = struct.unpack_from("<I12xI", data) if len(data) >= 20 else (0, 0)
    count = min(count, max(0, len(data) - size) // 16)
    return [Loop(*struct.unpack_from("<II", data, size + 16 * number + 8)) for number in range(count)]


def _aiff(marks: bytes, instrument: bytes) -> dict[str, Loop]:
    """AIFF 1.3: loops run between markers, whose numbers the instrument gives."""
    places, at = {}, 2
    while at + 7 <= len(marks):
        number, position, name = struct.unpack_from(">hIB", marks, at)
        places[number] = position
        at += 6 + (name + 2) // 2 * 2
    found = {}
    for name, start in (("sustain loop", 8), ("release loop", 14)) if len(instrument) >= 20 else ():
        mode, first, last = struct.unpack_from(">3h", instrument, start)
        if mode and places.get(last, 0) > places.get(first, 0):
            found[name] = Loop(places[first], places[last] - places[first])
    return found


def wav_chunks(tags: Sequence[tuple[str, str]], rate: int, frames: int) -> list[Chunk]:
    """What a WAV has in the place of loops and chapters in tags: `smpl`, and `cue ` with its labels."""
    points = [(round(seconds * rate), name, 0) for seconds, name in chapters(tags)]
    return [*loop_chunks(list(tag_loops(tags, frames).values()), rate), *cue_chunks(points)]


def loop_chunks(loops: Sequence[Loop], rate: int) -> list[Chunk]:
    """The `smpl` of loops."""
    rows = [struct.pack("<6I", n, 0, a.start, a.start + a.length - 1, 0, 0) for n, a in enumerate(loops)]
    head = struct.pack("<9I", 0, 0, round(1e9 / rate), 60, 0, 0, 0, len(rows), 0)
    return [Chunk("smpl", head + b"".join(rows), early=False)] if rows else []


def cue_chunks(points: Sequence[tuple[int, str, int]]) -> list[Chunk]:
    """`cue ` and `LIST adtl` of markers: (sample, name, samples that it goes on for or 0)."""
    if not points:
        return []
    rows, listed = [], []
    for number, (at, name, length) in enumerate(points, 1):
        rows.append(struct.pack("<II4sIII", number, at, b"data", 0, 0, at))
        text = name.encode() + b"\0"
        listed += [struct.pack("<4sII", b"labl", len(text) + 4, number) + text + bytes(len(text) % 2)] if name else []
        listed += [struct.pack("<4s3I4s8x", b"ltxt", 20, number, length, b"rgn ")] if length else []
    out = [Chunk("cue ", struct.pack("<I", len(rows)) + b"".join(rows), early=False)]
    return out + ([Chunk("LIST", b"adtl" + b"".join(listed), early=False)] if listed else [])


def loop_tags(data: bytes) -> list[tuple[str, str]]:
    """LOOPSTART, LOOPLENGTH and LOOPEND of the first loop of a `smpl`."""
    first = _smpl(data)[:1]
    names = "LOOPSTART", "LOOPLENGTH", "LOOPEND"
    return [
        (name, str(value))
        for loop in first
        for name, value in zip(names, (loop.start, loop.length, loop.start + loop.length), strict=True)
    ]
