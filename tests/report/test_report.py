"""The report must say what happened, repeat the render, and stay readable by other programs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_report import RATE, SHA, report
from helpers import Ttsr
from jsonschema import Draft202012Validator
from matplotlib.image import imread

from ttsr_studio.analysis.spectrogram_map import SpectrogramMap
from ttsr_studio.analysis.uncertainty import UncertaintyMap, UncertaintySummary
from ttsr_studio.errors import InputError, OutputError
from ttsr_studio.report.drawn_maps import DrawnMaps, Maps
from ttsr_studio.report.figures import draw_report
from ttsr_studio.report.search_records import CandidateRecord, WindowRecord
from ttsr_studio.report.validate import json_schema, validate
from ttsr_studio.report.write import write_arrays, write_report

pytestmark = pytest.mark.golden


def test_report_fits_its_schema_and_survives_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "take.ttsr.json"
    content = report().to_json()
    validate(content)
    write_report(path, content)
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert sum('"candidates"' in line for line in text.splitlines()) == 2, "a window takes one line"
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


def test_report_holds_what_a_repeat_needs() -> None:
    content = report().to_json()
    assert content["schema_version"] == "3"
    assert content["status"] == "rendered"
    assert content["tool"]["options"] == {"n": 4}
    assert content["tool"]["weights"] == {"w.safetensors": SHA}
    assert content["windows"][1]["candidates"][3]["key"] == {"seed": 7, "window": 1, "draw": 3}
    assert content["timing"]["nfe"] == 48
    assert content["timing"]["seconds"] == {"network": 1.0, "write": 0.5}
    assert content["timing"]["times_real_time"] == 1.0


def test_what_is_not_finite_or_not_plain_becomes_json() -> None:
    candidate = CandidateRecord({"draw": np.int64(3)}, {"dnsmos": float("nan")}, -np.inf)
    window = WindowRecord(0, 0.0, np.float32(0.5), [candidate], 0, "only one")  # type: ignore[arg-type]
    made = replace(
        report(),
        windows=[window],
        input=replace(report().input, lufs=-np.inf),
        search_range=None,
        uncertainty=UncertaintySummary(None, (None,)),
        tool=replace(report().tool, options={"out": Path("a/b")}),
    )
    content = made.to_json()
    validate(content)
    assert content["windows"][0]["candidates"][0] == {
        "key": {"draw": 3},
        "scores": {"dnsmos": None},
        "combined": None,
        "step": None,
        "previews": [],
    }
    assert content["input"]["lufs"] is None
    assert content["tool"]["options"] == {"out": "a/b"}
    json.dumps(content, allow_nan=False)


def test_a_window_that_was_passed_through_has_no_choice(tmp_path: Path) -> None:
    silent = WindowRecord(0, 0.0, 1.0, [], None, "silence")
    for windows in ([silent], [silent, report().windows[1]]):
        made = replace(report(), windows=windows)
        validate(made.to_json())
        before, after, uncertainty = maps(2.0)
        draw_report(tmp_path / "a.png", made, DrawnMaps.of(Maps(before, after, after, uncertainty)))


def break_extra(content: dict[str, Any]) -> None:
    content["surprise"] = 1


def break_window(content: dict[str, Any]) -> None:
    content["windows"][0]["chosen"] = -1


def break_checksum(content: dict[str, Any]) -> None:
    content["output"]["sha256"] = "abc"


def break_missing(content: dict[str, Any]) -> None:
    del content["tool"]["seed"]


def break_version(content: dict[str, Any]) -> None:
    content["schema_version"] = "1"


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (break_extra, "surprise"),
        (break_window, "windows/0/chosen"),
        (break_checksum, "output/sha256"),
        (break_missing, "at tool.*seed"),
        (break_version, "schema_version"),
    ],
)
def test_a_report_that_does_not_fit_is_refused_with_its_place(damage, place) -> None:  # type: ignore[no-untyped-def]
    content = report().to_json()
    damage(content)
    with pytest.raises(InputError, match=place):
        validate(content)


def test_published_schema_describes_every_part_and_fits_what_is_written(ttsr: Ttsr) -> None:
    schema = json.loads(ttsr("schema").stdout)
    assert schema == json_schema()
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(report().to_json())
    for name, part in {"top": schema, **schema["$defs"]}.items():
        assert part["additionalProperties"] is False, name
        assert set(part["required"]) == set(part["properties"]), name
        assert part["description"], name
    described = schema["$defs"]["ScoreRecord"]["properties"]["gain_sd"]
    assert described["description"].startswith("Chosen above the mean, in standard deviations")


def test_a_report_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="missing"):
        write_report(tmp_path / "missing" / "take.ttsr.json", report().to_json())


def test_an_old_report_survives_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "take.ttsr.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_report(path, report().to_json())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def maps(seconds: float) -> tuple[SpectrogramMap, SpectrogramMap, UncertaintyMap]:
    frames = int(seconds * RATE)
    audio = 0.1 * torch.randn(3, 1, frames, generator=torch.Generator().manual_seed(0))
    before, after = SpectrogramMap(8000, frames // 6), SpectrogramMap(RATE, frames)
    before.update(0, audio[0, :, : frames // 6])
    after.update(0, audio[0])
    uncertainty = UncertaintyMap(RATE, frames)
    uncertainty.update(0, audio, 4000.0)
    return before, after, uncertainty


@pytest.mark.parametrize("seconds", [0.05, 2.0])
def test_figure_is_1600_by_1200_and_the_same_every_time(tmp_path: Path, seconds: float) -> None:
    before, after, uncertainty = maps(seconds)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    cells = DrawnMaps.of(Maps(before, after, after, uncertainty))
    draw_report(paths[0], report(seconds), cells)
    write_arrays(tmp_path / "a.npz", cells.arrays())
    with np.load(tmp_path / "a.npz") as stored:
        draw_report(paths[1], report(seconds), DrawnMaps.stored(stored))
    (tmp_path / "a.npz").unlink()
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert imread(paths[0]).shape[:2] == (1200, 1600)
    assert sorted(tmp_path.iterdir()) == paths


def test_figure_of_a_plain_render_needs_no_search(tmp_path: Path) -> None:
    before, after, _ = maps(0.2)
    plain = report(0.2, names=(), count=1, windows=1)
    plain = replace(plain, windows=[], input=replace(plain.input, cutoff_hz=None, lufs=None))
    draw_report(tmp_path / "a.png", plain, DrawnMaps.of(Maps(before, after)))
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_figure_with_many_verifiers_and_missing_scores(tmp_path: Path) -> None:
    before, after, uncertainty = maps(0.2)
    many = report(0.2, names=("a", "b", "c", "d", "e"))
    hole = CandidateRecord({}, {"a": None}, None)
    window = replace(many.windows[0], candidates=[hole, *many.windows[0].candidates[1:]])
    many = replace(many, windows=[window, many.windows[1]])
    draw_report(tmp_path / "a.png", many, DrawnMaps.of(Maps(before, after, after, uncertainty)))
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_figure_of_hours_stays_the_same_size(tmp_path: Path) -> None:
    frames = 3 * 3600 * RATE
    before, after = SpectrogramMap(RATE, frames), SpectrogramMap(RATE, frames)
    before.power[:100], after.power[:] = 1e-3, 1e-4
    path = tmp_path / "a.png"
    draw_report(path, report(frames / RATE, windows=500, count=8), DrawnMaps.of(Maps(before, after)))
    assert imread(path).shape[:2] == (1200, 1600)
