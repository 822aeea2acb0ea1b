"""Ardour: sessions made, changed, saved, reloaded and exported by Ardour itself, without a screen.

Audio is exported as 32-bit float without dither or normalising, so that two exports can be subtracted.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from helpers import LONGEST, TTSR, band, below, level_db, load, save, started, until, voice

HERE = Path(__file__).resolve().parents[2] / "integrations/ardour"
TOOL = HERE / "ttsr_ardour.py"
LUA = shutil.which("ardour7-lua")
QUICK = ("--candidates", "1", "--option", "steps=1", "--option", "loudness=off")
TICKS = 282240000
"""Ardour's clock, per second."""

needs_ardour = pytest.mark.skipif(LUA is None, reason="ardour7-lua is not installed (Debian: apt-get install ardour)")

sys.path.insert(0, str(HERE))

import stems  # noqa: E402

PRESET = """<?xml version="1.0" encoding="UTF-8"?>
<ExportPreset id="6d0f2a0c-2f5e-4c0c-9f39-0f5d1c0f4a11" name="float">
  <ExportFormat id="20b4ab09-6452-4cb3-bd66-b921cdbd2942"/>
  <ExportFilename><Folder relative="1" path="export"/>
    <Field name="label" enabled="0"/><Field name="session" enabled="0"/><Field name="snapshot" enabled="0"/>
    <Field name="timespan" enabled="1"/><Field name="revision" enabled="0"/>
    <Field name="time" enabled="0" value="T_None"/><Field name="date" enabled="0" value="D_None"/>
  </ExportFilename>
</ExportPreset>
"""

START = 'AudioEngine:set_backend ("None (Dummy)", "", "")\n'
END = 'io.open (arg[#arg], "w"):close ()\nclose_session ()\nquit ()\n'

CREATE = """
local session = create_session (arg[1], arg[2], tonumber (arg[3]))
for number = 4, #arg - 1 do
    local channels, name = arg[number]:match ("^(%d+) (.*)$")
    session:new_audio_track (tonumber (channels), 2, nil, 1, name, ARDOUR.PresentationInfo.max_order,
        ARDOUR.TrackMode.Normal, true)
end
-- Ardour connects new tracks in its own time; a session that is saved before is silent.
for track in session:get_tracks ():iter () do
    while not track:output ():nth (1):connected () do ARDOUR.LuaAPI.usleep (10000) end
end
session:save_state ("")
"""

DRESS = """
local session = load_session (arg[1], arg[2])
local shapes = { "FadeConstantPower", "FadeLinear", "FadeFast", "FadeSlow", "FadeSymmetric" }
local number = 0
for track in session:get_tracks ():iter () do
    for region in track:to_track ():playlist ():region_list ():iter () do
        local audio, length = region:to_audioregion (), region:length ():samples ()
        audio:set_fade_in_shape (ARDOUR.FadeShape[shapes[number % 5 + 1]])
        audio:set_fade_in_length (1000 + 100 * number)
        audio:set_fade_out_shape (ARDOUR.FadeShape[shapes[(number + 2) % 5 + 1]])
        audio:set_fade_out_length (1500)
        audio:envelope ():list ():add (Temporal.timepos_t (length // 2), 0.7, false, false)
        audio:set_envelope_active (true)
        number = number + 1
    end
end
session:save_state ("")
"""

EXPORT = """
local export = session:simple_export ()
assert (export:set_preset ("6d0f2a0c-2f5e-4c0c-9f39-0f5d1c0f4a11"))
export:set_name (arg[3])
export:set_range (0, tonumber (arg[4]))
assert (export:run_export ())
"""

RELOAD = """
local session = load_session (arg[1], arg[2])
session:save_state ("")
close_session ()
session = load_session (arg[1], arg[2])
"""

TAKES = """
local out = io.open (arg[5], "w")
for track in session:get_tracks ():iter () do
    for playlist in session:playlists ():playlists_for_track (track:to_track ()):iter () do
        local current = playlist:name () == track:to_track ():playlist ():name () and "*" or ""
        for region in playlist:region_list ():iter () do
            out:write (table.concat ({ track:name (), playlist:name () .. current, region:position ():samples (),
                region:source (0):to_filesource ():path () }, "\\t"), "\\n")
        end
    end
end
out:close ()
"""


@dataclass(frozen=True)
class Placed:
    """A region: which channels of which files a track plays from where, how long, at which place, all in samples."""

    track: str
    channels: tuple[tuple[str, int], ...]
    start: int
    length: int
    position: int
    gain: float = 1.0


@dataclass
class Studio:
    """A session on disk, and an Ardour with settings of its own."""

    folder: Path
    home: Path
    rate: int = 48000
    placed: list[Placed] = field(default_factory=list)
    runs: int = 0

    @property
    def file(self) -> Path:
        return self.folder / f"{self.folder.name}.ardour"

    @property
    def audio(self) -> Path:
        return self.folder / "interchange" / self.folder.name / "audiofiles"

    @property
    def environment(self) -> dict[str, str]:
        keep = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / ".config"), "TMPDIR": str(self.home / "tmp")}
        return {**os.environ, **keep, "OMP_NUM_THREADS": "1"}

    def lua(self, script: str, *arguments: object) -> None:
        """Run a script in Ardour. A script that was done counts, whatever Ardour did afterwards."""
        self.runs += 1
        path, done = self.home / f"{self.runs}.lua", self.home / f"{self.runs}.done"
        path.write_text(START + script + END, encoding="utf-8")
        self.ardour([path, *arguments, done], done)

    def ardour(self, arguments: Sequence[object], made: Path) -> None:
        """Have Ardour's Lua make a file. It crashes once in a while, at random, or hangs; then it is tried again."""
        command, said = [str(LUA), *map(str, arguments)], b"it hung"
        for _ in range(3):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process = subprocess.run(command, env=self.environment, capture_output=True, timeout=LONGEST / 4)
                said = process.stdout + process.stderr
                if made.exists() or process.returncode >= 0:
                    break
        assert made.exists(), said.decode(errors="replace")

    def export(self, name: str, script: str, *more: object) -> np.ndarray:
        """Load the session, do something, export all of it; [samples, channels]."""
        end = max(each.position + each.length for each in self.placed) + self.rate // 4
        self.lua(script, self.folder, self.folder.name, name, end, *more)
        audio, rate = soundfile.read(self.folder / "export" / f"{name}.wav", always_2d=True)
        assert rate == self.rate
        return audio

    def seen(self) -> list[list[str]]:
        """Every region of the tracks' current playlists as Ardour sees it."""
        answer = self.home / "seen"
        answer.unlink(missing_ok=True)
        self.ardour([HERE / "ttsr_check.lua", self.folder, self.folder.name, answer, "names"], answer)
        return [line.split("\t") for line in answer.read_text().splitlines()]

    def tool(self, *arguments: object, ttsr: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, TOOL, "--ttsr", ttsr or self.home / "ttsr", *arguments]
        command += [] if "--install" in arguments else [self.file]
        return subprocess.run(
            list(map(str, command)), env=self.environment, capture_output=True, text=True, check=False, timeout=LONGEST
        )

    def contents(self) -> dict[str, bytes]:
        """Every file of the session but those that Ardour writes whenever it loads one."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and "peaks" not in path.parts)
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files if path.name != "instant.xml"}

    def place(self, placed: list[Placed]) -> None:
        """Put regions on tracks as an import would have, in the session file."""
        self.placed = placed
        tree = ET.parse(self.file)
        root = tree.getroot()
        counter = iter(range(int(root.get("id-counter", "0")) + 1, 1 << 30))
        ids: dict[tuple[str, int], str] = {}
        for name, channel in dict.fromkeys(channel for each in placed for channel in each.channels):
            ids[name, channel] = str(next(counter))
            origin = name if os.path.isabs(name) else ""
            values = {"name": Path(name).name, "type": "audio", "flags": "", "id": ids[name, channel], "gain": "1"}
            ET.SubElement(child(root, "Sources"), "Source", values | {"channel": str(channel), "origin": origin})
        for channels in dict.fromkeys(each.channels for each in placed):
            info = soundfile.info(self.audio / channels[0][0])
            whole = Placed("", channels, 0, info.frames, 0)
            child(root, "Regions").append(region_of(whole, ids, str(next(counter)), self.rate, whole=True))
        for each in placed:
            playlist = next(one for one in child(root, "Playlists") if one.get("name") == each.track)
            playlist.append(region_of(each, ids, str(next(counter)), self.rate))
        root.set("id-counter", str(next(counter)))
        tree.write(self.file, encoding="UTF-8", xml_declaration=True)


def child(root: ET.Element, name: str) -> ET.Element:
    found = root.find(name)
    assert found is not None
    return found


def region_of(each: Placed, ids: dict[tuple[str, int], str], own: str, rate: int, whole: bool = False) -> ET.Element:
    ticks = TICKS // rate
    values = {
        "name": Path(each.channels[0][0]).stem.removesuffix("%L") + ("" if whole else f".{own}"),
        "id": own,
        "type": "audio",
        "start": f"a{each.start * ticks}",
        "length": f"a{each.length * ticks}@a{each.position * ticks}",
        "channels": str(len(each.channels)),
        "scale-amplitude": str(each.gain),
        "whole-file": str(int(whole)),
    }
    for number, channel in enumerate(each.channels):
        values |= {f"source-{number}": ids[channel], f"master-source-{number}": ids[channel]}
    return ET.Element("Region", values)


@pytest.fixture
def home(tmp_path: Path, program: Path) -> Path:
    presets = tmp_path / "home/.config/ardour7/export"
    presets.mkdir(parents=True)
    (tmp_path / "home/tmp").mkdir()
    (presets / "float.preset").write_text(PRESET)
    (tmp_path / "home/ttsr").symlink_to(program)
    return tmp_path / "home"


def studio(tmp_path: Path, home: Path, name: str, tracks: list[str], rate: int = 48000) -> Studio:
    """An empty session; a track is given as channels and name, `2 Vocals`."""
    made = Studio(tmp_path / name, home, rate)
    made.lua(CREATE, made.folder, name, rate, *tracks)
    return made


def stem(seconds: float = 2.0, channels: int = 1, rate: int = 48000, seed: int = 0) -> np.ndarray:
    return below(voice(seconds, rate, channels, seed), 6000, rate)


def nulled(before: np.ndarray, after: np.ndarray, rate: int) -> float:
    """How far below itself the low band disappears when the new export is taken from the old, in dB."""
    assert level_db(before) > -60
    return level_db(band(after - before, 0, 4500, rate)) - level_db(band(before, 0, 4500, rate))


def gained(before: np.ndarray, after: np.ndarray, rate: int) -> float:
    return level_db(band(after, 8000, 16000, rate)) - level_db(band(before, 8000, 16000, rate))


MONO = (("mono.wav", 0),)
STEREO = (("room mics.wav", 0), ("room mics.wav", 1))
SPLIT = (("gtr%L.wav", 0), ("gtr%R.wav", 0))


@needs_ardour
def test_session_gets_a_take_with_the_top_octaves_and_nothing_else_changes(tmp_path: Path, home: Path) -> None:
    made = studio(tmp_path, home, "mix", ["1 Vocals", "2 Room", "2 Guitar"])
    save(made.audio / "mono.wav", stem(seed=1), subtype="FLOAT")
    wide = stem(channels=2, seed=2)
    save(made.audio / "room mics.wav", wide, subtype="FLOAT")
    save(made.audio / "gtr%L.wav", wide[:, :1], subtype="FLOAT")
    save(made.audio / "gtr%R.wav", wide[:, 1:], subtype="FLOAT")
    made.place(
        [
            Placed("Vocals", MONO, 24000, 33000, 12000, 0.5),
            Placed("Vocals", MONO, 40000, 41234, 60000),
            Placed("Room", STEREO, 31111, 48000, 120001),
            Placed("Guitar", SPLIT, 20000, 60000, 190000, 1.2),
        ]
    )
    before = made.export("before", DRESS + EXPORT)
    regions, files = made.seen(), made.contents()

    done = made.tool(*QUICK, ttsr=TTSR)
    assert done.returncode == 0, done.stderr
    assert (made.folder / "mix.ardour.before-ttsr").read_bytes() == files["mix.ardour"]
    assert all(made.contents()[name] == content for name, content in files.items() if name != "mix.ardour")
    after = made.export("after", RELOAD + EXPORT + TAKES, home / "takes")

    for (start, end), name in {
        (12000, 45000): "mono",
        (60000, 101234): "mono, again",
        (120001, 168001): "stereo",
        (190000, 250000): "split",
    }.items():
        piece = slice(start, end)
        null, gain = nulled(before[piece], after[piece], 48000), gained(before[piece], after[piece], 48000)
        print(f"{name}: null {null:.1f} dB, above the cutoff {gain:+.1f} dB")
        assert null <= -60
        assert gain >= 20
    assert np.abs(after[:12000]).max() == 0
    assert np.abs(after[250000:]).max() == 0

    # Everything that Ardour knows of a region is as it was, but for playlist, name and what is played.
    again = made.seen()
    assert [each[:-3] for each in again] == [each[:-3] for each in regions]
    assert len(again) == 4
    assert fades(made.file) == fades(made.folder / "mix.ardour.before-ttsr")
    played = [each[-1] for each in again]
    at = f"{made.audio}/"
    assert played[:2] == [f"{at}mono_ttsr.wav#0"] * 2, "one source, so one render"
    assert played[2] == f"{at}room mics_ttsr.wav#0 + {at}room mics_ttsr.wav#1"
    assert played[3] == f"{at}gtr_ttsr.wav#0 + {at}gtr_ttsr.wav#1"
    assert sorted(path.name for path in made.audio.iterdir() if "_ttsr" in path.name) == [
        "gtr_ttsr.wav",
        "mono_ttsr.wav",
        "room mics_ttsr.wav",
    ]
    assert np.array_equal(load(made.audio / "gtr_ttsr.wav"), load(made.audio / "room mics_ttsr.wav")), (
        "a split pair is rendered as the stereo recording that it is"
    )
    takes = [line.split("\t") for line in (home / "takes").read_text().splitlines()]
    assert ["Vocals", "Vocals", "12000", f"{at}mono.wav"] in takes, "the old take is still there"
    assert ["Vocals", "Vocals.1*", "12000", f"{at}mono_ttsr.wav"] in takes


def fades(path: Path) -> list[list[list[tuple[str, float]]]]:
    """The curves of all regions on current playlists, as the file has them: fade in, fade out, envelope."""
    root = ET.parse(path).getroot()
    current = {route.get("audio-playlist") for route in child(root, "Routes")}
    lists = [each for each in root.iter("Playlist") if each.get("id") in current]
    found = []
    for playlist in sorted(lists, key=lambda each: each.get("orig-track-id", "")):
        for region in sorted(playlist.iter("Region"), key=lambda each: each.get("length", "").split("@")[-1]):
            texts = (region.findtext(f"{name}//events", "") for name in ("FadeIn", "FadeOut", "Envelope"))
            points = ([line.split() for line in text.strip().splitlines()] for text in texts)
            found.append([[(when, round(float(value), 6)) for when, value in each] for each in points])
    assert all(all(curves) for curves in found)
    return found


@needs_ardour
def test_session_at_44100_with_spaces_and_umlauts(tmp_path: Path, home: Path) -> None:
    made = studio(tmp_path, home, "Lied für Ägypten 2", ["1 Räksmörgås voc"], 44100)
    name = "тест één & two.wav"
    save(made.audio / name, stem(rate=44100), 44100)
    made.place([Placed("Räksmörgås voc", ((name, 0),), 30000, 44100, 22050)])
    before = made.export("before", DRESS + EXPORT)
    regions = made.seen()
    done = made.tool(*QUICK, "--track", "Räksmörgås voc")
    assert done.returncode == 0, done.stderr
    after = made.export("after", RELOAD + EXPORT)
    render = soundfile.info(made.audio / "тест één & two_ttsr.wav")
    assert (render.samplerate, render.frames) == (44100, soundfile.info(made.audio / name).frames)
    piece = slice(22050, 66150)
    null, gain = nulled(before[piece], after[piece], 44100), gained(before[piece], after[piece], 44100)
    print(f"44.1 kHz: null {null:.1f} dB, above the cutoff {gain:+.1f} dB")
    assert null <= -60
    assert gain >= 20
    assert [each[:-3] for each in made.seen()] == [each[:-3] for each in regions]


@needs_ardour
def test_a_file_that_cannot_be_rendered_leaves_the_session_alone_unless_it_may_be_skipped(
    tmp_path: Path, home: Path
) -> None:
    made = studio(tmp_path, home, "mix", ["1 Good", "1 Full"])
    save(made.audio / "good.wav", stem())
    save(made.audio / "full.wav", voice(2.0))
    made.place(
        [
            Placed("Good", (("good.wav", 0),), 0, 48000, 0),
            Placed("Full", (("full.wav", 0),), 0, 48000, 48000),
        ]
    )
    made.lua(RELOAD, made.folder, "mix")
    files = made.contents()
    done = made.tool(*QUICK)
    assert done.returncode == 1
    assert "full.wav: full-band already" in done.stderr
    assert made.contents() == files
    assert not list((home / "tmp").iterdir()), "nothing is left behind"

    done = made.tool(*QUICK, "--skip-failed")
    assert done.returncode == 1, "a file failed all the same"
    assert [each[-1].split("/")[-1] for each in made.seen()] == ["good_ttsr.wav#0", "full.wav#0"]


@pytest.fixture
def plain(tmp_path: Path, home: Path) -> Studio:
    made = studio(tmp_path, home, "mix", ["1 Vocals"])
    save(made.audio / "mono.wav", stem())
    made.place([Placed("Vocals", MONO, 24000, 33000, 12000)])
    return made


@needs_ardour
def test_session_with_unsaved_changes_or_open_elsewhere_is_refused(plain: Studio) -> None:
    pending = plain.file.with_suffix(".pending")
    pending.write_bytes(plain.file.read_bytes())
    files = plain.contents()
    done = plain.tool(*QUICK)
    assert done.returncode == 2
    assert "never saved" in done.stderr
    pending.unlink()
    with subprocess.Popen(["tail", "-f", str(plain.audio / "mono.wav")], stdout=subprocess.DEVNULL) as other:
        until(lambda: psutil.Process(other.pid).open_files())
        open_elsewhere = plain.tool(*QUICK)
        other.kill()
    assert open_elsewhere.returncode == 2
    assert "tail has the session open" in open_elsewhere.stderr
    assert plain.contents() == {name: content for name, content in files.items() if not name.endswith(".pending")}
    unknown = plain.tool(*QUICK, "--track", "Drums")
    assert "no audio track is named Drums; there are: Vocals" in unknown.stderr
    assert plain.tool("--dry-run").stdout.strip() == str(plain.audio / "mono.wav")


@needs_ardour
def test_dry_run_refuses_what_a_render_would_refuse(plain: Studio) -> None:
    files = plain.contents()
    for arguments, wrong in {
        ("--preset", "nope"): "unknown preset 'nope'",
        ("--option", "seed=abc"): "'abc' is not a valid integer",
        ("--option", "sede=1"): "unknown option 'sede'",
        ("--ttsr", "/none/ttsr"): "/none/ttsr cannot be started",
    }.items():
        done = plain.tool("--dry-run", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert wrong in done.stderr
    good = plain.tool("--dry-run", *QUICK)
    assert (good.returncode, good.stderr) == (0, "")
    assert plain.contents() == files
    assert not list((plain.home / "tmp").iterdir())


@needs_ardour
def test_a_session_gets_one_render_and_its_report_whatever_a_preset_says(plain: Studio, tmp_path: Path) -> None:
    preset = tmp_path / "much.toml"
    preset.write_text('steps = 1\ncandidates = 2\npage = true\nkeep-top = 2\ncontrol = true\nrate = "96000"\n')
    done = plain.tool("--preset", preset)
    assert done.returncode == 0, done.stderr
    assert soundfile.info(plain.audio / "mono_ttsr.wav").samplerate == 48000
    assert sorted(path.name for path in plain.audio.iterdir()) == ["mono.wav", "mono_ttsr.wav"]
    reports = sorted(path.name for path in (plain.folder / "ttsr").iterdir())
    assert reports == ["mono_ttsr.ttsr.json", "mono_ttsr.ttsr.png"]
    report = json.loads((plain.folder / "ttsr/mono_ttsr.ttsr.json").read_text())
    assert report["tool"]["options"]["control"] is False, "no time is spent on what would be thrown away"


@needs_ardour
def test_renders_are_not_rendered_again(tmp_path: Path, home: Path) -> None:
    made = studio(tmp_path, home, "mix", ["1 Vocals", "1 Bass"])
    save(made.audio / "mono.wav", stem())
    save(made.audio / "bass.wav", stem(seed=1))
    made.place([Placed("Vocals", MONO, 0, 48000, 0), Placed("Bass", (("bass.wav", 0),), 0, 48000, 0)])
    assert made.tool(*QUICK, "--track", "Vocals").returncode == 0
    files = made.contents()
    refusal = "Vocals: playlist Vocals.1 plays renders of ttsr already; choose the old playlist in Ardour"
    for more in ((), ("--dry-run",), ("--track", "Vocals")):
        done = made.tool(*QUICK, *more)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(refusal)
    alone = made.tool(*QUICK, "--track", "Vocals", "--skip-failed")
    assert alone.returncode == 2
    assert "no region here plays an audio file that can be rendered" in alone.stderr
    assert made.contents() == files

    done = made.tool(*QUICK, "--skip-failed")
    assert done.returncode == 0, done.stderr
    assert "plays a render of ttsr already; it stays as it is" in done.stderr
    assert [each[-1].split("/")[-1] for each in made.seen()] == ["mono_ttsr.wav#0", "bass_ttsr.wav#0"]


def test_renders_are_known_by_their_reports(tmp_path: Path) -> None:
    from ttsr_job import is_render

    for name in ("x_ttsr", "y_ttsr-2"):
        (tmp_path / f"{name}.ttsr.json").touch()
    renders = ["x_ttsr.wav", "x_ttsr-2.flac", "y_ttsr-2.wav", "x_ttsr%L.wav", "x_ttsr-1%R.wav", "x_ttsr-1%a.wav"]
    assert [name for name in renders if not is_render(tmp_path / "audiofiles" / name, tmp_path)] == []
    others = ["x.wav", "x_ttsr mix.wav", "y_ttsr.wav", "z_ttsr.wav"]
    assert [name for name in others if is_render(tmp_path / "audiofiles" / name, tmp_path)] == []


BUSY = """#!{python}
import json, shutil, sys
from pathlib import Path
job = json.loads(Path(sys.argv[-1]).read_text())
output = job["output"].format(stem=Path(job["inputs"][0]).stem, ext=".wav")
Path(output).parent.mkdir()
shutil.copy(job["inputs"][0], output)
entry = {{"input": job["inputs"][0], "status": "rendered", "reason": "", "output": output}}
Path(job["result"]).write_text(json.dumps({{"status": "done", "files": [entry]}}))
with open({session!r}, "a") as session:
    session.write("<!-- saved -->\\n")
"""
"""Renders like ttsr, only faster and worse, while somebody saves the session."""


@needs_ardour
def test_session_saved_by_somebody_while_it_renders_is_not_overwritten(plain: Studio, tmp_path: Path) -> None:
    busy = tmp_path / "ttsr"
    busy.write_text(BUSY.format(python=sys.executable, session=str(plain.file)))
    busy.chmod(0o755)
    files = plain.contents()
    done = plain.tool(*QUICK, ttsr=busy)
    assert done.returncode == 2
    assert "was saved while this was rendering" in done.stderr
    now = plain.contents()
    assert now.pop("mix.ardour").endswith(b"<!-- saved -->\n")
    assert now == {name: content for name, content in files.items() if name != "mix.ardour"}


@needs_ardour
def test_ctrl_c_leaves_the_session_as_it_was(plain: Studio) -> None:
    files = plain.contents()
    command = [sys.executable, TOOL, plain.file, "--ttsr", TTSR, "--candidates", "5000", "--option", "steps=20"]
    with started(command, env=plain.environment, stderr=subprocess.PIPE, start_new_session=True) as process:
        until(lambda: list((plain.home / "tmp").glob("ttsr-ardour-*/progress.json")))
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=LONGEST)[1]
    assert process.returncode == 130
    assert said == "cancelled\nThe session is as it was.\n"
    assert plain.contents() == files
    assert not list((plain.home / "tmp").iterdir())


# What stands in for Ardour's windows when its action runs without a screen. An import is a bounce of a track that plays
# a placeholder of the same length, whose content has been exchanged before.
SCREEN = """
Session = load_session (arg[1], arg[2])
local said = io.open (arg[3], "w")
local track_of = function (name) return Session:route_by_name (name):to_track () end
Editing = { ImportDistinctFiles = 0, ImportDistinctChannels = 1, ImportAsRegion = 2 }
LuaDialog = { MessageType = { Info = 0, Error = 3 }, ButtonType = { Close = 1 } }
LuaDialog.Message = function (_, text) return { run = function () said:write (text, "\\n") end } end
LuaDialog.Dialog = function () return { run = function () return { preset = arg[4], candidates = 1 } end } end
LuaDialog.ProgressWindow = function ()
    return { progress = function () end, canceled = function () return false end, done = function () end }
end
os.forkexec = function (_, _, command) os.execute ("(" .. command .. ") </dev/null >/dev/null 2>&1 &") end
Editor = {}
function Editor:get_selection ()
    local regions = track_of ("Vocals"):playlist ():region_list ()
    return { regions = { regionlist = function () return regions end } }
end
function Editor:do_import (paths)
    local placeholder
    for region in track_of ("Import"):playlist ():region_list ():iter () do placeholder = region end
    local path = placeholder:source (0):to_filesource ():path ()
    local render, file = io.open (paths:table ()[1], "rb"), io.open (path, "wb")
    file:write (render:read ("a"))
    file:close ()
    local track = track_of ("Import")
    track:bounce_range (0, placeholder:length ():samples (), ARDOUR.InterThreadInfo (), track:main_outs (), false, "")
end
function ardour () end
dofile (arg[5])
factory () ()
Session:save_state ("")
said:close ()
"""


@needs_ardour
def test_action_swaps_selected_regions_on_a_new_playlist(tmp_path: Path, home: Path) -> None:
    made = studio(tmp_path, home, 'it\'s "mine"', ["1 Vocals", "1 Import"])
    save(made.audio / "mono.wav", stem(), subtype="FLOAT")
    save(made.audio / "placeholder.wav", np.zeros((96000, 1)), subtype="FLOAT")
    # One region for every shape of fade; two lie on each other.
    vocals = [Placed("Vocals", MONO, 9000 * n, 31000, 35000 * n, 0.5 + n / 10) for n in range(4)]
    vocals.append(Placed("Vocals", MONO, 5000, 20000, 110000))
    made.place([*vocals, Placed("Import", (("placeholder.wav", 0),), 0, 96000, 0)])
    made.lua(DRESS, made.folder, made.folder.name)
    regions, curves = made.seen(), fades(made.file)
    preset = tmp_path / "quick.toml"
    preset.write_text("steps = 1\n")
    installed = made.tool("--install", home / ".config/ardour7")
    assert installed.returncode == 0, installed.stderr

    made.lua(SCREEN, made.folder, made.folder.name, home / "said", preset, HERE / "ttsr_render.lua")
    assert "Regions rendered: 5, on playlist Vocals.1." in (home / "said").read_text()
    again = made.seen()
    assert [each[:-3] for each in again] == [each[:-3] for each in regions]
    assert fades(made.file) == curves
    changed = {each[-1] for each in again if each[0] == "Vocals"}
    assert len(changed) == 1
    assert changed != {f"{made.audio}/mono.wav#0"}
    assert not list(made.folder.glob("ttsr *")), "the snapshot that was read is gone"
    render = load(Path(changed.pop().removesuffix("#0")))
    source = load(made.audio / "mono.wav")
    assert render.shape == source.shape
    assert gained(source, render, 48000) >= 20


@needs_ardour
def test_action_does_not_render_renders_again(tmp_path: Path, home: Path) -> None:
    made = studio(tmp_path, home, "mix", ["1 Vocals"])
    save(made.audio / "mono_ttsr-1.wav", stem())
    (made.folder / "ttsr").mkdir()
    (made.folder / "ttsr/mono_ttsr.ttsr.json").touch()
    made.place([Placed("Vocals", (("mono_ttsr-1.wav", 0),), 0, 48000, 0)])
    assert made.tool("--install", home / ".config/ardour7").returncode == 0
    made.lua(SCREEN, made.folder, made.folder.name, home / "said", "preview", HERE / "ttsr_render.lua")
    said = (home / "said").read_text()
    assert said.startswith("mono_ttsr-1.wav: a render of ttsr already; choose the old playlist in Ardour")
    assert said.endswith("The session is as it was.\n")


def test_install_refuses_what_the_action_could_not_use(tmp_path: Path) -> None:
    def install(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, TOOL, "--install", tmp_path / "ardour7", *arguments]
        return subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False)

    for arguments, wrong in {
        ("--ttsr", TTSR, "--preset", "nope"): "unknown preset 'nope'",
        ("--ttsr", TTSR, "--preset", "none.toml"): "preset none.toml: no such file",
        ("--ttsr", "/none/ttsr"): "/none/ttsr: not found",
        ("--ttsr", TTSR, "mix.ardour"): "--install takes --ttsr and --preset, and no session",
        ("--ttsr", TTSR, "--dry-run"): "--install takes --ttsr and --preset, and no session",
    }.items():
        done = install(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert wrong in done.stderr
    assert not (tmp_path / "ardour7").exists()

    (tmp_path / "mine.toml").write_text("steps = 1\n")
    done = install("--ttsr", TTSR, "--preset", "mine.toml")
    assert done.returncode == 0, done.stderr
    assert f"preset={tmp_path}/mine.toml\n" in (tmp_path / "ardour7/ttsr.conf").read_text(), "Ardour runs elsewhere"


@needs_ardour
def test_action_calls_only_what_ardour_has(home: Path, tmp_path: Path) -> None:
    made = Studio(tmp_path / "none", home)
    made.lua(
        """
        local out = io.open (arg[1], "w")
        for _, class in pairs (debug.getregistry ()) do
            if type (class) == "table" and rawget (class, "__type") then
                for name in pairs (class) do out:write (tostring (name), "\\n") end
            end
        end
        for _, path in ipairs { "ARDOUR.LuaAPI.build_filename", "ARDOUR.LuaAPI.usleep", "ARDOUR.user_config_directory",
            "ARDOUR.RegionFactory.regions", "ARDOUR.RegionFactory.clone_region", "ARDOUR.PluginInfo", "ARDOUR.Track",
            "ARDOUR.DataType", "C.StringVector", "Temporal.timepos_t", "ARDOUR.SrcQuality.SrcBest",
            "ARDOUR.FadeShape.FadeSlow", "ARDOUR.MidiTrackNameSource.SMFTrackName",
            "ARDOUR.MidiTempoMapDisposition.SMFTempoIgnore" } do
            local at = _G
            for part in path:gmatch ("[^.]+") do at = assert (at[part], path) end
        end
        out:close ()
        close_session = function () end
        """,
        home / "names",
    )
    known = set((home / "names").read_text().split())
    script = (HERE / "ttsr_render.lua").read_text()
    called = set(re.findall(r":(\w+) \(", script))
    of_lua = {"gmatch", "match", "gsub", "byte", "sub", "read", "write", "close"}
    of_the_screen = {"run", "progress", "canceled", "done", "get_selection", "do_import", "regionlist", "iter"}
    assert called - known - of_lua - of_the_screen == set()
    for program in Path("/usr/lib/ardour7").glob("ardour-7*"):  # where Debian has the program with the windows
        names = ("do_import", "forkexec", "ImportDistinctChannels", "ProgressWindow")
        assert [name for name in names if name.encode() not in program.read_bytes()] == []


def test_lua_is_clean() -> None:
    luacheck = shutil.which("luacheck")
    if luacheck is None:
        pytest.skip("luacheck is not installed (Debian: lua-check)")
    command = [luacheck, "--config", str(HERE / ".luacheckrc"), "--no-color", *map(str, sorted(HERE.glob("*.lua")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_renders_are_asked_for_by_recording() -> None:
    a, left, right, wide = (Path(f"/s/{name}.wav") for name in ("a", "x%L", "x%R", "w"))
    assert stems.group([[(left, 0), (right, 0)], [(a, 0)], [(left, 0)]]) == [(left, right), (a,)]
    assert stems.group([[(right, 0)], [(left, 0)]]) == [(left, right)], "dragged to two mono tracks"
    assert stems.group([[(wide, 0), (wide, 1)], [(wide, 1)]]) == [(wide,)]
    assert stems.group([[(a, 0), (left, 0)], [(left, 0), (right, 0)]]) == [(a, left), (right,)]
    assert stems.group([[(left, 0)]]) == [(left,)]
    assert (stems.name_of([left, right]), stems.name_of([left]), stems.name_of([a])) == ("x", "x%L", "a")


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("WAVEX", "PCM_24"), ("RF64", "FLOAT")])
def test_split_files_are_joined_sample_for_sample(tmp_path: Path, kind: str, subtype: str) -> None:
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (150_001, 2))
    files = [tmp_path / "x%L.wav", tmp_path / "x%R.wav"]
    for channel, path in enumerate(files):
        soundfile.write(path, audio[:, channel], 96000, subtype=subtype, format=kind)
    stems.join(files, tmp_path / "x.wav")
    assert soundfile.info(tmp_path / "x.wav").subtype == subtype
    assert soundfile.info(tmp_path / "x.wav").samplerate == 96000
    expected = np.column_stack([load(path)[:, 0] for path in files])
    assert np.array_equal(load(tmp_path / "x.wav"), expected)


def test_files_that_do_not_fit_together_are_not_joined(tmp_path: Path) -> None:
    long = save(tmp_path / "x%L.wav", np.zeros((100, 1)))
    short = save(tmp_path / "x%R.wav", np.zeros((99, 1)))
    with pytest.raises(stems.JoinError, match="differ in length"):
        stems.join([long, short], tmp_path / "x.wav")
    flac = tmp_path / "x.flac"
    soundfile.write(flac, np.zeros(100), 48000)
    with pytest.raises(stems.JoinError, match="no WAV"):
        stems.join([long, flac], tmp_path / "x.wav")


def test_unlike_halves_are_rendered_one_by_one(tmp_path: Path) -> None:
    from ttsr_job import stage

    long = save(tmp_path / "x%L.wav", np.zeros((100, 1)))
    short = save(tmp_path / "x%R.wav", np.zeros((99, 1)))
    (tmp_path / "other").mkdir()
    same_name = save(tmp_path / "other/x%L.wav", np.zeros((100, 1)))
    (tmp_path / "work").mkdir()
    inputs = stage([(long, short), (same_name,)], tmp_path / "work")
    assert list(inputs.values()) == [(long,), (short,), (same_name,)]
    assert len({path.stem for path in inputs}) == 3, "one render must not take the place of another"


def test_tracks_that_share_a_playlist_and_regions_made_of_regions(tmp_path: Path) -> None:
    from ardour_session import SessionFile

    audio = tmp_path / "interchange/mix/audiofiles"
    audio.mkdir(parents=True)
    save(audio / "a.wav", np.zeros((10, 1)))
    region = (
        '<Region name="a" id="{}" source-0="{}" channels="1" length="a10@a{}"><FadeIn><X id="7"/></FadeIn></Region>'
    )
    regions = region.format(20, 1, 0) + region.format(21, 99, 5)
    (tmp_path / "mix.ardour").write_text(
        '<Session id-counter="3"><Sources><Source id="1" name="a.wav" type="audio" channel="0"/></Sources><Regions/>'
        '<Routes><Route id="4" name="A" audio-playlist="10"/><Route id="5" name="B" audio-playlist="10"/>'
        '<Route id="6" name="C" audio-playlist="10"/></Routes>'
        f'<Playlists><Playlist id="10" name="A.3" shared-with-ids="5,6">{regions}</Playlist></Playlists></Session>'
    )
    session = SessionFile(tmp_path / "mix.ardour")
    takes = session.takes(["A", "B"])
    assert [session.channels(each) for each in takes[0].playlist] == [[(audio / "a.wav", 0)], None]
    done = session.add_takes(takes, {(audio / "a.wav", 0): (audio / "a_ttsr.wav", 0)})
    assert [(each.track, each.playlist, each.regions) for each in done] == [("A", "A.4", 1), ("B", "A.4", 1)]
    old, new = session.root.iter("Playlist")
    assert [route.get("audio-playlist") for route in child(session.root, "Routes")] == [new.get("id")] * 2 + ["10"]
    assert (old.get("id"), new.get("shared-with-ids")) == ("10", "4,5")
    assert [each.get("source-0") for each in new] == [child(session.root, "Sources")[-1].get("id"), "99"]
    ids = [each.get("id") for each in session.root.iter() if each.get("id") not in (None, "7")]
    assert len(set(ids)) == len(ids), "no two things of a session have one id"


def test_what_is_no_session_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.ardour"
    wrong.write_text(json.dumps({"not": "xml"}))
    for path, why in {
        wrong: "not a session of Ardour",
        tmp_path / "nope.ardour": "cannot be read (No such file",
    }.items():
        with wrong.open():  # that a program has something open here is not what is wrong
            done = subprocess.run([sys.executable, TOOL, path], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith(f"{path}: {why}")


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("rate=44100", "the rate is the source's"),
        ("page=true", "a session gets no pages"),
        ("keep-top=2", "a track gets one render"),
        ("control=true", "a track gets one render"),
        ("take=2", "a track gets the best render"),
        ("seed", "takes NAME=VALUE"),
        ("candidates=2", "candidates is given twice"),
    ],
)
def test_options_that_would_be_thrown_away_are_refused(option: str, why: str) -> None:
    command = [sys.executable, TOOL, "none.ardour", "--candidates", "1", "--option", option]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"--option {option}: {why}")


@pytest.mark.parametrize("locked", [".", "interchange/mix/audiofiles", "ttsr"])
def test_session_that_cannot_be_written_is_refused_before_anything_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locked: str
) -> None:
    import ttsr_ardour

    for each in ("interchange/mix/audiofiles", "ttsr"):
        (tmp_path / each).mkdir(parents=True)
    (tmp_path / "mix.ardour").write_text("<Session><Sources/><Routes/><Playlists/></Session>")
    # A stand-in, since root may write wherever the disk itself is not read-only.
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path / locked)
    monkeypatch.setattr(sys, "argv", ["ttsr_ardour.py", str(tmp_path / "mix.ardour"), "--dry-run"])
    with pytest.raises(ttsr_ardour.SessionError) as refusal:
        ttsr_ardour.do_session(ttsr_ardour.parse())
    assert str(refusal.value) == f"{tmp_path / locked}: cannot be written to"
