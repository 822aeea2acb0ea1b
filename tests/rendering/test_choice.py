"""What one choice holds for, what a search may spend, and what is written beside a render: by the command line."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Ttsr, below, load, save, voice

from ttsr_studio.analysis.difference import band_distances
from ttsr_studio.engines.builtin.engine import BuiltinEngine
from ttsr_studio.report.validate import validate
from ttsr_studio.search.registry import SEARCHES, uses_previews

CRITIC = ("--verifier", "critic")


@pytest.fixture
def stem(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stem of two windows; the tiny engine's are shorter."""
    if request.node.get_closest_marker("golden"):
        return save(tmp_path / "stem.wav", below(voice(6.0), 5000))
    monkeypatch.setattr(BuiltinEngine, "core_seconds", 1.7)
    return save(tmp_path / "stem.wav", below(voice(2.6), 5000))


def render(ttsr: Ttsr, source: Path, *options: object) -> dict[str, Any]:
    out = source.with_name("out.wav")
    result = ttsr("render", source, "-o", out, "--overwrite", *options)
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(source.with_name("out.ttsr.json").read_text())
    validate(report)
    return report


def refused(ttsr: Ttsr, source: Path, *options: object) -> str:
    result = ttsr("render", source, "-o", source.with_name("no.wav"), *options)
    assert result.exit_code == 2, result.output
    assert not source.with_name("no.wav").exists()
    return " ".join(result.output.split())


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_keeps_to_its_evaluations_and_says_what_it_did(ttsr: Ttsr, stem: Path, name: str) -> None:
    report = render(ttsr, stem, *CRITIC, "--search", name, "--budget", "24nfe")
    windows = report["windows"]
    assert len(windows) == 2
    assert report["timing"]["nfe"] <= 24 * len(windows)
    if name != "poisson":
        assert report["timing"]["nfe"] > 16 * len(windows), "most of the budget is used"
    assert report["search"]["name"] == name
    assert report["search"]["window_nfe"] == 24
    for window in windows:
        chosen = window["candidates"][window["chosen"]]
        assert chosen["scores"]["critic"] is not None, "what is chosen was carried to its end"
        assert window["search_range"] is None or window["search_range"] > 0


def test_the_mean_render_counts_against_a_budget_of_evaluations(ttsr: Ttsr, stem: Path) -> None:
    report = render(ttsr, stem, "--verifier", "consensus", "--budget", "10nfe")
    assert report["timing"]["nfe"] == 2 * 10
    assert [len(window["candidates"]) for window in report["windows"]] == [2, 2]


@pytest.mark.golden
def test_one_choice_for_the_clip_takes_one_draw_throughout(ttsr: Ttsr, stem: Path) -> None:
    by_clip = render(ttsr, stem, *CRITIC, "--choice", "clip", "--candidates", 6)
    kept = {window["chosen"] for window in by_clip["windows"]}
    assert len(kept) == 1
    scores = np.array([[c["scores"]["critic"] for c in window["candidates"]] for window in by_clip["windows"]])
    assert kept == {int(scores.mean(axis=0).argmax())}
    by_window = render(ttsr, stem, *CRITIC, "--choice", "window", "--candidates", 6)
    assert by_window["scores"]["critic"]["chosen"] >= by_clip["scores"]["critic"]["chosen"]


@pytest.mark.golden
def test_segments_are_put_together_where_that_is_better(ttsr: Ttsr, stem: Path) -> None:
    options = (*CRITIC, "--candidates", 6)
    whole = render(ttsr, stem, *options)
    audio = load(stem.with_name("out.wav"))
    spliced = render(ttsr, stem, *options, "--choice", "segment", "--segment", 0.5, "--seam", 0, "--control")
    # Each splice costs a little where it is: what is put together may not be worse than the best whole by more.
    assert spliced["scores"]["critic"]["chosen"] > whole["scores"]["critic"]["chosen"] - 0.02
    assert spliced["scores"]["critic"]["chosen"] > spliced["scores"]["critic"]["random_baseline"]
    parts = [part for window in spliced["windows"] for part in window["segments"]]
    assert len({part["candidate"] for part in parts}) > 1
    assert parts[0]["start_s"] == 0
    assert parts[-1]["stop_s"] == pytest.approx(6.0)
    made, control = load(stem.with_name("out.wav")), load(stem.with_name("out_control.wav"))
    assert made.shape == audio.shape == control.shape
    assert not np.array_equal(made, control)
    settled = render(ttsr, stem, *options, "--choice", "segment", "--segment", 0.5, "--seam", 1000)
    assert not any(window["segments"] for window in settled["windows"]), "no seam is worth that"


def test_what_is_shorter_than_two_segments_is_chosen_as_a_window(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "short.wav", below(voice(0.7), 5000))
    for candidates in (4, 5, 6):
        window = render(ttsr, source, *CRITIC, "--choice", "segment", "--candidates", candidates)["windows"][0]
        scores = [candidate["scores"]["critic"] for candidate in window["candidates"]]
        assert window["chosen"] == int(np.argmax(scores))


@pytest.mark.golden
def test_splices_leave_the_low_band_alone_and_do_not_click(ttsr: Ttsr, stem: Path) -> None:
    from helpers import band, level_db

    render(ttsr, stem, *CRITIC, "--choice", "segment", "--segment", 0.25, "--seam", 0, "--cutoff", 5000)
    made, source = load(stem.with_name("out.wav")), load(stem)
    gain = np.sqrt((band(made, 200, 3500) ** 2).mean() / (band(source, 200, 3500) ** 2).mean())
    low = band(made - gain * source, 200, 3500)
    assert level_db(low) < level_db(source) - 60
    step = np.abs(np.diff(band(made, 6000, 23000)[:, 0], n=2))
    assert step.max() < 12 * np.quantile(step, 0.99)


def test_a_target_ends_the_search_early(ttsr: Ttsr, stem: Path) -> None:
    options = (*CRITIC, "--candidates", 12, "--batch", 2)
    easy = render(ttsr, stem, *options, "--target", "critic=-9")
    assert easy["search"]["cut"] == {"target": 2}
    assert [len(window["candidates"]) for window in easy["windows"]] == [1, 1]
    hard = render(ttsr, stem, *options, "--target", "critic=0")
    assert hard["search"]["cut"] == {}
    assert [len(window["candidates"]) for window in hard["windows"]] == [12, 12]
    assert "no verifier of that name" in refused(ttsr, stem, *options, "--target", "wer=0")
    assert "NAME=VALUE" in refused(ttsr, stem, *options, "--target", "critic")


def test_a_budget_in_seconds_is_kept_and_replaces_the_presets_candidates(ttsr: Ttsr, stem: Path) -> None:
    report = render(ttsr, stem, *CRITIC, "--budget", "4s")
    searched = sum(report["timing"]["seconds"].get(s, 0) for s in ("network", "decode", "verify", "noise", "solver"))
    assert searched <= 4.0
    assert report["search"]["window_nfe"] > 8 * 4
    both = render(ttsr, stem, *CRITIC, "--budget", "600s", "--candidates", 2)
    assert [len(window["candidates"]) for window in both["windows"]] == [2, 2]


def test_hardly_any_time_still_gives_a_render(ttsr: Ttsr, stem: Path) -> None:
    for name in ("random", "halving", "steering"):
        report = render(ttsr, stem, *CRITIC, "--search", name, "--budget", "0.001s")
        assert all(window["chosen"] is not None for window in report["windows"])
        assert report["search"]["cut"] == {"time": 2}


def test_uncertainty_is_written_as_arrays_and_ranges(ttsr: Ttsr, stem: Path) -> None:
    report = render(ttsr, stem, *CRITIC, "--candidates", 4, "--uncertain-above", 0.1)
    arrays = np.load(stem.with_name("out.ttsr.npz"))
    rows, columns = arrays["uncertainty"].shape
    assert arrays["frequencies_hz"].shape == (rows,)
    assert arrays["times_s"].shape == (columns,)
    assert arrays["spread_db_per_second"] == pytest.approx(report["uncertainty"]["per_second_db"])
    above = arrays["uncertainty"][arrays["frequencies_hz"] > 6000].astype(float).mean()
    assert above > 10 * arrays["uncertainty"][arrays["frequencies_hz"] < 3000].astype(float).mean()
    assert [(r["start_s"], r["stop_s"]) for r in report["uncertainty"]["regions"]] == [(0.0, 2.6)]
    calm = render(ttsr, stem, *CRITIC, "--candidates", 4, "--uncertain-above", 90)
    assert calm["uncertainty"]["regions"] == []


def test_rewards_hold_every_score_and_census_every_preview(ttsr: Ttsr, stem: Path, tmp_path: Path) -> None:
    file = tmp_path / "rewards.jsonl"
    options = (*CRITIC, "--hold-out", "continuity", "--candidates", 3, "--keep-rewards", file)
    report = render(ttsr, stem, *options, "--search", "census", "--choice", "segment")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["window"] for line in lines] == [0, 1]
    for line, window in zip(lines, report["windows"], strict=True):
        for kept, shown in zip(line["candidates"], window["candidates"], strict=True):
            assert kept["scores"] == shown["scores"]
            assert kept["key"] == shown["key"]
            assert [preview["step"] for preview in kept["previews"]] == [1, 2, 3]
            assert set(kept["previews"][0]["scores"]) == {"critic", "continuity"}
            assert len(kept["segments"]["critic"]) == len(line["edges_s"]) - 1
    plain = render(ttsr, stem, *options[:-2])
    assert [w["chosen"] for w in plain["windows"]] == [w["chosen"] for w in report["windows"]] or report["windows"][0][
        "segments"
    ]


@pytest.mark.parametrize("name", filter(uses_previews, SEARCHES))
def test_a_search_that_nobody_guides_is_refused(ttsr: Ttsr, stem: Path, name: str) -> None:
    assert "needs a verifier that scores windows" in refused(ttsr, stem, *CRITIC, "--scope", "clip", "--search", name)


def test_a_preset_by_segment_gives_way_where_only_clips_are_scored(ttsr: Ttsr, stem: Path) -> None:
    report = render(ttsr, stem, *CRITIC, "--scope", "clip", "--candidates", 3)
    assert len({window["chosen"] for window in report["windows"]}) == 1
    assert not any(window["segments"] for window in report["windows"])


def test_a_search_by_gradients_beats_its_own_draws_and_is_repeatable(ttsr: Ttsr, stem: Path) -> None:
    """Whatever the choice holds for, and by two verifiers whose scores have different units."""
    climbing = (*CRITIC, "--verifier", "consensus", "--search", "gradient", "--budget", "32nfe", "--set", "stride=0.4")
    for choice in ("window", "segment", "clip"):
        report = render(ttsr, stem, *climbing, "--choice", choice, "--set", "through=4", "--set", "chains=1")
        for window in report["windows"]:
            scores = [candidate["scores"]["critic"] for candidate in window["candidates"]]
            assert len(scores) == 2
            assert scores[1] > scores[0]
            assert window["candidates"][1]["key"]["lineage"][-1][0] == "ascend"
    again = render(ttsr, stem, *climbing, "--choice", "clip", "--set", "through=4", "--set", "chains=1", "--batch", 1)
    assert again["output"]["sha256"] == report["output"]["sha256"]


def test_diverse_renders_are_further_apart_and_say_in_what_they_differ(ttsr: Ttsr, stem: Path) -> None:
    """The best stays the best; those beside it trade some of their score for distance, which words tell of."""
    keeping = (*CRITIC, "--candidates", 12, "--choice", "window", "--keep-top", 3, "--page", "--seed", 3)

    def kept(*more: object) -> tuple[dict[str, Any], float]:
        report = render(ttsr, stem, *keeping, *more)
        names = [best["name"] for best in report["best"]]
        audio = torch.stack([torch.from_numpy(load(stem.with_name(name)).T.copy()) for name in names])
        return report, float(band_distances(audio.float(), 5000, 48000)[np.triu_indices(3, 1)].mean())

    (plain, near), (spread, far) = kept(), kept("--diverse")
    assert far > near
    assert spread["best"][0]["sha256"] == plain["best"][0]["sha256"]
    assert spread["best"][0]["differs"] is None
    for best in spread["best"][1:]:
        assert re.fullmatch(
            "hardly different|((brighter|darker|more|tone|breath|harder|softer|hits|,) ?)+", best["differs"]
        )
        assert f"beside the best: {best['differs']}" in stem.with_name("out.ttsr.html").read_text()
    assert "pass --keep-top 2" in refused(ttsr, stem, "--diverse")


def test_pessimism_asks_what_is_typical_and_says_so(ttsr: Ttsr, stem: Path) -> None:
    options = ("--verifier", "critic", "--verifier", "consensus", "--ensemble", "pessimism", "--candidates", 6)
    report = render(ttsr, stem, *options, "--choice", "window")
    for window in report["windows"]:
        scores = {
            n: np.array([c["scores"][n] for c in window["candidates"]]) for n in ("critic", "consensus", "typical")
        }
        z = sum((x - x.mean()) / x.std() for n, x in scores.items() if n != "typical")
        below = np.median(scores["typical"]) - scores["typical"]
        hedged = z - np.maximum(0, below) / (1.4826 * np.median(np.abs(below)))
        assert window["chosen"] == hedged.argmax()
        assert window["reason"] == "best of 6 by zsum of critic, consensus, less what is untypical"
        assert scores["typical"].max() < 0
    assert report["scores"]["typical"]["harm"] == []
    again = render(ttsr, stem, *options, "--choice", "window", "--batch", 1)
    assert again["output"]["sha256"] == report["output"]["sha256"], "the others are compared with, whatever the batch"
    render(ttsr, stem, *options, "--choice", "segment", "--weight", "typical=2")
    said = refused(ttsr, stem, *options, "--hold-out", "typical")
    assert "--ensemble pessimism goes by it" in said


def test_what_has_no_gradient_is_refused_by_name(ttsr: Ttsr, stem: Path) -> None:
    climbing = ("--search", "gradient", "--budget", "32nfe", *CRITIC)
    said = refused(ttsr, stem, *climbing, "--verifier", "continuity")
    assert "verifier 'continuity' has no gradient to climb by" in said
    assert "--hold-out continuity" in said
    render(ttsr, stem, *climbing, "--verifier", "continuity", "--weight", "continuity=0")
    render(ttsr, stem, *climbing, "--hold-out", "continuity")


def test_settings_are_checked_before_anything_runs(ttsr: Ttsr, stem: Path) -> None:
    assert "its settings: rungs, keep" in refused(ttsr, stem, "--search", "halving", "--set", "share=0.1")
    assert "above 0 and below 1, ascending" in refused(ttsr, stem, "--search", "halving", "--set", "rungs=0.9,0.5")
    assert "is not a number" in refused(ttsr, stem, "--search", "polish", "--set", "share=some")
    assert "given twice" in refused(ttsr, stem, "--search", "polish", "--set", "share=0.1", "--set", "share=0.2")
    assert "pass one of them" in refused(ttsr, stem, "--search", "polish", "--set", "cosine=0.9", "--set", "stride=0.3")
    assert "needs at least" in refused(ttsr, stem, *CRITIC, "--search", "paths", "--budget", "5nfe")
    assert "finite" in refused(ttsr, stem, *CRITIC, "--target", "critic=nan")
    assert "0 dB or more" in refused(ttsr, stem, "--uncertain-above", "nan")
    assert "is of --choice segment" in refused(ttsr, stem, "--choice", "window", "--seam", 2)
    assert "--keep-rewards" in refused(ttsr, stem, "--keep-rewards", stem.parent / "none" / "x.jsonl")
    assert "GB of candidates" in ttsr("render", stem, "--choice", "clip", "--candidates", 9000).output


def test_near_misses_are_told_the_name_that_was_meant(ttsr: Ttsr, stem: Path) -> None:
    both = ("--verifier", "critic", "--verifier", "consensus")
    for given, told in (
        ((*both, "--weight", "critik=2"), "here: critic, consensus; nearest: critic"),
        ((*both, "--target", "critick=-1"), "here: critic, consensus; nearest: critic"),
        (("--search", "halving", "--set", "runs=0.25"), "its settings: rungs, keep; nearest: rungs"),
        (("-o", "{stem}_{presett}{ext}"), "{seed} {rate}; nearest: preset"),
        (("-o", "{stem.length}{ext}"), "unknown field"),
        (("--verifier", "DNSMOS?"), "nearest: dnsmos"),
        (
            ("--search", "evolution", "--set", "generations=2 elites=1"),
            "give each its own --set: --set generations=2 --set elites=1",
        ),
        ((*both, "--target", "critic=-1,consensus=2"), "--target critic=-1 --target consensus=2"),
    ):
        assert told in " ".join(refused(ttsr, stem, *given).split())


def test_settings_of_a_preset_give_way_to_another_search(ttsr: Ttsr, stem: Path, tmp_path: Path) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text('search = "halving"\nset = ["keep=0.25"]\nneighbours = 3\ncandidates = 4\nverifier = "critic"\n')
    report = render(ttsr, stem, "--preset", preset)
    assert (report["search"]["name"], report["search"]["settings"]) == ("halving", {"keep": "0.25"})
    other = render(ttsr, stem, "--preset", preset, "--search", "zero-order")
    assert other["search"]["settings"] == {"neighbours": 3}
    assert "does not take keep" in refused(
        ttsr, stem, "--preset", preset, "--search", "zero-order", "--set", "keep=0.5"
    )


def test_a_render_of_segments_is_repeated_from_its_report(ttsr: Ttsr, stem: Path, tmp_path: Path) -> None:
    options = ("--search", "steering", "--choice", "segment", "--segment", 0.5, "--set", "strength=1.5")
    render(ttsr, stem, *options, "--candidates", 4)
    again = ttsr("render", stem, "--again", stem.with_name("out.ttsr.json"), "-o", tmp_path / "again.wav")
    assert again.exit_code == 0, again.output
    assert "the same, bit for bit" in again.output
