"""The audition page must say what the report says, hold the very samples of the files, and switch without a click."""

import base64
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import soundfile
import soxr
import torch
from example_report import report
from helpers import LONGEST, band, below, level_db, load, save, voice
from PIL import Image

from ttsr_studio.analysis.uncertainty import UncertaintyMap
from ttsr_studio.audio.loudness import LoudnessMeter
from ttsr_studio.errors import InputError, OutputError
from ttsr_studio.report import excerpt as excerpts
from ttsr_studio.report.file_records import BestRecord
from ttsr_studio.report.html import Audition, Version, quoted, write_page
from ttsr_studio.report.search_records import SegmentRecord

RATE = 48000
CUTOFF = 6000.0
HOSTILE = "a</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028 & 'b' \"c\".wav"
COMMAND = ("ttsr", "render", "in put.wav", "--again", "x.ttsr.json", "--take", "{rank}", "-o", "out.wav")


@dataclass(frozen=True)
class Made:
    """Files on disk and what was said of them."""

    folder: Path
    report: dict[str, Any]
    source: Path
    versions: list[Version]
    arrays: dict[str, np.ndarray]

    def write(self, name: str = "take.ttsr.html", **changes: Any) -> Path:
        target = self.folder / name
        given = {"report": self.report, "source": self.source, "versions": self.versions, "arrays": self.arrays}
        write_page(target, Audition(**{**given, "command": COMMAND, **changes}))
        return target


def lufs(path: Path) -> float | None:
    audio = load(path)
    meter = LoudnessMeter(soundfile.info(path).samplerate, audio.shape[1])
    meter.update(audio.T.astype(np.float32))
    return meter.result().lufs


def make(
    folder: Path, seconds: float = 12.0, channels: int = 2, source_rate: int = 44100, quieter: float = 0.5
) -> Made:
    """A low-passed input, quieter than its renders, and three renders that differ above its cutoff alone."""
    full = voice(seconds, RATE, channels)
    low = below(full, CUTOFF)
    source = save(folder / "in put.wav", soxr.resample(quieter * low, RATE, source_rate), source_rate)
    paths = []
    for number in range(3):
        high = full - low if number == 0 else voice(seconds, RATE, channels, seed=number)
        paths.append(save(folder / f"take{number}.wav", low + high - below(high, CUTOFF), subtype="PCM_16"))
    made = report(seconds, windows=4)
    frames, info = soundfile.info(paths[0]).frames, soundfile.info(source)
    halves = [SegmentRecord(3.0, 4.5, 3), SegmentRecord(4.5, 6.0, 1)]
    loud = [lufs(path) for path in paths]
    gain = -20 * np.log10(quieter)
    made = replace(
        made,
        input=replace(
            made.input, name=source.name, rate=source_rate, channels=channels, frames=info.frames, lufs=lufs(source),
            cutoff_hz=CUTOFF, crossover_hz=(CUTOFF - 1000, CUTOFF),
        ),
        output=replace(made.output, name=paths[0].name, channels=channels, frames=frames, lufs=loud[0], gain_db=gain),
        windows=[made.windows[0], replace(made.windows[1], segments=halves), *made.windows[2:]],
        best=[
            BestRecord(k + 1, path.name, 0.9 - k / 10, "0" * 64, loud[k], -1.0, gain, [[3], [3, 1], [k or 3], [3]])
            for k, path in enumerate(paths)
        ],
    )  # fmt: skip
    uncertainty = UncertaintyMap(RATE, frames)
    takes = torch.from_numpy(np.stack([load(path).T for path in paths])).float()
    uncertainty.update(0, takes, CUTOFF)
    made = replace(made, uncertainty=uncertainty.summary(1.0))
    labels = ("chosen", "number 2", "number 3")
    versions = [
        Version(label, path, k + 1, 0.9 - k / 10) for k, (label, path) in enumerate(zip(labels, paths, strict=True))
    ]
    return Made(folder, made.to_json(), source, versions, uncertainty.arrays())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("page"))


def payload(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert len(found) == 1
    data: dict[str, Any] = json.loads(found[0])
    return data


def decoded(track: dict[str, Any]) -> np.ndarray:
    audio: np.ndarray = soundfile.read(BytesIO(base64.b64decode(track["audio"])), always_2d=True)[0]
    return audio


def picture(base: str) -> np.ndarray:
    return np.array(Image.open(BytesIO(base64.b64decode(base))))


# --- What the page holds.


def test_excerpts_are_the_samples_of_the_files(made: Made) -> None:
    data = payload(made.write(seconds=5))
    start, count = data["start"] * RATE, 5 * RATE
    tracks = [decoded(track) for track in data["tracks"]]
    assert [track.shape for track in tracks] == [(count, 2)] * 4
    assert data["seconds"] == 5
    assert data["gain_db"] == 0
    for track, version in zip(tracks[1:], made.versions, strict=True):
        assert np.array_equal(track, load(version.path)[start : start + count]), "a render is there bit for bit"
    whole = soxr.resample(load(made.source), 44100, RATE, quality="VHQ")
    assert np.abs(tracks[0] - whole[start : start + count]).max() < 2 / 32768, "the input lies sample on sample"
    added = tracks[1] - 10 ** (data["tracks"][1]["gain_db"] / 20) * tracks[0]
    kept = slice(2000, -2000)  # the ends of the excerpt are cuts
    lost = level_db(band(added[kept], 0, CUTOFF - 1500)) - level_db(band(tracks[1][kept], 0, CUTOFF - 1500))
    assert lost < -60, "what a render shares with the input cancels in their difference"


def test_a_short_file_is_there_whole(tmp_path: Path) -> None:
    made = make(tmp_path, 1.7, channels=1, source_rate=16000)
    data = payload(made.write())
    assert data["start"] == 0
    assert data["seconds"] == pytest.approx(1.7, abs=1 / RATE)
    assert np.array_equal(decoded(data["tracks"][2]), load(made.versions[1].path))


def test_the_stretch_is_where_candidates_differ_and_something_sounds(made: Made) -> None:
    spread = [1.0] * 12
    spread[7] = 9.0
    uncertain = {**made.report["uncertainty"], "per_second_db": spread, "regions": []}
    content = {**made.report, "uncertainty": uncertain, "windows": []}
    assert 5 <= payload(made.write(report=content, seconds=3))["start"] <= 7
    sounds = np.ones(12, bool)
    sounds[6:9] = False
    assert excerpts.telling(content, sounds, 3) + 3 <= 6 or excerpts.telling(content, sounds, 3) >= 8, (
        "silence tells nothing"
    )


def uncertain(made: Made, *regions: tuple[float, float, float]) -> dict[str, Any]:
    names = ("start_s", "stop_s", "mean_db")
    found = [dict(zip(names, region, strict=True)) for region in regions]
    return {**made.report, "uncertainty": {**made.report["uncertainty"], "regions": found}}


def test_the_stretch_holds_what_is_most_uncertain_and_sounds(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    for second in (0, 5, 11):
        content = uncertain(made, (second, second + 1, 9.0), (8, 9, 7.0))
        data = payload(made.write(report=content, seconds=3))
        assert data["start"] <= second < data["start"] + 3
        assert data["region"]["start_s"] == second
    data = payload(made.write(report=uncertain(made, (2, 9, 9.0)), seconds=3))
    assert 2 <= data["start"] <= 6, "of a longer one there is nothing else"
    energies = np.ones(12)
    energies[5] = 1e-6
    content = uncertain(made, (5, 6, 9.0), (8, 9, 7.0))
    heard = excerpts.most_uncertain(content, excerpts.sounding(energies))
    assert heard is not None
    assert heard["start_s"] == 8, "what is silent has nothing to hear"
    monkeypatch.setattr(excerpts, "LEAST_SECONDS", 2)
    monkeypatch.setattr(excerpts, "MOST_AUDIO_BYTES", 1)
    data = payload(made.write(report=content, seconds=6))
    assert data["seconds"] == 2
    assert data["start"] <= 5 < data["start"] + 2, "it is there however short the page becomes"


def test_level_offsets_are_those_of_the_report(made: Made) -> None:
    data = payload(made.write(seconds=2))
    loud = made.report["output"]["lufs"]
    own = [made.report["input"]["lufs"], *(best["lufs"] for best in made.report["best"])]
    assert [track["level_db"] for track in data["tracks"]] == pytest.approx([loud - each for each in own], abs=1e-12)
    assert [track["lufs"] for track in data["tracks"]] == own
    unknown = {**made.report, "output": {**made.report["output"], "lufs": None}}
    assert [t["level_db"] for t in payload(made.write(report=unknown, seconds=2))["tracks"]] == [None] * 4


def unmeasured(made: Made, **changes: Any) -> dict[str, Any]:
    """Its report without LUFS."""
    best = [{**record, "lufs": None, **changes} for record in made.report["best"]]
    found = {name: {**made.report[name], "lufs": None, **changes} for name in ("input", "output")}
    return {**made.report, **found, "best": best}


def silent(folder: Path) -> Made:
    """A render of digital silence."""
    made = make(folder, 1.5, channels=1)
    for path in (made.source, made.versions[0].path):
        save(path, 0 * load(path), soundfile.info(path).samplerate)
    windows = [{**window, "candidates": [], "chosen": None, "segments": []} for window in made.report["windows"]]
    spread = {**made.report["uncertainty"], "mean_db": None, "per_second_db": [None, None], "regions": []}
    content = {**unmeasured(made, true_peak_db=None), "windows": windows, "uncertainty": spread, "scores": {}}
    return replace(made, report={**content, "best": content["best"][:1]}, versions=[made.versions[0]])


def test_silence_is_black_and_nothing_is_said_to_be_generated(tmp_path: Path) -> None:
    made = silent(tmp_path)
    data = payload(made.write(arrays=None))
    shades = [picture(image).max() for track in data["tracks"] for image in track["pictures"].values()]
    assert shades == [0] * 4
    facts = dict(data["facts"])
    assert facts["Generated"] == "nothing: the file is silent"
    assert facts["Output level"] == "silent"
    assert not {"Cutoff", "Crossover"} & facts.keys()
    assert data["cutoff_hz"] is data["crossover_hz"] is None
    assert [track["level_unknown"] for track in data["tracks"]] == ["silent"] * 2


def test_why_a_level_is_not_known(tmp_path: Path) -> None:
    short = make(tmp_path, 1.5, channels=1)
    data = payload(short.write(report=unmeasured(short)))
    assert [track["level_unknown"] for track in data["tracks"]] == ["too quiet for LUFS"] * 4
    assert dict(data["facts"])["Input level"] == "too quiet for LUFS, −3.00 dBTP"


def test_what_would_clip_lowers_all_alike(tmp_path: Path) -> None:
    made = make(tmp_path, 2.0, channels=1)
    hot = load(made.versions[0].path)
    save(made.versions[0].path, 1.9 * hot / np.abs(hot).max(), subtype="FLOAT")
    data = payload(made.write())
    gain = 10 ** (data["gain_db"] / 20)
    assert gain == pytest.approx(1 / 1.9, rel=1e-3)
    assert np.abs(decoded(data["tracks"][1])).max() == pytest.approx(1.0, abs=1e-3)
    assert np.allclose(decoded(data["tracks"][2]), gain * load(made.versions[1].path), atol=1e-4)


def test_a_page_that_would_be_too_large_holds_less(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpts, "MOST_AUDIO_BYTES", 900_000)
    monkeypatch.setattr(excerpts, "LEAST_SECONDS", 2)
    data = payload(made.write())
    assert 2 <= data["seconds"] < 12
    assert data["seconds"] == int(data["seconds"])
    assert sum(len(track["audio"]) for track in data["tracks"]) < 900_000 or data["seconds"] == 2


def test_names_and_texts_cannot_become_markup(made: Made, tmp_path: Path) -> None:
    evil = shutil.copy(made.versions[1].path, tmp_path / "b</script><b>.wav".replace("/", ":"))
    versions = [made.versions[0], Version(HOSTILE, Path(evil), 2, None)]
    windows = [{**window, "reason": HOSTILE} for window in made.report["windows"]]
    content = {**made.report, "windows": windows, "input": {**made.report["input"], "name": HOSTILE}}
    page = made.write("evil.html", report=content, versions=versions, command=("ttsr", HOSTILE), seconds=2)
    text = page.read_text(encoding="utf-8")
    assert text.count("</script>") == 2
    assert "<img src=x" not in text
    assert payload(page)["title"] == HOSTILE
    assert payload(page)["tracks"][2]["label"] == HOSTILE


def test_no_path_of_the_machine_is_told(made: Made) -> None:
    words = ("ttsr", "render", str(made.source), "-o", str(made.folder / "sub" / "o.wav"))
    page = made.write("paths.html", command=words, seconds=2)
    text = page.read_text(encoding="utf-8")
    assert str(made.folder) not in text
    assert os.path.expanduser("~") + "/" not in text
    line = payload(page)["tracks"][1]["commands"]["macOS, Linux"]
    assert line == "ttsr render 'in put.wav' -o sub/o.wav"


def test_commands_are_quoted_for_each_shell() -> None:
    lines = quoted(["ttsr", "render", "Tom & Jerry's.wav", "--take", "{rank}", "-o", "{rank}.wav"], 2, Path("."))
    assert lines == {
        "macOS, Linux": """ttsr render 'Tom & Jerry'"'"'s.wav' --take 2 -o '{rank}.wav'""",
        "Windows PowerShell": "ttsr render 'Tom & Jerry''s.wav' --take 2 -o '{rank}.wav'",
        "Windows Command Prompt": 'ttsr render "Tom & Jerry\'s.wav" --take 2 -o "{rank}.wav"',
    }


def test_windows_tell_the_candidates_of_every_version(made: Made) -> None:
    data = payload(made.write(seconds=12))
    assert [window["index"] for window in data["windows"]] == [0, 1, 2, 3]
    assert data["windows"][1]["parts"] == [[3.0, 4.5, [3, 3, 3]], [4.5, 6.0, [1, 1, 1]]]
    assert data["windows"][2]["parts"] == [[6.0, 9.0, [3, 1, 2]]]
    assert data["windows"][0]["reason"] == "highest combined score"
    short = payload(made.write(seconds=2))
    assert all(w["parts"][0][0] < short["start"] + 2 and w["parts"][-1][1] > short["start"] for w in short["windows"])


def test_scores_of_other_versions_are_means_over_windows(made: Made) -> None:
    best = [{**record, "candidates": [[k]] * 4} for k, record in enumerate(made.report["best"])]
    data = payload(made.write(report={**made.report, "best": best}, seconds=2))
    score = next(score for score in data["scores"] if score["name"] == "dnsmos")
    expected = [np.mean([w["candidates"][k]["scores"]["dnsmos"] for w in made.report["windows"]]) for k in (1, 2)]
    assert score["versions"] == pytest.approx([made.report["scores"]["dnsmos"]["chosen"], *expected])
    spliced = payload(made.write(seconds=2))["scores"][0]
    assert spliced["versions"][1:] == [None, None], "a render of several candidates has no score of its own"


def test_pictures_are_on_one_scale(made: Made) -> None:
    data = payload(made.write(seconds=5))
    loudest = []
    for track in data["tracks"]:
        for name in ("linear", "log"):
            shown = picture(track["pictures"][name])
            assert shown.shape[0] == 256
            loudest.append(int(shown.max()))
    assert max(loudest) == excerpts.SHADES - 1
    source, chosen = (picture(data["tracks"][i]["pictures"]["linear"]).astype(float) for i in (0, 1))
    top, bottom = slice(0, 256 - round(256 * 8 / 24)), slice(256 - round(256 * 4 / 24), 256)
    assert np.median(chosen[top]) > np.median(source[top]) + 10, "above the cutoff the render shows more"
    assert np.mean(np.abs(chosen[bottom] - source[bottom]) > 2) < 0.01, "below it they look the same, level-matched"
    assert picture(data["overlay"]["linear"])[bottom].max() <= 1, "nothing is uncertain where the input is kept"


def test_a_take_that_is_not_the_best_is_still_the_choice(made: Made) -> None:
    first, second, third = made.versions
    output = {**made.report["output"], "name": second.path.name}
    data = payload(made.write(report={**made.report, "output": output}, versions=[first, second, third], seconds=2))
    assert [track["rank"] for track in data["tracks"]] == [0, 2, 1, 3]


def taken(made: Made) -> Path:
    """A page of `--take 2`, as finishing.py asks for it."""
    first, second, third = made.versions
    versions = [replace(second, label="chosen"), replace(first, label="number 1"), third]
    output = {**made.report["output"], "name": second.path.name}
    return made.write("taken.html", report={**made.report, "output": output}, versions=versions, seconds=2)


def test_the_choice_is_called_by_its_rank_too(made: Made) -> None:
    def labels(page: Path) -> list[str]:
        return [track["label"] for track in payload(page)["tracks"]]

    assert labels(taken(made)) == ["Input", "chosen (number 2)", "number 1", "number 3"]
    assert labels(made.write(seconds=2)) == ["Input", "chosen (number 1)", "number 2", "number 3"]
    assert labels(made.write(versions=made.versions[:1], seconds=2)) == ["Input", "chosen"], "nothing to mix it up with"


def test_without_candidates_to_compare_there_is_a_page(tmp_path: Path) -> None:
    made = make(tmp_path, 1.5, channels=1)
    silent = [{**w, "candidates": [], "chosen": None, "segments": []} for w in made.report["windows"]]
    source = {**made.report["input"], "lufs": None, "true_peak_db": None, "cutoff_hz": None}
    bare = {**made.report, "windows": silent, "scores": {}, "best": [], "input": source}
    version = Version("chosen", made.versions[0].path, 1, None)
    data = payload(made.write(report=bare, versions=[version], arrays=None, command=()))
    assert data["overlay"] is None
    assert data["tracks"][1]["commands"] is None
    assert data["windows"][0]["parts"] == [[0.0, 0.375, [None]]]


def test_files_of_another_render_are_refused(made: Made, tmp_path: Path) -> None:
    other = save(tmp_path / "other.wav", voice(3.0, RATE, 2))
    with pytest.raises(InputError, match=r"other\.wav.*the report|other\.wav.*its report"):
        made.write(versions=[made.versions[0], Version("2", other, 2, None)])
    with pytest.raises(InputError, match="chosen render"):
        made.write(versions=[replace(made.versions[1], rank=2)])
    output = {**made.report["output"], "name": "elsewhere.wav"}
    with pytest.raises(InputError, match=r"elsewhere\.wav.*chosen render"):
        made.write(report={**made.report, "output": output}, seconds=2)
    with pytest.raises(OutputError, match="missing"):
        made.write("missing/a.html", seconds=2)


def test_surround_is_played_in_part(tmp_path: Path) -> None:
    made = make(tmp_path, 1.5, channels=5)
    data = payload(made.write())
    assert data["channels"] == 5
    assert decoded(data["tracks"][1]).shape[1] == 2


# --- In a browser, from file://.


@pytest.fixture(scope="module")
def file(made: Made) -> Path:
    windows = [{**window, "reason": f"{window['reason']} {HOSTILE}"} for window in made.report["windows"]]
    versions = [made.versions[0], replace(made.versions[1], label=HOSTILE), made.versions[2]]
    return made.write("browser.ttsr.html", report={**made.report, "windows": windows}, versions=versions, seconds=10)


@dataclass(frozen=True)
class Opened:
    page: Any
    problems: list[str]

    def __call__(self, script: str) -> Any:
        return self.page.evaluate(script)

    def until(self, script: str) -> Any:
        """Wait; what the driver has for that needs what the page's own policy forbids."""
        end = time.monotonic() + LONGEST / 4
        while time.monotonic() < end:
            if found := self.page.evaluate(script):
                return found
            self.page.wait_for_timeout(50)
        raise AssertionError(script)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def press_at_once(self, *keys: str) -> None:
        """In one go, so that nothing is heard between them however busy the machine is."""
        pressed = "(keys) => keys.forEach((key) => document.body.dispatchEvent(new KeyboardEvent('keydown', key)))"
        shift = "Shift+"
        given = [{"key": key.removeprefix(shift), "shiftKey": shift in key, "bubbles": True} for key in keys]
        self.page.evaluate(pressed, given)


@contextmanager
def visit(browser: Any, file: Path, width: int = 1400) -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    context.set_default_timeout(1000 * LONGEST / 2)
    page, problems = context.new_page(), list[str]()
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.on("request", lambda request: problems.append(request.url) if not own(request.url, file) else None)
    page.goto(file.as_uri())
    page.evaluate("ready")
    yield Opened(page, problems)
    assert not problems, "no error, and nothing asked of anybody"
    context.close()


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Opened]:
    with visit(browser, file) as found:
        yield found


def own(url: str, file: Path) -> bool:
    return url == file.as_uri() or url.startswith(("data:", "blob:"))


def floats(base: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(base), "<f4")


CAPTURE = """async ({tones, mixes, seconds, loop, rate}) => {
  const buffers = tones.map((samples) => {
    const buffer = new AudioBuffer({length: samples.length, sampleRate: rate});
    buffer.copyToChannel(Float32Array.from(samples), 0);
    return buffer;
  });
  const ctx = new OfflineAudioContext(1, seconds * rate, rate);
  const graph = buildGraph(ctx, buffers);
  startGraph(graph, mixes[0].mix, 0, 0, loop);
  for (let i = 1; i < mixes.length; i++) scheduleSwitch(graph, mixes[i - 1].mix, mixes[i].mix, mixes[i].at);
  if (loop) fadeSeams(graph, seconds);
  const samples = (await ctx.startRendering()).getChannelData(0);
  return btoa(Array.from(new Uint8Array(samples.buffer), (byte) => String.fromCharCode(byte)).join(""));
}"""


def capture(opened: Opened, tones: list[np.ndarray], mixes: list[Any], seconds: float, loop: Any = None) -> np.ndarray:
    steps = [{"at": at, "mix": mix} for at, mix in mixes]
    given = {"tones": [tone.tolist() for tone in tones], "mixes": steps, "seconds": seconds, "loop": loop, "rate": RATE}
    return floats(opened.page.evaluate(CAPTURE, given))


def test_a_switch_between_equals_is_not_heard(opened: Opened) -> None:
    level = np.full(RATE, 0.5)
    rng = np.random.default_rng(0)
    mixes = [(0.0, [1, 0]), *((0.1 + 0.0137 * i, [i % 2, 1 - i % 2]) for i in range(40))]
    heard = capture(opened, [level, level], mixes, 0.9)[int(0.02 * RATE) :]
    assert np.abs(heard - 0.5).max() < 1e-3
    noise = 0.3 * rng.standard_normal(RATE)
    heard = capture(opened, [noise, noise], mixes, 0.9)[int(0.02 * RATE) :]
    assert np.abs(heard - noise[int(0.02 * RATE) : len(heard) + int(0.02 * RATE)]).max() < 1e-3


def test_a_switch_between_others_does_not_click(opened: Opened) -> None:
    t = np.arange(RATE) / RATE
    tones = [0.5 * np.sin(2 * np.pi * 200 * t), -0.5 * np.sin(2 * np.pi * 331 * t + 1)]
    slope = max(np.abs(np.diff(tone)).max() for tone in tones)
    switches = [0.2, 0.203, 0.3001, 0.4, 0.5]  # one falls into the fade before it
    mixes = [(0.0, [1, 0]), *((at, [0, 1] if i % 2 == 0 else [1, 0]) for i, at in enumerate(switches))]
    heard = capture(opened, tones, mixes, 1.0)
    assert np.abs(np.diff(heard)).max() <= slope + 1.0 / (0.008 * RATE) + 1e-6, "no jump beyond the tones and the ramp"
    assert np.abs(heard[: int(0.001 * RATE)]).max() < 0.1, "it fades in"
    settled = slice(int(0.6 * RATE), None)
    assert np.abs(heard[settled] - tones[1][settled]).max() < 1e-6, "afterwards only the new one is heard, in its place"
    begun = np.flatnonzero(np.abs(heard - tones[0]) > 1e-4)
    begun = begun[begun > 0.1 * RATE][0]
    assert 0 <= begun / RATE - 0.2 < 0.002, "and it begins when it was asked to"


def test_a_difference_is_exact(opened: Opened) -> None:
    rng = np.random.default_rng(1)
    one, other = (np.float32(rng.uniform(-0.5, 0.5, RATE)) for _ in range(2))
    heard = capture(opened, [one, other], [(0.0, [2, -1])], 0.5)
    settled = slice(RATE // 50, RATE // 2)
    assert np.array_equal(heard[settled], np.float32(2 * one - other)[settled])


def test_a_loop_goes_round_on_the_sample_and_without_a_click(opened: Opened) -> None:
    t = np.arange(2 * RATE) / RATE
    tone = np.float32(0.5 * np.cos(2 * np.pi * 333.3 * t))
    start, end = 0.25, 0.6
    heard = capture(opened, [tone], [(0.0, [1])], 2.0, [start, end])
    place = np.arange(2 * RATE)
    length = round((end - start) * RATE)
    place[place >= end * RATE] = start * RATE + (place[place >= end * RATE] - round(end * RATE)) % length
    seams = round(end * RATE) + length * np.arange(6)
    away = np.abs(np.arange(2 * RATE)[:, None] - seams).min(1) > 0.005 * RATE
    away[: int(0.01 * RATE)] = False
    assert np.abs(heard - tone[place])[away].max() < 1e-6
    assert np.abs(np.diff(heard)).max() <= np.abs(np.diff(tone)).max() + 0.5 / (0.004 * RATE) + 1e-6


def test_a_key_switches_and_the_play_head_goes_on(opened: Opened) -> None:
    opened.press(" ")
    opened.until("player.place > 0.3")
    graph = opened("window.graph = player.graph; window.run = {...player.graph.run}; true")
    assert graph
    for key in "0123":
        opened.press(key)
        off = opened("""(() => {
            const elapsed = player.ctx.currentTime - run.at;
            const place = placeAt(player.graph.run, player.ctx.currentTime);
            return [state.heard, Math.abs(place - run.place - elapsed), player.graph === graph, player.mix];
        })()""")
        assert off[0] == int(key)
        assert off[1] < 0.010, "the play head stays within 10 ms of where it would have been"
        assert off[2], "nothing was stopped or started"
        assert [bool(gain) for gain in off[3]] == [i == int(key) for i in range(4)]
        assert (
            opened.page.locator(f"#versions button:nth-child({int(key) + 1})").get_attribute("aria-pressed") == "true"
        )
    delay = opened("player.graph.free - player.ctx.currentTime")
    assert delay < 0.06, "a switch is done at once"
    before = opened("placeAt(player.graph.run, player.ctx.currentTime)")
    opened.press("d", "]", "l")
    opened.press(" ")
    assert opened("player.playing") is False
    assert opened("player.stopped") - before < 1.0
    assert opened("player.contextRate") == RATE


def test_what_plays_is_what_the_files_hold(opened: Opened, made: Made) -> None:
    start = opened("data.start") * RATE
    for number, version in enumerate(made.versions, 1):
        samples = opened(f"Array.from(buffers[{number}].getChannelData(1).subarray({RATE}, {2 * RATE}))")
        assert opened(f"buffers[{number}].length") == 10 * RATE
        assert np.array_equal(samples, load(version.path)[start + RATE : start + 2 * RATE, 1])


def test_level_match_is_on_at_first_and_is_what_the_report_says(opened: Opened, made: Made) -> None:
    loud, quiet = made.report["output"]["lufs"], made.report["input"]["lufs"]
    opened.press("0")
    assert opened("player.mix[0]") == pytest.approx(10 ** ((loud - quiet) / 20), rel=1e-9)
    assert f"offset +{loud - quiet:.2f} dB" in opened.page.locator("#levels").inner_text()
    assert f"+{loud - quiet:.2f} dB" in opened.page.locator("#versions button:first-child").inner_text()
    opened.press("m")
    assert opened("player.mix[0]") == 1
    assert "not applied" in opened.page.locator("#levels").inner_text()


def test_differences_cancel_what_is_shared_and_never_clip(opened: Opened) -> None:
    opened.press("2", "d")
    gain = opened("ownGains[2]")
    assert opened("player.mix") == pytest.approx([-gain, 0, 1, 0])
    opened.page.select_option("#kind", "chosen")
    assert opened("player.mix") == pytest.approx([0, 1, -opened("levels()[2]"), 0])
    opened.page.select_option("#boost", "24")
    peak = opened("peakOf(mixDown(buffers, player.mix))")
    assert peak <= 1.0001
    assert "minus" in opened.page.locator("#hearing").inner_text()
    shown = opened("document.querySelector('#main img').src.startsWith('data:image/png')")
    assert shown


def test_the_picture_of_a_difference_is_on_the_scale_of_the_others(opened: Opened, made: Made) -> None:
    levels = opened("""(() => {
        const {bins, columns} = data.scale;
        const levels = levelsOf([buffers[1].getChannelData(0), buffers[1].getChannelData(1)], bins, columns);
        const rows = byRow(levels, data.scale.rows.log, data.rate / 2 / bins);
        return [0, 40, 128, 200, 255].map((row) => [...rows[row]]);
    })()""")
    data = payload(made.folder / "browser.ttsr.html")
    shades = np.clip((np.array(levels) - data["scale"]["top_db"]) / 100 + 1, 0, 1) * (excerpts.SHADES - 1)
    theirs = picture(data["tracks"][1]["pictures"]["log"])[::-1][[0, 40, 128, 200, 255]].astype(float)
    assert theirs.max() > 20
    assert np.mean(np.abs(shades - theirs) > 2) < 0.05


@pytest.mark.parametrize("trials", [1, 5, 10, 16, 50])
def test_p_values_are_those_of_the_binomial_test(opened: Opened, trials: int) -> None:
    mine = opened(f"Array.from({{length: {trials + 1}}}, (_, right) => chanceOf(right, {trials}))")
    theirs = [scipy.stats.binom.sf(right - 1, trials, 0.5) for right in range(trials + 1)]
    assert mine == pytest.approx(theirs, rel=1e-9)


def test_a_blind_test_by_keys(opened: Opened) -> None:
    opened.page.select_option("#abx-count", "10")
    opened.page.select_option("#abx-b", "2")
    opened("document.activeElement.blur()")
    opened.press("x")
    for trial in range(10):
        assert f"Trial {trial + 1} of 10" in opened.page.locator("#trial-text").inner_text()
        opened.press("a", "b", "x")
        opened.until("heardX() >= LEAST_HEARD")
        x = opened("state.test.x")
        assert opened("player.mix.findIndex((gain) => gain !== 0)") == (2 if x else 0)
        opened.press("Shift+B" if bool(x) == (trial < 9) else "Shift+A")
        assert opened.page.locator("#abx-result").inner_text() == "" or trial == 9, "nothing is told before the end"
    result = opened.page.locator("#abx-text").inner_text()
    assert "9 of 10 right, p = 0.011" in result
    assert opened.page.locator("#abx-history").is_visible()
    opened.press("x")
    opened.until("heardX() >= LEAST_HEARD")
    opened.press("Shift+A", "Escape")
    assert "stopped after 1 of 10 trials" in opened.page.locator("#abx-text").inner_text()


def test_only_what_was_heard_can_be_answered(opened: Opened) -> None:
    hearing, result = opened.page.locator("#hearing"), opened.page.locator("#abx-result")
    opened.press_at_once("x", "a", "b", "x", "Shift+A", "x", "Shift+B")
    assert opened("state.test.answers.length") == 0
    assert result.inner_text() == "Hear X before you answer."
    opened.until("heardX() >= LEAST_HEARD")
    assert hearing.inner_text() == "Hearing: X"
    opened.press_at_once("Shift+A", "Shift+A")
    assert opened("state.test.answers.length") == 1, "of the next trial nothing was heard yet"
    opened.press(" ")
    assert not hearing.inner_text().startswith("Hearing")
    opened.press("b")
    opened.until("player.sounding")
    opened.until("document.getElementById('hearing').textContent === 'Hearing: B'")
    opened.press("Escape")
    assert opened("player.playing") is False, "the test began it"
    assert not hearing.inner_text().startswith("Hearing")


def test_hearing_is_said_of_what_sounds_alone(opened: Opened) -> None:
    hearing = opened.page.locator("#hearing")
    assert hearing.inner_text() == "Ready: chosen (number 1)"
    opened.press("3")
    assert hearing.inner_text() == "Ready: number 3"
    opened.press(" ")
    opened.until("document.getElementById('hearing').textContent === 'Hearing: number 3'")
    opened.press("d")
    assert hearing.inner_text() == "Hearing: the difference: number 3 minus input, at +0 dB"
    opened.press(" ")
    assert hearing.inner_text().startswith("Paused: the difference")


def test_a_blind_test_shows_nothing_of_what_x_is(opened: Opened) -> None:
    seen = []
    for x in (0, 1):
        opened(f"startTest(), state.test.x = {x}, hearBlind('X')")
        opened.until("player.sounding")
        opened.press(" ", "Home")
        seen.append(opened("document.body.outerHTML"))
        assert not opened.page.locator("#pictures").is_visible()
        opened("finishTest()")
    assert seen[0] == seen[1]
    tossed = opened("Array.from({length: 400}, toss)")
    assert 140 < sum(tossed) < 260


def test_all_can_be_done_with_the_keyboard(opened: Opened) -> None:
    visited, framed = [], True
    opened("window.ids = new Map()")
    for _ in range(200):
        opened.press("Tab")
        name, outline = opened("""(() => {
            const node = document.activeElement;
            if (!ids.has(node)) ids.set(node, ids.size);
            const style = getComputedStyle(node);
            const framed = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
            return [ids.get(node), node === document.body || framed];
        })()""")
        framed = framed and outline
        if name in visited:
            break
        visited.append(name)
    assert framed, "the focus can always be seen"
    missed = opened("""[...document.querySelectorAll('button, select, input, summary')]
        .filter((node) => node.checkVisibility() && !node.disabled && !ids.has(node)).map((node) => node.outerHTML)""")
    assert missed == [], "the tabulator reaches every control, and leaves it"


def test_every_control_and_picture_has_a_name(opened: Opened) -> None:
    opened.press("u")
    nameless = opened("""[...document.querySelectorAll('button, select, input, img, [role=img], [role=group]')]
        .filter((node) => node.checkVisibility())
        .filter((node) => !(node.textContent.trim() || node.getAttribute('aria-label') || node.labels?.length
            || node.hasAttribute('alt')))
        .map((node) => node.outerHTML.slice(0, 200))""")
    assert nameless == []
    assert "Spectrogram of chosen (number 1), linear" in opened.page.locator("#main img").first.get_attribute("alt")
    window = opened.page.locator("#timeline button").first
    assert "highest combined score" in window.get_attribute("aria-label")
    window.focus()
    assert "highest combined score" in opened.page.locator("#detail").inner_text()


def test_loop_points_and_seeking_by_keys(opened: Opened) -> None:
    opened.press("ArrowRight", "ArrowRight", "[", "ArrowRight", "Shift+ArrowRight", "]")
    assert opened("state.region") == pytest.approx([2.0, 3.1], abs=1e-3)
    assert opened("player.stopped") == pytest.approx(2.0, abs=1e-3)
    opened.press("l")
    assert opened("player.loop") is None
    box = opened.page.locator("#main .screen").bounding_box()
    opened.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    assert opened("player.stopped") == pytest.approx(5.0, abs=0.05)
    opened.page.locator("#play").click()
    opened.press(" ")
    assert opened("player.playing") is False, "the space bar pauses after a click on a button too"


def test_a_loop_is_picked_up_from_before_its_end_and_not_from_behind_it(opened: Opened) -> None:
    def after(seconds: float) -> float:
        sounded = opened("player.sounded")
        place: float = opened.until(f"player.sounded > {sounded + seconds} && player.place")
        return place

    opened("setRegion([2, 2.4]), seek(1.8)")
    opened.press(" ")
    assert 2 <= after(1) < 2.4, "it runs into the loop, and stays"
    opened.press("ArrowRight")
    assert after(0.3) > 3, "behind the loop it goes on"
    opened.press("Home", "ArrowRight", *["Shift+ArrowRight"] * 7)
    assert opened("state.region") == [2, 2.4]
    assert opened("player.place") < 2.4
    assert 2 <= after(1.2) < 2.4, "and from before the loop it runs into it again"
    opened.press(" ", "Home")
    assert opened("player.stopped") == 2
    opened.press("ArrowRight", "Home")
    assert opened("player.stopped") == 0
    opened("setRegion([8, 10])")
    assert opened("player.stopped") == 8, "a new loop is where one listens"
    opened("seek(9.5)")
    opened.press("ArrowRight")
    assert opened("player.stopped") == pytest.approx(10, abs=2 / RATE), "no further than the end"
    opened.press(" ")
    opened.until("player.sounding")
    place, sounded = opened("[player.place, player.sounded]")
    later, sounded_later = opened.until(f"player.sounded > {sounded + 0.2} && [player.place, player.sounded]")
    assert later == pytest.approx(8 + (place - 8 + sounded_later - sounded) % 2, abs=0.05), "in the loop"


def test_a_version_is_heard_by_its_number(browser: Any, made: Made) -> None:
    with visit(browser, taken(made)) as opened:
        assert opened("state.heard") == 1
        shown = opened.page.locator("#versions button").all_inner_texts()
        assert [text.split("\n")[0].split(maxsplit=1) for text in shown] == [
            ["0", "Input"], ["1", "number 1"], ["2", "chosen (number 2)"], ["3", "number 3"]
        ]  # fmt: skip
        for number in (1, 2, 3):
            opened.press(str(number))
            assert opened("track(state.heard).rank") == number


def test_of_silence_the_page_says_so(browser: Any, tmp_path: Path) -> None:
    with visit(browser, silent(tmp_path).write(arrays=None)) as opened:
        assert opened.page.locator("#bands").inner_text() == "nothing was generated: the file is silent"
        assert "cutoff" not in opened.page.locator("#main").inner_text()
        opened.press("d")
        opened.until("known.has(nameOf('pictures'))")
        painted = picture(opened("known.get(nameOf('pictures')).linear").split(",")[1])
        black = picture(opened("data.tracks[0].pictures.linear"))
        assert black.max() == 0
        assert painted[..., :3].max() == np.frombuffer(bytes.fromhex(opened("data.scale.colours")), np.uint8)[:3].max()


def test_without_levels_there_is_no_level_match(browser: Any, tmp_path: Path) -> None:
    made = make(tmp_path, 0.3, channels=1)
    output = {**made.report["output"], "gain_reason": "RMS matches the source within 0.05 dB"}
    with visit(browser, made.write(report={**made.report, "output": output})) as opened:
        match = opened.page.locator("#match")
        assert match.is_disabled()
        assert match.get_attribute("aria-pressed") == "false"
        why = "No level match: too short for LUFS (RMS matches the source within 0.05 dB)"
        assert match.get_attribute("title") == why
        assert opened.page.locator("#levels").inner_text().startswith(why)
        assert "too short for LUFS" in opened.page.locator("#versions button").first.inner_text()
        opened.press("m")
        assert opened.page.locator("#hearing").inner_text() == why
        assert match.get_attribute("aria-pressed") == "false"


def test_the_page_says_why_it_holds_this_stretch(browser: Any, made: Made) -> None:
    for content, words in (
        (uncertain(made, (5, 6, 9.0)), "taken for its most uncertain stretch, 0:05.0 to 0:06.0"),
        (uncertain(made), "taken where candidates differ and choices change most"),
    ):
        with visit(browser, made.write("why.html", report=content, seconds=3)) as opened:
            assert words in opened.page.locator("#about").inner_text()
    with visit(browser, made.write("why.html")) as opened:
        assert "the whole file" in opened.page.locator("#about").inner_text()


NARROW = """(() => {
  const shown = (node) => {
    const range = new Range();
    range.selectNodeContents(node);
    return range.getBoundingClientRect();
  };
  const labels = [...document.querySelectorAll("#axis span")].map((node) => node.getBoundingClientRect());
  const parts = [...document.querySelectorAll("#timeline .part")];
  const read = parts.filter((node) => getComputedStyle(node).fontSize !== "0px");
  return {
    labels: labels.length,
    gap: Math.min(...labels.slice(1).map((box, i) => box.left - labels[i].right)),
    texts: parts.every((node) => node.textContent),
    read: read.length,
    over: Math.max(...read.map((node) => shown(node).width - node.getBoundingClientRect().width)),
    cut: [...document.querySelectorAll("#timeline .track > span")]
      .filter((node) => shown(node).width > node.clientWidth || node.scrollHeight > node.clientHeight + 1)
      .map((node) => node.textContent),
  };
})()"""


@pytest.mark.parametrize("resized", [False, True])
def test_what_is_too_narrow_for_its_text_is_without(browser: Any, made: Made, resized: bool) -> None:
    halves = np.linspace(0, 3, 41)
    segments = [
        {"start_s": a, "stop_s": b, "candidate": 3} for a, b in zip(halves.tolist(), halves.tolist()[1:], strict=False)
    ]
    windows = [{**made.report["windows"][0], "segments": segments}, *made.report["windows"][1:]]
    page = made.write("narrow.html", report={**made.report, "windows": windows})
    with visit(browser, page, 1280 if resized else 360) as opened:
        if resized:
            assert opened(NARROW)["labels"] > 5
            opened.page.set_viewport_size({"width": 360, "height": 900})
        opened.until(f"({NARROW}).labels < 5")
        found = opened(NARROW)
        assert found["gap"] > 8, "labels of the axis stay apart"
        assert found["texts"], "the digits are there for those who hear the page"
        assert found["over"] < 0
        assert found["read"] > 5
        assert found["cut"] == [], "every number can be read"


def test_an_edge_tells_of_more_to_scroll_to(browser: Any, made: Made) -> None:
    with visit(browser, made.write("narrow.html", seconds=2), 360) as opened:
        scroll = opened.page.locator(".scroll")

        def shade() -> float:
            pixels = np.array(Image.open(BytesIO(scroll.screenshot())).convert("L"), float)
            return float(np.median(pixels[:, -6]) - np.median(pixels[:, 6]))

        assert shade() < -20, "darker where there is more"
        opened("document.querySelector('.scroll').scrollLeft = 1e4")
        assert shade() > 20


@pytest.mark.parametrize("width", [820, 1000, 1200, 1280])
def test_what_belongs_to_the_difference_stays_with_it(browser: Any, file: Path, width: int) -> None:
    with visit(browser, file, width) as opened:
        tops = [opened.page.locator(f"#{name}").bounding_box()["y"] for name in ("difference", "kind", "boost")]
        assert max(tops) - min(tops) < 3


def test_using_one_shows_its_command(opened: Opened) -> None:
    opened.press("3")
    shown = opened.page.locator("#commands pre").all_inner_texts()
    assert shown[0] == "ttsr render 'in put.wav' --again x.ttsr.json --take 3 -o out.wav"
    assert "take2.wav" in opened.page.locator("#use-file").inner_text()
    opened.page.locator("#commands button").first.click()
    opened.until("document.getElementById('copied').textContent !== ''")
    assert opened.page.locator("#copied").inner_text() == "Copied."


def test_what_one_has_is_not_offered_and_terms_explain_themselves(browser: Any, made: Made) -> None:
    baseline = {**made.report["output"], "name": made.versions[2].path.name, "gain_db": 1.5}
    versions = [*made.versions[:2], Version("random pick", made.versions[2].path, None, None)]
    search = {**made.report["search"], "cut": {"time": 1}}
    content = {**made.report, "random_baseline": baseline, "search": search}
    page = made.write("control.html", report=content, versions=versions, seconds=2)
    assert payload(page)["tracks"][3]["commands"] is None, "a random pick cannot be chosen again"
    assert payload(page)["tracks"][3]["gain_db"] == 1.5
    with visit(browser, page) as opened:
        assert opened("document.getElementById('use').value") == ""
        assert opened.page.locator("#commands pre").count() == 0
        opened.press("c")
        assert opened.page.locator("#hearing").inner_text() == "Ready: random pick"
        assert "1 of 4 windows because the time set ran out" in opened.page.locator("#stopped").inner_text()
        assert "4 windows, 4 candidates each, chosen by segment" in opened.page.locator("#how").inner_text()
        opened.page.locator("abbr", has_text="Gain").focus()
        assert "standard deviations" in opened.page.locator("#explained").inner_text()
        opened("dispatchEvent(new Event('beforeprint'))")
        assert opened.page.locator("#terms").is_visible()


def turn(opened: Opened, slider: str, value: float) -> None:
    opened(f"(byId('{slider}').value = {value}, byId('{slider}').dispatchEvent(new Event('input')))")


def test_amount_and_tilt_are_heard_and_written_into_the_command(opened: Opened) -> None:
    opened.press("2")
    turn(opened, "amount", 0.5)
    level, gain = opened("levels()[2]"), opened("ownGains[2]")
    assert opened("player.mix") == pytest.approx([0.5 * level * gain, 0, 0.5 * level, 0])
    turn(opened, "tilt", -6)
    opened.until("player.buffers[2] !== buffers[2]")
    added = [
        np.array(opened(f"Array.from(mixDown({which}, [-ownGains[2], 0, 1, 0])[0])"))[:, None]
        for which in ("buffers", "player.buffers")
    ]
    for octaves in (0.1, 0.9):
        low = CUTOFF * 2**octaves
        before, behind = (level_db(band(each, low, 1.05 * low)) for each in added)
        assert behind - before == pytest.approx(-6 * octaves, abs=0.6)
    assert level_db(band(added[1], 20, CUTOFF - 1500)) < level_db(added[0]) - 50, "nothing below"
    command = opened.page.locator("#commands pre").first.inner_text()
    assert command.endswith("--take 2 -o out.wav --amount=0.5 --tilt=-6")
    opened.press("x")
    assert opened("player.mix").count(0) == 3, "a blind test is of the renders as they are"
    assert not opened.page.locator("#mix").is_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 1400), ("light", 420), ("dark", 420)])
def test_it_fits_and_can_be_read(browser: Any, file: Path, scheme: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(file.as_uri())
    page.evaluate("ready")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing has to be scrolled sideways"
    weak = page.evaluate(CONTRAST)
    assert weak == [], "every text stands out from its ground (WCAG AA)"
    page.close()


CONTRAST = """(() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const part = (c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (colour.startsWith("rgb(")) return parse(colour);
    }
    return [255, 255, 255];
  };
  const weak = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest(".screen, script, .skip, .hidden")) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push([ratio, node.outerHTML.slice(0, 120)]);
  }
  return weak;
})()"""
