"""Where Final Cut Pro 7 XML (xmeml; Premiere, Resolve, Avid) names files: the `pathurl` of `file` elements."""

from collections.abc import Sequence
from functools import partial

from ttsr_studio.sessions.media import Replacement, Use
from ttsr_studio.sessions.text_session import Reference
from ttsr_studio.sessions.xml_text import Edit, Element, XmlText

SPEED = ("timeremap", "Time Remap")


def fcp7_references(document: XmlText) -> tuple[Sequence[str], Sequence[Reference]]:
    """Names of tracks, A1 and V1 and on, and every file that is named."""
    names, uses = dict[str, None](), dict[str, list[Use]]()
    for media in (each for each in document.root.walk() if each.tag == "media"):
        for kind, letter in (("video", "V"), ("audio", "A")):
            part = media.first(kind)
            tracks = [each for each in part.children if each.tag == "track"] if part else []
            for number, track in enumerate(tracks, 1):
                names[f"{letter}{number}"] = None
                for item in (each for each in track.children if each.tag == "clipitem"):
                    file = item.first("file")
                    if file is not None:
                        uses.setdefault(file.get("id"), []).append(clip_use(item, f"{letter}{number}"))
    found = []
    for file in (each for each in document.root.walk() if each.tag == "file"):
        url = file.first("pathurl")
        if url is not None:
            media_of = file.first("media")
            aside = "has no sound" if media_of and media_of.children and not media_of.first("audio") else ""
            played = tuple(uses.get(file.get("id"), ()))
            found.append(Reference(url.text.strip(), played, partial(renamed_file, document, file, url), aside=aside))
    return list(names), found


def clip_use(item: Element, track: str) -> Use:
    """What a clip plays of its file, by frames from `in` to `out`."""
    values = {name: number_in(item, name) for name in ("start", "in", "out")}
    name, at = text_in(item, "name"), f"frame {values['start']:g}" if values["start"] is not None else ""
    rate, begin, end = frame_rate(item), values["in"], values["out"]
    effects = [text_in(each, "effectid") for each in item.walk() if each.tag == "effect"]
    if rate is None or begin is None or end is None or end <= begin or any(each in SPEED for each in effects):
        return Use(track, name, at)
    return Use(track, name, at, begin / rate, end / rate)


def frame_rate(item: Element) -> float | None:
    """Frames a second of a clip; NTSC's are a thousandth slower."""
    for each in (item, *item.above()):
        rate = each.first("rate")
        base = number_in(rate, "timebase") if rate else None
        if rate and base:
            return base * 1000 / 1001 if text_in(rate, "ntsc").upper() == "TRUE" else base
    return None


def text_in(element: Element, tag: str) -> str:
    """The text of a child; empty where there is none."""
    child = element.first(tag)
    return child.text.strip() if child else ""


def number_in(element: Element, tag: str) -> float | None:
    """The number in a child; None where there is none."""
    try:
        return float(text_in(element, tag))
    except ValueError:
        return None


def renamed_file(document: XmlText, file: Element, url: Element, name: str, render: Replacement | None) -> list[Edit]:
    """What changes where a file is another: its path, and the rate that it is said to have."""
    edits = document.new_text(url, name)
    audio = next((each for each in file.walk() if each.tag == "audio"), None)
    for each in audio.walk() if audio and render else ():
        if render and each.tag == "samplerate" and each.text.strip().isdigit():
            edits += document.new_text(each, str(render.rate))
    return edits
