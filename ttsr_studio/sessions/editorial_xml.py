"""Sessions of editors in XML: Final Cut Pro (FCPXML), Final Cut Pro 7, Premiere and Resolve (xmeml), kdenlive (MLT)."""

from pathlib import Path

from ttsr_studio.errors import InputError, shown
from ttsr_studio.sessions.fcp7 import fcp7_references
from ttsr_studio.sessions.fcpxml import fcpxml_references
from ttsr_studio.sessions.mlt import mlt_folder, mlt_references
from ttsr_studio.sessions.text_session import TextSession, read_text
from ttsr_studio.sessions.xml_text import Edit, XmlText, changed

READERS = {
    "fcpxml": ("FCPXML", fcpxml_references),
    "xmeml": ("Final Cut Pro 7 XML", fcp7_references),
    "mlt": ("MLT (kdenlive)", mlt_references),
}
"""By the root's tag: what it is, and what finds the names of files in it."""


class EditorialXml(TextSession):
    """A session in XML, of the kind that its root says. Raises InputError where it is none."""

    def __init__(self, path: Path) -> None:
        self.document = XmlText(read_text(path), shown(path))
        tag = self.document.root.tag
        if tag not in READERS:
            raise InputError(f"{shown(path)}: <{tag}> is no session that is known; known: {', '.join(READERS)}")
        self.kind, references_of = READERS[tag]
        names, found = references_of(self.document)
        super().__init__(path, names)
        self.references = found
        if tag == "mlt":
            self.folder, self.fixed = mlt_folder(self.document, path)

    def finish(self, edits: list[Edit]) -> bytes:
        """The text with edits, encoded as it was."""
        done = changed(self.document.data, edits)
        return self.document.encoded(done)
