"""From one editor's session to another's, by the adapters of OpenTimelineIO; what is lost on the way is said."""

from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from ttsr_studio.errors import MissingError, OutputError, first_line, pip_install, shown
from ttsr_studio.sessions.media import Replacement, SessionChange, SessionFile, Target
from ttsr_studio.sessions.places import found_file
from ttsr_studio.sessions.writing import write_session
from ttsr_studio.storage.atomic import hidden

ADAPTERS = {".otio": "otio_json", ".fcpxml": "fcpx_xml", ".xml": "fcp_xml", ".kdenlive": "kdenlive"}
"""Adapter by the file's ending."""
COUNTED = ("Track", "Clip", "Gap", "Transition", "Marker", "Effect")


def convertible(source: Path, out: Path) -> bool:
    """Whether there are adapters from one kind to the other."""
    return source.suffix.lower() in ADAPTERS and out.suffix.lower() in ADAPTERS


def adapters() -> Any:
    """OpenTimelineIO. Raises MissingError where it is not installed."""
    try:
        import opentimelineio
    except ImportError as error:
        raise MissingError(f"another kind of session needs it: {pip_install('ttsr-studio[sessions]')}") from error
    return opentimelineio


def write_converted(session: SessionFile, target: Target, renders: Sequence[Replacement]) -> SessionChange:
    """Write a session with renders in it, as one of another kind. Raises OutputError and MissingError."""
    otio, ending = adapters(), session.path.suffix.lower()
    middle = hidden(target.out.with_suffix(ending))
    try:
        change = session.write(replace(target, out=middle, overwrite=True), renders)
        timeline = read_timeline(otio, middle, ADAPTERS[ending])
    finally:
        middle.unlink(missing_ok=True)
    named_anew(otio, timeline, target.out)
    adapter = ADAPTERS[target.out.suffix.lower()]
    read_back = list[Any]()

    def make(temporary: Path) -> None:
        try:
            with redirect_stdout(StringIO()):
                otio.adapters.write_to_file(timeline, str(temporary), adapter_name=adapter)
                read_back.append(otio.adapters.read_from_file(str(temporary), adapter_name=adapter))
        except OSError:
            raise
        except Exception as error:  # whatever an adapter meets
            why = f"the adapter {adapter} cannot write it ({type(error).__name__}: {first_line(error)})"
            raise OutputError(f"{shown(target.out)}: {why}; write {session.path.suffix} or .otio") from error

    write_session(target.out, target.overwrite, make)
    change.notes.append(f"written by the adapter {adapter}; {lost(otio, timeline, read_back[0])}")
    return change


def read_timeline(otio: Any, path: Path, adapter: str) -> Any:
    """A timeline. Raises OutputError for what an adapter cannot read."""
    try:
        with redirect_stdout(StringIO()):  # one of them prints
            return otio.adapters.read_from_file(str(path), adapter_name=adapter)
    except Exception as error:  # whatever an adapter meets
        why = f"the adapter {adapter} cannot read it ({type(error).__name__}: {first_line(error)})"
        raise OutputError(f"{why}; write the session's own kind instead") from error


def named_anew(otio: Any, timeline: Any, out: Path) -> None:
    """Let every medium be named as the other program takes it: kdenlive a path, the others a URL."""
    for clip in timeline_clips(timeline):
        for media in clip.media_references().values():
            if isinstance(media, otio.schema.ExternalReference):
                path, _, _ = found_file(media.target_url, out.parent)
                if path is not None:
                    whole = path.absolute()
                    media.target_url = str(whole) if out.suffix.lower() == ".kdenlive" else whole.as_uri()


def timeline_clips(timeline: Any) -> list[Any]:
    """Every clip of a timeline or of a collection of them."""
    return list(timeline.find_clips())


def lost(otio: Any, before: Any, after: Any) -> str:
    """What an adapter did not keep, in words."""
    one, other = counted(otio, before), counted(otio, after)
    gone = [f"{other[name]} of {one[name]} {name.lower()}s" for name in COUNTED if other[name] < one[name]]
    return f"of what it was, {', '.join(gone)} are left" if gone else "tracks, clips, markers and effects are all there"


def counted(otio: Any, timeline: Any) -> Counter[str]:
    """How many things of each kind a timeline has."""
    found = Counter[str]()
    for name in ("Track", "Clip", "Gap", "Transition"):
        found[name] = len(timeline.find_children(getattr(otio.schema, name)))
    for item in timeline.find_children(otio.core.Item):
        found["Marker"] += len(item.markers)
        found["Effect"] += len(item.effects)
    return found
