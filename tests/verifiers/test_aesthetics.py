"""The four opinions must be those of the published pipeline, or the ranking is somebody else's."""

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import voice
from safetensors.torch import load_file, save_file
from tiny_models import AES_CONFIG as CONFIG
from tiny_models import AES_SCALES as SCALES
from tiny_models import shrink_aesthetics, write_aesthetics
from torch import Tensor

from ttsr_studio.errors import MissingError
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.verifiers.protocol import Context, resampled, score_columns
from ttsr_studio.weights import store
from ttsr_studio.weights.install import install
from ttsr_studio.weights.registry import VERIFIER_MODELS

aes = pytest.importorskip("audiobox_aesthetics.model.aes")

from ttsr_studio.verifiers.pretrained.aesthetics import Aesthetics  # noqa: E402

RATE = 16000


pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """The real network with few and narrow layers."""
    with pytest.MonkeyPatch.context() as patch:
        shrink_aesthetics(patch)
        yield


@pytest.fixture(scope="module")
def official(small: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the official format, with random weights. Tests do not change it."""
    return write_aesthetics(tmp_path_factory.mktemp("official"))


@pytest.fixture(scope="module")
def folder(official: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with it installed. Tests do not change it."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.VARIABLE, str(folder))
        install(VERIFIER_MODELS["aesthetics"], official, "fp16", lambda line: None)
    return folder


@pytest.fixture
def verifier(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Aesthetics:
    monkeypatch.setenv(store.VARIABLE, str(folder))
    return Aesthetics()


@pytest.fixture(scope="module")
def model(official: Path) -> Any:
    """The library's own model, from the file that was installed."""
    network = aes.AesMultiOutput(**CONFIG)
    network.load_state_dict(load_file(official / "model.safetensors"))
    return network.eval()


def published(model: Any, wavs: list[Tensor]) -> dict[str, Tensor]:
    """Opinions of audio [1, samples] each at 16 kHz, as `AesPredictor.forward` has them: all windows in one batch."""
    windows, masks, weights, owners = [], [], [], []
    for owner, wav in enumerate(wavs):
        for start in range(0, wav.shape[-1], 10 * RATE):
            part = wav[..., start : start + 10 * RATE]
            length = part.shape[-1]
            mask = torch.zeros(1, 10 * RATE, dtype=torch.bool)
            mask[:, :length] = True
            windows.append(F.pad(part, (0, 10 * RATE - length)))
            masks.append(mask)
            weights.append(length / (10 * RATE))
            owners.append(owner)
    with torch.inference_mode():
        said = model({"wav": torch.stack(windows), "mask": torch.stack(masks)})
    share, owner_of = torch.tensor(weights), torch.tensor(owners)
    result = {}
    for scale in SCALES:
        opinions = aes.Normalize(**model.target_transform[scale]).inverse(said[scale])
        mine = [owner_of == owner for owner in range(len(wavs))]
        result[scale] = torch.stack([(opinions[m] * share[m]).sum() / share[m].sum() for m in mine]).double()
    return result


def takes(seconds: float, rate: int = RATE, count: int = 3, channels: int = 1) -> Tensor:
    """Voices and noise, [count, channels, samples]."""
    voices = [voice(seconds, rate, channels, seed) for seed in range(count - 1)]
    noise = np.random.default_rng(9).standard_normal(voices[0].shape) * 0.05
    return torch.from_numpy(np.stack([*voices, noise]).transpose(0, 2, 1).copy()).float()


def context(audio: Tensor, rate: int = RATE) -> Context:
    return Context(rate, 4000.0, audio[0])


@pytest.mark.parametrize("seconds", [0.5, 7.3, 10.0, 12.0])
def test_it_equals_the_published_pipeline(verifier: Aesthetics, model: Any, seconds: float) -> None:
    audio = takes(seconds)
    scores = verifier.score(audio, context(audio))
    wanted = published(model, list(audio))
    assert list(scores) == SCALES
    for scale in SCALES:
        assert scores[scale].shape == (3,)
        assert scores[scale].dtype == torch.float64
        assert (scores[scale] - wanted[scale]).abs().max() <= 1e-4
        assert scores[scale].std() > 0.01, "a network that says the same of everything proves nothing here"


def test_it_hears_the_mean_of_the_channels_at_16_khz(verifier: Aesthetics, model: Any) -> None:
    audio = takes(3.0, 48000, channels=2)
    audio[:, 1] = audio[:, 1].flip(-1)
    scores = verifier.score(audio, context(audio, 48000))
    wanted = published(model, list(resampled(audio, 48000, RATE).mean(1, keepdim=True)))
    assert all((scores[scale] - wanted[scale]).abs().max() <= 1e-4 for scale in SCALES)
    left = published(model, list(resampled(audio[:, :1], 48000, RATE)))
    assert (scores["PQ"] - left["PQ"]).abs().max() > 1e-3


def test_padding_is_not_heard_and_counts_for_nothing(verifier: Aesthetics, model: Any) -> None:
    audio = takes(12.0)
    scores = verifier.score(audio, context(audio))
    head, tail = (published(model, list(part)) for part in (audio[..., : 10 * RATE], audio[..., 10 * RATE :]))
    padded = published(model, [F.pad(wav, (0, 8 * RATE)) for wav in audio])
    for scale in SCALES:
        assert (scores[scale] - (10 * head[scale] + 2 * tail[scale]) / 12).abs().max() <= 1e-4
        assert (scores[scale] - (head[scale] + tail[scale]) / 2).abs().max() > 1e-3, "the tail counts in full"
        assert (scores[scale] - padded[scale]).abs().max() > 1e-3, "the padding is heard as silence"


def test_a_score_is_the_same_in_any_company_and_every_time(verifier: Aesthetics) -> None:
    audio = takes(11.0, count=4)
    known = context(audio)
    scores = verifier.score(audio, known)
    order = torch.tensor([2, 0, 3, 1])
    for scale in SCALES:
        assert torch.equal(verifier.score(audio.clone(), known)[scale], scores[scale])
        assert torch.equal(verifier.score(audio[order], known)[scale], scores[scale][order])
        alone = torch.cat([verifier.score(audio[i : i + 1], known)[scale] for i in range(4)])
        assert torch.equal(alone, scores[scale])


def test_its_columns_are_its_scales(verifier: Aesthetics) -> None:
    audio = takes(1.0)
    assert list(score_columns(verifier, audio, context(audio))) == [f"aesthetics/{scale}" for scale in SCALES]


@pytest.mark.parametrize("samples", [0, 1, 200, RATE])
def test_silence_and_very_short_audio_get_a_finite_score(verifier: Aesthetics, samples: int) -> None:
    audio = torch.zeros(2, 1, samples)
    for values in verifier.score(audio, context(audio)).values():
        assert values.isfinite().all()
        assert values[0] == values[1]


def test_broken_audio_is_not_scored_and_harms_no_other(verifier: Aesthetics) -> None:
    audio = takes(1.0, count=4)
    whole = verifier.score(audio, context(audio))
    broken = audio.clone()
    broken[1, 0, 100] = float("nan")
    broken[2, 0, 100] = float("inf")
    scores = verifier.score(broken, context(audio))
    for scale in SCALES:
        assert scores[scale].isnan().tolist() == [False, True, True, False]
        assert torch.equal(scores[scale][[0, 3]], whole[scale][[0, 3]])


def test_it_says_what_it_is_made_of_and_nothing_else(
    verifier: Aesthetics, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = ("config.json", "model.safetensors")
    assert verifier.weights == {name: sha256(folder / "aesthetics" / name) for name in files}
    assert verifier.licence == VERIFIER_MODELS["aesthetics"].licence
    assert (verifier.name, verifier.unit, verifier.scope) == ("aesthetics", "1-10", "window")
    assert verifier.needs == frozenset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Aesthetics().score(torch.zeros(1, 1, 9), context(torch.zeros(1, 1, 9)))
    assert capfd.readouterr().out == "", "what a command prints is for its own results"


@pytest.mark.parametrize("damage", ["lacking", "other", "untrained"])
def test_weights_that_do_not_fit_are_refused(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    weights, config = load_file(official / "model.safetensors"), dict(CONFIG)
    if damage == "lacking":
        del weights["layer_weights.PQ"]
    elif damage == "other":
        weights["classifier.weight"] = torch.zeros(2, 2)
    else:
        del config["target_transform"]
    source = tmp_path / "source"
    source.mkdir()
    save_file(weights, source / "model.safetensors")
    (source / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    install(VERIFIER_MODELS["aesthetics"], source, "fp16", lambda line: None)
    with pytest.raises(MissingError, match=r"do not fit.*ttsr models fetch aesthetics"):
        Aesthetics()


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path))
    with pytest.raises(MissingError, match=r"not installed.*ttsr models fetch aesthetics"):
        Aesthetics()
    monkeypatch.setitem(sys.modules, "audiobox_aesthetics.model.aes", None)
    with pytest.raises(MissingError, match="pip install --no-deps audiobox_aesthetics"):
        Aesthetics()
