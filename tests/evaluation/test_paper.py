"""The paper's tables: what they compare is what was rendered and heard, and what they mark is what is best."""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from helpers import save, voice
from tiny_models import install_every_model

import ttsr_studio.evaluation.benchmark.systems
from ttsr_studio.cli.main import main
from ttsr_studio.evaluation.benchmark.dataset import load_corpus
from ttsr_studio.evaluation.benchmark.system_spec import plan_specs
from ttsr_studio.evaluation.paper.plan import DRAW, LR_INPUT, ORACLE_LSD
from ttsr_studio.weights import store

Row = dict[str, Any]
SMALL = ("--paper", "--paper-engine", "builtin", "--paper-candidates", 2)
OURS = ["critic", "consensus", "critic+consensus"]


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def corpus(folder: Path) -> Path:
    """Two clips of one speaker, of one of which only an excerpt is there, and one of music."""
    rows = [
        {"file": "a.wav", "kind": "speech", "speaker_or_class": "ann", "transcript_or_caption": "some words"},
        {"file": "b.wav", "kind": "speech", "speaker_or_class": "ann", "transcript_or_caption": "[excerpt of] more"},
        {"file": "c.wav", "kind": "music", "speaker_or_class": "tune", "transcript_or_caption": "a slow tune"},
    ]
    for number, row in enumerate(rows):
        save(folder / row["file"], voice(0.8, seed=number))
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


@dataclass
class Made:
    """One comparison with every verifier, tiny, and what its renders were told."""

    manifest: Path
    out: Path
    done: Result
    annotations: list[tuple[str | None, str | None, tuple[str, ...]]]

    @property
    def rows(self) -> list[Row]:
        return [json.loads(line) for line in (self.out / "paper.jsonl").read_text().splitlines()]

    def table(self) -> dict[tuple[str, str, str, str], Row]:
        """table1.csv by kind, verifier, search and metric."""
        with (self.out / "paper" / "table1.csv").open(newline="") as file:
            return {(r["kind"], r["verifier"], r["search"], r["metric"]): r for r in csv.DictReader(file)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("paper")
    manifest, annotations = corpus(folder), []
    read = ttsr_studio.evaluation.benchmark.systems.read_annotations

    def spy(source: Path, options: Any, rate: int) -> Any:
        annotations.append((options.transcript, options.caption, tuple(path.name for path in options.speakers)))
        return read(source, options, rate)

    with pytest.MonkeyPatch.context() as patch:
        install_every_model(folder, patch)
        patch.setattr(ttsr_studio.evaluation.benchmark.systems, "read_annotations", spy)
        done = evaluate(manifest, "--out", folder / "out", *SMALL, "--cutoff", 4000, "--oracle")
        yield Made(manifest, folder / "out", done, annotations)


def markdown(text: str, title: str) -> dict[tuple[str, ...], dict[str, str]]:
    """The Markdown table under a title: {first two cells: {head: cell}}."""
    lines = text.split(f"## {title}\n\n", 1)[1].split("\n\n", 1)[0].splitlines()
    heads, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]
    return {tuple(row[:2]): dict(zip(heads[2:], row[2:], strict=True)) for row in rows}


def test_rows_and_columns_are_the_papers_and_ours(made: Made) -> None:
    assert made.done.exit_code == 0, made.done.output
    assert "is not here" not in made.done.output
    text = (made.out / "paper" / "table1.md").read_text()
    guides = {
        "speech": ["AES", "SpkSim", "WER", "Ensemble (AES, SpkSim, WER)", *OURS, "DNSMOS"],
        "music": ["AES", "CLAP", "Ensemble (AES, CLAP)", *OURS],
    }
    heads = {
        "speech": ["AES ↑", "SpkSim ↑", "WER ↓", "DNSMOS ↑", "critic ↑", "LSD ↓", "LSD to edge ↓"],
        "music": ["AES ↑", "CLAP ↑", "critic ↑", "LSD ↓", "LSD to edge ↓"],
    }
    for kind, names in guides.items():
        searched = [(name, search) for name in names for search in ("Random", "Zero-Order")]
        shown = markdown(text, kind)
        assert list(shown) == [(LR_INPUT, ""), (DRAW, ""), *searched, (ORACLE_LSD, "Random")]
        assert list(shown[LR_INPUT, ""]) == [f"4 kHz: {head}" for head in heads[kind]]
        detail = markdown(text, f"{kind}, 4 kHz")
        assert list(detail) == list(shown)
        assert {"AES CE ↑", "AES PQ ↑"} <= set(detail[LR_INPUT, ""])
    assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\] \(2\)", markdown(text, "speech, 4 kHz")["AES", "Random"]["LSD ↓"])
    assert "neighbours 2, cosine 0.99, pivot paper" in text
    assert (made.out / "paper" / "figure2.png").stat().st_size > 10_000


def test_marks_are_true(made: Made) -> None:
    text, values = (made.out / "paper" / "table1.md").read_text(), made.table()
    for kind in ("speech", "music"):
        shown = markdown(text, kind)
        for head in shown[LR_INPUT, ""]:
            title = head.removeprefix("4 kHz: ")[:-2]
            sign = 1 if head.endswith("↑") else -1
            algorithms = {"": "", "Random": "random", "Zero-Order": "zero-order"}
            means = {who: sign * float(values[kind, who[0], algorithms[who[1]], title]["mean"]) for who in shown}
            assert values[kind, LR_INPUT, "", title]["better"] == ("higher" if sign > 0 else "lower")
            renders = {who: mean for who, mean in means.items() if who[0] not in (LR_INPUT, ORACLE_LSD)}
            bold = {who for who in shown if "**" in shown[who][head]}
            assert max(renders, key=lambda who: renders[who]) in bold
            digits = len(shown[LR_INPUT, ""][head].split(".")[1])
            near = {who for who, mean in renders.items() if max(renders.values()) - mean < 10.0**-digits}
            assert bold <= near
            second = {who for who in shown if "<u>" in shown[who][head]}
            rest = {who: mean for who, mean in renders.items() if who not in bold}
            assert not rest or max(rest, key=lambda who: rest[who]) in second
            for who, cells in shown.items():
                cell = cells[head]
                worse = means[who] < means[LR_INPUT, ""] - 10.0**-digits
                italic = re.search(r"(?<!\*)\*(?!\*)[^*]+(?<!\*)\*(?!\*)", cell) or "***" in cell
                assert not worse or italic, f"{who} {head} {cell}"
                assert not italic or means[who] < means[LR_INPUT, ""]


def test_a_guide_is_told_what_is_known_and_gains_by_its_own_verifier(made: Made) -> None:
    assert set(made.annotations) == {
        ("some words", None, ("b.wav",)),
        (None, None, ("a.wav",)),
        (None, "a slow tune", ()),
    }
    rows = {(row["clip"], row["guide"], row["algorithm"]): row for row in made.rows}
    for clip in ("a.wav", "b.wav", "c.wav"):
        vanilla, best = rows[clip, DRAW, ""], rows[clip, "critic", "random"]
        assert best["scores"]["critic"] >= vanilla["scores"]["critic"] - 1e-3
        draws = [row for row in made.rows if row["clip"] == clip and row["algorithm"] == "random"]
        assert len({row["search_range"] for row in draws}) == 1, "random search draws the same for every verifier"
        assert all(row["lsd"] >= rows[clip, ORACLE_LSD, "random"]["lsd"] - 1e-3 for row in draws)
        assert rows[clip, "critic", "zero-order"]["search_range"] < draws[0]["search_range"]
        assert vanilla["search_range"] is None
        assert (vanilla["nfe"], best["nfe"]) == (4, 8)
    for clip in ("a.wav", "b.wav"):
        heard = [rows[clip, guide, search]["scores"]["speaker"] for guide, search in ((DRAW, ""), ("SpkSim", "random"))]
        assert heard[1] >= heard[0] - 1e-3


def test_an_excerpts_transcript_is_not_one(made: Made) -> None:
    clips = {clip.name: clip for clip in load_corpus(made.manifest)}
    assert (clips["a.wav"].transcript, clips["b.wav"].transcript) == ("some words", None)
    assert (clips["a.wav"].caption, clips["c.wav"].caption, clips["c.wav"].transcript) == (None, "a slow tune", None)
    assert [clips[name].speaker and clips[name].speaker.name for name in clips] == ["b.wav", "a.wav", None]
    for row in made.rows:
        assert ("wer/WER" in row["scores"]) is (row["clip"] == "a.wav")
    values = made.table()
    (row,) = (r for r in made.rows if (r["clip"], r["guide"]) == ("a.wav", LR_INPUT))
    assert float(values["speech", LR_INPUT, "", "WER"]["mean"]) == pytest.approx(-row["scores"]["wer/WER"])
    assert values["speech", LR_INPUT, "", "WER"]["n"] == "1"
    assert values["speech", LR_INPUT, "", "SpkSim"]["n"] == "2"
    assert "WER, speech: 1 of 2 clips have a transcript" in (made.out / "paper" / "table1.md").read_text()


def test_the_search_range_has_a_table(made: Made) -> None:
    text = (made.out / "paper" / "table2.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    assert rows[0] == ["search", "verifier", "speech, 4 kHz", "music, 4 kHz", "mean"]
    assert [row[:2] for row in rows[1:4]] == [["Random", "any"], ["Zero-Order", "mean of all"], ["Zero-Order", "AES"]]
    by = {tuple(row[:2]): row[2:] for row in rows[1:]}
    expected = [r["search_range"] for r in made.rows if (r["guide"], r["algorithm"]) == ("CLAP", "zero-order")]
    assert by["Zero-Order", "CLAP"] == ["–", f"{expected[0]:.3f}", "–"]
    assert "does not depend on the verifier" in text


def test_what_is_there_is_not_computed_again(made: Made) -> None:
    table, told = (made.out / "paper" / "table1.md").read_text(), len(made.annotations)
    again = evaluate(made.manifest, "--out", made.out, *SMALL, "--cutoff", 4000, "--oracle")
    assert again.exit_code == 0, again.output
    assert "53 results, 0 of them computed now, 0 failed" in again.output
    assert len(made.annotations) == told
    assert (made.out / "paper" / "table1.md").read_text() == table


def test_what_is_missing_is_named_once_with_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "nothing"))
    manifest = corpus(tmp_path)
    refused = evaluate(manifest, "--out", tmp_path / "out", "--paper")
    assert refused.exit_code == 2
    assert "ttsr models fetch audiosr-basic" in refused.output
    assert "or pass --paper-engine builtin" in refused.output
    assert not (tmp_path / "out").exists()
    kind = ("--kind", "speech", "--limit", 1, "--seconds", 0.6)
    done = evaluate(manifest, "--out", tmp_path / "out", *SMALL, *kind)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out" / "paper" / "table1.md").read_text()
    for name, model in {"AES": "aesthetics", "SpkSim": "wavlm-sv", "WER": "whisper"}.items():
        assert done.output.count(f"{name} is not here") == text.count(f"{name} is not here") == 1
        assert f"ttsr models fetch {model}" in done.output
    assert "No ensemble for speech" in text
    shown = markdown(text, "speech")
    metrics = ["DNSMOS ↑", "critic ↑", "LSD ↓", "LSD to edge ↓"]
    assert list(shown[LR_INPUT, ""]) == [f"{cutoff} kHz: {metric}" for cutoff in (4, 8) for metric in metrics]
    assert {guide for guide, _ in shown} == {LR_INPUT, DRAW, *OURS, "DNSMOS"}


def test_a_recording_that_is_gone_is_told_once(tmp_path: Path) -> None:
    save(tmp_path / "a.wav", voice(0.6))
    (tmp_path / "manifest.csv").write_text("file,kind,reference\na.wav,speech,gone.wav\n")
    done = evaluate(tmp_path / "manifest.csv", "--out", tmp_path / "out", *SMALL)
    assert done.exit_code == 1
    assert done.output.count("failed: a.wav: ") == done.output.count("gone.wav") == 1
    assert "0 results, 0 of them computed now, 1 failed" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--paper-candidates", "2"], "settings of --paper"),
        ([*SMALL, "--judge", "critic", "--baseline", "lr"], "leave --judge, --baseline out"),
        ([*SMALL, "--paper-engine", "magic"], "'magic' is not one of"),
        (SMALL, "it compares speech, music, sfx"),
    ],
)
def test_usage_errors_come_before_anything_runs(tmp_path: Path, arguments: list[str], message: str) -> None:
    save(tmp_path / "a.wav", voice(0.3))
    done = evaluate(tmp_path, "--out", tmp_path / "out", *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


def test_the_presets_are_the_papers_settings_for_either_search() -> None:
    for kind in ("speech", "music", "sfx"):
        (random, zero) = (
            plan_specs([f"p: preset=paper-{kind}{more}"], [], 0, False)[0].options
            for more in ("", " search=zero-order")
        )
        assert (random.engine, random.solver, random.schedule) == ("audiosr-basic", "euler", "leading")
        assert (random.steps, random.guidance, random.candidates, random.scope) == (50, 3.5, 120, "clip")
        assert random.search_settings() == {}, "random search takes none of zero-order's"
        assert zero.search_settings() == {"neighbours": 2, "cosine": 0.99, "pivot": "paper"}
