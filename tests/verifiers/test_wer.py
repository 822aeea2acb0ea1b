"""Words that a render lost, or made up, must cost it; how they are written down must not."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Ttsr, save, voice
from tiny_models import ALL, ENGLISH, write_whisper
from torch import Tensor

from ttsr_studio.errors import MissingError
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.verifiers.ensemble import combine
from ttsr_studio.verifiers.protocol import Annotations, Context, score_columns
from ttsr_studio.weights import store
from ttsr_studio.weights.install import install
from ttsr_studio.weights.registry import VERIFIER_MODELS

whisper = pytest.importorskip("whisper")
pytest.importorskip("jiwer")

from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer  # noqa: E402

from ttsr_studio.verifiers.pretrained.wer import WER, word_and_character_errors  # noqa: E402
from ttsr_studio.verifiers.recognition.recogniser import Recogniser, TorchWhisper, Transcript  # noqa: E402

RATE = 16000
english = EnglishTextNormalizer()


pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A models folder with a tiny Whisper in it, for English only and for all languages. Tests do not change them."""
    made = {}
    for words in (ENGLISH, ALL):
        path = tmp_path_factory.mktemp("official") / "base.en.pt"
        write_whisper(path, words)
        made[words] = tmp_path_factory.mktemp("models")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(store.VARIABLE, str(made[words]))
            install(VERIFIER_MODELS["whisper"], path, "fp16", lambda line: None)
    return made


@pytest.fixture
def wer(folders: dict[int, Path], monkeypatch: pytest.MonkeyPatch) -> WER:
    monkeypatch.setenv(store.VARIABLE, str(folders[ENGLISH]))
    return WER()


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the recogniser said, in the order that it was asked."""
    said: list[dict[str, Any]] = []
    transcribe: Callable[..., list[Transcript]] = Recogniser.transcribe

    def listen(*arguments: Any) -> list[Transcript]:
        found = transcribe(*arguments)
        said.extend(vars(one) for one in found)
        return found

    monkeypatch.setattr(Recogniser, "transcribe", listen)
    return said


def tone(hz: float, seconds: float = 2.0, channels: int = 1) -> Tensor:
    """A tone with syllables, [channels, samples]."""
    time = torch.arange(int(seconds * RATE)) / RATE
    wave = 0.1 * torch.sin(2 * torch.pi * hz * time) * (1 + torch.sin(2 * torch.pi * 3 * time))
    return wave.repeat(channels, 1)


def tones() -> Tensor:
    return torch.stack([tone(hz) for hz in (200, 500, 1000, 3000, 6000)])


def context(lr: Tensor, **annotations: Any) -> Context:
    return Context(RATE, 4000.0, lr, annotations=Annotations(**annotations))


@pytest.mark.parametrize(
    ("reference", "hypothesis", "words", "characters"),
    [
        ("He paid twenty-one dollars.", "he paid 21 dollars", 0, 0),
        ("Um, so it WAS good!", "so it was... good", 0, 0),
        ("We can't go; it's late.", "we can not go it is late", 0, 0),
        ("The colour is grey.", "the color is gray", 0, 0),
        ("(music) hello [laughs]", "hello", 0, 0),
        ("the cat sat", "the cat sat down", 1 / 3, 5 / 11),
        ("the cat sat", "the bat sat", 1 / 3, 1 / 11),
        ("the cat sat", "cat sat", 1 / 3, 4 / 11),
        ("yes", "no no no no", 4, 11 / 3),
        ("yes", "", 1, 1),
        ("the cat sat", "um (noise)", 1, 1),
        ("", "", 0, 0),
        ("Um.", "[BLANK_AUDIO]", 0, 0),
        ("", "thank you all", 3, 13),
    ],
)
def test_errors_are_counted_between_words_not_spellings(
    reference: str, hypothesis: str, words: float, characters: float
) -> None:
    assert word_and_character_errors(reference, hypothesis, english) == pytest.approx((words, characters))


def test_other_languages_keep_their_words() -> None:
    basic = BasicTextNormalizer()
    assert word_and_character_errors("Um die Ecke, bitte!", "um die ecke bitte", basic) == (0, 0)
    assert word_and_character_errors("Um die Ecke", "die Ecke", basic) == pytest.approx((1 / 3, 3 / 11))
    assert word_and_character_errors("Um die Ecke", "die Ecke", english) == (0, 0), "um is a filler in English only"


def test_the_input_is_the_reference_without_a_transcript(wer: WER, heard: list[dict[str, Any]]) -> None:
    audio = tones()
    known = context(audio[0])
    scores = wer.score(audio, known)
    assert scores["WER"][0] == scores["CER"][0] == 0, "the input differs from itself"
    texts = [said["text"] for said in heard]
    assert len(set(texts)) == 5, "a recogniser that says the same of everything proves nothing here"
    assert texts[0] == texts[1]
    wanted = [word_and_character_errors(texts[0], text, english) for text in texts[1:]]
    assert scores["WER"].tolist() == pytest.approx([-words for words, _ in wanted])
    assert scores["CER"].tolist() == pytest.approx([-characters for _, characters in wanted])
    assert scores["WER"].min() < 0
    assert wer.note(known) == f"transcript: found in the input by whisper: '{texts[0].strip()}'"


def test_the_input_is_heard_once(wer: WER, heard: list[dict[str, Any]]) -> None:
    audio = tones()
    known = context(audio[0])
    wer.note(known)
    wer.score(audio[1:2], known)
    wer.score(audio[2:4], known)
    wer.note(known)
    assert len(heard) == 1 + 1 + 2
    assert set(known.cache) == {"wer"}


def test_a_long_transcript_is_shortened_in_the_note(wer: WER) -> None:
    known = context(tone(200))
    known.cache["wer"] = Transcript(" word" * 30, "en")
    before, text, after = wer.note(known).split("'")
    assert (before, after) == ("transcript: found in the input by whisper: ", "")
    assert text == "word " * 15 + "word…"
    assert len(text) == 80


def test_a_given_transcript_is_the_reference(wer: WER, heard: list[dict[str, Any]]) -> None:
    audio = tones()
    wer.score(audio, context(audio[0]))
    spoken = heard[3]["text"]
    heard.clear()
    known = context(audio[0], transcript=f"Um, {spoken.upper()}!")
    scores = wer.score(audio, known)
    assert scores["WER"][2] == 0, "the candidate that says what was spoken has errors"
    assert scores["WER"][0] < 0, "the input was taken for what was spoken"
    assert len(heard) == len(audio), "the input was transcribed for nothing"
    assert wer.note(known) == "transcript: given"


def test_a_score_is_the_same_in_any_company_and_every_time(wer: WER) -> None:
    audio = tones()
    known = context(audio[0])
    scores = wer.score(audio, known)
    order = torch.tensor([3, 0, 4, 1, 2])
    for scale, values in scores.items():
        assert values.shape == (5,)
        assert values.dtype == torch.float64
        assert torch.equal(wer.score(audio, context(audio[0]))[scale], values)
        assert torch.equal(wer.score(audio[order], known)[scale], values[order])
        assert torch.equal(torch.cat([wer.score(audio[i : i + 1], known)[scale] for i in range(5)]), values)


def test_candidates_that_sound_the_same_are_tied(wer: WER) -> None:
    audio = torch.stack([tone(500), tone(3000), tone(500), tone(200)])
    columns = {
        name: torch.tensor(column).numpy() for name, column in score_columns(wer, audio, context(audio[3])).items()
    }
    assert set(columns) == {"wer/WER", "wer/CER"}
    combined = combine(columns).values
    assert combined[0] == combined[2]
    assert combined[3] == 1


def test_all_of_a_long_clip_and_all_of_its_channels_are_heard(wer: WER) -> None:
    lr = tone(200, 33.0, 2)
    late, right = lr.clone(), lr.clone()
    late[:, 31 * RATE :] = tone(3000, 2.0, 2)
    right[1] = tone(3000, 33.0)[0]
    scores = wer.score(torch.stack([lr, late, right]), context(lr))["WER"]
    assert scores[0] == 0
    assert scores[1] < 0, "what comes after 30 s is not heard"
    assert scores[2] < 0, "the second channel is not heard"
    assert wer.score(right[None], context(right))["WER"] == 0, "the input's channels are heard otherwise"


@pytest.mark.parametrize("words", [ENGLISH, ALL])
def test_what_is_found_is_what_whisper_itself_finds(folders: dict[int, Path], words: int) -> None:
    model = whisper.load_model(str(folders[words] / "whisper/whisper.pt"), device="cpu")
    options = {"temperature": 0.0, "condition_on_previous_text": False, "without_timestamps": True, "fp16": False}
    rows = torch.cat([tone(hz, 31.0) for hz in (200, 1000, 6000)])
    own = [model.transcribe(row, **options) for row in rows]
    network = TorchWhisper(model, "cpu")
    recogniser = Recogniser(model, "cpu")
    recogniser.network = network
    for row, said in zip(rows, own, strict=True):
        assert recogniser.transcribe(row[None], None) == [Transcript(said["text"], said["language"])]
    network.rows = 16
    language = own[0]["language"]
    wanted = [model.transcribe(row, language=language, **options)["text"] for row in rows]
    assert [one.text for one in recogniser.transcribe(rows, language)] == wanted
    assert len(set(wanted)) == 3, "a recogniser that says the same of everything proves nothing here"


@pytest.mark.parametrize("words", [ENGLISH, ALL])
def test_faster_whisper_finds_the_same(folders: dict[int, Path], words: int) -> None:
    pytest.importorskip("faster_whisper")
    from ttsr_studio.verifiers.recognition.faster import FasterWhisper

    model = whisper.load_model(str(folders[words] / "whisper/whisper.pt"), device="cpu")
    recogniser = Recogniser(model, "cpu")
    assert isinstance(recogniser.network, FasterWhisper), "it is installed, and not used"
    rows = tones()[:, 0]
    found = [recogniser.transcribe(row[None], None)[0] for row in rows]
    recogniser.network.rows = 16
    together = recogniser.transcribe(rows, found[0].language)
    recogniser.network = TorchWhisper(model, "cpu")
    assert [recogniser.transcribe(row[None], None)[0] for row in rows] == found
    assert recogniser.transcribe(rows, found[0].language) == together
    assert len({one.text for one in found}) > 2, "a recogniser that says the same of everything proves nothing here"


def test_without_a_word_there_is_no_error(wer: WER) -> None:
    nothing = torch.zeros(2, 1, 0)  # the recogniser says nothing of it, while a random one babbles at any sound
    known = context(nothing[0])
    assert [values.tolist() for values in wer.score(nothing, known).values()] == [[0, 0], [0, 0]]
    assert str(wer.score(nothing, known)["WER"][0].item()) == "0.0", "minus zero in a report"
    assert wer.note(known) == "transcript: no words found in the input by whisper"
    assert wer.score(nothing, context(nothing[0], transcript="hello there"))["WER"].tolist() == [-1, -1]


def test_words_out_of_nothing_are_counted(wer: WER, heard: list[dict[str, Any]]) -> None:
    audio = tones()
    scores = wer.score(audio, context(audio[0], transcript="(music)"))
    words = [english(said["text"]).split() for said in heard]
    assert all(words)
    assert scores["WER"].tolist() == [-len(text) for text in words]
    assert scores["CER"].tolist() == [-len(" ".join(text)) for text in words]


def test_broken_audio_is_not_scored_and_harms_no_other(wer: WER) -> None:
    audio = tones()
    broken = audio.clone()
    broken[2, 0, 100] = float("nan")
    broken[3, 0, 100] = float("inf")
    whole, scores = wer.score(audio, context(audio[0])), wer.score(broken, context(audio[0]))
    for scale in scores:
        assert scores[scale].isnan().tolist() == [False, False, True, True, False]
        assert torch.equal(scores[scale][[0, 1, 4]], whole[scale][[0, 1, 4]])
    assert wer.score(audio, context(broken[2]))["WER"].isnan().all(), "compared with an input that is not audio"


def test_other_languages_are_scored_as_the_one_of_the_input(
    folders: dict[int, Path], monkeypatch: pytest.MonkeyPatch, heard: list[dict[str, Any]]
) -> None:
    monkeypatch.setenv(store.VARIABLE, str(folders[ALL]))
    wer, audio = WER(), tones()
    scores = wer.score(audio, context(audio[0]))
    assert len({said["language"] for said in heard}) == 1
    assert heard[0]["language"] != "en"
    for x in audio:
        wer.note(context(x))
    own = {said["language"] for said in heard[6:]}
    assert len(own) > 1, "a recogniser that hears one language in everything proves nothing here"
    wanted = [-word_and_character_errors(heard[0]["text"], s["text"], BasicTextNormalizer())[0] for s in heard[1:6]]
    assert scores["WER"].tolist() == pytest.approx(wanted)
    given = wer.score(audio, context(audio[0], transcript=heard[2]["text"]))
    assert given["WER"][1] == 0
    assert given["WER"][0] < 0
    with_um = wer.score(audio[1:2], context(audio[0], transcript="um " + heard[2]["text"]))["WER"]
    assert with_um == pytest.approx(-1 / (1 + len(heard[2]["text"].split()))), "um is a filler in English only"


def test_it_says_what_it_is_made_of(wer: WER, folders: dict[int, Path]) -> None:
    assert wer.weights == {"whisper.pt": sha256(folders[ENGLISH] / "whisper" / "whisper.pt")}
    assert wer.licence == VERIFIER_MODELS["whisper"].licence
    assert (wer.name, wer.unit, wer.scope, wer.needs) == ("wer", "-WER", "clip", frozenset())


def test_what_is_missing_is_named(folders: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path))
    with pytest.raises(MissingError, match=r"not installed.*ttsr models fetch whisper"):
        WER()
    other = tmp_path / "base.en.pt"
    weights = torch.load(folders[ENGLISH] / "whisper" / "whisper.pt", weights_only=True)
    weights["model_state_dict"].pop("decoder.ln.weight")
    torch.save(weights, other)
    install(VERIFIER_MODELS["whisper"], other, "fp16", lambda line: None)
    with pytest.raises(MissingError, match=r"do not fit.*ttsr models fetch whisper"):
        WER()
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(MissingError, match=r"ttsr-studio\[judges\]"):
        WER()


def test_evaluating_verifiers_of_windows_refuses_it(ttsr: Ttsr, wer: WER, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    save(tmp_path / "clips/a.wav", voice(1.0))
    result = ttsr("evaluate", tmp_path / "clips", "--out", tmp_path / "out", "--judge", "critic+wer")
    assert result.exit_code == 2
    assert "--judge wer: scores whole clips" in result.output
