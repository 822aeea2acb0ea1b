"""Where FCPXML (Final Cut Pro X, Resolve) names files: `asset` elements, and what plays them.

The format: https://developer.apple.com/documentation/professional-video-applications/fcpxml-reference
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import partial

from ttsr_studio.sessions.media import Replacement, Use
from ttsr_studio.sessions.text_session import Reference
from ttsr_studio.sessions.xml_text import Edit, Element, XmlText


def fcpxml_references(document: XmlText) -> tuple[Sequence[str], Sequence[Reference]]:
    """Names of tracks, which are roles and lanes, and every file that an asset names."""
    assets = {each.get("id"): each for each in document.root.walk() if each.tag == "asset"}
    uses: dict[str, list[Use]] = {name: [] for name in assets}
    for each in document.root.walk():
        if each.get("ref") in assets and each.tag in ("asset-clip", "audio", "video", "clip"):
            uses[each.get("ref")].append(use_of(each, assets[each.get("ref")]))
    found = []
    for name, asset in assets.items():
        aside = "" if asset.get("hasAudio") == "1" or "hasVideo" not in asset.attributes else "has no sound"
        for holder in (asset, *(each for each in asset.children if is_original(each))):
            if "src" in holder.attributes:
                edits = partial(renamed_asset, document, asset, holder)
                found.append(Reference(holder.get("src"), tuple(uses[name]), edits, aside=aside))
    names = dict.fromkeys(use.track for each in uses.values() for use in each)
    return list(names), found


def is_original(element: Element) -> bool:
    """Whether an element names an asset's own file, and no proxy of it."""
    return element.tag == "media-rep" and element.get("kind", "original-media") == "original-media"


def use_of(clip: Element, asset: Element) -> Use:
    """What a clip plays of an asset; of one whose speed is changed that may be all."""
    begin = seconds(asset.get("start", "0s"))
    start = seconds(clip.get("start", asset.get("start", "0s"))) - begin
    length = clip.get("duration")
    of_speed = any(each.first("timeMap") for each in (clip, *clip.above()))
    name = clip.get("name") or next((each.get("name") for each in clip.above() if each.get("name")), "")
    if of_speed or not length:
        return Use(track_of(clip), name, clip.get("offset", "0s"))
    return Use(track_of(clip), name, clip.get("offset", "0s"), float(start), float(start + seconds(length)))


def track_of(clip: Element) -> str:
    """A role, else a lane: FCPXML has no tracks."""
    ways = [clip, *clip.above()]
    role = next(
        (each.get("audioRole") or each.get("role") for each in ways if each.get("audioRole", each.get("role"))), ""
    )
    return role or f"lane {next((each.get('lane') for each in ways if each.get('lane')), '0')}"


def seconds(text: str) -> Fraction:
    """A time as FCPXML writes it, "1001/30000s", in seconds; 0 for what is none."""
    try:
        return Fraction(text.strip().removesuffix("s"))
    except (ValueError, ZeroDivisionError):
        return Fraction(0)


def renamed_asset(
    document: XmlText, asset: Element, holder: Element, name: str, render: Replacement | None
) -> list[Edit]:
    """What changes where an asset is another file: what marks the old one, by which it would be found again, goes."""
    edits = document.new_attribute(holder, "src", name)
    if render is None:
        return edits
    edits += document.without_attribute(asset, "uid") + document.without_attribute(holder, "sig")
    edits += [edit for each in holder.children if each.tag == "bookmark" for edit in document.without(each)]
    if asset.get("audioRate").isdigit():
        edits += document.new_attribute(asset, "audioRate", str(render.rate))
    return edits
