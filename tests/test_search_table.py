"""The benchmark of searches: every choice from one search, evaluations counted, nothing measured twice."""

import importlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import save, voice

ROOT = Path(__file__).parent.parent


def test_the_table_of_searches_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    searches = importlib.import_module("searches")
    for number in range(3):
        save(tmp_path / f"{number}.wav", voice(3.2, seed=number), subtype="FLOAT")
    rows = "".join(f"{number}.wav,speech,{owner}\n" for number, owner in enumerate("aab"))
    (tmp_path / "clips.csv").write_text(f"file,kind,speaker_or_class\n{rows}")

    def table(*more: str) -> str:
        asked = ["table", str(tmp_path / "clips.csv"), str(tmp_path / "out"), "--apart", "--join", "6", "--nfe", "12"]
        done = CliRunner().invoke(searches.main, [*asked, *more])
        assert done.exit_code == 0, done.output
        return done.output

    table("--search", "random")
    lines = table("--search", "random", "--search", "halving").splitlines()
    found = [json.loads(line) for line in (tmp_path / "out" / "table.jsonl").read_text().splitlines()]
    assert [(row["search"], row["choice"]) for row in found] == [
        (search, choice) for search in ("random", "halving") for choice in ("clip", "segment", "window")
    ], "both clips of a, which are joined with none but b's, are one programme; nothing is made twice"
    for row in found:
        assert 0 < row["spent"] <= 12
        assert row["oracle"] <= min(row["chosen"], row["mean_draw"])
    assert any(line.startswith("| random | clip | 1 |") and "| +0.000 |" in line for line in lines)
    # One search served both: the same evaluations, and segments could be nearer to the truth than windows.
    segment, window = found[1], found[2]
    assert segment["spent"] == window["spent"]
    assert segment["oracle"] != window["oracle"]
