"""What an Ardour session file holds, and how a take is added to it.

Only what is needed is read, and everything else is written back as it was. A new take is a copy of the track's playlist
whose regions play other sources: gain, fades, envelope, position, trim and layer are copied with it.
"""

import copy
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stems import Channel


class SessionError(Exception):
    """The session cannot be used; the message says why."""


@dataclass(frozen=True)
class Take:
    """A track that plays audio, and its playlist."""

    track: str
    route: ET.Element
    playlist: ET.Element


@dataclass(frozen=True)
class NewTake:
    """What became of a track."""

    track: str
    before: str
    playlist: str
    regions: int


class SessionFile:
    """A session file in memory. Raises SessionError where it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.parent
        try:
            self.original = path.read_bytes()
            parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True, insert_pis=True))
            self.root = ET.fromstring(self.original, parser)
        except OSError as error:
            raise SessionError(f"{path}: cannot be read ({error.strerror})") from error
        except ET.ParseError as error:
            raise SessionError(f"{path}: not a session of Ardour ({error})") from error
        if self.root.tag != "Session" or any(
            self.root.find(part) is None for part in ("Sources", "Routes", "Playlists")
        ):
            raise SessionError(f"{path}: not a session of Ardour")
        self.sources = {each.get("id", ""): each for each in self.part("Sources") if each.get("type") == "audio"}
        ids = [int(each.get("id", "")) for each in self.root.iter() if (each.get("id") or "").isdigit()]
        self.last_id = max([int(self.root.get("id-counter", "0")), *ids])

    def part(self, name: str) -> ET.Element:
        found = self.root.find(name)
        return ET.SubElement(self.root, name) if found is None else found

    def new_id(self) -> str:
        self.last_id += 1
        return str(self.last_id)

    @property
    def audio_folder(self) -> Path:
        """Where Ardour keeps the audio of this session."""
        shared = self.folder / "interchange"
        folders = (
            [each for each in shared.iterdir() if each.is_dir() and each.name[0] != "."] if shared.is_dir() else []
        )
        if len(folders) != 1:
            raise SessionError(f"{shared}: holds {len(folders)} folders where Ardour keeps one")
        return folders[0] / "audiofiles"

    @property
    def reports(self) -> Path:
        """Where the reports of renders are kept; Ardour knows nothing of it."""
        return self.folder / "ttsr"

    def places(self) -> list[Path]:
        """Where Ardour looks for sources that are named without a folder."""
        extra = [each.get("value", "") for each in self.root.iter("Option") if each.get("name") == "audio-search-path"]
        return [self.audio_folder, *(Path(name) for value in extra for name in value.split(os.pathsep) if name)]

    def channel_of(self, source_id: str) -> Channel | None:
        """File and channel of a source; None for what is no file that can be found."""
        source = self.sources.get(source_id)
        if source is None:
            return None
        # The origin of a file outside the session is where it lies; of one inside it is only where it came from.
        name = origin if os.path.isabs(origin := source.get("origin", "")) else source.get("name", "")
        found = [place / name for place in self.places() if (place / name).is_file()]
        return (found[0], int(source.get("channel", "0"))) if found else None

    def takes(self, names: Iterable[str] = ()) -> list[Take]:
        """Tracks that play audio, all or those named. Raises SessionError for a name that no track has."""
        playlists = {each.get("id"): each for each in self.part("Playlists") if each.tag == "Playlist"}
        routes = [each for each in self.part("Routes") if each.get("audio-playlist") in playlists]
        known = [each.get("name", "") for each in routes]
        wanted = set(names)
        if wanted - set(known):
            missing = ", ".join(sorted(wanted - set(known)))
            raise SessionError(f"no audio track is named {missing}; there are: {', '.join(known)}")
        takes = [Take(route.get("name", ""), route, playlists[route.get("audio-playlist")]) for route in routes]
        return [take for take in takes if take.track in wanted or not wanted]

    def channels(self, region: ET.Element) -> list[Channel] | None:
        """What a region plays; None where that is not only files."""
        found = [self.channel_of(each) for each in sources_of(region)]
        known = [each for each in found if each is not None]
        return known if known and len(known) == len(found) else None

    def add_takes(self, takes: Iterable[Take], renders: Mapping[Channel, Channel]) -> list[NewTake]:
        """Give every track whose regions have been rendered a new playlist that plays the renders."""
        new_sources: dict[str, str] = {}
        names: dict[str, str] = {}
        made: dict[str, ET.Element] = {}
        sharing: dict[str, list[str]] = {}
        done = []
        for take in takes:
            changed = [each for each in take.playlist.iter("Region") if self.is_rendered(each, renders)]
            if not changed:
                continue
            before = take.playlist.get("id", "")
            if before not in made:
                for region in changed:
                    self.add_sources(region, renders, new_sources, names)
                made[before] = self.copied(take.playlist, new_sources, names)
            take.route.set("audio-playlist", made[before].get("id", ""))
            sharing[before] = [*sharing.get(before, []), take.route.get("id", "")]
            done.append(NewTake(take.track, take.playlist.get("name", ""), made[before].get("name", ""), len(changed)))
        for before, routes in sharing.items():  # tracks that shared the old playlist share the new one
            made[before].set("shared-with-ids", ",".join(routes) if len(routes) > 1 else "")
        self.retire(made)
        self.root.set("id-counter", str(self.last_id + 1))
        return done

    def is_rendered(self, region: ET.Element, renders: Mapping[Channel, Channel]) -> bool:
        channels = self.channels(region)
        return channels is not None and all(channel in renders for channel in channels)

    def add_sources(
        self, region: ET.Element, renders: Mapping[Channel, Channel], new: dict[str, str], names: dict[str, str]
    ) -> None:
        """Add the sources that a region will play, and the region of the whole file that Ardour lists."""
        old = sources_of(region)
        for each in old:
            channel = self.channel_of(each)
            if each not in new and channel is not None:
                new[each] = self.add_source(self.sources[each], renders[channel])
        names[region.get("id", "")] = Path(self.sources[new[old[0]]].get("name", "")).stem
        whole = [each for each in self.part("Regions") if each.get("whole-file") == "1" and sources_of(each) == old]
        if whole and not any(sources_of(each) == [new[one] for one in old] for each in self.part("Regions")):
            self.part("Regions").append(self.copied_region(whole[0], new, names[region.get("id", "")]))

    def add_source(self, old: ET.Element, render: Channel) -> str:
        """A source like the old one: where it was recorded and its gain stay, its file does not."""
        path, channel = render
        source = copy.deepcopy(old)
        source.attrib |= {"name": path.name, "id": self.new_id(), "channel": str(channel), "flags": "", "origin": ""}
        for marks in source.findall("xruns"):
            source.remove(marks)
        self.part("Sources").append(source)
        self.sources[source.get("id", "")] = source
        return source.get("id", "")

    def copied(self, playlist: ET.Element, sources: Mapping[str, str], names: Mapping[str, str]) -> ET.Element:
        """A copy of a playlist under the next free name, as Ardour would name it."""
        taken = {each.get("name", "") for each in self.root.iter("Playlist")}
        name = bumped(playlist.get("name", ""))
        while name in taken:
            name = bumped(name)
        twin = ET.SubElement(self.part("Playlists"), "Playlist", playlist.attrib)
        twin.attrib |= {"id": self.new_id(), "name": name, "shared-with-ids": ""}
        for each in playlist:
            is_region = each.tag == "Region"
            twin.append(
                self.copied_region(each, sources, names.get(each.get("id", ""))) if is_region else copy.deepcopy(each)
            )
        return twin

    def copied_region(self, region: ET.Element, sources: Mapping[str, str], name: str | None) -> ET.Element:
        """A copy of a region; with a name it plays the new sources, else what it played."""
        twin = copy.deepcopy(region)
        for each in twin.iter():
            if "id" in each.attrib:
                each.set("id", self.new_id())
        if name is None:
            return twin
        taken = {each.get("name", "") for each in self.root.iter("Region")}
        while name in taken:
            name = bumped(name)
        twin.set("name", name)
        for key, value in region.attrib.items():
            if re.fullmatch(r"(master-)?source-\d+", key):
                twin.set(key, sources.get(value, value))
        return twin

    def retire(self, playlists: Iterable[str]) -> None:
        """Keep playlists that no track plays any more where Ardour keeps the other takes of a track."""
        played = {each.get("audio-playlist") for each in self.part("Routes")}
        left = set(playlists) - played
        for each in list(self.part("Playlists")):
            if each.get("id") in left:
                self.part("Playlists").remove(each)
                self.part("UnusedPlaylists").append(each)

    def to_bytes(self) -> bytes:
        """The file, laid out as Ardour does it. No text holds ` />` as it stands: the sign at its end is escaped."""
        ET.indent(self.root)
        text: bytes = ET.tostring(self.root, encoding="utf-8").replace(b" />", b"/>")
        return b'<?xml version="1.0" encoding="UTF-8"?>\n' + text + b"\n"


def sources_of(region: ET.Element) -> list[str]:
    """Ids of the sources of a region, by channel."""
    count = int(region.get("channels", "1"))
    return [region.get(f"source-{channel}", "") for channel in range(count)]


def bumped(name: str) -> str:
    """The next name as Ardour counts them: `Stem`, `Stem.1`, `Stem.2`."""
    base, number = re.fullmatch(r"(.*?)(?:\.(\d+))?", name, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{base}.{int(number or 0) + 1}"
