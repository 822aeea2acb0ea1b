"""Markers of CAF files (Apple, Core Audio Format Specification): `mark`, with names from `strg`."""

import struct

_MARKER = 28


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
