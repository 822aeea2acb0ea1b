"""Markers and regions of CAF files (Apple, Core Audio Format Specification): `mark`, `regn`, names from `strg`."""

import struct
from dataclasses import dataclass

_MARKER = 28
_LOOPS = 1  # kCAFRegionFlag_LoopEnable
_BEGIN, _END = b"rbeg", b"rend"


@dataclass(frozen=True)
class Stretch:
    """A stretch of the audio, from a sample up to another that is not in it; `loops` says that it is played so."""

    start: int
    stop: int
    name: str
    loops: bool


def caf_regions(data: bytes, strings: bytes) -> list[Stretch]:
    """A CAF's regions, by position; ValueError where a count promises more than there is, or a region has no ends."""
    (count,) = struct.unpack_from(">4xI", data)
    names, found, at = _strings(strings), [], 8
    for _ in range(count):
        if at + 12 > len(data):
            raise ValueError(f"it counts {count} regions and ends before")
        number, flags, marks = struct.unpack_from(">III", data, at)
        at, end = at + 12, at + 12 + _MARKER * marks
        if end > len(data):
            raise ValueError(f"it counts {count} regions and ends before")
        rows = [struct.unpack_from(">4sd", data, place) for place in range(at, end, _MARKER)]
        ends = {kind: round(position) for kind, position in rows if 0 <= position < 2**32}
        if ends.get(_BEGIN, 0) >= ends.get(_END, 0):
            raise ValueError("a region of it has no end after its beginning")
        found.append(Stretch(ends.get(_BEGIN, 0), ends[_END], names.get(number, ""), bool(flags & _LOOPS)))
        at = end
    return sorted(found, key=lambda region: region.start)


def markers(mark: bytes, strings: bytes) -> list[tuple[int, str]]:
    """(sample, name) of a CAF's markers, by position; ValueError where a count promises more than there is."""
    (count,) = struct.unpack_from(">4xI", mark)
    if 8 + _MARKER * count > len(mark):
        raise ValueError(f"it counts {count} entries and ends before")
    names, found = _strings(strings), []
    for at in range(8, 8 + _MARKER * count, _MARKER):
        position, number = struct.unpack_from(">4xdI", mark, at)
        if 0 <= position < 2**32:
            found.append((round(position), names.get(number, "")))
    return sorted(found)


def _strings(data: bytes) -> dict[int, str]:
    """Texts by number; {} where they are broken."""
    count = struct.unpack_from(">I", data)[0] if len(data) >= 4 else 0
    start = 4 + 12 * count
    if start > len(data):
        return {}
    rows = [struct.unpack_from(">Iq", data, 4 + 12 * n) for n in range(count)]
    return {
        number: data[start + offset :].partition(b"\0")[0].decode("utf-8", "replace")
        for number, offset in rows
        if 0 <= offset < len(data) - start
    }
