"""SIGMOS is fed what its authors feed it, and its seven opinions come out under their names, by a real ONNX Runtime."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Ttsr, below, save, voice
from numpy.typing import NDArray
from tiny_onnx import write_planes

from ttsr_studio.errors import MissingError
from ttsr_studio.verifiers.pretrained.sigmos import SCALES
from ttsr_studio.verifiers.protocol import Context
from ttsr_studio.verifiers.registry import load_verifier
from ttsr_studio.weights import store

pytest.importorskip("onnxruntime")
MATRIX = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)


@pytest.fixture
def installed(ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with a graph of the real one's signature, by the real command."""
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    done = ttsr("models", "import", "sigmos", write_planes(tmp_path / "own.onnx", MATRIX))
    assert done.exit_code == 0, done.output
    return tmp_path / "models"


def published(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """The means of its features over frames and bins, as microsoft/SIG-Challenge describes them, frame by frame."""
    last = len(audio) % 480 or 480
    padded = np.concatenate([np.zeros(480), audio, np.zeros(960 - last)])
    window = np.sqrt(np.hanning(961)[:-1])
    total, frames = np.zeros(3), 0
    for start in range(0, len(padded) - 959, 480):
        bins = np.fft.rfft(padded[start : start + 960] * window)
        size = np.maximum(np.abs(bins), 1e-6)
        total += [np.mean(size**0.3), np.mean(bins.real * size**-0.7), np.mean(bins.imag * size**-0.7)]
        frames += 1
    return total / frames


@pytest.mark.parametrize("samples", [48000, 12345])
def test_the_network_gets_what_its_authors_give_it(installed: Path, samples: int) -> None:
    audio = torch.from_numpy(voice(1.1)[:samples, 0].astype(np.float32))[None, None]
    scores = load_verifier("sigmos").score(audio, Context(48000, 6000.0, audio[0]))
    assert isinstance(scores, dict)
    assert tuple(scores) == SCALES
    expected = published(audio[0, 0].numpy()) @ MATRIX
    assert torch.stack([scores[scale][0] for scale in SCALES]).numpy() == pytest.approx(expected, abs=1e-4)
    broken = audio.repeat(2, 1, 1)
    broken[1, 0, 5] = torch.nan
    said = load_verifier("sigmos").score(broken, Context(48000, 6000.0, audio[0]))
    assert isinstance(said, dict)
    assert said["OVRL"][0] == scores["OVRL"][0]
    assert all(values[1].isnan() for values in said.values())


def test_what_is_long_counts_by_its_length(installed: Path) -> None:
    audio = torch.zeros(1, 1, 33 * 48000)
    audio[..., : 30 * 48000] = torch.from_numpy(np.tile(voice(1.0)[:, 0], 30).astype(np.float32))
    alone = [load_verifier("sigmos").score(x, Context(48000, 6000.0, x[0]))["OVRL"] for x in audio.split(30 * 48000, 2)]
    whole = load_verifier("sigmos").score(audio, Context(48000, 6000.0, audio[0]))["OVRL"]
    assert whole.item() == pytest.approx((30 * alone[0].item() + 3 * alone[1].item()) / 33, rel=1e-6)


def test_a_render_is_scored_on_all_scales(ttsr: Ttsr, installed: Path, tmp_path: Path) -> None:
    source = save(tmp_path / "stem.wav", below(voice(0.6), 5000))
    done = ttsr("render", source, "-o", tmp_path / "out.wav", "--candidates", 2, "--hold-out", "sigmos")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out.ttsr.json").read_text())
    assert {f"sigmos/{scale}" for scale in SCALES} <= set(report["windows"][0]["candidates"][0]["scores"])


def test_what_is_no_such_model_is_refused_in_one_line(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    with pytest.raises(MissingError, match="ttsr models fetch sigmos"):
        load_verifier("sigmos")
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    for path, why in ((junk, "not a model of SIGMOS"), (write_planes(tmp_path / "two.onnx", MATRIX[:, :2]), "(1, 2)")):
        done = ttsr("models", "import", "sigmos", path)
        assert done.exit_code == 1
        assert why in done.output
        assert len(done.output.strip().splitlines()) <= 2
    assert not (tmp_path / "models" / "sigmos").exists()
