"""Reports of schema 2 must be taken wherever a report is read; the examples were written by the version before."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from example_report import RATE, report
from helpers import Ttsr, save, voice

from ttsr_studio.report.earlier import clear_earlier, earlier_report
from ttsr_studio.report.html import Audition, Version, write_page
from ttsr_studio.report.schema import WatchRecord
from ttsr_studio.report.validate import load_report, validate
from ttsr_studio.watch.queue.status import report_facts

EXAMPLE = Path(__file__).parents[2] / "examples" / "voice_7k_band.flac"
SCHEMA_2 = sorted((Path(__file__).parent / "schema2").glob("*.json"))


@pytest.mark.parametrize("path", SCHEMA_2, ids=lambda path: path.name)
def test_reports_of_schema_2_are_read_with_nothing_lost(path: Path) -> None:
    old, new = json.loads(path.read_text()), load_report(path).to_json()
    assert new["schema_version"] == "3"
    assert new["annotations"] == old["brief"]
    assert new["n_best"] == old["finalists"]
    level = {"lowered_db": 0.0, "held_db": 0.0, "limited": None}
    assert new["random_baseline"] == (old.get("control") and old["control"] | level)
    for name, score in old["judged"].items():
        assert new["scores"][name] == without(score, "control") | {"random_baseline": score["control"]}
    for before, after in zip(old["windows"], new["windows"], strict=True):
        for one, other in zip(before["candidates"], after["candidates"], strict=True):
            assert other == without(one, "looks") | {"previews": one["looks"]}
    same = set(old) - {"schema_version", "brief", "finalists", "control", "judged", "windows"}
    since = {"bandwidth": [], "evidence_db": None, "beyond": [], "skirts": [], "codec": None, "lifted_lu": None}
    assert new["input"] == old["input"] | since
    assert new["output"] == old["output"] | level
    assert new["tool"] == old["tool"] | {"plugins": []}
    assert new["best"] == [each | {"differs": None} for each in old["best"]]
    same -= {"input", "output", "tool", "best"}
    assert {name: new[name] for name in same} == {name: old[name] for name in same}
    assert "control" in new["tool"]["options"], "options keep their names"


def without(record: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != name}


def test_examples_of_schema_2_have_all_that_was_renamed() -> None:
    old = [json.loads(path.read_text()) for path in SCHEMA_2]
    assert any(each["finalists"] for each in old)
    assert any(each.get("control") for each in old)
    assert any(candidate["looks"] for each in old for window in each["windows"] for candidate in window["candidates"])


def test_a_job_of_schema_2_keeps_what_it_is_a_copy_of() -> None:
    old = json.loads(SCHEMA_2[0].read_text()) | {"job": {"source": "b.wav", "fingerprint": "f", "twin": "a.wav"}}
    assert validate(old).job == WatchRecord("b.wav", "f", "a.wav")
    assert old["job"]["twin"] == "a.wav", "what was given is not changed"


def test_an_old_report_says_how_to_render_again(ttsr: Ttsr, tmp_path: Path) -> None:
    for path in SCHEMA_2:
        done = ttsr("render", EXAMPLE, "--again", path, "-o", tmp_path / "again.flac", "--dry-run")
        assert done.exit_code == 0, done.output


def test_what_belonged_to_a_replaced_render_goes_by_its_old_report(tmp_path: Path) -> None:
    target, control = tmp_path / "out.flac", tmp_path / "out_control.flac"
    control.write_bytes(b"what was written")
    old = next(each for each in map(json.loads, map(Path.read_text, SCHEMA_2)) if each.get("control"))
    old["output"]["name"] = target.name
    old["control"] |= {"name": control.name, "sha256": hashlib.sha256(control.read_bytes()).hexdigest()}
    (tmp_path / "out.ttsr.json").write_text(json.dumps(old))
    clear_earlier(target, earlier_report(target), report(), None, [])
    assert not control.exists()


def test_the_watch_folder_tells_the_facts_of_old_reports() -> None:
    for path in SCHEMA_2:
        old = json.loads(path.read_text())
        words = report_facts(old)
        for name, score in old["judged"].items():
            assert words[name].startswith(f"{score['chosen']:.2f}")


def test_an_old_report_makes_an_audition_page(tmp_path: Path) -> None:
    audio = voice(2.0, RATE)
    source, render = save(tmp_path / "a.wav", 0.5 * audio), save(tmp_path / "b.wav", audio)
    made = report()
    content = replace(made, output=replace(made.output, name=render.name, frames=audio.shape[0])).to_json()
    content |= {"schema_version": "2", "judged": content.pop("scores"), "control": None}
    write_page(tmp_path / "b.ttsr.html", Audition(content, source, [Version("chosen", render, 1, None)]))
    page = (tmp_path / "b.ttsr.html").read_text(encoding="utf-8")
    assert '"name": "dnsmos"' in page
