"""A verifier of identity that scores something else than its model would keep another speaker's render."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import steady, write_wavlm
from torch import Tensor
from torch.nn.functional import normalize

from ttsr_studio.errors import InputError, MissingError
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.verifiers.pretrained.speaker import Speaker
from ttsr_studio.verifiers.protocol import Annotations, Context, resampled
from ttsr_studio.weights import store
from ttsr_studio.weights.install import install
from ttsr_studio.weights.registry import VERIFIER_MODELS

transformers = pytest.importorskip("transformers")

RATE = 16000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """WavLM with few channels, in the library's format."""
    return write_wavlm(tmp_path_factory.mktemp("wavlm"))


@pytest.fixture(scope="module")
def imported(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A models folder with it, brought in as the hub has it: pickled, with the old names of a normed weight."""
    hub, folder = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("models")
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copyfile(source / name, hub / name)
    weights = transformers.WavLMForXVector.from_pretrained(source).state_dict()
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for new, name in old.items():
        key = f"wavlm.encoder.pos_conv_embed.conv.{new}"
        weights[key.replace(new, name)] = weights.pop(key)
    torch.save(weights, hub / "pytorch_model.bin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.VARIABLE, str(folder))
        install(VERIFIER_MODELS["wavlm-sv"], hub, "fp16", lambda line: None)
        yield folder


pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture
def verifier(imported: Path, monkeypatch: pytest.MonkeyPatch) -> Speaker:
    monkeypatch.setenv(store.VARIABLE, str(imported))
    return Speaker()


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of what the model is given."""
    shapes: list[tuple[int, ...]] = []
    forward = transformers.WavLMForXVector.forward

    def counted(self: Any, input_values: Tensor, **options: Any) -> Any:
        shapes.append(tuple(input_values.shape))
        return forward(self, input_values, **options)

    monkeypatch.setattr(transformers.WavLMForXVector, "forward", counted)
    return shapes


def library(source: Path, rows: Tensor) -> Tensor:
    """Embeddings of [N, samples] at 16 kHz by the library alone, one at a time, as the model's card does it."""
    extractor = transformers.AutoFeatureExtractor.from_pretrained(source)
    model = transformers.WavLMForXVector.from_pretrained(source).eval()
    embeddings = []
    with torch.no_grad():
        for row in rows:
            inputs = extractor([row.numpy()], sampling_rate=RATE, padding=True, return_tensors="pt")
            embeddings.append(normalize(model(**inputs).embeddings, dim=-1)[0])
    return torch.stack(embeddings).double()


def near(scores: Tensor, wanted: Tensor) -> None:
    assert scores.dtype == torch.float64
    assert scores.tolist() == pytest.approx(wanted.tolist(), abs=1e-4, nan_ok=True)


def test_scores_are_the_librarys_cosines_whatever_the_batch_and_its_order(
    verifier: Speaker, source: Path, heard: list[tuple[int, ...]]
) -> None:
    lr, audio = steady(0), torch.stack([steady(seed) for seed in range(1, 12)])
    wanted = library(source, audio[:, 0]) @ library(source, lr)[0]
    assert wanted.max() - wanted.min() > 0.1, "the audio does not tell candidates apart"
    near(verifier.score(audio, Context(RATE, 4000.0, lr)), wanted)
    near(verifier.score(audio.flip(0), Context(RATE, 4000.0, lr)).flip(0), wanted)
    near(torch.cat([verifier.score(part, Context(RATE, 4000.0, lr)) for part in audio.split(3)]), wanted)
    assert {rows for rows, _ in heard} == {1}, "a CPU takes one at a time, however many candidates there are"


def test_channels_are_averaged_and_rates_converted(verifier: Speaker, source: Path) -> None:
    lr, audio = steady(0, 1.0, 48000, 2), torch.stack([steady(seed, 1.0, 48000, 2) for seed in (1, 2)])
    embeddings = library(source, resampled(torch.cat([lr[None], audio]).mean(1), 48000, RATE))
    near(verifier.score(audio, Context(48000, 4000.0, lr)), embeddings[1:] @ embeddings[0])


def test_the_input_itself_scores_highest(verifier: Speaker) -> None:
    lr = steady(0)
    scores = verifier.score(torch.stack([steady(1), lr, steady(2)]), Context(RATE, 4000.0, lr))
    assert scores[1].item() == pytest.approx(1, abs=1e-6)
    assert scores[1] > scores[[0, 2]].max() + 1e-3


def test_recordings_of_the_speaker_come_before_the_input_and_are_heard_once_per_file(
    verifier: Speaker, source: Path, heard: list[tuple[int, ...]]
) -> None:
    recordings = tuple(steady(seed, seconds, 48000)[0] for seed, seconds in ((5, 1.0), (6, 2.0)))
    annotations = Annotations(speakers=recordings, rate=48000)
    audio = torch.stack([steady(1), steady(2)])
    of_speaker = torch.cat([library(source, resampled(recording, 48000, RATE)[None]) for recording in recordings])
    wanted = library(source, audio[:, 0]) @ normalize(of_speaker.mean(0), dim=0)
    heard.clear()
    for lr in (steady(0), steady(3)):
        near(verifier.score(audio, Context(RATE, 4000.0, lr, annotations=annotations)), wanted)
    assert heard == [(1, 16000), (1, 32000), *[(1, 24000)] * 4]


def test_the_input_is_heard_once_per_window(verifier: Speaker, heard: list[tuple[int, ...]]) -> None:
    known, audio = Context(RATE, 4000.0, steady(0)), torch.stack([steady(1), steady(2)])
    verifier.score(audio, known)
    verifier.score(audio.flip(0), known)
    assert heard == [(1, 24000)] * 5


def test_only_what_is_voiced_in_the_input_is_heard(
    verifier: Speaker, source: Path, heard: list[tuple[int, ...]]
) -> None:
    lr, audio = steady(0), torch.stack([steady(1), steady(2)])
    rows = torch.cat([lr[None], audio])[:, 0]
    embeddings = library(source, torch.cat([rows[:, :8000], rows[:, 12800:]], 1))
    lr[:, 8000:12800] *= 0.003
    near(verifier.score(audio, Context(RATE, 4000.0, lr)), embeddings[1:] @ embeddings[0])
    lr[:, 6000:] = 0
    assert verifier.score(audio, Context(RATE, 4000.0, lr)).isfinite().all()
    assert heard[-1] == (1, 8000), "half a second is the least that is heard"


@pytest.mark.parametrize("lr", [0 * steady(0), 1e-5 * steady(0), steady(0)[:, :7000], steady(0) * float("nan")])
def test_an_input_without_a_voice_gives_no_score(verifier: Speaker, lr: Tensor) -> None:
    audio = torch.stack([steady(1), steady(2)])[..., : lr.shape[1]]
    for annotations in (Annotations(), Annotations(speakers=(steady(5)[0],), rate=RATE)):
        assert verifier.score(audio, Context(RATE, 4000.0, lr, annotations=annotations)).isnan().all()


def test_a_silent_recording_of_the_speaker_is_refused(verifier: Speaker) -> None:
    annotations = Annotations(speakers=(steady(5)[0], torch.zeros(RATE)), rate=RATE)
    with pytest.raises(InputError, match="recording 2 of the speaker is silent"):
        verifier.score(steady(1)[None], Context(RATE, 4000.0, steady(0), annotations=annotations))


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_candidate_that_is_not_finite_gets_no_score_and_changes_no_other(verifier: Speaker, broken: float) -> None:
    lr, audio = steady(0), torch.stack([steady(seed) for seed in (1, 2, 3)])
    wanted = verifier.score(audio, Context(RATE, 4000.0, lr))
    audio[1, 0, 100] = broken
    wanted[1] = torch.nan
    near(verifier.score(audio, Context(RATE, 4000.0, lr)), wanted)
    assert verifier.score(audio[1:2], Context(RATE, 4000.0, lr)).isnan().all()


def test_long_audio_is_heard_in_equal_parts_of_ten_seconds_at_most(
    verifier: Speaker, source: Path, heard: list[tuple[int, ...]]
) -> None:
    lr, audio = steady(0, 21.0), torch.stack([steady(seed, 21.0) for seed in (1, 2)])
    rows = torch.cat([lr[None], audio])[:, 0]
    embeddings = normalize(torch.stack([library(source, part) for part in rows.tensor_split(3, 1)]).mean(0), dim=1)
    heard.clear()
    near(verifier.score(audio, Context(RATE, 4000.0, lr)), embeddings[1:] @ embeddings[0])
    assert heard == [(1, 112000)] * 9


def test_it_says_which_weights_it_uses(verifier: Speaker, imported: Path) -> None:
    file = imported / "wavlm-sv" / "model.safetensors"
    assert verifier.weights["model.safetensors"] == sha256(file)
    assert (verifier.name, verifier.unit, verifier.scope, verifier.needs) == ("speaker", "cos", "window", frozenset())
    assert verifier.licence == "MIT"


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path))
    with pytest.raises(MissingError, match="ttsr models fetch wavlm-sv"):
        Speaker()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingError, match=r"pip install 'ttsr-studio\[judges\]'"):
        Speaker()


def test_a_model_without_a_head_or_a_file_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would draw the head at random and go on."""
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    plain = tmp_path / "plain"
    transformers.WavLMModel.from_pretrained(source).save_pretrained(plain)
    shutil.copyfile(source / "preprocessor_config.json", plain / "preprocessor_config.json")
    install(VERIFIER_MODELS["wavlm-sv"], plain, "fp16", lambda line: None)
    with pytest.raises(MissingError, match=r"no weights for x-vectors.*ttsr models fetch wavlm-sv"):
        Speaker()
    (plain / "preprocessor_config.json").unlink()
    install(VERIFIER_MODELS["wavlm-sv"], plain, "fp16", lambda line: None)
    with pytest.raises(MissingError, match=r"cannot be loaded.*ttsr models fetch wavlm-sv"):
        Speaker()
