"""The Python API: `import ttsr_studio as ttsr`."""

import json
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
import soundfile
from api_reference import PAGE, reference
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


def test_the_reference_is_that_of_the_docstrings() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: python tests/api_reference.py"


def test_a_folder_is_refused_and_not_half_rendered(stem: Path, tmp_path: Path) -> None:
    with pytest.raises(ttsr.InputError, match="is a folder"):
        ttsr.Renderer(**QUICK).render(stem.parent, tmp_path / "out")


def test_what_an_array_is_of_counts_as_for_a_file(stem: Path) -> None:
    waveform, rate = soundfile.read(stem, frames=24000)
    _, report = ttsr.Renderer(speaker=[str(stem)], **QUICK).enhance(waveform, sample_rate=rate)
    assert report.annotations.speakers == 1
    with pytest.raises(ttsr.OptionError, match="reference"):
        ttsr.Renderer(reference=str(stem), **QUICK).enhance(waveform, sample_rate=rate)
