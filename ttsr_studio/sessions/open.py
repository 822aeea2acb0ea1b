"""Which session a file is."""

from collections.abc import Callable
from pathlib import Path

from ttsr_studio.errors import InputError, OptionError, nearest, shown
from ttsr_studio.sessions.aaf import AafFile
from ttsr_studio.sessions.dawproject import DawProject
from ttsr_studio.sessions.editorial_xml import EditorialXml
from ttsr_studio.sessions.media import SessionFile
from ttsr_studio.sessions.otio import OtioFile
from ttsr_studio.sessions.rpp import ReaperProject

KINDS: dict[str, Callable[[Path], SessionFile]] = {
    ".dawproject": DawProject,
    ".otio": OtioFile,
    ".fcpxml": EditorialXml,
    ".xml": EditorialXml,
    ".kdenlive": EditorialXml,
    ".mlt": EditorialXml,
    ".rpp": ReaperProject,
    ".aaf": AafFile,
}
"""By the file's ending."""


def open_session(path: Path) -> SessionFile:
    """Read a session. Raises OptionError for an ending that is none, InputError for what cannot be read."""
    ending = path.suffix.lower()
    if ending not in KINDS:
        known = ", ".join(KINDS)
        raise OptionError(f"{shown(path)}: no session that is known; known endings: {known}{nearest(ending, KINDS)}")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise InputError(f"{shown(path)}: {what}; name a session")
    return KINDS[ending](path)
