"""Services as processes of their own: signals, faults, other services, and whatever files do meanwhile."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from helpers import LONGEST, Ttsr, heed_signals, mere_user, until
from watch_folder import ENDLESS, QUICK, TINY, counts, row, running, said, stem

from ttsr_studio.storage.marks import mark_name
from ttsr_studio.watch.filesystem.instance_lock import living
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.queue.jobs import Queue


def worker_of(process: subprocess.Popen[str]) -> psutil.Process:
    return next(p for p in psutil.Process(process.pid).children() if "spawn_main" in " ".join(p.cmdline()))


def searching(root: Path, path: str) -> bool:
    return '"searching"' in (row(root, path).progress or "")


def test_two_services_share_a_root_and_stop_when_told(tmp_path: Path) -> None:
    for number in range(4):
        stem(tmp_path / f"sfx/{number}.wav", seed=number)
    with running(tmp_path) as one, running(tmp_path) as two:
        until(lambda: counts(tmp_path)["done"] == 4)
        for process in (one, two):
            process.send_signal(signal.SIGTERM)
        outputs = [process.communicate(timeout=LONGEST)[0] for process in (one, two)]
        assert [one.returncode, two.returncode] == [0, 0]
    events = [json.loads(line) for text in outputs for line in text.splitlines()]
    assert sorted(said(events, "done")) == sorted(f"sfx/{number}.wav" for number in range(4)), "each once"
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
    stale = tmp_path / "sfx" / mark_name().replace(f"-{os.getpid()}-", "-99999999-")
    stale.touch()
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
    assert not stale.exists(), "a killed render on a farm left it"
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


def test_bursts_by_copy_move_growing_write_and_rename_are_rendered_once(tmp_path: Path) -> None:
    root, staging = tmp_path / "root", tmp_path / "staging"
    root.mkdir()
    made = [stem(staging / f"{number}.wav", seed=number) for number in range(8)]
    with running(root, "--jobs", "2", "--settle", "2") as process:
        until(lambda: living(root / "_work"))
        arriving = [arrive(path, root / f"sfx/d{number % 3}", number % 4) for number, path in enumerate(made)]
        while arriving:
            arriving = [each for each in arriving if next(each, "whole") != "whole"]
        until(lambda: counts(root)["done"] == len(made))
        process.send_signal(signal.SIGTERM)
        events = [json.loads(line) for line in process.communicate(timeout=LONGEST)[0].splitlines()]
    assert len(said(events, "done")) == len(made)
    assert not said(events, "failed")


def arrive(path: Path, folder: Path, way: int) -> Iterator[int]:
    """Bring a file into a folder: by copy, by move, by a write that grows as others arrive, by rename into place."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    if way == 0:
        shutil.copy(path, target)
    elif way == 1:
        path.rename(target)
    elif way == 2:
        data = path.read_bytes()
        with target.open("wb") as file:
            for start in range(0, len(data), 9000):
                yield file.write(data[start : start + 9000])
                file.flush()
    else:
        hidden = target.with_name(f".{target.name}.x7f")
        shutil.copy(path, hidden)
        hidden.rename(target)


@pytest.mark.timeout(2 * LONGEST)
def test_kills_at_random_moments_lose_nothing() -> None:
    """A short version of the benchmark of the same name."""
    script = Path(__file__).parents[2] / "benchmarks" / "watch_kill.py"
    command = [sys.executable, script, "--files", 10, "--kills", 6, "--jobs", 2, "--minutes", 4]
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=heed_signals if os.name == "posix" else None,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none lost, none twice, none partial" in done.stdout
