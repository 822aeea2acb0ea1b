"""Distill-MOS is the published network by its real weights, which its package brings, and hears a voice get worse."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import Ttsr, below, save, voice

from ttsr_studio.errors import MissingError
from ttsr_studio.verifiers.protocol import Context
from ttsr_studio.verifiers.registry import load_verifier

pytest.importorskip("xls_r_sqa")


def test_it_hears_a_voice_get_worse_and_equals_the_package() -> None:
    """The bundled voice. 4.6338 is `ConvTransformerSQAModel()` of distillmos 0.9.1 on it, by soxr at 16 kHz."""
    voiced, rate = soundfile.read("examples/voice_7k_band.flac", always_2d=True)
    voiced = voiced[:, :1]
    noise = np.random.default_rng(0).standard_normal(voiced.shape)
    takes = (voiced, below(voiced, 2000, rate), voiced + 0.5 * voiced.std() * noise)
    audio = torch.from_numpy(np.stack([take[:, 0] for take in takes])).float()[:, None]
    verifier = load_verifier("distillmos")
    scores = verifier.score(audio, Context(rate, 7000.0, audio[0]))
    assert scores.dtype == torch.float64
    assert scores[0].item() == pytest.approx(4.6338, abs=2e-3)
    assert scores[0] > scores[1] + 1
    assert scores[0] > scores[2] + 1
    assert set(verifier.weights) == {"distill_mos_v7.pt"}
    short = torch.zeros(1, 1, 600)
    assert verifier.score(short[..., :1], Context(rate, 7000.0, short[0])).isfinite()
    assert verifier.score(short / 0, Context(rate, 7000.0, short[0])).isnan()


def test_it_is_held_out_without_a_hub(ttsr: Ttsr, tmp_path: Path, no_network: None) -> None:
    source = save(tmp_path / "stem.wav", below(voice(1.0), 5000))
    done = ttsr("render", source, "-o", tmp_path / "out.wav", "--candidates", 2, "--hold-out", "distillmos")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out.ttsr.json").read_text())
    assert report["verifiers"]["distillmos"]["role"] == "held-out"
    assert 1 <= report["scores"]["distillmos"]["chosen"] <= 5


def test_the_command_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distillmos", None)
    with pytest.raises(MissingError, match=r"pip install --no-deps distillmos==0.9.1 xls-r-sqa==0.1.0"):
        load_verifier("distillmos")
