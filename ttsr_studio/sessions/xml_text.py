"""XML that is changed where it stands: all that is not changed stays as it was, byte for byte."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

from ttsr_studio.errors import InputError

_START = re.compile(rb"""<[^\s/>]+(?:\s+[^\s=]+\s*=\s*(?:"[^"]*"|'[^']*'))*\s*(/?)>""")
_ATTRIBUTE = re.compile(rb"""\s([^\s=]+)\s*=\s*("[^"]*"|'[^']*')""")
_DECLARED = re.compile(rb"""^<\?xml[^>]*?encoding\s*=\s*["']([\w.-]+)""")
_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
DEEPEST = 200
"""Elements within each other; no session comes near."""

Edit = tuple[int, int, bytes]
"""Where a piece begins and ends, and what stands there instead."""


@dataclass(eq=False)
class Element:
    """An element and where it stands: bytes from `start` to `end`, its content from `inner` to `close`."""

    tag: str
    attributes: Mapping[str, str]
    parent: "Element | None"
    start: int
    inner: int
    close: int = 0
    end: int = 0
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def walk(self) -> Iterator["Element"]:
        """This element and all within it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def above(self) -> Iterator["Element"]:
        """The elements that this one is in, from the nearest on."""
        each = self.parent
        while each is not None:
            yield each
            each = each.parent

    def first(self, tag: str) -> "Element | None":
        """The first child of a tag."""
        return next((child for child in self.children if child.tag == tag), None)

    def get(self, name: str, default: str = "") -> str:
        """An attribute."""
        return self.attributes.get(name, default)


class XmlText:
    """A document of which pieces can be replaced. Raises InputError for what is no such document.

    Args:
        content: of the file. name: what errors call it.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self.name, self.original = name, content
        self.encoding = encoding_of(content)
        try:
            self.data = content if self.encoding == "utf-8" else content.decode(self.encoding).encode()
            self.data.decode()
        except (UnicodeDecodeError, LookupError) as error:
            raise InputError(f"{name}: not {self.encoding.upper()} as it says ({error}); save it anew") from error
        self.root = self._parsed()
        self.changes: list[Edit] = []

    def _parsed(self) -> Element:
        parser, open_elements, roots = expat.ParserCreate("utf-8"), list[Element](), list[Element]()

        def begin(tag: str, attributes: dict[str, str]) -> None:
            start = parser.CurrentByteIndex
            written = _START.match(self.data, start)
            if written is None or len(open_elements) > DEEPEST:
                raise InputError(f"{self.name}: <{tag}> at byte {start} cannot be followed; save it anew")
            element = Element(tag, attributes, open_elements[-1] if open_elements else None, start, written.end())
            (open_elements[-1].children if open_elements else roots).append(element)
            open_elements.append(element)
            if written[1]:
                element.close = element.end = element.inner

        def end(_tag: str) -> None:
            element = open_elements.pop()
            if not element.end:
                element.close = parser.CurrentByteIndex
                element.end = self.data.index(b">", element.close) + 1

        def text(said: str) -> None:
            open_elements[-1].text += said

        def refuse(*_entity: object) -> None:
            raise InputError(f"{self.name}: it defines entities of its own, which no session does; not read")

        parser.StartElementHandler, parser.EndElementHandler = begin, end
        parser.CharacterDataHandler, parser.EntityDeclHandler = text, refuse
        parser.buffer_text = True
        try:
            parser.Parse(self.data, True)
        except expat.ExpatError as error:
            raise InputError(f"{self.name}: not well-formed XML ({error}); save it anew") from error
        return roots[0]

    def new_attribute(self, element: Element, name: str, value: str) -> list[Edit]:
        """The change that gives an attribute another value, where it is there."""
        return [attribute_change(self.data, element, name, value)] if name in element.attributes else []

    def without_attribute(self, element: Element, name: str) -> list[Edit]:
        """The change that takes an attribute away, where it is there."""
        every = _ATTRIBUTE.finditer(self.data, element.start, element.inner)
        return [(found.start(), found.end(), b"") for found in every if found[1].decode() == name]

    def new_text(self, element: Element, text: str) -> list[Edit]:
        """The change that gives an element that holds nothing but text another one."""
        return [(element.inner, element.close, escape(text).encode())]

    def without(self, element: Element) -> list[Edit]:
        """The change that takes an element away, with the blanks before it."""
        return [(len(self.data[: element.start].rstrip(b" \t\r\n")), element.end, b"")]

    def piece(self, start: int, end: int, changes: list[Edit]) -> str:
        """A copy of a piece with changes of its own."""
        inside = [(a - start, b - start, text) for a, b, text in changes]
        return changed(self.data[start:end], inside).decode()

    def blanks_before(self, element: Element) -> str:
        """The line break and the blanks that an element stands after."""
        before = self.data[: element.start]
        return before[len(before.rstrip(b" \t\r\n")) :].decode()

    def content(self) -> bytes:
        """The document with its changes, encoded as it was."""
        return self.encoded(changed(self.data, self.changes)) if self.changes else self.original

    def encoded(self, data: bytes) -> bytes:
        """UTF-8 in the document's own encoding; what that does not know is written by its number."""
        return data if self.encoding == "utf-8" else data.decode().encode(self.encoding, "xmlcharrefreplace")


def changed(data: bytes, changes: list[Edit]) -> bytes:
    """Bytes with pieces replaced; of two changes of one piece the first counts."""
    parts, at = list[bytes](), 0
    for start, end, text in sorted(changes, key=lambda change: change[:2]):
        if start < at:
            continue
        parts += [data[at:start], text]
        at = end
    return b"".join([*parts, data[at:]])


def attribute_change(data: bytes, element: Element, name: str, value: str) -> Edit:
    """The change that gives an attribute another value, in the quotes that it has."""
    for found in _ATTRIBUTE.finditer(data, element.start, element.inner):
        if found[1].decode() == name:
            quote = found[2][:1].decode()
            text = escape(value, {quote: "&quot;" if quote == '"' else "&apos;", "\n": "&#10;", "\t": "&#9;"})
            return found.start(2) + 1, found.end(2) - 1, text.encode()
    raise KeyError(name)


def encoding_of(content: bytes) -> str:
    """As the document's first bytes or its declaration say; else UTF-8."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return encoding
    declared = _DECLARED.match(content)
    name = declared[1].decode().lower() if declared else "utf-8"
    return "utf-8" if name in ("utf-8", "utf8", "us-ascii", "ascii") else name
