"""DAWproject files for tests: a session with all that a clip may be, and the example that the format's README has."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import soundfile
from helpers import below, voice
from lxml import etree

SCHEMAS = Path(__file__).parent.parent / "ttsr_studio" / "sessions" / "schemas"

CHANNEL = """<Channel audioChannels="2" destination="master" role="regular" solo="false" id="c-{0}">
        <Mute value="false" id="m-{0}" name="Mute"/>
        <Pan max="1.0" min="0.0" unit="normalized" value="0.5" id="p-{0}" name="Pan"/>
        <Volume max="2.0" min="0.0" unit="linear" value="0.6" id="v-{0}" name="Volume"/>
      </Channel>"""

PROJECT = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<!-- a comment  with   blanks -->
<Project version="1.0">
  <Application name="Bitwig Studio"   version='5.0'/>
  <Transport>
    <Tempo max="666.0" min="20.0" unit="bpm" value="120.0" id="tempo" name="Tempo"/>
    <TimeSignature denominator="4" numerator="4" id="ts"/>
  </Transport>
  <Structure>
    <Track contentType="audio" loaded="true" id="vox" name="Vocals" color="#a2eabf">
      {vox}
    </Track>
    <Track contentType="tracks" loaded="true" id="group" name="Group">
      <Track contentType="audio" loaded="true" id="drums" name="Drums &amp; Bass">
      {drums}
      </Track>
    </Track>
    <Track contentType="audio" id="ref" name="Référence"/>
    <Track contentType="audio notes" loaded="true" id="mt" name="Master">
      <Channel audioChannels="2" role="master" id="master"/>
    </Track>
  </Structure>
  <Arrangement id="arr">
    <Lanes timeUnit="beats" id="lanes">
      <Lanes track="vox" id="lv">
        <Clips id="cv">
          <Clip time="0.0" duration="2.0" contentTimeUnit="seconds" playStart="0.0" name="one">
            <Audio channels="1" sampleRate="22050" duration="1.5" id="a1"><File path="audio/My vocals.wav"/></Audio>
          </Clip>
          <Clip time="4.0" duration="1.0" contentTimeUnit="seconds" playStart="1.0" name="two">
            <Audio channels="1" sampleRate="22050" duration="1.5" id="a2"><File path="audio/My vocals.wav"/></Audio>
          </Clip>
        </Clips>
        <Points id="auto" unit="linear">
          <Target parameter="v-vox"/>
          <RealPoint time="0.0" value="0.5" interpolation="linear"/>
        </Points>
      </Lanes>
      <Lanes track="drums" id="ld">
        <Clips id="cd">
          <Clip time="0.0" duration="8.0" playStart="0.0" loopStart="0.0" loopEnd="2.0" name="loop">
            <Clips id="inner">
              <Clip time="0.0" duration="2.0" contentTimeUnit="beats" playStart="0.0">
                <Warps contentTimeUnit="seconds" timeUnit="beats" id="w">
                  <Audio algorithm="stretch" channels="2" duration="1.0" sampleRate="48000" id="a3">
                    <File path="audio/drums.wav"/>
                  </Audio>
                  <Warp time="0.0" contentTime="0.0"/>
                  <Warp time="2.0" contentTime="1.0"/>
                </Warps>
              </Clip>
            </Clips>
          </Clip>
        </Clips>
      </Lanes>
      <Lanes track="ref" id="lr">
        <Clips id="cr">
          <Clip time="0.0" duration="2.0" contentTimeUnit="seconds">
            <Audio channels="1" sampleRate="48000" duration="1.0" id="a4">
              <File path="media/Ext%20é.wav" external="true"/>
            </Audio>
          </Clip>
        </Clips>
      </Lanes>
    </Lanes>
  </Arrangement>
  <Scenes/>
</Project>
"""

METADATA = b"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<MetaData><Title>A song</Title></MetaData>
"""

README_EXAMPLE = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Project version="1.0">
  <Application name="Bitwig Studio" version="5.0"/>
  <Transport>
    <Tempo max="666.000000" min="20.000000" unit="bpm" value="149.000000" id="id0" name="Tempo"/>
    <TimeSignature denominator="4" numerator="4" id="id1"/>
  </Transport>
  <Structure>
    <Track contentType="audio" loaded="true" id="id9" name="Drumloop" color="#b53bba">
      <Channel audioChannels="2" destination="id15" role="regular" solo="false" id="id10">
        <Mute value="false" id="id13" name="Mute"/>
        <Pan max="1.000000" min="0.000000" unit="normalized" value="0.500000" id="id12" name="Pan"/>
        <Volume max="2.000000" min="0.000000" unit="linear" value="0.177125" id="id11" name="Volume"/>
      </Channel>
    </Track>
    <Track contentType="audio notes" loaded="true" id="id14" name="Master">
      <Channel audioChannels="2" role="master" solo="false" id="id15">
        <Mute value="false" id="id18" name="Mute"/>
        <Pan max="1.000000" min="0.000000" unit="normalized" value="0.500000" id="id17" name="Pan"/>
        <Volume max="2.000000" min="0.000000" unit="linear" value="1.000000" id="id16" name="Volume"/>
      </Channel>
    </Track>
  </Structure>
  <Arrangement id="id19">
    <Lanes timeUnit="beats" id="id20">
      <Lanes track="id9" id="id24">
        <Clips id="id25">
          <Clip time="0.0" duration="8.00003433227539" playStart="0.0" loopStart="0.0" loopEnd="8.00003433227539" fadeTimeUnit="beats" fadeInTime="0.0" fadeOutTime="0.0" name="Drumfunk3 170bpm">
            <Clips id="id26">
              <Clip time="0.0" duration="8.00003433227539" contentTimeUnit="beats" playStart="0.0" fadeTimeUnit="beats" fadeInTime="0.0" fadeOutTime="0.0">
                <Warps contentTimeUnit="seconds" timeUnit="beats" id="id28">
                  <Audio algorithm="stretch" channels="2" duration="2.823541666666667" sampleRate="48000" id="id27">
                    <File path="audio/Drumfunk3 170bpm.wav"/>
                  </Audio>
                  <Warp time="0.0" contentTime="0.0"/>
                  <Warp time="8.00003433227539" contentTime="2.823541666666667"/>
                </Warps>
              </Clip>
            </Clips>
          </Clip>
        </Clips>
      </Lanes>
      <Lanes track="id14" id="id29">
        <Clips id="id30"/>
      </Lanes>
    </Lanes>
  </Arrangement>
  <Scenes/>
</Project>
"""  # noqa: E501
"""The audio track of the example of https://github.com/bitwig/dawproject (MIT, (c) 2020 Bitwig), of Bitwig 5.0."""


def project_xml() -> str:
    return PROJECT.format(vox=CHANNEL.format("vox"), drums=CHANNEL.format("drums"))


def pack(path: Path, project: str | bytes, files: Mapping[str, bytes | Path]) -> Path:
    """Write a DAWproject whose entries are packed differently, in the order that Cubase has, with a comment."""
    content = project.encode() if isinstance(project, str) else project
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"made by a test"
        archive.writestr(told("mimetype"), b"application/dawproject", zipfile.ZIP_STORED)
        archive.writestr(told("metadata.xml"), METADATA, zipfile.ZIP_DEFLATED)
        for name, data in files.items():
            archive.writestr(told(name), data.read_bytes() if isinstance(data, Path) else data, zipfile.ZIP_STORED)
        archive.writestr(told("project.xml"), content, zipfile.ZIP_DEFLATED)
    return path


def told(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (2023, 4, 5, 6, 7, 8))
    entry.external_attr = 0o644 << 16
    return entry


def sound(path: Path, seconds: float, rate: int, channels: int = 1, cutoff: float = 4000.0) -> Path:
    """A band-limited file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = voice(seconds, rate, channels, seed=len(path.name))
    soundfile.write(path, below(audio, cutoff, rate), rate, subtype="PCM_24")
    return path


def song(folder: Path) -> Path:
    """The session with its audio, some embedded and some beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, bytes | Path] = {
        "audio/My vocals.wav": sound(folder / "made" / "My vocals.wav", 1.5, 22050),
        "audio/drums.wav": sound(folder / "made" / "drums.wav", 1.0, 48000, 2),
        "plugins/state.bin": b"\0\1\2" * 100,
    }
    sound(folder / "media" / "Ext é.wav", 1.0, 48000)
    return pack(folder / "song.dawproject", project_xml(), files)


def entries(path: Path) -> dict[str, bytes]:
    """Names of an archive in their order, and what they hold."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def assert_valid(project: bytes, name: str = "Project") -> None:
    """Hold a project, or its "MetaData", against the public schema."""
    schema = etree.XMLSchema(etree.parse(SCHEMAS / f"{name}.xsd"))
    schema.assertValid(etree.fromstring(project))
