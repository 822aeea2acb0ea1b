"""The Python API: `import ttsr_studio as ttsr`."""

import gc
import json
import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from helpers import LONGEST, Ttsr, below, load, save, voice

import ttsr_studio as ttsr

ROOT = Path(__file__).parents[2]
QUICK = {"candidates": 2, "steps": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def renderer() -> ttsr.Renderer:
    return ttsr.Renderer(preset="speech", **QUICK)


@pytest.fixture
def stem(tmp_path: Path) -> Path:
    return save(tmp_path / "stem.wav", below(voice(0.5), 6000))


def test_a_render_is_what_the_command_line_makes(ttsr_line: Ttsr, stem: Path, tmp_path: Path) -> None:
    result = ttsr.render(stem, tmp_path / "out.wav", preset="speech", **QUICK)
    options = [f"--{name}={value}" for name, value in QUICK.items()]
    done = ttsr_line("render", stem, "--preset", "speech", *options, "-o", tmp_path / "line.wav", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["sha256"] == result.sha256
    assert result.path == tmp_path / "out.wav"
    assert result.report_path is not None
    assert result.report.tool.preset == "speech"
    assert len(result.report.windows[0].candidates) == 2
    assert result.line.startswith(f"{result.path}: ")
    with pytest.raises(FrozenInstanceError):
        result.path = stem  # type: ignore[misc]


@pytest.fixture
def ttsr_line(request: pytest.FixtureRequest) -> Ttsr:
    line: Ttsr = request.getfixturevalue("ttsr")
    return line


def test_what_is_given_wins_over_the_preset_and_names_are_those_of_options(stem: Path) -> None:
    given = ttsr.Renderer(preset="speech", verifier=["consensus"], keep_top=2, **QUICK)
    assert given.options.verifiers == ("consensus",)
    assert given.options.keep_top == 2
    with pytest.raises(ttsr.OptionError, match="unknown option 'candidats'; known: "):
        ttsr.Renderer(candidats=3)
    with pytest.raises(ttsr.OptionError, match=r'^segment is of choice="segment", not of choice="window"; leave'):
        ttsr.Renderer(choice="window", segment=1.0)
    with pytest.raises(ttsr.OptionError, match="unknown preset 'nix'"):
        ttsr.Renderer(preset="nix")
    with pytest.raises(ttsr.TtsrError, match="at least 1"):
        ttsr.Renderer(candidates=0)


def test_a_renderer_serves_many_files_and_tells_its_progress(
    renderer: ttsr.Renderer, stem: Path, tmp_path: Path
) -> None:
    told: list[ttsr.Event] = []
    known = ttsr.Annotations(transcript="a vowel that glides")
    first = renderer.render(stem, tmp_path / "a.wav", annotations=known, on_progress=told.append)
    second = renderer.render(stem, tmp_path / "b.wav", report=False)
    assert first.sha256 == second.sha256
    assert first.report.annotations.transcript == "a vowel that glides"
    assert second.report_path is None
    assert list(dict.fromkeys(event.stage for event in told)) == ["reading", "searching", "writing"]
    with pytest.raises(ttsr.OptionError, match="exists already; pass overwrite=True"):
        renderer.render(stem, tmp_path / "a.wav")
    assert renderer.render(stem, tmp_path / "a.wav", overwrite=True).sha256 == first.sha256
    with pytest.raises(ttsr.OptionError, match="an input would be overwritten"):
        renderer.render(stem, stem, overwrite=True)
    with pytest.raises(ttsr.InputError, match="absent"):
        renderer.render(tmp_path / "absent.wav", tmp_path / "c.wav")


def test_progress_never_goes_back_and_ends_at_one(stem: Path, tmp_path: Path) -> None:
    renderer = ttsr.Renderer(search="halving", keep_top=2, control=True, take=1, rate=44100, candidates=3, steps=2)
    of_file: list[ttsr.Event] = []
    of_array: list[ttsr.Event] = []
    renderer.render(stem, tmp_path / "out.wav", on_progress=of_file.append)
    renderer.enhance(load(stem).T, 48000, on_progress=of_array.append)
    for told in (of_file, of_array):
        assert (told[-1].stage, told[-1].fraction, told[-1].done / told[-1].total) == ("writing", 1.0, 1.0)
        assert told[-1].rendered == pytest.approx(0.5)
        fractions = [event.fraction for event in told]
        assert fractions == sorted(fractions)
        assert len(set(fractions)) > 5
        for stage in ("reading", "searching", "writing"):
            own = [event for event in told if event.stage == stage]
            assert len({event.total for event in own}) == 1
            assert [event.done for event in own] == sorted(event.done for event in own)
        assert max(event.done for event in told if event.stage == "searching") > 1
    assert sum(event.stage == "writing" for event in of_file) > 5


def test_an_array_comes_out_as_its_file_does(stem: Path, tmp_path: Path) -> None:
    renderer = ttsr.Renderer(depth="32f", **QUICK)
    file = renderer.render(stem, tmp_path / "out.wav")
    samples = load(stem).T.astype(np.float32)
    audio, report = renderer.enhance(samples[0], 48000)
    assert audio.dtype == np.float32
    assert np.array_equal(audio, load(file.path).T[0].astype(np.float32))
    assert report.output.gain_db == file.report.output.gain_db
    assert report.windows == file.report.windows
    assert not list(tmp_path.glob("array*"))


@pytest.mark.parametrize(("rate", "wanted"), [(16000, 48000), (22050, 44100), (44100, "source")])
def test_any_rate_and_any_channels(rate: int, wanted: int | str) -> None:
    renderer = ttsr.Renderer(rate=wanted, **QUICK)
    samples = below(voice(0.4, rate, channels=2), 5000, rate).T
    audio, report = renderer.enhance(samples, rate)
    out = rate if wanted == "source" else int(wanted)
    assert audio.shape == (2, -(-samples.shape[1] * out // rate))
    assert (report.input.rate, report.output.rate) == (rate, out)


@pytest.mark.parametrize(
    ("samples", "rate", "reason"),
    [
        (np.zeros(100, np.int16), 48000, "type int16"),
        (np.zeros((2, 2, 100)), 48000, "of shape"),
        (np.zeros(0), 48000, "of shape"),
        (np.zeros((4800, 2)), 48000, "4800 channels"),
        (np.zeros(100), 400, "rate of 400 Hz"),
        (np.full(100, np.nan), 48000, "not finite"),
        (np.random.default_rng(0).standard_normal(48000) * 0.1, 48000, "full-band already"),
    ],
)
def test_what_is_no_audio_to_render_is_refused(
    renderer: ttsr.Renderer, samples: np.ndarray, rate: int, reason: str
) -> None:
    with pytest.raises(ttsr.InputError, match=reason):
        renderer.enhance(samples, rate)


def test_what_is_full_band_already_says_so_by_a_type_of_its_own(renderer: ttsr.Renderer, tmp_path: Path) -> None:
    full = save(tmp_path / "full.wav", 0.1 * np.random.default_rng(0).standard_normal((48000, 1)))
    with pytest.raises(ttsr.NothingToAddError, match="full-band already"):
        renderer.render(full, tmp_path / "out.wav")
    with pytest.raises(ttsr.NothingToAddError, match="too short to be sure"):
        renderer.enhance(below(voice(0.04), 5000).T, 48000)
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([[0.1, 0.2], [0.3]], "no array of samples"),
        (None, "type object"),
        (np.zeros(100, np.int16), "divide by 32768"),
        (np.zeros((4800, 2)), "waveform.T"),
        (np.full(100, 1e300), "the first is sample 0 of channel 0"),
    ],
)
def test_what_is_no_array_is_refused_with_a_remedy(renderer: ttsr.Renderer, samples: Any, reason: str) -> None:
    with pytest.raises(ttsr.InputError, match=reason):
        renderer.enhance(samples, 48000)


@pytest.mark.parametrize("rate", [44100.5, "48000", None, True, float("nan")])
def test_what_is_no_rate_is_refused(renderer: ttsr.Renderer, rate: Any) -> None:
    with pytest.raises(ttsr.InputError, match="give a whole number from"):
        renderer.enhance(np.zeros(100), rate)


def test_tensors_lists_and_numbers_of_numpy_are_taken(renderer: ttsr.Renderer, stem: Path) -> None:
    samples = load(stem).T[0].astype(np.float32)
    audio, _ = renderer.enhance(samples, 48000)
    for same, rate in ((torch.tensor(samples, requires_grad=True), np.int32(48000)), (samples.tolist(), 48000.0)):
        assert np.array_equal(renderer.enhance(same, rate)[0], audio)


def test_arguments_of_another_kind_are_refused_by_name(renderer: ttsr.Renderer, stem: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    wrong: list[tuple[tuple[Any, Any], dict[str, Any], str]] = [
        ((stem, None), {}, "out: a text or a path is wanted"),
        ((None, out), {}, "source: a text or a path is wanted"),
        (("", out), {}, "names no file"),
        ((stem, out), {"annotations": {"transcript": "x"}}, "ttsr.Annotations is wanted, not dict"),
        ((stem, out), {"on_progress": 3}, "on_progress: a function"),
        ((stem, stem / "out.wav"), {}, "is no folder; choose another out"),
    ]
    for given, named, reason in wrong:
        with pytest.raises(ttsr.OptionError, match=reason):
            renderer.render(*given, **named)
    assert renderer.render(os.fsencode(stem), tmp_path / "new" / "folder" / "out.wav").path.is_file()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"candidates": 0}, "candidates=0: at least 1"),
        ({"candidates": 2, "keep_top": 3}, "keep_top=3: only 2 candidates are made; allow more candidates"),
        ({"decode_top": 1, "choice": "clip"}, 'choice="clip" compares candidates over all windows'),
        ({"verifier": "lsd"}, "verifier 'lsd' needs reference=FILE"),
        ({"search": "halvin"}, "Invalid value for 'search'"),
        ({"weight": 3}, "weight=3: a list of NAME=W, or a dict is wanted"),
        ({"target": [1]}, "target .1.: a list of NAME=SCORE"),
        ({"loudness": None}, "loudness None: keep, match, off, or LUFS"),
        ({"preset": 3}, "preset: a text or a path is wanted, not 3"),
        ({"verifier": ["critic"], "verifiers": ["critic"]}, "verifier: given twice"),
    ],
)
def test_errors_name_options_as_python_does(given: dict[str, Any], line: str) -> None:
    with pytest.raises(ttsr.TtsrError, match=line) as raised:
        ttsr.Renderer(**given)
    assert "--" not in str(raised.value)


def test_options_are_taken_as_python_writes_them() -> None:
    preset = ROOT / "presets" / "speech.toml"
    options = ttsr.Renderer(preset, verifier="critic", weight={"critic": 2}, candidates=np.int64(3)).options
    assert (options.preset, options.verifiers, options.weights) == ("speech", ("critic",), (("critic", 2.0),))
    assert (options.candidates, type(options.candidates)) == (3, int)


def test_results_hash_and_pickle_and_a_renderer_is_as_good_after_an_error(stem: Path, tmp_path: Path) -> None:
    with ttsr.Renderer(**QUICK) as renderer:
        result = renderer.render(stem, tmp_path / "a.wav")
        assert pickle.loads(pickle.dumps(result)) == result
        assert len({result, renderer.render(stem, tmp_path / "b.wav")}) == 2

        def call_off(event: ttsr.Event) -> None:
            if event.stage == "searching":
                raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            renderer.render(stem, tmp_path / "c.wav", on_progress=call_off)
        assert not list(tmp_path.glob("*c.*"))
        assert renderer.render(stem, tmp_path / "c.wav").sha256 == result.sha256
    assert renderer.render(stem, tmp_path / "d.wav").sha256 == result.sha256, "after it was closed"


def test_threads_take_turns_and_nothing_of_a_render_stays(renderer: ttsr.Renderer, stem: Path) -> None:
    samples = load(stem).T[0]
    wanted, _ = renderer.enhance(samples, 48000)
    with ThreadPoolExecutor(3) as pool:
        made = [each.result()[0] for each in [pool.submit(renderer.enhance, samples, 48000) for _ in range(3)]]
    assert all(np.array_equal(audio, wanted) for audio in made)
    gc.collect()
    before = sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
    renderer.enhance(samples, 48000)
    gc.collect()
    assert sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects()) == before


STARTS = {
    "alone": "import sys, ttsr_studio as ttsr; assert 'Renderer' in dir(ttsr)",
    "after the room": "import sys, ttsr_studio.rendering.request, ttsr_studio as ttsr; assert callable(ttsr.render)",
    "errors": "import sys; from ttsr_studio import InputError, TtsrError; assert issubclass(InputError, TtsrError)",
}


@pytest.mark.parametrize("start", STARTS)
def test_names_are_imported_on_use(start: str) -> None:
    line = f"{STARTS[start]}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=LONGEST)
    assert done.returncode == 0, done.stderr
    assert "click" not in done.stdout.split()
    assert ("torch" in done.stdout.split()) == (start == "after the room")


def test_every_public_name_is_there() -> None:
    for name in ttsr.__all__:
        assert getattr(ttsr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'rendre'"):
        ttsr.rendre  # noqa: B018
    assert callable(ttsr.render)


def test_the_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"## From Python\n.*?```python\n(.*?)```", text, re.DOTALL)
    assert example is not None
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(example[1], names)
    assert (tmp_path / "voice_full_band.flac").is_file()
    audio = names["audio"]
    assert isinstance(audio, np.ndarray)
    assert audio.ndim == 1
    assert np.isfinite(audio).all()


def test_a_folder_is_refused_and_not_half_rendered(stem: Path, tmp_path: Path) -> None:
    with pytest.raises(ttsr.InputError, match="is a folder"):
        ttsr.Renderer(**QUICK).render(stem.parent, tmp_path / "out")


def test_what_an_array_is_of_counts_as_for_a_file(stem: Path) -> None:
    waveform, rate = soundfile.read(stem, frames=24000)
    _, report = ttsr.Renderer(speaker=[str(stem)], **QUICK).enhance(waveform, sample_rate=rate)
    assert report.annotations.speakers == 1
    with pytest.raises(ttsr.OptionError, match="reference"):
        ttsr.Renderer(reference=str(stem), **QUICK).enhance(waveform, sample_rate=rate)
