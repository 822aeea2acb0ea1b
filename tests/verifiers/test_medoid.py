"""The candidate that is most like the others is no accident of batches, and broken or lone ones decide nothing."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Ttsr, below, save, voice
from torch import Tensor

from ttsr_studio.analysis.difference import band_distances
from ttsr_studio.errors import MissingError, OptionError
from ttsr_studio.report.validate import validate
from ttsr_studio.verifiers.protocol import Context
from ttsr_studio.verifiers.registry import load_verifier

RATE = 48000
NAMES = ("medoid", "medoid_zimtohrli")


def crowd(count: int = 5, seconds: float = 0.4) -> Tensor:
    """Candidates of which all but the last have most in common, [count, 1, samples]."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.randn(count + 1, 1, int(seconds * RATE), generator=generator)
    parts = [noise[0] + 0.2 * noise[k + 1] for k in range(count)]
    return torch.stack([*parts[:-1], noise[-1]])


def context(audio: Tensor, rate: int = RATE) -> Context:
    return Context(rate, 6000.0, audio[0])


@pytest.mark.parametrize("name", NAMES)
def test_the_medoid_is_what_is_nearest_to_all_others(name: str) -> None:
    pytest.importorskip("zimtohrli")
    verifier, audio = load_verifier(name), crowd()
    known = context(audio)
    scores = verifier.score(audio, known)
    assert scores.dtype == torch.float64
    assert scores.argmin() == 4
    assert scores.std() > 0
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.allclose(verifier.score(audio[order], context(audio)), scores[order], rtol=1e-6)
    assert torch.equal(verifier.score(audio, known), scores), "what is looked up is what was measured"
    assert verifier.score(audio[:1], context(audio)).tolist() == [0.0]
    assert verifier.score(0 * audio[:3], context(audio)).tolist() == [0.0, 0.0, 0.0]
    assert verifier.score(audio[..., :100], context(audio)).isfinite().all()
    broken = audio.clone()
    broken[2, 0, 7] = torch.nan
    rest = verifier.score(broken, context(audio))
    assert rest[2].isnan()
    assert torch.allclose(rest[[0, 1, 3, 4]], verifier.score(audio[[0, 1, 3, 4]], context(audio)))


def test_the_score_is_minus_the_mean_distance_to_the_others() -> None:
    audio = crowd()
    apart = band_distances(audio, 6000.0, RATE)
    assert load_verifier("medoid").score(audio, context(audio)).numpy() == pytest.approx(-apart.sum(1) / 4, rel=1e-4)


def test_by_zimtohrli_a_candidate_has_eight_neighbours_at_most() -> None:
    """The cost grows with N, not with its square: 4 N pairs."""
    pytest.importorskip("zimtohrli")
    audio = crowd(12, 0.15)
    known = context(audio)
    scores = load_verifier("medoid_zimtohrli").score(audio, known)
    assert scores.isfinite().all()
    assert len(known.cache["medoid_zimtohrli"]) == 48
    with pytest.raises(OptionError, match="takes 48000 Hz, not 44100"):
        load_verifier("medoid_zimtohrli").score(audio, context(audio, 44100))


def test_the_package_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zimtohrli", None)
    with pytest.raises(MissingError, match=r"'ttsr-studio\[evaluate\]'"):
        load_verifier("medoid_zimtohrli")


def test_a_render_by_the_medoid_is_the_same_in_any_batch(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "stem.wav", below(voice(1.0), 5000))

    def report(*options: object) -> dict[str, Any]:
        out = tmp_path / "out.wav"
        done = ttsr("render", source, "-o", out, "--overwrite", "--candidates", 5, "--choice", "window", *options)
        assert done.exit_code == 0, done.output
        found: dict[str, Any] = json.loads((tmp_path / "out.ttsr.json").read_text())
        validate(found)
        return found

    whole, one_by_one = report("--verifier", "medoid"), report("--verifier", "medoid", "--batch", 1)
    assert whole["output"]["sha256"] == one_by_one["output"]["sha256"]
    scores = [[c["scores"]["medoid"] for c in made["windows"][0]["candidates"]] for made in (whole, one_by_one)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    assert len(set(scores[0])) == 5
    assert whole["windows"][0]["chosen"] == int(np.argmax(scores[0]))
    by_parts = report("--verifier", "medoid", "--choice", "segment", "--hold-out", "critic")
    assert by_parts["verifiers"]["critic"]["role"] == "held-out"
    tied = report("--verifier", "medoid", "--scope", "clip", "--choice", "clip")
    assert tied["windows"][0]["candidates"][0]["scores"]["medoid"] < 0, "it compares candidates, whatever is asked"
    done = ttsr("render", source, "-o", tmp_path / "x.wav", "--verifier", "medoid", "--search", "halving")
    assert done.exit_code == 2
    assert "goes by scores on the way, and medoid has none; add critic" in " ".join(done.output.split())
    done = ttsr("score", source, "--verifier", "medoid", "--input", source)
    assert done.exit_code == 2
    assert "not finished files" in done.output


@pytest.mark.parametrize("candidates", [2, 3])
def test_two_candidates_are_too_few_and_that_is_said(ttsr: Ttsr, tmp_path: Path, candidates: int) -> None:
    source = save(tmp_path / "a.wav", below(voice(0.3), 5000))
    done = ttsr("render", source, "-o", tmp_path / "out.wav", "--verifier", "medoid", "--candidates", candidates)
    assert ("there were 2: 3 are needed to choose" in " ".join(done.output.split())) == (candidates == 2), done.output
