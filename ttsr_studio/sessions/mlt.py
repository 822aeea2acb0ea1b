"""Where MLT XML (kdenlive, Shotcut) names files: the property `resource` of producers and chains."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ttsr_studio.sessions.media import Replacement, Use
from ttsr_studio.sessions.text_session import Reference
from ttsr_studio.sessions.xml_text import Edit, Element, XmlText

_SPEED = re.compile(r"^(-?[\d.]+:)(.+)$", re.DOTALL)
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)")
OF_FILES = ("avformat", "avformat-novalidate", "timewarp", "")
NO_PROXY = ("", "-")
HASHED = 1_000_000
"""Bytes at both ends of a file that kdenlive knows it by, where it has twice as many."""


def mlt_folder(document: XmlText, path: Path) -> tuple[Path, bool]:
    """The folder that relative names start from, and whether the session itself says so."""
    root = document.root.get("root")
    return (Path(root), True) if root and Path(root).is_dir() and Path(root).is_absolute() else (path.parent, False)


def mlt_references(document: XmlText) -> tuple[Sequence[str], Sequence[Reference]]:
    """Names of tracks, and every file that is named."""
    producers = [each for each in document.root.walk() if each.tag in ("producer", "chain")]
    names, uses = tracks_of(document.root)
    found = []
    for each in producers:
        properties = properties_of(each)
        resource = properties.get("resource")
        service = properties["mlt_service"].text if "mlt_service" in properties else ""
        if resource is None or service not in OF_FILES or not resource.text.strip():
            continue
        said = resource.text
        speed = _SPEED.match(said) if service == "timewarp" else None
        played = tuple(uses.get(each.get("id"), ()))
        proxy = properties["kdenlive:proxy"].text if "kdenlive:proxy" in properties else ""
        trouble = "" if proxy in NO_PROXY else "plays a proxy; turn proxies off in the editor and save"
        mute = "audio_index" in properties and properties["audio_index"].text == "-1"
        if speed:
            played = tuple(Use(use.track, use.clip, use.at) for use in played)
        edits = partial(renamed_producer, document, properties, speed[1] if speed else "")
        found.append(
            Reference(speed[2] if speed else said, played, edits, trouble=trouble, aside="" if not mute else MUTE)
        )
    sounding = {each.said for each in found if not each.aside}
    return names, [
        Reference(each.said, each.uses, each.edits, trouble=each.trouble) if each.said in sounding else each
        for each in found
    ]


MUTE = "has no sound"


def properties_of(element: Element) -> Mapping[str, Element]:
    """Properties by name."""
    return {each.get("name"): each for each in element.children if each.tag == "property"}


def tracks_of(root: Element) -> tuple[list[str], dict[str, list[Use]]]:
    """Names of tracks, and where they play what producer."""
    playlists = {each.get("id"): each for each in root.walk() if each.tag == "playlist"}
    rate = frames_a_second(root)
    names, uses = dict[str, None](), dict[str, list[Use]]()
    for tractor in (each for each in root.walk() if each.tag == "tractor"):
        for track in (each for each in tractor.walk() if each.tag == "track"):
            playlist = playlists.get(track.get("producer"))
            if playlist is None or playlist.get("id") == "main_bin":
                continue
            name = track_name(tractor, playlist)
            names[name] = None
            at = 0.0
            for entry in playlist.children:
                begin, end = (clock(entry.get(key), rate) for key in ("in", "out"))
                if entry.tag == "blank":
                    at += clock(entry.get("length"), rate) or 0.0
                elif entry.tag == "entry":
                    stop = None if end is None else end + 1 / rate
                    place = Use(name, "", f"{at:.3f} s", begin or 0.0, stop)
                    uses.setdefault(entry.get("producer"), []).append(place)
                    at += 0.0 if stop is None else stop - (begin or 0.0)
    return list(names), uses


def track_name(tractor: Element, playlist: Element) -> str:
    """What the editor calls a track: kdenlive has a tractor for each, Shotcut a playlist."""
    told, own = properties_of(tractor), properties_of(playlist)
    for properties, key in ((told, "kdenlive:track_name"), (own, "shotcut:name")):
        if key in properties and properties[key].text:
            return properties[key].text
    return tractor.get("id") if "kdenlive:track_name" in told else playlist.get("id")


def frames_a_second(root: Element) -> float:
    """Of the profile; 25 where there is none."""
    profile = next((each for each in root.walk() if each.tag == "profile"), None)
    try:
        return float(profile.get("frame_rate_num")) / float(profile.get("frame_rate_den", "1")) if profile else 25.0
    except (ValueError, ZeroDivisionError):
        return 25.0


def clock(text: str, rate: float) -> float | None:
    """A time as MLT writes it, frames or hours, minutes and seconds, in seconds; None where there is none."""
    if text.strip().isdigit():
        return int(text) / rate
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    return int(found[1] or 0) * 3600 + int(found[2]) * 60 + float(found[3].replace(",", "."))


def renamed_producer(
    document: XmlText, properties: Mapping[str, Element], speed: str, name: str, render: Replacement | None
) -> list[Edit]:
    """What changes where a producer plays another file: its name, and what it is known by."""
    old = properties["resource"].text.removeprefix(speed)
    edits = document.new_text(properties["resource"], speed + name)
    for key in ("warp_resource", "kdenlive:originalurl"):
        if key in properties and properties[key].text == old:
            edits += document.new_text(properties[key], name)
    if render is None:
        return edits
    new = {"kdenlive:file_size": str(render.render.stat().st_size), "kdenlive:file_hash": file_hash(render.render)}
    for key, element in properties.items():
        if re.fullmatch(r"meta\.media\.\d+\.codec\.sample_rate", key) and element.text == str(render.source_rate):
            new[key] = str(render.rate)
    return edits + [edit for key in new if key in properties for edit in document.new_text(properties[key], new[key])]


def file_hash(path: Path) -> str:
    """What kdenlive knows a file by: MD5 of all of it, or of both its ends."""
    found = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        if path.stat().st_size > 2 * HASHED:
            found.update(file.read(HASHED))
            file.seek(-HASHED, 2)
        found.update(file.read())
    return found.hexdigest()
