"""Sessions of editors for tests: one cut of two files on two tracks, in every way that there is of writing it."""

import contextlib
import io
from pathlib import Path

import opentimelineio as otio
from dawprojects import sound

FPS, LENGTH = 25, 25
"""Frames a second, and of a file."""
PLAYED = ((5, 20), (0, 25))
"""Of each file, its first frame and how many are played, after a gap of ten frames."""
GAP = 10

FCPXML = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE fcpxml>

<fcpxml version="1.11">
    <resources>
        <format id="r1" frameDuration="1/25s" width="1920" height="1080"/>
        <asset id="r2" name="voice" uid="0123ABC" start="3600s" duration="1s" hasAudio="1" audioSources="1" audioChannels="1" audioRate="22050">
            <media-rep kind="original-media" sig="0123ABC" src="{voice}">
                <bookmark>Ym9va21hcms=</bookmark>
            </media-rep>
            <media-rep kind="proxy-media" sig="77" src="file:///proxies/voice.mov"/>
        </asset>
        <asset id="r3" name="drums" start="0s" duration="1s" hasAudio="1" src='{drums}'/>
        <asset id="r4" name="picture" start="0s" duration="0s" hasVideo="1" src="file:///pictures/a.png"/>
    </resources>
    <library>
        <event name="e &amp; f">
            <project name="cut"><sequence format="r1" duration="3s"><spine>
                <asset-clip ref="r2" offset="0s" name="voice" start="90005/25s" duration="20/25s" audioRole="dialogue"/>
                <clip offset="1s" name="drums" duration="1s"><audio ref="r3" lane="-1" offset="0s" duration="1s" role="music"/></clip>
                <video ref="r4" offset="2s" duration="1s"/>
            </spine></sequence></project>
        </event>
    </library>
</fcpxml>
"""  # noqa: E501


def media(folder: Path, rate: int = 22050) -> list[Path]:
    """Two files: a voice at a rate, and drums at 48 kHz whose name is no ASCII."""
    return [sound(folder / "media/My voice.wav", 1.0, rate), sound(folder / "media/drums é.wav", 1.0, 48000, 2)]


def timeline(files: list[Path], relative_to: Path | None = None) -> otio.schema.Timeline:
    """The cut; with a folder its media are named relative to it."""

    def time(frames: int) -> otio.opentime.RationalTime:
        return otio.opentime.RationalTime(frames, FPS)

    def span(start: int, length: int) -> otio.opentime.TimeRange:
        return otio.opentime.TimeRange(time(start), time(length))

    made = otio.schema.Timeline("cut")
    for name in ("Dialogue", "Music"):
        track = otio.schema.Track(name, kind="Audio")
        made.tracks.append(track)
        for path, (start, length) in zip(files, PLAYED, strict=True):
            url = path.relative_to(relative_to).as_posix() if relative_to else path.as_uri()
            track.append(otio.schema.Gap(source_range=span(0, GAP)))
            reference = otio.schema.ExternalReference(url, span(0, LENGTH))
            track.append(otio.schema.Clip(path.name, reference, span(start, length)))
    return made


def cut(folder: Path, ending: str, rate: int = 22050) -> Path:
    """The cut as a session of a kind, with its media beside it."""
    files, path = media(folder, rate), folder / f"cut{ending}"
    if ending == ".fcpxml":
        voice, drums = (each.as_uri() for each in files)
        path.write_text(FCPXML.format(voice=voice, drums=drums), encoding="utf-8")
        return path
    adapter = {".otio": "otio_json", ".xml": "fcp_xml", ".kdenlive": "kdenlive"}[ending]
    with contextlib.redirect_stdout(io.StringIO()):  # one of them prints
        otio.adapters.write_to_file(timeline(files), str(path), adapter_name=adapter)
    return path
