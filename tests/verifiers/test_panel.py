"""Who scores: searched and held-out verifiers, whole clips, weights, what is known of a file, what the report says."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Ttsr, below, load, save, voice
from tiny_models import install_every_model
from torch import Tensor

from ttsr_studio.config.annotations import read_annotations
from ttsr_studio.errors import InputError, MissingError
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.recorder import ScoredChoice, score_record
from ttsr_studio.rendering.summary import gains
from ttsr_studio.report.search_records import ScoreRecord
from ttsr_studio.report.validate import validate
from ttsr_studio.verifiers.ensemble import combine
from ttsr_studio.verifiers.panel import Panel
from ttsr_studio.verifiers.protocol import Context, Preview
from ttsr_studio.verifiers.registry import load_verifier
from ttsr_studio.weights import store

Report = dict[str, Any]


def stem(tmp_path: Path, seconds: float = 1.0) -> Path:
    return save(tmp_path / "stem.wav", below(voice(seconds), 5000))


def render(ttsr: Ttsr, source: Path, *options: object) -> Report:
    out = source.with_name("out.wav")
    done = ttsr("render", source, "-o", out, "--overwrite", "--choice", "window", *options)
    assert done.exit_code == 0, done.output
    report: Report = json.loads(out.with_suffix(".ttsr.json").read_text())
    validate(report)
    return report


def chosen(report: Report) -> list[int]:
    return [window["chosen"] for window in report["windows"]]


def test_what_is_held_out_is_scored_and_chooses_nothing(ttsr: Ttsr, tmp_path: Path) -> None:
    source = stem(tmp_path)
    alone = render(ttsr, source, "--verifier", "continuity")
    watched = render(ttsr, source, "--verifier", "continuity", "--hold-out", "consensus", "--hold-out", "lowband")
    assert watched["output"]["sha256"] == alone["output"]["sha256"]
    assert watched["verifiers"]["consensus"]["role"] == "held-out"
    assert all(math.isfinite(c["scores"]["consensus"]) for c in watched["windows"][0]["candidates"])
    records = watched["scores"]
    assert records["continuity"]["role"] == "search"
    assert records["consensus"]["role"] == "held-out"
    scores = np.array([c["scores"]["consensus"] for c in watched["windows"][0]["candidates"]])
    kept = scores[watched["windows"][0]["chosen"]]
    assert records["consensus"]["chosen"] == pytest.approx(kept)
    assert records["consensus"]["first"] == pytest.approx(scores[0])
    assert records["consensus"]["gain_sd"] == pytest.approx((kept - scores.mean()) / scores.std())
    expected = np.mean([j["gain_sd"] for j in records.values() if j["role"] == "held-out" and j["gain_sd"] is not None])
    assert watched["gains"]["held_out"] == pytest.approx(expected)
    assert watched["gains"]["searched"] > 0
    assert watched["gains"]["ratio"] == pytest.approx(expected / watched["gains"]["searched"])
    assert alone["gains"]["held_out"] is None
    for options, message in {
        ("--hold-out", "continuity", "--verifier", "continuity"): "named twice",
        ("--hold-out", "pesq"): "unknown verifier",
    }.items():
        done = ttsr("render", source, "-o", tmp_path / "x.wav", *options)
        assert done.exit_code == 2
        assert message in done.output


@pytest.mark.golden
def test_harm_is_told(ttsr: Ttsr, tmp_path: Path) -> None:
    row = np.array([2.0, 1.0, 4.0])
    better = score_record("search", "window", [ScoredChoice(0.0, row, 4.0)])
    assert list(better.harm) == []
    worse = score_record("held-out", "window", [ScoredChoice(3.0, row, 1.0), ScoredChoice(3.0, row, 1.0, 2.0)])
    assert list(worse.harm) == ["below the input", "below the first draw"]
    assert (worse.random_baseline, better.random_baseline) == (2.0, None)
    assert worse.gain_sd == pytest.approx((1 - row.mean()) / row.std())
    lucky = score_record("search", "window", [ScoredChoice(-22.7, np.array([-7.69, -7.88, -7.71]), -7.71)])
    assert list(lucky.harm) == [], "a first draw that is better by a hair is no news"
    equal = score_record("search", "window", [ScoredChoice(2.0, np.array([2.0, 2.0]), 2.0)])
    assert (list(equal.harm), equal.gain_sd) == ([], None)
    nothing = score_record("search", "window", [])
    assert (nothing.chosen, nothing.gain_sd) == (None, None)
    watching = ("--hold-out", "dnsmos", "--hold-out", "lowband", "--candidates", 2)
    done = ttsr("render", "examples/voice_7k_band.flac", "-o", tmp_path / "out.wav", *watching)
    report = json.loads((tmp_path / "out.ttsr.json").read_text())
    records = report["scores"]
    assert records["lowband"]["input"] is None, "the input was compared with itself"
    worse = records["dnsmos"]["chosen"] < records["dnsmos"]["input"]
    assert ("below the input" in records["dnsmos"]["harm"]) is worse
    assert ("dnsmos is below the input" in done.output) is worse


def test_gains_count_a_verifier_of_several_scales_once() -> None:
    def record(role: Any, gain: float | None) -> ScoreRecord:
        return ScoreRecord(role, "window", None, None, None, None, gain)

    made = gains(
        {
            "a/x": record("search", 1.0),
            "a/y": record("search", 3.0),
            "b": record("search", 4.0),
            "c": record("held-out", 1.5),
            "d": record("held-out", None),
        }
    )
    assert (made.searched, made.held_out, made.ratio) == (3.0, 1.5, 0.5)
    assert gains({}).ratio is None
    assert gains({"b": record("search", -1.0), "c": record("held-out", 1.0)}).ratio is None


def test_scales_of_one_verifier_have_one_vote() -> None:
    columns = {
        "one": np.array([3.0, 2.0, 1.0]),
        "four/a": np.array([1.0, 2.0, 3.0]),
        "four/b": np.array([1.0, 2.0, 3.0]),
        "four/c": np.array([1.0, 2.0, 3.0]),
    }
    assert combine(columns).values.tolist() == [0.5, 0.5, 0.5]
    columns["four/b"][0] = math.nan
    mixed = combine(columns)
    assert mixed.excluded == (0,)
    assert mixed.values[1:].tolist() == [0.5, 0.5]


def test_a_weight_decides_between_verifiers(ttsr: Ttsr, tmp_path: Path) -> None:
    source = stem(tmp_path)
    names = ("continuity", "consensus")
    for seed in range(5):  # until they want different candidates
        only = {name: chosen(render(ttsr, source, "--seed", seed, "--verifier", name)) for name in names}
        if only["continuity"] != only["consensus"]:
            break
    assert only["continuity"] != only["consensus"], "the test cannot tell them apart"
    verifiers = ("--seed", seed, "--verifier", "continuity", "--verifier", "consensus")
    for name, other in (("continuity", "consensus"), ("consensus", "continuity")):
        weights = ("--weight", f"{name}=1", "--weight", f"{other}=0")
        report = render(ttsr, source, *verifiers, *weights)
        assert chosen(report) == only[name]
        again = ttsr("render", source, "-o", tmp_path / "b.wav", "--again", tmp_path / "out.ttsr.json", "--overwrite")
        assert again.exit_code == 0, again.output
    for weight, message in {
        "critic=2": "not among the verifiers that choose here: continuity, consensus",
        "continuity": "NAME=W",
        "continuity=-1": "0 or more",
    }.items():
        done = ttsr("render", source, "-o", tmp_path / "x.wav", *verifiers, "--weight", weight)
        assert done.exit_code == 2
        assert message in done.output


def test_a_verifier_that_fails_on_one_candidate_excludes_it_alone(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stem(tmp_path)
    first = chosen(render(ttsr, source, "--verifier", "continuity"))[0]
    from ttsr_studio.verifiers.signal.lowband import Lowband

    def broken(self: Lowband, audio: Tensor, context: Context) -> Tensor:
        scores = torch.zeros(len(audio), dtype=torch.float64)
        if len(audio) > 1:
            scores[first] = math.nan
        return scores

    monkeypatch.setattr(Lowband, "score", broken)
    report = render(ttsr, source, "--verifier", "continuity", "--verifier", "lowband")
    window = report["windows"][0]
    assert window["chosen"] != first
    assert window["candidates"][first]["combined"] is None
    assert f"excluded, since a verifier could not score them: {first}" in window["reason"]


def test_an_optional_verifier_that_is_not_here_is_left_out_by_name(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "nothing"))
    source = stem(tmp_path)
    report = render(ttsr, source, "--verifier", "continuity", "--verifier", "clap?", "--hold-out", "speaker?")
    assert set(report["left_out"]) == {"clap", "speaker"}
    assert "ttsr models fetch clap-general" in report["left_out"]["clap"]
    assert set(report["verifiers"]) == {"continuity"}
    for options in (("--verifier", "clap"), ("--verifier", "clap?")):
        done = ttsr("render", source, "-o", tmp_path / "x.wav", *options)
        assert done.exit_code == 2
        assert "ttsr models fetch clap-general" in done.output


def test_auto_is_what_is_installed_and_suits(ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "nothing"))
    source = stem(tmp_path)
    report = render(ttsr, source, "--verifier", "auto", "--candidates", 2)
    assert set(report["verifiers"]) == {"critic", "consensus"}
    assert set(report["left_out"]) == {"aesthetics", "clap"}
    voices = render(ttsr, source, "--preset", "speech", "--verifier", "auto", "--candidates", 2)
    assert {"critic", "consensus", "dnsmos"} == set(voices["verifiers"])
    assert set(voices["left_out"]) == {"aesthetics", "clap", "speaker", "wer"}


def test_clips_are_scored_assembled(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "stem.wav", below(voice(11.0), 5000))
    report = render(ttsr, source, "--verifier", "consensus", "--scope", "window", "--candidates", 3)
    assert report["n_best"] == []
    whole = render(ttsr, source, "--verifier", "continuity", "--scope", "clip", "--candidates", 3)
    assert len(whole["windows"]) > 1
    assert len(set(chosen(whole))) == 1, "a clip is one draw throughout"
    assert len(whole["n_best"]) == 3
    scores = [each["scores"]["continuity"] for each in whole["n_best"]]
    kept = [each["chosen"] for each in whole["n_best"]].index(True)
    assert scores[kept] == max(scores)
    assert chosen(whole)[0] == kept
    assert whole["scores"]["continuity"]["scope"] == "clip"
    assert whole["scores"]["continuity"]["chosen"] == pytest.approx(max(scores))
    again = ttsr("render", source, "-o", tmp_path / "b.wav", "--again", tmp_path / "out.ttsr.json")
    assert again.exit_code == 0, again.output
    done = ttsr("render", source, "-o", tmp_path / "x.wav", "--finalists", 2)
    assert done.exit_code == 2
    assert "no verifier scores clips" in done.output


def test_windows_are_scored_first_and_the_n_best_reranked_after(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "stem.wav", below(voice(6.0), 5000))
    # consensus cannot be asked for a clip, so it scores windows whatever is asked.
    options = ("--verifier", "consensus", "--verifier", "continuity", "--scope", "clip", "--candidates", 4)
    report = render(ttsr, source, *options, "--finalists", 2)
    assert len(report["n_best"]) == 2
    assert set(report["n_best"][0]["scores"]) == {"continuity", "windows"}
    kept = [each["chosen"] for each in report["n_best"]].index(True)
    for window in report["windows"]:
        scores = [c["scores"]["consensus"] for c in window["candidates"]]
        order = sorted(range(4), key=lambda i: -scores[i])
        assert window["chosen"] == order[kept]


def test_a_trajectory_that_knew_early_scores_higher() -> None:
    verifier = load_verifier("self_consistency")
    final = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    early = final.clone()
    early[1] = 0.5 * final[1] + torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1))
    early[2] = -final[2]
    audio = torch.zeros(3, 2, 100)
    said = verifier.score(audio, Context(48000, 4000.0, audio[0], early=(early, final)))
    assert isinstance(said, Tensor)
    assert said[0] == pytest.approx(1.0)
    assert said[0] > said[1] > said[2]
    assert said[2] == pytest.approx(-1.0)
    expected = torch.nn.functional.cosine_similarity(early[1].flatten().double(), final[1].flatten().double(), dim=0)
    assert said[1] == pytest.approx(float(expected))
    preview = Preview(final, final[0], (early, final))
    assert torch.equal(verifier.score_preview(preview), said)  # type: ignore[attr-defined]
    with pytest.raises(MissingError):
        verifier.score(audio, Context(48000, 4000.0, audio[0]))


def test_self_consistency_costs_no_evaluation_and_changes_no_render(ttsr: Ttsr, tmp_path: Path) -> None:
    source = stem(tmp_path)
    plain = render(ttsr, source, "--verifier", "continuity")
    watched = render(ttsr, source, "--verifier", "continuity", "--hold-out", "self_consistency")
    assert watched["timing"]["nfe"] == plain["timing"]["nfe"]
    assert watched["output"]["sha256"] == plain["output"]["sha256"]
    values = [c["scores"]["self_consistency"] for c in watched["windows"][0]["candidates"]]
    assert len(set(values)) == len(values)
    assert all(-1 <= value <= 1 for value in values)
    one = ttsr("render", source, "-o", tmp_path / "x.wav", "--verifier", "self_consistency", "--steps", 1)
    assert one.exit_code == 2
    assert "two --steps" in one.output
    previewed = render(ttsr, source, "--verifier", "self_consistency", "--decode-top", 1)
    assert "of 8, the best 1 by self_consistency were decoded" in previewed["windows"][0]["reason"]
    best = [c["scores"]["self_consistency"] for c in previewed["windows"][0]["candidates"]]
    assert best == pytest.approx(values)
    assert chosen(previewed) == [int(np.argmax(values))]


def test_a_sidecar_goes_before_the_options(tmp_path: Path) -> None:
    source, other = stem(tmp_path), save(tmp_path / "other.wav", voice(0.5, 44100, channels=2), 44100)
    options = RenderOptions(transcript="said", caption="heard", captions=("a", "b"), speakers=(other,))
    annotations = read_annotations(source, options, 16000)
    assert (annotations.transcript, annotations.caption, annotations.captions) == ("said", "heard", ("a", "b"))
    assert [len(recording) for recording in annotations.speakers] == [8000]
    (tmp_path / "stem.ttsr.toml").write_text('transcript = "written"\nspeaker = ["other.wav", "other.wav"]\n')
    annotations = read_annotations(source, options, 16000)
    assert (annotations.transcript, annotations.caption, len(annotations.speakers)) == ("written", "heard", 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("words = 'x'", "unknown key 'words'; known: "),
        ("caption = 3", "caption must be a text"),
        ("captions = 'a'", "captions must be a list of texts"),
        ("speaker = ['gone.wav']", "gone.wav"),
        ("caption = ", "not a readable sidecar"),
    ],
)
def test_a_sidecar_that_cannot_be_read_stops_its_file_only(ttsr: Ttsr, tmp_path: Path, text: str, message: str) -> None:
    folder = tmp_path / "stems"
    folder.mkdir()
    shutil.copy(stem(tmp_path), folder / "a.wav")
    shutil.copy(folder / "a.wav", folder / "b.wav")
    (folder / "a.ttsr.toml").write_text(text)
    with pytest.raises(InputError, match=r"a\.ttsr\.toml|gone"):
        read_annotations(folder / "a.wav", RenderOptions(), 48000)
    if "gone" not in text:
        assert ttsr("render", folder, "-o", tmp_path / "out/", "--dry-run").exit_code == 1
    done = ttsr("render", folder, "-o", tmp_path / "out/", "--candidates", 1)
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "out" / "a.wav").exists()
    assert (tmp_path / "out" / "b.wav").exists()


def test_a_transcript_is_of_one_file(ttsr: Ttsr, tmp_path: Path) -> None:
    source = stem(tmp_path)
    shutil.copy(source, tmp_path / "more.wav")
    done = ttsr("render", source, tmp_path / "more.wav", "-o", tmp_path / "out/", "--transcript", "some words")
    assert done.exit_code == 2
    assert "sidecars" in done.output
    done = ttsr("render", source, "-o", tmp_path / "x.wav", "--transcript", tmp_path / "gone.txt")
    assert done.exit_code == 2
    (tmp_path / "words.txt").write_text("the words\n")
    report = render(ttsr, source, "--transcript", tmp_path / "words.txt")
    assert report["annotations"]["transcript"] == "the words"


@pytest.fixture
def every_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with all verifiers' models in it, tiny."""
    return install_every_model(tmp_path, monkeypatch)


def test_every_verifier_scores_a_render_with_the_network_blocked(
    ttsr: Ttsr, tmp_path: Path, every_model: Path, no_network: None
) -> None:
    source = stem(tmp_path, 1.2)
    names = (
        "critic",
        "consensus",
        "continuity",
        "self_consistency",
        "speaker",
        "wer",
        "aesthetics",
        "clap",
        "sigmos",
        "dnsmos",
    )
    verifiers = [part for name in names for part in ("--verifier", name)]
    report = render(ttsr, source, *verifiers, "--candidates", 3, "--captions", "speech", "--captions", "a drum")
    assert set(report["verifiers"]) == set(names)
    columns = set(report["scores"])
    assert report["scores"]["speaker"]["input"] is None, "the input was compared with itself"
    assert report["scores"]["wer/WER"]["input"] is None
    assert report["scores"]["clap"]["input"] is not None
    assert {"wer/WER", "wer/CER", "aesthetics/CE", "aesthetics/PQ", "speaker", "clap"} <= columns
    assert len(report["n_best"]) == 3
    assert report["annotations"]["captions"] == ["speech", "a drum"]
    assert "found in the input" in report["annotations"]["notes"]["wer"]
    assert all(info["weights"] for name, info in report["verifiers"].items() if name in ("speaker", "wer", "clap"))
    assert report["verifiers"]["aesthetics"]["licence"] == "CC-BY-4.0"
    assert len(load(tmp_path / "out.wav")) == len(load(source))
    scored = ttsr(
        "score", tmp_path / "out.wav", source, "--input", source, "--transcript", "some words", "--caption", "speech",
        "--json",
    )  # fmt: skip
    assert scored.exit_code == 0, scored.output
    rows = json.loads(scored.stdout)
    (tmp_path / "out.ttsr.toml").write_text('transcript = "some words"\nspeaker = ["stem.wav"]\n')
    by_sidecar = ttsr("score", tmp_path / "out.wav", "--verifier", "wer", "--verifier", "speaker", "--json")
    assert by_sidecar.exit_code == 0, by_sidecar.output
    assert set(json.loads(by_sidecar.stdout)[0]["scores"]) == {"wer/WER", "wer/CER", "speaker"}
    assert {"speaker", "clap", "wer/WER", "aesthetics/CE", "critic", "dnsmos"} <= set(rows[0]["scores"])
    listed = ttsr("models", "bench", "--seconds", 1, "--candidates", 2)
    assert listed.exit_code == 0, listed.output
    assert all(name in listed.output for name in names)
    assert "not here" not in listed.output
    assert ttsr("models", "verify").output.count("checksums as installed") == 5


def test_a_panel_needs_no_column_of_a_stranger() -> None:
    panel = Panel((load_verifier("continuity"),), (load_verifier("lowband"),))
    columns = {"continuity": np.array([0.0, 1.0]), "lowband": np.array([9.0, 0.0])}
    assert panel.combine(columns).values.tolist() == [0.0, 1.0]
    assert panel.combine({"lowband": columns["lowband"]}).values.tolist() == [0.0, 0.0]
    both = panel.combine({**columns, "windows": np.array([1.0, 0.0])}, {"windows": 3.0})
    assert both.values.tolist() == [0.75, 0.25]
