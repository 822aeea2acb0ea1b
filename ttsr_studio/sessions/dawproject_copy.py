"""Renders as alternatives in a DAWproject: a muted copy of every track whose clips have been rendered."""

from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

from ttsr_studio.sessions.xml_text import Edit, Element, XmlText, attribute_change

REFERENCES = ("id", "track", "reference", "parameter", "destination")
"""Attributes that hold an id, or lead to one."""
AFTER_MUTE = ("Pan", "Sends", "Volume")
"""What follows the mute in a channel, as the schema has it."""


def muted_copies(document: XmlText, wanted: Mapping[int, list[Edit]]) -> list[str]:
    """Put a muted copy beside every track that plays what is wanted otherwise; what could not be copied, in words.

    Args:
        wanted: by `id()` of `Audio` elements, what changes in their copies.
    """
    owners = dict[str, list[Element]]()
    for element in document.root.walk():
        if element.get("track") and not any(each.get("track") for each in element.above()):
            owners.setdefault(element.get("track"), []).append(element)
    tracks = {each.get("id"): each for each in document.root.walk() if each.tag == "Track"}
    notes, done = [], set[int]()
    for name, timelines in owners.items():
        mine = [each for each in timelines if any(id(inner) in wanted for inner in each.walk())]
        if not mine or name not in tracks:
            continue
        track = tracks[name]
        alone = [each for each in mine if each.parent is None or each.parent.tag != "Lanes"]
        notes += [f"{track.get('name')}: <{each.tag}> holds one timeline only, so it gets no copy" for each in alone]
        mine = [each for each in mine if each not in alone]
        if mine:
            copy_track(document, track, mine, wanted)
            done |= {id(inner) for each in mine for inner in each.walk()}
    left = len(set(wanted) - done)
    return [*notes, *([f"{left} clips are on no track of their own and got no alternative"] if left else [])]


def copy_track(document: XmlText, track: Element, timelines: list[Element], wanted: Mapping[int, list[Edit]]) -> None:
    """Add the copy of one track, without the tracks in it, and of its timelines."""
    known = {each.get("id") for each in document.root.walk()}
    own = [each for top in (track, *timelines) for each in top.walk() if not within_other_track(each, track)]
    new = dict[str, str]()
    for each in own:
        if each.get("id"):
            new[each.get("id")] = fresh(each.get("id"), known)
    mutes = {mute.get("id") for mute in own if mute.tag == "Mute"}
    for top in (track, *timelines):
        changes = [change for each in top.walk() for change in renamed(document, each, new)]
        changes += [change for each in top.walk() for change in wanted.get(id(each), ())]
        if top is track:
            changes += as_muted(document, track)
        elif track.first("Channel") is None:
            changes += [disabled(document, each) for each in outer_clips(top)]
        for each in top.walk():
            target = each.first("Target") if each.tag == "Points" else None
            if target is not None and target.get("parameter") in mutes:
                changes.append((each.start, each.end, b""))  # it would take the mute away
        text = document.piece(top.start, top.end, outermost(changes))
        document.changes.append((top.end, top.end, (document.blanks_before(top) + text).encode()))


def within_other_track(element: Element, track: Element) -> bool:
    """Whether an element belongs to a track that lies in this one."""
    ways = [element, *element.above()]
    return track in ways and any(each.tag == "Track" for each in ways[: ways.index(track)])


def fresh(name: str, known: set[str]) -> str:
    """An id that is not taken, and takes it."""
    number, found = 1, f"{name}-ttsr"
    while found in known:
        number, found = number + 1, f"{name}-ttsr{number + 1}"
    known.add(found)
    return found


def renamed(document: XmlText, element: Element, new: Mapping[str, str]) -> list[Edit]:
    """Changes that let ids of an element be those of the copy; what leads elsewhere still does."""
    return [
        attribute_change(document.data, element, name, new[element.get(name)])
        for name in REFERENCES
        if element.get(name) in new
    ]


def as_muted(document: XmlText, track: Element) -> list[Edit]:
    """Changes that name the copy of a track, mute it, and leave out the tracks in it."""
    changes = [(each.start, each.end, b"") for each in track.children if each.tag == "Track"]
    name = f"{track.get('name') or track.get('id')} (TTSR)"
    if "name" in track.attributes:
        changes.append(attribute_change(document.data, track, "name", name))
    else:
        end_of_tag = track.start + 1 + len(track.tag.encode())
        changes.append((end_of_tag, end_of_tag, f" name={quoteattr(name)}".encode()))
    channel = track.first("Channel")
    if channel is None:
        return changes
    if channel.get("solo") in ("true", "1"):
        changes.append(attribute_change(document.data, channel, "solo", "false"))
    mute = channel.first("Mute")
    if mute is not None and "value" in mute.attributes:
        changes.append(attribute_change(document.data, mute, "value", "true"))
    elif mute is None:
        changes.append(new_mute(channel))
    return changes


def outer_clips(timeline: Element) -> list[Element]:
    """Clips that are in no other clip."""
    clips = [each for each in timeline.walk() if each.tag == "Clip"]
    return [clip for clip in clips if not any(each.tag == "Clip" for each in clip.above())]


def disabled(document: XmlText, clip: Element) -> Edit:
    """The change that lets a clip be silent."""
    if "enable" in clip.attributes:
        return attribute_change(document.data, clip, "enable", "false")
    end_of_tag = clip.start + 1 + len(clip.tag.encode())
    return end_of_tag, end_of_tag, b' enable="false"'


def new_mute(channel: Element) -> Edit:
    """The change that gives a channel a mute, where its schema wants it."""
    if channel.inner == channel.end:  # an empty element
        return channel.inner - 2, channel.inner, b'><Mute value="true"/></Channel>'
    follower = next((each for each in channel.children if each.tag in AFTER_MUTE), None)
    at = follower.start if follower else channel.close
    return at, at, b'<Mute value="true"/>'


def outermost(changes: list[Edit]) -> list[Edit]:
    """Changes without those of pieces that are left out."""
    gone = [(start, end) for start, end, text in changes if not text and end > start]
    return [
        change for change in changes if not any(start <= change[0] and change[1] <= end and (start, end) != change[:2]
                                                for start, end in gone)
    ]  # fmt: skip
