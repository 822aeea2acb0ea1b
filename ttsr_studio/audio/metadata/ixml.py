"""iXML 3: the numbers that a new rate or depth changes are replaced in the text; all else stays byte for byte."""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.parsers import expat

from ttsr_studio.audio.metadata.conversion import Change

_EDITED_XML = 4 << 20  # bytes; an iXML above it is none
_PAIRS = {
    "TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO": "TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI",
    "BWF_TIME_REFERENCE_LOW": "BWF_TIME_REFERENCE_HIGH",
    "SYNC_POINT_LOW": "SYNC_POINT_HIGH",
}
_RATES = ("TIMESTAMP_SAMPLE_RATE", "FILE_SAMPLE_RATE", "DIGITIZER_SAMPLE_RATE")
_COUNTS = ("SYNC_POINT_EVENT_DURATION", "LOOP_START", "LOOP_END", "LOOP_LENGTH", "BWF_TIME_REFERENCE")
_FIELDS = {*_PAIRS, *_PAIRS.values(), *_RATES, *_COUNTS, "AUDIO_BIT_DEPTH"}


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


def fit_ixml(data: bytes, change: Change) -> bytes:
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
    counts = (number for name in _COUNTS for number in fields.get(name, ()))
    yield from (number.edit(change.scaled(int(number.digits), 64)) for number in counts)
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
