"""What a run that was killed left, pictures that alone are missing, and inputs that are not there."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import LONGEST, Ttsr, below, load, save, voice

from ttsr_studio.batch.job_file import read_job
from ttsr_studio.batch.job_run import carry_out
from ttsr_studio.cli import render_files
from ttsr_studio.rendering import pipeline
from ttsr_studio.rendering.inference import session
from ttsr_studio.report.writing import started
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.storage.marks import this_host

QUICK = ("--candidates", 2, "--steps", 1, "--verifier", "continuity", "--keep-top", 2)
KILLED = """
import os, signal, sys
from ttsr_studio.__main__ import run
from ttsr_studio.rendering import pipeline
pipeline.write_reports = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["ttsr", *sys.argv[1:]]
run()
"""
"""A renderer that dies when its audio is written, and its report is not."""
ANEW = "out.wav: rendered anew, as a run was ended before all of it was written"
WHOLE = ["out.ttsr.json", "out.ttsr.npz", "out.ttsr.png", "out.wav", "out_top2.wav"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_run_left_is_known_and_made_anew_and_nothing_of_others(ttsr: Ttsr, tmp_path: Path) -> None:
    source, killed = save(tmp_path / "in.wav", below(voice(0.3), 5000)), tmp_path / "killed"
    asked = ["render", str(source), "-o", str(killed / "out.wav"), *map(str, QUICK)]
    ended = subprocess.run([sys.executable, "-c", KILLED, *asked], capture_output=True, timeout=LONGEST)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert names(killed) == [".out.wav.ttsr-writing", "out.wav", "out_top2.wav"]
    (killed / ".out_top2.0123abcd.partial.wav").write_bytes(b"half of a file")
    (killed / ".out.mine.partial.wav").write_bytes(b"somebody's")

    def after(name: str, *flags: str, edit: bytes | None = None) -> Any:
        folder = Path(shutil.copytree(killed, tmp_path / name))
        if edit:
            (folder / "out.wav").write_bytes(edit)
        return ttsr("render", source, "-o", folder / "out.wav", *QUICK, *flags)

    for flags in ((), ("--skip-existing",)):
        done = after(f"again{len(flags)}", *flags)
        assert done.exit_code == 0, done.output
        assert done.output.count(ANEW) == 1
        folder = tmp_path / f"again{len(flags)}"
        assert names(folder) == sorted([".out.mine.partial.wav", *WHOLE])
        assert load(folder / "out.wav").shape == load(source).shape
        assert "skipped" in ttsr("render", source, "-o", folder / "out.wav", *QUICK, "--skip-existing").output
        assert "exist already" in ttsr("render", source, "-o", folder / "out.wav", *QUICK).output
    planned = after("planned", "--dry-run")
    assert planned.exit_code == 0
    assert ANEW.replace("rendered", "would be rendered") in planned.output
    assert names(tmp_path / "planned") == names(killed)
    refused, left = after("refused", edit=b"somebody's"), after("left", "--skip-existing", edit=b"somebody's")
    assert (refused.exit_code, left.exit_code) == (2, 0)
    assert "out.wav and 1 more: exist already" in refused.output
    assert "out.wav (exists)" in left.output
    for name in ("refused", "left"):
        assert (tmp_path / name / "out.wav").read_bytes() == b"somebody's"


def test_a_report_that_cannot_be_written_leaves_a_render_that_is_made_anew(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    source = save(tmp_path / "in.wav", below(voice(0.3), 5000))
    asked = ("render", source, "-o", tmp_path / "out" / "out.wav", *QUICK)
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "write_reports", full)
        assert "No space left" in ttsr(*asked).output
    done = ttsr(*asked, "--skip-existing")
    assert ANEW in done.output
    assert names(tmp_path / "out") == WHOLE


def test_a_job_draws_a_picture_that_alone_is_missing(ttsr: Ttsr, tmp_path: Path) -> None:
    save(tmp_path / "in.wav", below(voice(0.3), 5000))
    path, out = tmp_path / "job.json", tmp_path / "in_ttsr.wav"
    asked = {"job_version": "1", "inputs": ["in.wav"], "options": {"candidates": 1, "steps": 1}}
    path.write_text(json.dumps(asked | {"existing": "skip", "result": "result.json", "done": "done"}))
    assert ttsr("render", "--job", path).exit_code == 0
    before = out.stat().st_mtime_ns
    picture = out.with_name("in_ttsr.ttsr.png")
    drawn = picture.read_bytes()
    picture.unlink()
    status, (left,) = carry_out(read_job(path))
    assert (status, left.status, left.output) == ("done", "skipped", str(out))
    assert left.reason == f"{out}: picture drawn anew"
    assert (picture.read_bytes(), out.stat().st_mtime_ns) == (drawn, before)


def test_inputs_that_are_not_there_are_told_before_an_engine_is_loaded(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = save(tmp_path / "in.wav", below(voice(0.3), 5000)), tmp_path / "out"
    asked = ("render", source, tmp_path / "no.wav", "-o", f"{out}/", "--candidates", 1, "--steps", 1, "--no-report")
    done = ttsr(*asked)
    assert done.exit_code == 1
    assert done.output.index("no.wav: cannot be opened (No such file") < done.output.index("out/in.wav")
    assert "1 rendered, 0 skipped, 1 failed" in done.output
    assert load(out / "in.wav").shape == load(source).shape
    planned = ttsr(*asked, "--dry-run", "--overwrite")
    assert planned.exit_code == 1
    assert "1 would be rendered, 0 skipped, 1 failed" in planned.output
    again = ttsr(*asked, "--skip-existing")
    assert again.exit_code == 1
    assert "0 rendered, 1 skipped, 1 failed" in again.output

    def loaded(*_: Any) -> None:
        raise AssertionError("an engine is loaded")

    monkeypatch.setattr(session.Session, "__init__", loaded)
    assert "no.wav: cannot be opened (No such file" in ttsr(*asked, "--overwrite").output


def mark(path: Path, process: int, files: dict[str, list[str]] | None = None) -> None:
    """The mark of a render that a process writes, or wrote, or its temporary file."""
    began = started(process)
    told = {"host": this_host(), "process": process, "files": files or {}} | ({"started": began} if began else {})
    path.write_text(json.dumps(told))


def test_the_next_run_takes_away_what_a_killed_one_left(ttsr: Ttsr, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        dead = process.pid
    source, out = save(tmp_path / "in.wav", below(voice(0.3), 5000)), tmp_path / "out"
    asked = ("render", source, "-o", out / "out.wav", *QUICK)
    assert ttsr(*asked).exit_code == 0
    theirs = [".out.mine.partial.wav", "..out.wav.00000000.partial.ttsr-writing", ".out2.0123abcd.partial.wav"]
    (out / theirs[0]).write_bytes(b"")
    mark(out / theirs[1], os.getppid())
    (out / theirs[2]).write_bytes(b"")
    there = sorted([*WHOLE, *theirs])

    def leave(checksum: str) -> None:
        mark(out / ".out.wav.ttsr-writing", dead, {"out.wav": [checksum]})
        mark(out / "..out.wav.0123abcd.partial.ttsr-writing", dead)
        (out / ".out.0123abcd.partial.wav").write_bytes(b"half of a file")

    for checksum in (sha256(out / "out.wav"), "0"):
        leave(checksum)
        assert "out.wav (exists)" in ttsr(*asked, "--skip-existing", "--dry-run").output
        assert len(names(out)) == len(there) + 3
        assert "exist already" in ttsr(*asked).output
        assert names(out) == there
        leave(checksum)
        assert "out.wav (exists)" in ttsr(*asked, "--skip-existing").output
        assert names(out) == there
    (out / "out.ttsr.json").unlink()
    mark(out / ".out.wav.ttsr-writing", os.getppid(), {"out.wav": [sha256(out / "out.wav")]})
    assert "out.wav (exists)" in ttsr(*asked, "--skip-existing").output  # another process is about to end it
    mark(out / ".out.wav.ttsr-writing", dead, {"out.wav": [sha256(out / "out.wav")]})
    assert ANEW in ttsr(*asked, "--skip-existing").output


def test_a_folder_that_cannot_be_written_is_told_of_each_input_before_an_engine_is_loaded(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shut(dir: Path) -> None:
        assert dir == tmp_path
        raise PermissionError(1, "Operation not permitted")

    sources = [save(tmp_path / f"{name}.wav", below(voice(0.3), 5000)) for name in "ab"]
    monkeypatch.setattr(render_files.tempfile, "TemporaryFile", shut)
    monkeypatch.setattr(session, "Session", None)
    done = ttsr("render", *sources, "-o", tmp_path / "ro" / "deep/")
    assert done.exit_code == 1
    for source in sources:
        assert f"failed: {source}: {tmp_path / 'ro' / 'deep'}: cannot be written to (Operation not perm" in done.output
    assert "0 rendered, 0 skipped, 2 failed" in done.output


def test_a_users_file_of_a_reports_name_is_told_as_such_and_a_moment_has_no_speed(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "n.wav", below(voice(0.3), 5000))
    (tmp_path / "out.ttsr.json").write_text("mine")
    told = ttsr("render", source, "-o", tmp_path / "out.wav", "--candidates", 1, "--steps", 1).output
    assert "its report is out.wav.ttsr.json, as out.ttsr.json is a file of somebody else's" in told
    assert "for a second of audio" not in told
