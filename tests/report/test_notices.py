"""Notices: every one has a name and a place in the docs, and is told wherever a render is."""

import ast
import json
import re
from pathlib import Path

import pytest
from helpers import Ttsr, below, save, voice

import ttsr_studio
from ttsr_studio.report.notices import NOTICES, input_notices, output_notices

PACKAGE = Path(ttsr_studio.__file__).parent
PAGE = PACKAGE.parent / "docs" / "use" / "warnings.md"


def test_every_name_that_the_code_gives_is_explained_and_has_a_heading() -> None:
    given = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Notice":
                names = [each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)]
                given |= {name for name in names if name in NOTICES or not re.search(r"\W", str(name).replace("-", ""))}
    told = {notice.name for notice in input_notices(INPUTS)} | {notice.name for notice in output_notices(OUTPUTS)}
    assert given - {"kept"} | told == set(NOTICES)
    assert re.findall(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == list(NOTICES)


INPUTS = {
    "cut short: 10 of 20 samples can be decoded": "cut-short",
    "cut short: its end is missing": "cut-short",
    "its header counts 10 samples and 20 are there (0.10 of 0.20 s)": "header-counts-less",
    "gives no length: read to its end": "length-unknown",
    "its header gives no length; read to the end": "length-unknown",
    "its last page is not marked as the last, as in a recording that was broken off: read to the end": "end-not-marked",
    "holds one stream behind the other: read as one": "streams-in-a-row",
    "audio stream 1 (eng) taken; --stream N or LANGUAGE takes another: 2 (fra)": "stream-taken",
    "an edit list leaves 1.0 s: what it cuts is not read": "edit-list",
    "starts 0.500 s late: silence before it": "times-mended",
    "timestamps leave a gap: silence at 1.00 s (0.100 s)": "times-mended",
    "damaged: at 1.00 s Invalid data": "damaged",
    "2 packets before the first whole one left out": "damaged",
    "above --cutoff it holds sound up to 9.0 kHz: that is kept": "sound-above-cutoff",
    "below --cutoff nothing was heard from 6.6 to 15.0 kHz: nothing is added there": "empty-below-cutoff",
    "what nobody has named yet": "input-note",
}
OUTPUTS = {
    "lossy: AAC at 256 kbit/s": "lossy",
    "at 48000 Hz, as OPUS in .webm does not take 44100 Hz": "rate-of-codec",
    "1024 samples late in players: .mp3 cannot say where the audio begins": "late-in-players",
    "inst: carried as it is: it is broken": "metadata-as-it-is",
}


def test_what_is_said_of_files_has_the_name_of_its_kind() -> None:
    assert {notice.text: notice.name for notice in input_notices(INPUTS)} == INPUTS
    assert {notice.text: notice.name for notice in output_notices(OUTPUTS)} == OUTPUTS


def test_a_budget_that_cannot_pay_for_what_was_asked_says_so_everywhere(ttsr: Ttsr, tmp_path: Path) -> None:
    stem = save(tmp_path / "a.wav", below(voice(0.5, rate=96000), 5000, rate=96000), rate=96000)
    wanted = ("--keep-top", 3, "--control", "--budget", "0.001s", "--page")
    result = ttsr("render", stem, "-o", tmp_path / "b.wav", *wanted, "--json")
    told = json.loads(result.stdout)
    names = [notice["name"] for notice in told["notices"]]
    assert names[:5] == ["rate-lowered", "stopped-early", "budget-too-small", "fewer-renders", "control-is-the-choice"]
    assert [notice["text"] for notice in told["notices"]] == told["warnings"]
    assert json.loads((tmp_path / "b.ttsr.json").read_text())["notices"] == told["notices"]
    page = (tmp_path / "b.ttsr.html").read_text(encoding="utf-8")
    for notice in told["notices"]:
        assert json.dumps(notice["text"])[1:-1] in page, notice["name"]
    planned = ttsr("render", stem, "-o", tmp_path / "c.wav", "--dry-run")
    assert "note: sample rate lowered from 96 to 48 kHz; --rate source keeps it" in planned.output
    assert "rate-lowered" not in ttsr("render", stem, "--rate", "source", "--dry-run", "--json").output


@pytest.mark.parametrize("name", NOTICES)
def test_explanations_are_sentences(name: str) -> None:
    assert NOTICES[name].meaning.endswith(".")
    assert NOTICES[name].to_do.endswith(".")
