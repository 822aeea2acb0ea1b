"""`ttsr render --job` as a DAW script or a render farm uses it, and the best K renders."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import LONGEST, Ttsr, below, load, save, started, until, voice

from ttsr_studio.batch import job_lock
from ttsr_studio.batch.job_file import read_job, schema
from ttsr_studio.report.validate import validate

TINY = {"candidates": 3, "steps": 1, "verifier": "continuity"}


def stem(path: Path, seconds: float = 0.4, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return save(path, below(voice(seconds, seed=seed), 5000))


def job(folder: Path, **keys: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    data = {"job_version": "1", "inputs": ["in.wav"], "result": "result.json", "done": "done", "options": TINY} | keys
    path = folder / "job.json"
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}), encoding="utf-8")
    return path


def answered(folder: Path) -> tuple[dict[str, Any], str]:
    return json.loads((folder / "result.json").read_text(encoding="utf-8")), (folder / "done").read_text()


def test_a_job_is_done_and_says_so_in_files(ttsr: Ttsr, tmp_path: Path) -> None:
    folder = tmp_path / "a 'quoted' “folder” é"
    source = stem(folder / "in.wav")
    before = source.read_bytes()
    path = job(folder, preset="speech", output="out/{stem}_{preset}{ext}", keep_top=3, progress="p.json")
    (folder / "result.json").write_text('{\n  "result_version": "1", "status": "stale"}')
    (folder / "done").write_text("1\n")
    result = ttsr("render", "--job", path)
    assert (result.exit_code, result.output) == (0, "")
    data, done = answered(folder)
    assert done == "0\n"
    assert (data["status"], data["exit_code"], data["message"]) == ("done", 0, "")
    (file,) = data["files"]
    assert file["status"] == "rendered"
    assert file["output"] == str(folder / "out" / "in_speech.wav")
    assert [(best["rank"], Path(best["output"]).name) for best in file["top"]] == [
        (1, "in_speech.wav"),
        (2, "in_speech_top2.wav"),
        (3, "in_speech_top3.wav"),
    ]
    assert [best["score"] for best in file["top"]] == sorted((best["score"] for best in file["top"]), reverse=True)
    assert all(Path(best["output"]).is_file() for best in file["top"])
    report = json.loads(Path(file["report"]).read_text())
    validate(report)
    assert [best["name"] for best in report["best"]] == [Path(best["output"]).name for best in file["top"]]
    progress = json.loads((folder / "p.json").read_text())
    assert (progress["stage"], progress["of_all"]) == ("done", 1.0)
    assert source.read_bytes() == before


def test_the_best_renders_differ_above_the_cutoff_only(ttsr: Ttsr, tmp_path: Path) -> None:
    source = stem(tmp_path / "in.wav", 1.0)
    out = tmp_path / "out.wav"
    result = ttsr("render", source, "-o", out, "--candidates", 3, "--steps", 1, "--keep-top", 3, "--json")
    assert result.exit_code == 0, result.output
    audio = [load(tmp_path / name) for name in ("out.wav", "out_top2.wav", "out_top3.wav")]
    assert len({each.shape for each in audio}) == 1
    assert not np.array_equal(audio[0], audio[1])
    again = ttsr(
        "render", source, "-o", tmp_path / "second.wav", "--again", tmp_path / "out.ttsr.json", "--take", 2, "--json"
    )
    assert again.exit_code == 0
    assert "the same, bit for bit" in json.loads(again.stdout)["verdict"]
    np.testing.assert_array_equal(load(tmp_path / "second.wav"), audio[1], "the second best, chosen by hand")
    reasons = [w["reason"] for w in json.loads((tmp_path / "second.ttsr.json").read_text())["windows"]]
    assert all("was asked for" in reason for reason in reasons)


def test_more_than_there_is_is_refused(ttsr: Ttsr, tmp_path: Path) -> None:
    source = stem(tmp_path / "in.wav")
    for arguments, words in [
        (("--keep-top", 4, "--candidates", 3), "--keep-top 4: only 3 candidates"),
        (("--take", 4, "--candidates", 3), "--take 4: only 3 candidates"),
        (("--keep-top", 0), "at least 1"),
        (("--page", "--no-report"), "--page shows the report"),
    ]:
        result = ttsr("render", source, "-o", tmp_path / "o.wav", *arguments)
        assert result.exit_code == 2
        assert words in result.output
    (tmp_path / "o_top2.wav").write_text("somebody's")
    result = ttsr("render", source, "-o", tmp_path / "o.wav", "--keep-top", 2, "--candidates", 2)
    assert result.exit_code == 2
    assert "o_top2.wav: exists already" in result.output


def test_messages_say_output_where_a_command_line_has_o(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "in.wav")
    (tmp_path / "out").write_text("somebody's")
    result = ttsr("render", "--job", job(tmp_path, output="out/o.wav"))
    assert 'choose another "output"' in answered(tmp_path)[0]["message"]
    assert 'choose another "output"' in result.output


def test_one_bad_file_does_not_stop_the_others(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "in.wav")
    (tmp_path / "bad.wav").write_text("no audio")
    result = ttsr("render", "--job", job(tmp_path, inputs=["bad.wav", "in.wav"], output="out/"))
    assert result.exit_code == 1
    data, done = answered(tmp_path)
    assert done == "1\n"
    assert data["status"] == "failed"
    assert [file["status"] for file in data["files"]] == ["failed", "rendered"]
    assert "not audio" in data["files"][0]["reason"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"inputs": None}, "'inputs' is a required property"),
        ({"inputs": []}, "inputs: "),
        ({"job_version": "2"}, "job_version: '1' was expected"),
        ({"input": ["x"]}, "'input' was unexpected); known: job_version, inputs"),
        ({"preset": "nix"}, "unknown preset 'nix'; known: "),
        ({"options": {"candidats": 1}}, "unknown option 'candidats'; known: "),
        ({"options": {"candidates": "many"}}, "not a valid integer"),
        ({"options": {"candidates": [1]}}, "candidates takes one value"),
        ({"options": {"take": "one"}}, "take takes int"),
        ({"options": {"speaker": "x.wav"}}, "speaker takes a list of files"),
        ({"options": {"device": "abacus"}}, "unknown device 'abacus'"),
        ({"options": {"choice": "clip", "seam": 2}}, "--seam is of --choice segment"),
        ({"keep_top": 9}, "--keep-top 9: only 3 candidates"),
        ({"output": "{nix}.wav"}, "unknown field 'nix'"),
        ({"existing": "maybe"}, "'maybe' is not one of"),
        ({"inputs": ["in.wav", "in.wav"]}, "in.wav: is given twice"),
    ],
)
def test_a_wrong_job_is_refused_with_one_line(ttsr: Ttsr, tmp_path: Path, keys: dict[str, Any], words: str) -> None:
    stem(tmp_path / "in.wav")
    result = ttsr("render", "--job", job(tmp_path, **keys))
    assert result.exit_code == 2
    assert words in result.output
    assert len(result.output.splitlines()) == 1
    data, done = answered(tmp_path)
    assert (data["status"], data["exit_code"], done) == ("refused", 2, "2\n")
    assert words in data["message"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["done", "in.wav", "job.json", "result.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "not JSON (line 1"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[]", "is not of type 'object'"),
        (b"", "not JSON"),
    ],
)
def test_a_file_that_is_no_job_is_refused(ttsr: Ttsr, tmp_path: Path, text: bytes, words: str) -> None:
    path = tmp_path / "job.json"
    path.write_bytes(text)
    result = ttsr("render", "--job", path)
    assert result.exit_code == 2
    assert words in result.output
    assert ttsr("render", "--job", tmp_path / "missing.json").exit_code == 2
    assert [each.name for each in tmp_path.iterdir()] == ["job.json"]


def test_a_result_that_cannot_be_written_is_found_before_anything_is_rendered(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "in.wav")
    (tmp_path / "folder").mkdir()
    for place in ("no/such/folder/r.json", "folder"):
        result = ttsr("render", "--job", job(tmp_path, result=place, done=None))
        assert result.exit_code == 2
        assert len(result.output.splitlines()) == 1
        assert not (tmp_path / "in_ttsr.wav").exists()


def test_a_result_that_is_a_folder_does_not_keep_those_waiting_who_wait_for_done(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "in.wav")
    (tmp_path / "result.json").mkdir()
    assert ttsr("render", "--job", job(tmp_path)).exit_code == 2
    assert (tmp_path / "done").read_text() == "2\n"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"result": "in.wav"}, "in.wav: is something else"),
        ({"progress": "in.wav"}, "in.wav: is something else"),
        ({"done": "in.wav"}, "in.wav: is something else"),
        ({"progress": "other.wav"}, "other.wav: is something else"),
        ({"result": "job.json"}, "result: is the job, too"),
        ({"progress": "./result.json"}, "progress: is result, too"),
        ({"done": "result.json"}, "done: is result, too"),
        ({"progress": "done"}, "done: is progress, too"),
        ({"cancel": "in.wav"}, "in.wav, too"),
        ({"output": "new.wav", "done": "new.wav"}, "done: is output new.wav, too"),
        ({"output": "new.wav", "done": "new_top2.wav", "keep_top": 2}, "done: is output new_top2.wav, too"),
        ({"output": "new.wav", "result": "new.ttsr.json"}, "result: is output new.ttsr.json, too"),
        ({"output": "new.wav", "progress": "new.ttsr.html"}, "progress: is output new.ttsr.html, too"),
        ({"result": "pipe"}, "pipe: is something else"),
        ({"done": "pipe"}, "pipe: is something else"),
        ({"progress": "link"}, "link: is something else"),
        ({"result": "n" * 300}, "File name too long"),
        ({"done": "n" * 300}, "File name too long"),
        ({"cancel": "n" * 300}, "File name too long"),
        ({"output": "n" * 300 + ".wav"}, "File name too long"),
        ({"output": "new.xyz"}, "unknown output suffix"),
        ({"output": "in.wav/new.wav"}, "is no folder"),
    ],
)
def test_answers_never_take_the_place_of_something_else(
    ttsr: Ttsr, tmp_path: Path, keys: dict[str, Any], words: str
) -> None:
    stem(tmp_path / "in.wav")
    stem(tmp_path / "other.wav", seed=1)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("other.wav")
    path = job(tmp_path, **keys)
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    result = ttsr("render", "--job", path)
    assert result.exit_code == 2
    assert words in result.output
    assert {file: file.read_bytes() for file in before} == before
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()


def test_an_output_that_another_job_made_meanwhile_is_left_as_it_is(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ttsr_studio.rendering import pipeline

    stem(tmp_path / "in.wav")
    real = pipeline.FileRender.read

    def late(render: Any) -> None:
        render.run.request.target.write_bytes(b"of another job")
        real(render)

    monkeypatch.setattr(pipeline.FileRender, "read", late)
    assert ttsr("render", "--job", job(tmp_path)).exit_code == 1
    (file,) = answered(tmp_path)[0]["files"]
    assert "something else has made it meanwhile" in file["reason"]
    assert (tmp_path / "in_ttsr.wav").read_bytes() == b"of another job"
    assert not list(tmp_path.glob("*.ttsr.*"))
    assert ttsr("render", "--job", job(tmp_path, existing="overwrite")).exit_code == 0
    assert (tmp_path / "in_ttsr.wav").stat().st_size > 1000


def test_flags_beside_a_job_are_refused(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "in.wav")
    path = job(tmp_path)
    for more in (("--seed", "9", "--job", path), ("--job", path, "b.wav"), (f"--job={path}", "--page")):
        result = ttsr("render", *more)
        assert result.exit_code == 2
        assert "stands alone" in result.output
    assert not (tmp_path / "done").exists()


def test_outputs_that_exist(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "in.wav")
    (tmp_path / "in_ttsr.wav").write_text("old")
    assert ttsr("render", "--job", job(tmp_path)).exit_code == 2
    assert ttsr("render", "--job", job(tmp_path, existing="skip")).exit_code == 0
    assert answered(tmp_path)[0]["files"][0]["status"] == "skipped"
    assert (tmp_path / "in_ttsr.wav").read_text() == "old"
    assert ttsr("render", "--job", job(tmp_path, existing="overwrite")).exit_code == 0
    assert load(tmp_path / "in_ttsr.wav").shape == load(tmp_path / "in.wav").shape


def searching(progress: Path) -> bool:
    return progress.exists() and json.loads(progress.read_text())["stage"] == "searching"


def test_a_job_can_be_called_off(tmp_path: Path, ttsr: Ttsr) -> None:
    stem(tmp_path / "in.wav", 2.0)
    stem(tmp_path / "two.wav")
    long = {"candidates": 5000, "steps": 20, "verifier": "continuity"}
    files = {"inputs": ["in.wav", "two.wav"], "output": "out/", "cancel": "cancel", "progress": "p.json"}
    command = [sys.executable, "-m", "ttsr_studio", "render", "--job", job(tmp_path, options=long, **files)]
    for call_off in (lambda _: (tmp_path / "cancel").touch(), lambda process: process.send_signal(signal.SIGTERM)):
        with started(command) as process:
            until(lambda process=process: searching(tmp_path / "p.json") or process.poll() is not None)
            call_off(process)
            assert process.wait(LONGEST) == 130
        data, done = answered(tmp_path)
        assert (data["status"], done) == ("cancelled", "130\n")
        assert [file["status"] for file in data["files"]] in (["cancelled", "cancelled"], [])
        assert not list((tmp_path / "out").glob("*")), "nothing half-written"
        for name in ("cancel", "p.json"):
            (tmp_path / name).unlink(missing_ok=True)


def test_the_example_in_the_documentation_is_a_job(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "studio" / "jobs.md").read_text(encoding="utf-8")
    example = json.loads(text.split("```json\n")[1].split("```")[0])
    schema().validate(example)
    path = tmp_path / "job.json"
    path.write_text(json.dumps(example))
    assert read_job(path).keep_top == 3
    documented = {line.split("|")[1].strip().replace("`", "") for line in text.splitlines() if line.startswith("| `")}
    known = {name for row in documented for name in row.split(", ")}
    assert known == set(schema().schema["properties"])


def test_the_users_folder_is_understood_in_jobs_and_sidecars(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    stem(home / "in.wav", 0.3)
    stem(home / "other.wav", 0.3, seed=1)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    (home / "in.ttsr.toml").write_text('speaker = ["~/other.wav"]\n')
    options = TINY | {"candidates": 1, "speaker": ["~/other.wav"], "rate": "44.1k", "depth": "24-bit"}
    path = job(tmp_path / "job", inputs=["~/in.wav"], output="~/out/", result="~/result.json", options=options)
    assert ttsr("render", "--job", path).exit_code == 0
    (file,) = json.loads((home / "result.json").read_text())["files"]
    assert file["output"] == str(home / "out" / "in.wav")
    assert file["notices"] == [{"name": "rate-lowered", "text": file["notices"][0]["text"]}]
    report = json.loads((home / "out" / "in.ttsr.json").read_text())
    assert report["annotations"]["speakers"] == 1
    assert not (tmp_path / "job" / "~").exists()


def test_a_result_says_whose_fault_it_was_and_so_may_the_exit_code(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "in.wav")
    stem(tmp_path / "set.wav", seed=1)
    (tmp_path / "set.ttsr.toml").write_text('verifier = "mos"\n')
    (tmp_path / "bad.wav").write_text("no audio")
    for inputs, fault, code in [
        (["bad.wav"], "input", 1),
        (["gone.wav"], "input", 1),
        (["bad.wav", "away/gone.wav"], "surroundings", 75),
        (["bad.wav", "set.wav"], "settings", 1),
    ]:
        result = ttsr("render", "--job", job(tmp_path, inputs=inputs, output="new/"), "--exit-codes", "fault")
        data, done = answered(tmp_path)
        assert (result.exit_code, data["fault"], done) == (code, fault, f"{code}\n"), result.output
        assert data["exit_code"] == code
        assert [file["fault"] for file in data["files"]] == (["input"] if len(inputs) == 1 else ["input", fault])
    other = job(tmp_path, options=TINY | {"device": "cuda:99"})
    assert ttsr("render", "--job", other, "--exit-codes", "fault").exit_code == 75, "another node may have it"
    plain = ttsr("render", "--job", job(tmp_path, inputs=["away/gone.wav"], output="new/"))
    assert plain.exit_code == 1, "as it was before there were faults"
    away = ttsr("render", "--job", tmp_path / "away" / "job.json", "--exit-codes", "fault")
    assert (away.exit_code, "cannot be read" in away.output) == (75, True)


def test_a_crash_is_told_as_one(ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ttsr_studio.batch import job_run
    from ttsr_studio.rendering import pipeline

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("nobody foresaw this")

    stem(tmp_path / "in.wav")
    monkeypatch.setattr(pipeline.FileRender, "read", broken)
    assert ttsr("render", "--job", job(tmp_path), "--exit-codes", "fault").exit_code == 70
    assert answered(tmp_path)[0]["files"][0]["fault"] == "crash"
    monkeypatch.setattr(job_run, "plan_jobs", broken)
    result = ttsr("render", "--job", job(tmp_path), "--exit-codes", "fault")
    data, _ = answered(tmp_path)
    assert (result.exit_code, data["status"], data["fault"]) == (70, "refused", "crash")
    assert "nobody foresaw this" in data["message"]
    assert len(result.output.splitlines()) == 1


def test_a_second_process_at_a_job_leaves_it_to_the_first(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_lock, "PATIENCE_SECONDS", 0.0)
    stem(tmp_path / "in.wav")
    path = job(tmp_path)
    answer = '{"result_version": "1", "status": "of the first"}'
    (tmp_path / "result.json").write_text(answer)
    with job_lock.held(path):
        assert job_lock.is_held(path)
        result = ttsr("render", "--job", path, "--exit-codes", "fault", "--progress", "openjd")
    assert result.exit_code == 75
    assert "openjd_fail: " in result.stdout
    assert "another process is doing this job" in result.stdout
    assert (tmp_path / "result.json").read_text() == answer
    assert not (tmp_path / "done").exists()
    assert not job_lock.is_held(path)
    assert ttsr("render", "--job", path).exit_code == 0


def test_outputs_may_be_named_one_by_one(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "in.wav")
    stem(tmp_path / "two.wav", seed=1)
    names = {"inputs": ["in.wav", "two.wav"], "outputs": ["a {odd} name.flac", "x/two.wav"], "report": False}
    assert ttsr("render", "--job", job(tmp_path, **names)).exit_code == 0
    assert [file["report"] for file in answered(tmp_path)[0]["files"]] == [None, None]
    assert load(tmp_path / "a {odd} name.flac").shape == load(tmp_path / "x" / "two.wav").shape
    for keys, words in [
        ({"outputs": ["a.wav"]}, "outputs: 1 for 2 inputs"),
        ({"output": "out/"}, "exclude each other"),
        ({"outputs": ["a.wav", "a.wav"]}, "would be written here"),
        ({"outputs": ["a.wav", "a.txt"]}, "unknown output suffix"),
        ({"inputs": ["in.wav", "."]}, "is a folder"),
        ({"page": True}, "page shows the report"),
    ]:
        result = ttsr("render", "--job", job(tmp_path, **(names | keys)))
        assert (result.exit_code, words in result.output) == (2, True), result.output


def test_paths_are_found_where_rules_say(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "here" / "in.wav")
    stem(tmp_path / "here" / "deep" / "voice.wav", seed=1)
    rules = tmp_path / "rules.json"
    pairs = {"/Volumes/a": "here", "Z:\\b": "out", "/Volumes/a/deep": "here/deep", "/Volumes/a/no": "nowhere"}
    rules.write_text(json.dumps({"version": "pathmapping-1.0", "path_mapping_rules": [
        {"source_path_format": "POSIX", "source_path": source, "destination_path": str(tmp_path / target)}
        for source, target in pairs.items()
    ]}))  # fmt: skip
    paths = {"inputs": ["/Volumes/a/in.wav"], "output": "z:/B/{stem}{ext}"}
    path = job(tmp_path, **paths, options=TINY | {"speaker": ["/Volumes/a/deep/voice.wav"]})
    result = ttsr("render", "--job", path, "--path-map", rules)
    assert result.exit_code == 0, result.output
    assert answered(tmp_path)[0]["files"][0]["output"] == str(tmp_path / "out" / "in.wav")
    rules.write_text("{}")
    assert ttsr("render", "--job", path, "--path-map", rules).exit_code == 1
    for text in ("[]", '{"path_mapping_rules": [{"source_path": "a", "destination_path": "/b"}]}', "{"):
        rules.write_text(text)
        result = ttsr("render", "--job", path, "--path-map", rules)
        assert (result.exit_code, "rules.json" in result.output) == (2, True)
    assert "with --job only" in ttsr("render", tmp_path / "here" / "in.wav", "--progress", "openjd").output
