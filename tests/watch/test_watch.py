"""The watch folder as a studio uses it: through the real command, with real files, processes and faults."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from helpers import LONGEST, Ttsr, below, mere_user, save, started, until, voice

from ttsr_studio.report.validate import validate
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.watch.filesystem.instance_lock import living
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.queue.jobs import Queue
from ttsr_studio.watch.queue.states import Reason
from ttsr_studio.watch.queue.store import JobRecord

QUICK = ("--once", "--settle", "0.3", "--no-page", "--json")
TINY = "candidates = 1\nsteps = 1\nverifier = 'continuity'\n"
ENDLESS = "candidates = 5000\nsteps = 20\nverifier = 'continuity'\n"
"""Settings by which a test that waits for a search to be under way cannot come too late."""


def stem(path: Path, seconds: float = 0.3, seed: int = 0, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return save(path, below(voice(seconds, seed=seed), 5000), **more)


def watch(ttsr: Ttsr, root: Path, *options: object, code: int | None = 0) -> list[dict[str, Any]]:
    """Run `ttsr watch --once`; the events it said."""
    (root / "ttsr-watch.toml").touch()
    if not (root / "ttsr-watch.toml").read_text():
        (root / "ttsr-watch.toml").write_text(TINY)
    result = ttsr("watch", root, *QUICK, *options)
    assert code is None or result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def said(events: list[dict[str, Any]], what: str) -> list[str]:
    return [event.get("file", "") for event in events if event["event"] == what]


def row(root: Path, path: str) -> JobRecord:
    with contextlib.closing(Queue(Root(root).database)) as queue:
        found = queue.find(path)
    assert found, f"{path} was never seen"
    return found


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], dict[Path, bytes]]:
    """A tree with a bit of everything, watched once: (root, events, sources with their content)."""
    from click.testing import CliRunner

    from ttsr_studio.cli.main import main

    root = tmp_path_factory.mktemp("studio")
    stem(root / "speech/a.wav")
    shutil.copy(root / "speech/a.wav", root / "speech/a copy.wav")
    stem(root / "speech/a.flac", seed=1, subtype="PCM_16")
    stem(root / "music/deep/é \"q'.wav", seed=2, rate=44100)
    stem(root / "music/options.wav", seed=3)
    (root / "music/options.ttsr.toml").write_text("seed = 77\ncandidates = 2\ncaption = 'a voice'\n")
    stem(root / "music/wrong.wav", seed=4)
    (root / "music/wrong.ttsr.toml").write_text("cadidates = 2\n")
    (root / "sfx").mkdir()
    (root / "sfx/page.wav").write_text("<html>")
    (root / "sfx/nothing.wav").touch()
    (root / "sfx/film.m4a").write_bytes(b"\0\0\0\x18ftypM4A ")
    save(root / "sfx/full.wav", voice(0.3, seed=5))
    stem(root / "sfx/take_draft.wav")
    stem(root / "moved/in.wav", seed=6)
    (root / "moved/in.ttsr.toml").write_text("seed = 5\n")
    (root / "moved/bad.wav").write_text("no audio")
    (root / "moved/ttsr-watch.toml").write_text("finished = 'move'\n")
    stem(root / "waits/in.wav", seed=7)
    (root / "waits/ttsr-watch.toml").write_text("wait-for-sidecar = true\n")
    (root / "broken/in.wav").parent.mkdir()
    stem(root / "broken/in.wav", seed=8)
    (root / "broken/ttsr-watch.toml").write_text("preset = 'nix'\n")
    (root / "ttsr-watch.toml").write_text(TINY + "ignore = ['*_draft.wav']\n")
    sources = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    result = CliRunner().invoke(main, ["watch", str(root), *QUICK])
    assert result.exit_code == 1, result.output
    return root, [json.loads(line) for line in result.stdout.splitlines()], sources


Studio = tuple[Path, list[dict[str, Any]], dict[Path, bytes]]


def test_every_file_ends_in_one_state(studio: Studio) -> None:
    root, _, _ = studio
    with contextlib.closing(Queue(Root(root).database)) as queue:
        states = {entry.path: entry.state for entry in queue.jobs()}
    assert states == {
        "speech/a.wav": "done",
        "speech/a copy.wav": "done",
        "speech/a.flac": "done",
        "music/deep/é \"q'.wav": "done",
        "music/options.wav": "done",
        "music/wrong.wav": "failed",
        "sfx/page.wav": "failed",
        "sfx/nothing.wav": "failed",
        "sfx/film.m4a": "failed",
        "sfx/full.wav": "failed",
        "moved/in.wav": "done",
        "moved/bad.wav": "failed",
        "waits/in.wav": "pending",
        "broken/in.wav": "pending",
    }


def test_sources_are_as_they_were(studio: Studio) -> None:
    root, _, sources = studio
    for path, content in sources.items():
        if path.relative_to(root).parts[0] != "moved" or path.name == "ttsr-watch.toml":
            assert path.read_bytes() == content


def test_renders_lie_where_their_sources_do(studio: Studio) -> None:
    root, _, _ = studio
    for path in ("speech/a.wav", "speech/a copy.wav", "music/deep/é \"q'.wav", "music/options.wav", "moved/in.wav"):
        entry, report = row(root, path), root / "_renders" / f"{path.removesuffix('.wav')}.ttsr.json"
        assert entry.output == f"_renders/{path}"
        data = json.loads(report.read_text())
        validate(data)
        assert data["job"]["source"] == path
        assert data["input"]["name"] == Path(path).name
        assert data["output"]["sha256"] == sha256(root / "_renders" / path)
        assert report.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert str(root) not in report.read_text(), "no place of this machine in a report"
    at_44 = soundfile.info(root / "_renders/music/deep/é \"q'.wav")
    assert (at_44.samplerate, at_44.frames) == (48000, -(-14400 * 48000 // 44100))


def test_two_sources_of_one_stem_keep_their_own_reports(studio: Studio) -> None:
    root, _, _ = studio
    entry = row(root, "speech/a.flac")
    assert entry.output in ("_renders/speech/a.flac", "_renders/speech/a.flac.flac")
    assert entry.report != row(root, "speech/a.wav").report
    assert soundfile.info(root / str(entry.output)).format == "FLAC"


def test_the_same_content_is_rendered_once_and_linked(studio: Studio) -> None:
    root, events, _ = studio
    pair = [row(root, "speech/a.wav"), row(root, "speech/a copy.wav")]
    copy = next(entry for entry in pair if entry.duplicate_of)
    other = next(entry for entry in pair if not entry.duplicate_of)
    assert copy.duplicate_of == other.path
    assert json.loads((root / str(copy.report)).read_text())["job"]["duplicate_of"] == other.path
    assert (root / str(copy.output)).read_bytes() == (root / str(other.output)).read_bytes()
    assert next(event["said"] for event in events if event.get("file") == copy.path and event["event"] == "done") == (
        f"the same as {other.path}"
    )


def test_a_sidecar_sets_options_of_its_stem(studio: Studio) -> None:
    root, _, _ = studio
    report = json.loads((root / "_renders/music/options.ttsr.json").read_text())
    assert report["tool"]["options"]["seed"] == 77
    assert report["tool"]["preset"] == "music"
    assert len(report["windows"][0]["candidates"]) == 2
    assert report["annotations"]["caption"] == "a voice"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("music/wrong.wav", "unknown key 'cadidates'"),
        ("sfx/page.wav", "not audio"),
        ("sfx/nothing.wav", "0 bytes"),
        ("sfx/film.m4a", "not audio"),
        ("sfx/full.wav", "full-band already"),
        ("moved/bad.wav", "not audio"),
    ],
)
def test_every_failure_has_its_reason_where_people_look(studio: Studio, path: str, words: str) -> None:
    root, events, _ = studio
    reason = row(root, path).reason
    assert reason
    assert words in reason
    note = (root / "_failed" / f"{path}.txt").read_text()
    assert words in note
    assert str(root) not in note + reason
    assert reason in [event.get("reason") for event in events]


def test_sources_move_only_where_that_is_asked_for(studio: Studio) -> None:
    root, _, sources = studio
    assert (root / "_done/moved/in.wav").read_bytes() == sources[root / "moved/in.wav"]
    assert (root / "_done/moved/in.ttsr.toml").is_file()
    assert (root / "_failed/moved/bad.wav").read_bytes() == sources[root / "moved/bad.wav"]
    assert [path.name for path in (root / "moved").iterdir()] == ["ttsr-watch.toml"]


def test_what_waits_says_for_what(studio: Studio, ttsr: Ttsr) -> None:
    root, _, _ = studio
    assert row(root, "waits/in.wav").held == "waits for its sidecar"
    assert "unknown preset 'nix'" in (row(root, "broken/in.wav").reason or "")
    status = ttsr("watch", root, "--status")
    assert status.exit_code == 0
    assert "0 services" in status.output
    assert "waits for its sidecar" in status.output
    data = json.loads(ttsr("watch", root, "--status", "--json").stdout)
    assert data["counts"] == {"pending": 2, "running": 0, "done": 6, "failed": 6}


def test_the_queue_can_be_asked(studio: Studio, ttsr: Ttsr) -> None:
    root, _, _ = studio
    listed = ttsr("queue", "list", root, "--state", "failed", "--json")
    assert len(listed.stdout.splitlines()) == 6
    assert {json.loads(line)["state"] for line in listed.stdout.splitlines()} == {"failed"}
    shown = ttsr("queue", "show", root, root / "sfx/page.wav")
    assert "not audio" in shown.output
    assert "seen" in shown.output
    for arguments, words in [
        (("show", root, "nix.wav"), "not a file that was seen"),
        (("list", root / "speech"), "not a watched root"),
        (("list", root, "--state", "lost"), "pending"),
    ]:
        refused = ttsr("queue", *arguments)
        assert refused.exit_code == 2
        assert words in refused.output


def test_nothing_is_left_behind(studio: Studio) -> None:
    root, _, _ = studio
    assert list((root / "_work/stage").iterdir()) == []
    assert not [path for path in root.rglob("*") if "partial" in path.name or path.name.endswith(".tmp")]
    assert living(root / "_work") == []


# One thing after another on one tree


def test_a_year_of_small_things(ttsr: Ttsr, tmp_path: Path) -> None:
    a, b = stem(tmp_path / "sfx/a.wav"), stem(tmp_path / "sfx/b.wav", seed=1)
    assert sorted(said(watch(ttsr, tmp_path), "done")) == ["sfx/a.wav", "sfx/b.wav"]
    first = sha256(tmp_path / "_renders/sfx/a.wav")

    assert said(watch(ttsr, tmp_path), "started") == [], "what is done is done"

    os.utime(a)
    events = watch(ttsr, tmp_path)
    assert [event["said"] for event in events if event["event"] == "done"] == ["was rendered already"]

    stem(a, seed=9)
    assert said(watch(ttsr, tmp_path), "done") == ["sfx/a.wav"]
    second = sha256(tmp_path / "_renders/sfx/a.wav")
    assert second != first

    (tmp_path / "_renders/sfx/b.wav").unlink()
    assert ttsr("queue", "retry", tmp_path, "sfx/b.wav").exit_code == 0
    assert said(watch(ttsr, tmp_path), "done") == ["sfx/b.wav"], "a deleted render is made again"

    (tmp_path / "_renders/sfx/b.wav").write_bytes(b"mixed further by somebody")
    stem(b, seed=10)
    watch(ttsr, tmp_path, code=1)
    assert (tmp_path / "_renders/sfx/b.wav").read_bytes() == b"mixed further by somebody"
    assert "is not what was rendered there" in (row(tmp_path, "sfx/b.wav").reason or "")
    (tmp_path / "_renders/sfx/b.wav").unlink()
    ttsr("queue", "retry", tmp_path, "sfx/b.wav")

    ttsr("queue", "pause", tmp_path, "--reason", "lunch")
    c = stem(tmp_path / "sfx/c.wav", seed=3)
    assert said(watch(ttsr, tmp_path), "started") == []
    assert "lunch" in ttsr("watch", tmp_path, "--status").output
    note = tmp_path / "_failed/sfx/c.wav.txt"
    assert ttsr("queue", "cancel", tmp_path, "sfx/c.wav", "sfx/a.wav").output == "1 cancelled\n", "a is done"
    assert "queue cancel" in note.read_text()
    assert row(tmp_path, "sfx/c.wav").state == "failed"
    ttsr("queue", "retry", tmp_path, "sfx/c.wav")
    content = c.read_bytes()
    c.unlink()
    ttsr("queue", "resume", tmp_path)
    watch(ttsr, tmp_path, code=1)
    assert row(tmp_path, "sfx/c.wav").reason == Reason.GONE
    c.write_bytes(content)
    watch(ttsr, tmp_path)
    assert row(tmp_path, "sfx/c.wav").state == "done", "it came back"
    assert not note.exists()

    a.unlink()
    assert ttsr("queue", "prune", tmp_path, "--days", "0").output == "1 forgotten\n"
    assert (tmp_path / "_renders/sfx/a.wav").is_file(), "renders stay"


def test_a_damaged_database_is_made_anew_from_the_folders(ttsr: Ttsr, tmp_path: Path) -> None:
    for number in range(3):
        stem(tmp_path / f"sfx/{number}.wav", seed=number)
    (tmp_path / "sfx/bad.wav").write_text("no")
    watch(ttsr, tmp_path, code=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "_renders").rglob("*.wav")}
    assert len(before) == 3
    (tmp_path / "_work/queue.sqlite").write_bytes(b"the disk had other plans" * 1000)
    events = watch(ttsr, tmp_path, code=1)
    damaged = next(event for event in events if event["event"] == "database damaged")
    assert (tmp_path / "_work" / damaged["kept"]).read_bytes().startswith(b"the disk")
    assert {event["said"] for event in events if event["event"] == "done"} == {"was rendered already"}
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing was rendered again"
    assert row(tmp_path, "sfx/bad.wav").state == "failed"


def test_faults_around_a_file_make_it_wait_and_are_said(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "sfx/a.wav")
    (tmp_path / "_renders").mkdir()
    (tmp_path / "_renders/sfx").write_text("a file where a folder should be")
    events = watch(ttsr, tmp_path, code=1)
    assert said(events, "waiting") == ["sfx/a.wav"]
    entry = row(tmp_path, "sfx/a.wav")
    assert (entry.state, entry.tries) == ("pending", 1)
    (tmp_path / "_renders/sfx").unlink()
    ttsr("queue", "retry", tmp_path, "sfx/a.wav")
    assert said(watch(ttsr, tmp_path), "done") == ["sfx/a.wav"]


@pytest.mark.golden
def test_a_worker_without_memory_is_ended_and_the_file_given_up(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "sfx/a.wav")
    events = watch(ttsr, tmp_path, "--memory", "0.05", code=1)
    assert len(said(events, "worker died")) == 3
    reason = row(tmp_path, "sfx/a.wav").reason or ""
    assert "took more memory than it may" in reason
    assert "with smaller batches" in reason


def test_a_slow_search_is_not_held_for_a_hanging_decoder(tmp_path: Path) -> None:
    """A decoder may be silent for seconds, a search of a long file on a slow machine for minutes."""
    from ttsr_studio.options import RenderOptions
    from ttsr_studio.render import pipeline
    from ttsr_studio.render.inference.session import Session
    from ttsr_studio.render.request import RenderRequest

    told: list[str] = []
    real = pipeline.search_windows

    def search(*arguments: Any) -> Any:
        assert told[-1] == "searching", "the last that was heard is that it reads"
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "search_windows", search)
        session = Session(RenderOptions(candidates=1, steps=1, verifiers=("continuity",)))
        source = stem(tmp_path / "a.wav")
        pipeline.render(
            session, RenderRequest(source, tmp_path / "o.wav"), progress=lambda event: told.append(event.stage)
        )
    assert "reading" in told


def test_refusals_at_the_start_are_one_line(ttsr: Ttsr, tmp_path: Path) -> None:
    (tmp_path / "ttsr-watch.toml").write_text("candidats = 3")
    (tmp_path / "in").mkdir()
    for arguments, words in [
        ((tmp_path / "missing",), "no such folder"),
        ((tmp_path,), "unknown key 'candidats'"),
        ((tmp_path / "in", "--preset", "nix"), "unknown preset 'nix'"),
        ((tmp_path / "in", "--preset", "a=nix"), "unknown preset 'nix'"),
        ((tmp_path / "in", "--preset", "speech", "--preset", "music"), "one preset for the root"),
        ((tmp_path / "in", "--settle", "0"), "above 0"),
        ((tmp_path / "in", "--device", "abacus"), "unknown device"),
        ((tmp_path / "in", "--status"), "not a watched root"),
    ]:
        result = ttsr("watch", *arguments)
        assert result.exit_code == 2, arguments
        assert words in result.output
        assert len([line for line in result.output.splitlines() if line.startswith("Error")]) == 1
    assert not (tmp_path / "in/_work").exists()


# Services as processes of their own


@contextlib.contextmanager
def running(
    root: Path, *options: object, settings: str = TINY, before: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    (root / "ttsr-watch.toml").write_text(settings)
    command = [*before, sys.executable, "-m", "ttsr_studio", "watch", root, "--settle", "0.3", "--no-page", "--json"]
    with started([*command, *options], stdout=subprocess.PIPE) as process:
        yield process


def worker_of(process: subprocess.Popen[str]) -> psutil.Process:
    return next(p for p in psutil.Process(process.pid).children() if "spawn_main" in " ".join(p.cmdline()))


def searching(root: Path, path: str) -> bool:
    return '"searching"' in (row(root, path).progress or "")


def counts(root: Path) -> dict[str, int]:
    with contextlib.closing(Queue(Root(root).database)) as queue:
        return dict(queue.counts())


def test_two_services_share_a_root_and_stop_when_told(tmp_path: Path) -> None:
    for number in range(8):
        stem(tmp_path / f"sfx/{number}.wav", seed=number)
    with running(tmp_path) as one, running(tmp_path) as two:
        until(lambda: counts(tmp_path)["done"] == 8)
        for process in (one, two):
            process.send_signal(signal.SIGTERM)
        outputs = [process.communicate(timeout=LONGEST)[0] for process in (one, two)]
        assert [one.returncode, two.returncode] == [0, 0]
    events = [json.loads(line) for text in outputs for line in text.splitlines()]
    assert sorted(said(events, "done")) == sorted(f"sfx/{number}.wav" for number in range(8)), "each once"
    with contextlib.closing(Queue(Root(tmp_path).database)) as queue:
        for entry in queue.jobs():
            assert [each["what"] for each in queue.history(entry)].count("done") == 1


def test_a_service_goes_on_when_another_starts_beside_it(tmp_path: Path, ttsr: Ttsr) -> None:
    def alive() -> int:
        return len(living(Root(tmp_path).state))

    (tmp_path / "sfx").mkdir()
    with running(tmp_path) as one:
        until(lambda: alive() == 1)
        stem(tmp_path / "sfx/first.wav")
        until(lambda: counts(tmp_path)["done"] == 1)
        refused = ttsr("watch", tmp_path, *QUICK, "--state", tmp_path.parent / "elsewhere")
        assert (refused.exit_code, "stop that service first" in refused.output) == (2, True)
        with running(tmp_path) as two:
            until(lambda: alive() == 2)
            stem(tmp_path / "sfx/second.wav", seed=1)
            until(lambda: counts(tmp_path)["done"] == 2)
            for process in (one, two):
                process.send_signal(signal.SIGTERM)
            assert [process.wait(timeout=LONGEST) for process in (one, two)] == [0, 0]


def test_a_folder_that_is_renamed_leaves_no_failures(ttsr: Ttsr, tmp_path: Path) -> None:
    for number in range(3):
        stem(tmp_path / f"sfx/n/{number}.wav", seed=number)
    with running(tmp_path) as process:
        until(lambda: living(Root(tmp_path).state))
        ttsr("queue", "pause", tmp_path)
        stem(tmp_path / "sfx/n/3.wav", seed=3)
        until(lambda: row(tmp_path, "sfx/n/3.wav").held is None)
        (tmp_path / "sfx/n").rename(tmp_path / "sfx/m")
        ttsr("queue", "resume", tmp_path)
        until(lambda: row(tmp_path, "sfx/m/3.wav").state == "done")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LONGEST)
    seen = ttsr("queue", "list", tmp_path, "--json").stdout.splitlines()
    states = {data["file"]: data["state"] for data in map(json.loads, seen)}
    assert {path: state for path, state in states.items() if state != "done"} == {}
    assert states["sfx/m/3.wav"] == "done"
    assert "sfx/n/3.wav" not in states
    assert not list((tmp_path / "_failed").rglob("*.txt"))


def test_permissions_that_are_lost_are_waited_for(ttsr: Ttsr, tmp_path: Path) -> None:
    source, renders = stem(tmp_path / "sfx/a.wav"), tmp_path / "_renders"
    source.chmod(0)
    with running(tmp_path, before=mere_user()) as process:
        until(lambda: "ermission denied" in (row(tmp_path, "sfx/a.wav").reason or ""))
        assert row(tmp_path, "sfx/a.wav").state == "pending"
        source.chmod(0o600)
        renders.chmod(0o500)
        ttsr("queue", "retry", tmp_path)
        until(lambda: "_renders" in (row(tmp_path, "sfx/a.wav").reason or ""))
        assert list(renders.iterdir()) == []
        renders.chmod(0o700)
        ttsr("queue", "retry", tmp_path, "sfx/a.wav")
        until(lambda: counts(tmp_path)["done"] == 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=LONGEST) == 0
    assert (renders / "sfx/a.wav").is_file()


def test_a_file_replaced_while_it_is_rendered_is_rendered_again(tmp_path: Path) -> None:
    source = stem(tmp_path / "sfx/a.wav", seconds=6)
    with running(tmp_path, settings=ENDLESS + "budget = '8s'\n") as process:
        until(lambda: searching(tmp_path, "sfx/a.wav"))
        (tmp_path / "ttsr-watch.toml").write_text(TINY)
        stem(source, seconds=1, seed=4)
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        until(lambda: row(tmp_path, "sfx/a.wav").state == "done" and row(tmp_path, "sfx/a.wav").sha256 == digest)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LONGEST)
    report = json.loads((tmp_path / "_renders/sfx/a.ttsr.json").read_text())
    assert report["input"]["sha256"] == digest
    assert soundfile.info(tmp_path / "_renders/sfx/a.wav").frames == 48000


def test_a_hanging_worker_is_ended_and_the_job_done_by_another(tmp_path: Path) -> None:
    stem(tmp_path / "sfx/a.wav")
    with running(tmp_path, "--hang", "8", settings=ENDLESS) as process:
        until(lambda: searching(tmp_path, "sfx/a.wav"))
        (tmp_path / "ttsr-watch.toml").write_text(TINY)  # for the next worker
        worker_of(process).suspend()
        until(lambda: row(tmp_path, "sfx/a.wav").state == "done")
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=LONGEST)[0]
    died = [event for event in map(json.loads, output.splitlines()) if event["event"] == "worker died"]
    assert died, "it went on"
    assert "hung while searching" in died[0]["reason"]


def test_a_second_signal_hands_the_job_back(tmp_path: Path) -> None:
    def stopping() -> bool:
        return any('"stopping"' in log.read_text() for log in Root(tmp_path).state.glob("*.log"))

    stem(tmp_path / "sfx/a.wav")
    with running(tmp_path, "--grace", LONGEST, settings=ENDLESS) as process:
        for ready in (lambda: searching(tmp_path, "sfx/a.wav"), stopping):
            until(ready)
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=LONGEST / 2)
        assert process.returncode == 0
    entry = row(tmp_path, "sfx/a.wav")
    assert (entry.state, entry.attempts) == ("pending", 0)
    assert list((tmp_path / "_work/stage").iterdir()) == []


def test_repaired_settings_are_taken_at_once_and_nothing_of_others_is_replaced(tmp_path: Path) -> None:
    root = tmp_path / "root"
    stem(root / "speech/a.wav")
    (root / "speech/ttsr-watch.toml").write_text("priority = high\n")
    (root / "_renders/speech").mkdir(parents=True)
    (root / "_renders/speech/mine.ttsr.json").write_text("notes of somebody")
    with running(root) as process:
        until(lambda: "not valid TOML" in (row(root, "speech/a.wav").reason or ""))
        until(lambda: row(root, "speech/a.wav").tries >= 2)
        (root / "speech/ttsr-watch.toml").write_text("priority = 3\n")
        until(lambda: row(root, "speech/a.wav").state == "done")
        stem(root / "speech/mine.wav", seed=1)
        until(lambda: "is not what was rendered there" in (row(root, "speech/mine.wav").reason or ""))
        assert (root / "_renders/speech/mine.ttsr.json").read_text() == "notes of somebody"
        shutil.rmtree(root / "_work")
        assert process.wait(LONGEST) == 2, "it does not go on with a database that is gone"


def test_the_database_is_found_again_where_it_was_put(ttsr: Ttsr, tmp_path: Path) -> None:
    root = tmp_path / "root"
    stem(root / "sfx/a.wav")
    watch(ttsr, root, "--state", tmp_path / "state")
    assert said(watch(ttsr, root), "started") == []
    assert not (root / "_work/queue.sqlite").exists()


def test_a_mark_that_a_power_cut_emptied_is_made_anew(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "sfx/a.wav")
    watch(ttsr, tmp_path)
    (tmp_path / "_work/root.json").write_text("")
    assert said(watch(ttsr, tmp_path), "started") == []
    assert json.loads((tmp_path / "_work/root.json").read_text()) == {"state": None}


def test_a_hook_is_told_and_never_through_a_shell(ttsr: Ttsr, tmp_path: Path) -> None:
    root = tmp_path / "root"
    stem(root / "sfx/a $(touch pwned).wav")
    (root / "sfx/bad.wav").write_text("no")
    hook = tmp_path / "hook.py"
    hook.write_text("import sys, pathlib\npathlib.Path(sys.argv[1]).open('a').write(sys.argv[2] + '\\n')\n")
    heard = tmp_path / "heard.txt"
    watch(ttsr, root, "--notify", f"{sys.executable} {hook} {heard}", code=1)
    assert sorted(heard.read_text().splitlines()) == [
        str(root / "_failed/sfx/bad.wav.txt"),
        str(root / "_renders/sfx/a $(touch pwned).ttsr.json"),
    ]
    os.utime(root / "sfx/a $(touch pwned).wav")
    watch(ttsr, root, "--notify", f"{sys.executable} {hook} {heard}")
    assert len(heard.read_text().splitlines()) == 2, "nothing new was rendered"
    stem(root / "sfx/b.wav", seed=5)
    hook.write_text("raise SystemExit('no mail today')")
    events = watch(ttsr, root, "--notify", f"{sys.executable} {hook}")
    assert [(e["reason"], e["said"]) for e in events if e["event"] == "notify failed"] == [
        ("exit code 1", ["no mail today"])
    ]


@pytest.mark.parametrize(
    ("command", "said"), [("/no/such/program", "no such program"), ("mail 'x", "no closing quotation"), ("", "no such")]
)
def test_a_hook_that_cannot_run_is_refused_at_the_start(ttsr: Ttsr, tmp_path: Path, command: str, said: str) -> None:
    result = ttsr("watch", tmp_path, *QUICK, "--notify", command)
    assert (result.exit_code, said in result.output) == (2, True), result.output
    assert not (tmp_path / "_work").exists()


def test_bursts_by_copy_move_slow_write_and_rename_are_rendered_once(tmp_path: Path) -> None:
    root, staging = tmp_path / "root", tmp_path / "staging"
    root.mkdir()
    made = [stem(staging / f"{number}.wav", seed=number) for number in range(16)]
    with running(root, "--jobs", "2") as process:
        until(lambda: living(root / "_work"))
        growing: list[Iterator[None]] = []
        for number, path in enumerate(made):
            target = root / "sfx" / f"d{number % 5}" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if number % 4 == 2:
                growing.append(grow(path, target))
            else:
                arrive(path, target, number % 4)
            for each in growing:
                next(each, None)
        for each in growing:
            list(each)
        until(lambda: counts(root)["done"] == len(made))
        process.send_signal(signal.SIGTERM)
        events = [json.loads(line) for line in process.communicate(timeout=LONGEST)[0].splitlines()]
    assert len(said(events, "done")) == len(made)
    assert not said(events, "failed")


def arrive(path: Path, target: Path, way: int) -> None:
    """Bring a file into the tree: by copy, by move, by rename into place."""
    if way == 0:
        shutil.copy(path, target)
    elif way == 1:
        path.rename(target)
    else:
        hidden = target.with_name(f".{target.name}.x7f")
        shutil.copy(path, hidden)
        hidden.rename(target)


def grow(path: Path, target: Path) -> Iterator[None]:
    """Write a file into the tree in four parts, one whenever it is asked for one."""
    with target.open("wb") as file:
        for part in np.array_split(np.frombuffer(path.read_bytes(), np.uint8), 4):
            file.write(part.tobytes())
            file.flush()
            yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_makes_jobs_wait_and_loses_nothing(small_disk: Path, ttsr: Ttsr) -> None:
    source = stem(small_disk / "sfx/a.wav", seconds=4)
    before = source.read_bytes()
    filler = small_disk / "filler.bin"
    filler.write_bytes(bytes(9_000_000))
    events = watch(ttsr, small_disk, "--keep-free", "1", code=1)
    assert said(events, "waiting") == ["sfx/a.wav"]
    assert "disk space" in (row(small_disk, "sfx/a.wav").reason or "")
    filler.unlink()
    ttsr("queue", "retry", small_disk, "sfx/a.wav")
    watch(ttsr, small_disk, "--keep-free", "1")
    assert row(small_disk, "sfx/a.wav").state == "done"
    assert source.read_bytes() == before


@pytest.mark.timeout(2 * LONGEST)
def test_kills_at_random_moments_lose_nothing() -> None:
    """A short version of the benchmark of the same name."""
    script = Path(__file__).parents[2] / "benchmarks" / "watch_kill.py"
    command = [sys.executable, script, "--files", 10, "--kills", 6, "--jobs", 2, "--minutes", 4]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none lost, none twice, none partial" in done.stdout
