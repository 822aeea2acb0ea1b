"""A verifier of what is heard that reads captions wrongly, or listens at random, would keep any render."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import sound, write_clap
from torch import Tensor
from torch.nn.functional import normalize

from ttsr_studio.errors import MissingError
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.verifiers.pretrained.clap import CLAP
from ttsr_studio.verifiers.protocol import Annotations, Context, resampled
from ttsr_studio.weights import store
from ttsr_studio.weights.install import install
from ttsr_studio.weights.registry import VERIFIER_MODELS

transformers = pytest.importorskip("transformers")

RATE = 48000
CAPTIONS = ("a dog", "loud piano music, then rain", "x", "a woman speaks")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clap(tmp_path_factory.mktemp("clap"), 0)


@pytest.fixture(scope="module")
def imported(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A models folder with it."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.VARIABLE, str(folder))
        install(VERIFIER_MODELS["clap-general"], source, "fp16", lambda line: None)
        yield folder


pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture
def verifier(imported: Path, monkeypatch: pytest.MonkeyPatch) -> CLAP:
    monkeypatch.setenv(store.VARIABLE, str(imported))
    return CLAP()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the model is asked for: how many captions, or how many pieces of audio."""
    made: list[str] = []
    for kind, key in (("text", "input_ids"), ("audio", "input_features")):
        original = getattr(transformers.ClapModel, f"get_{kind}_features")

        def counted(self: Any, *, kind: str = kind, key: str = key, original: Any = original, **inputs: Any) -> Any:
            made.append(f"{len(inputs[key])} {kind}")
            return original(self, **inputs)

        monkeypatch.setattr(transformers.ClapModel, f"get_{kind}_features", counted)
    return made


def library(source: Path, rows: Tensor, captions: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Cosines [N, captions] and audio embeddings [N, size] of [N, samples] by the library alone, one of each a time."""
    processor = transformers.ClapProcessor.from_pretrained(source)
    model = transformers.ClapModel.from_pretrained(source).eval()
    cosines, embeddings = torch.zeros(len(rows), len(captions)), []
    with torch.no_grad():
        for i, row in enumerate(rows):
            for j, caption in enumerate(captions):
                inputs = processor(text=[caption], audio=row.numpy(), sampling_rate=RATE, return_tensors="pt")
                said = model(**inputs)
                cosines[i, j] = said.logits_per_audio.item() / model.logit_scale_a.exp()
            embeddings.append(normalize(said.audio_embeds[0], dim=0))
    return cosines.double(), torch.stack(embeddings).double()


def near(scores: Tensor, wanted: Tensor) -> None:
    assert scores.dtype == torch.float64
    assert scores.tolist() == pytest.approx(wanted.tolist(), abs=1e-4, nan_ok=True)


def known(lr: Tensor, annotations: Annotations | None = None, rate: int = RATE) -> Context:
    return Context(rate, 4000.0, lr, annotations=annotations or Annotations())


def test_with_a_caption_scores_are_the_librarys_cosines_whatever_the_batch_and_its_order(
    verifier: CLAP, source: Path, calls: list[str]
) -> None:
    audio = torch.stack([sound(seed) for seed in range(1, 11)])
    wanted = library(source, audio[:, 0], CAPTIONS[:1])[0][:, 0]
    assert wanted.max() - wanted.min() > 0.1, "the audio does not tell candidates apart"
    annotations = Annotations(caption=CAPTIONS[0], captions=CAPTIONS[1:])
    near(verifier.score(audio, known(sound(0), annotations)), wanted)
    near(verifier.score(audio.flip(0), known(sound(0), annotations)).flip(0), wanted)
    near(torch.cat([verifier.score(part, known(sound(0), annotations)) for part in audio.split(3)]), wanted)
    assert set(calls) == {"1 text", "1 audio"}, "a CPU takes one at a time"


def test_channels_are_averaged_and_rates_converted(verifier: CLAP, source: Path) -> None:
    audio = torch.stack([sound(seed, 1.0, 44100, 2) for seed in (1, 2)])
    wanted = library(source, resampled(audio.mean(1), 44100, RATE), CAPTIONS[:1])[0][:, 0]
    near(verifier.score(audio, known(audio[0], Annotations(caption=CAPTIONS[0]), 44100)), wanted)


def test_of_several_captions_the_inputs_best_is_taken_for_the_whole_file(
    verifier: CLAP, source: Path, calls: list[str]
) -> None:
    audio = torch.stack([sound(seed) for seed in range(1, 5)])
    cosines, _ = library(source, audio[:, 0], CAPTIONS)
    best = cosines.argmax(1)
    first, other = 0, int((best != best[0]).nonzero()[0])
    calls.clear()
    for lr, chosen in ((first, best[first]), (other, best[other])):
        annotations = Annotations(captions=CAPTIONS)
        near(verifier.score(audio, known(audio[lr], annotations)), cosines[:, chosen])
        assert annotations.cache["clap/caption"] == CAPTIONS[chosen]
    near(verifier.score(audio, known(audio[first], annotations)), cosines[:, best[other]])
    assert calls == ["4 text", *["1 audio"] * 5] * 2 + ["1 audio"] * 4


def test_a_silent_start_does_not_choose_the_caption_of_the_file(verifier: CLAP) -> None:
    audio = torch.stack([sound(seed) for seed in (1, 2)])
    annotations, fresh = Annotations(captions=CAPTIONS), Annotations(captions=CAPTIONS)
    assert verifier.score(audio, known(0 * audio[0], annotations)).isfinite().all()
    assert "clap/caption" not in annotations.cache
    wanted = verifier.score(audio, known(audio[0], fresh))
    near(verifier.score(audio, known(audio[0], annotations)), wanted)
    assert annotations.cache["clap/caption"] == fresh.cache["clap/caption"]


def test_without_captions_the_input_itself_scores_highest_and_is_heard_once_per_window(
    verifier: CLAP, source: Path, calls: list[str]
) -> None:
    audio = torch.stack([sound(seed) for seed in (1, 2, 3)])
    _, embeddings = library(source, audio[:, 0], CAPTIONS[:1])
    calls.clear()
    context = known(audio[1])
    scores = verifier.score(audio, context)
    near(scores, embeddings @ embeddings[1])
    assert scores[1].item() == pytest.approx(1, abs=1e-6)
    assert scores[1] > scores[[0, 2]].max() + 1e-3
    near(verifier.score(audio.flip(0), context), scores.flip(0))
    assert calls == ["1 audio"] * 7


def test_a_caption_is_read_once_per_file(verifier: CLAP, calls: list[str]) -> None:
    annotations = Annotations(caption="a very long story " * 20)
    for seed in (0, 1):
        assert verifier.score(sound(2)[None], known(sound(seed), annotations)).isfinite().all()
    assert calls == ["1 text", "1 audio", "1 audio"]


def test_long_audio_is_heard_whole_in_pieces_of_ten_seconds_and_never_at_random(
    verifier: CLAP, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("drawn at random")

    audio = torch.stack([torch.cat([sound(seed, 10.0), sound(seed + 1, 4.0)], 1) for seed in (1, 2)])
    long, short = (library(source, audio[:, 0, part], CAPTIONS[:1])[1] for part in (slice(480000), slice(480000, None)))
    whole = normalize(10 * long + 4 * short, dim=1)
    monkeypatch.setattr(np.random, "randint", refuse)
    monkeypatch.setattr(np.random, "choice", refuse)
    scores = verifier.score(audio, known(audio[1]))
    near(scores, whole @ whole[1])
    assert torch.equal(scores, verifier.score(audio, known(audio[1])))
    assert not torch.allclose(scores, long @ long[1], atol=1e-3), "the pieces do not differ enough to tell"


def test_a_candidate_that_is_not_finite_gets_no_score_and_changes_no_other(verifier: CLAP) -> None:
    audio = torch.stack([sound(seed) for seed in (1, 2, 3)])
    for annotations in (Annotations(), Annotations(caption=CAPTIONS[0])):
        broken, wanted = audio.clone(), verifier.score(audio, known(audio[0], annotations))
        broken[1, 0, 100] = float("nan")
        wanted[1] = torch.nan
        near(verifier.score(broken, known(audio[0], annotations)), wanted)
        assert verifier.score(broken[1:2], known(audio[0], annotations)).isnan().all()


@pytest.mark.parametrize("samples", [1, 600, 24000])
def test_silence_and_very_short_audio_get_a_finite_score(verifier: CLAP, samples: int) -> None:
    audio = torch.zeros(2, 1, samples)
    for annotations in (Annotations(), Annotations(caption=CAPTIONS[0])):
        scores = verifier.score(audio, known(audio[0], annotations))
        assert scores.isfinite().all()
        assert scores[0] == pytest.approx(scores[1].item(), abs=1e-6)


def test_it_says_which_weights_it_uses_and_prefers_those_for_music(
    imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    shutil.copytree(imported, tmp_path / "models")
    for name in ("clap-general", "clap-music"):
        if name == "clap-music":
            install(VERIFIER_MODELS[name], write_clap(tmp_path / "music", 1), "fp16", lambda line: None)
        verifier = CLAP()
        file = tmp_path / "models" / name / "model.safetensors"
        assert verifier.weights["model.safetensors"] == sha256(file)
        assert verifier.licence == "Apache-2.0"
    assert (verifier.name, verifier.unit, verifier.scope, verifier.needs) == ("clap", "cos", "window", frozenset())


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path))
    with pytest.raises(MissingError, match="ttsr models fetch clap-general"):
        CLAP()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingError, match=r"pip install 'ttsr-studio\[judges\]'"):
        CLAP()


def test_a_folder_without_vocabulary_or_weights_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would read every caption as unknown words, or draw weights at random, and go on."""
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    whole = shutil.copytree(source, tmp_path / "whole")
    for word in ("tokenizer.json", "tokenizer_config.json"):
        (whole / word).unlink()
    install(VERIFIER_MODELS["clap-general"], whole, "fp16", lambda line: None)
    with pytest.raises(MissingError, match=r"5 words in its vocabulary, not 261.*ttsr models fetch clap-general"):
        CLAP()
    part = shutil.copytree(source, tmp_path / "part")
    model = transformers.ClapModel.from_pretrained(source)
    model.save_pretrained(part, state_dict={k: v for k, v in model.state_dict().items() if "projection" not in k})
    install(VERIFIER_MODELS["clap-general"], part, "fp16", lambda line: None)
    with pytest.raises(MissingError, match=r"weights of CLAP are missing.*ttsr models fetch clap-general"):
        CLAP()
    (part / "preprocessor_config.json").unlink()
    install(VERIFIER_MODELS["clap-general"], part, "fp16", lambda line: None)
    with pytest.raises(MissingError, match=r"cannot be loaded.*ttsr models fetch clap-general"):
        CLAP()
