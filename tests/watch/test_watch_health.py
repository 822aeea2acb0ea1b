"""`ttsr watch --health`: one line and an exit code that tell whether a service runs and looks."""

from pathlib import Path

import pytest
from helpers import Ttsr, until
from watch_folder import running

from ttsr_studio.watch import health
from ttsr_studio.watch.filesystem.instance_lock import instance_lock
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.health import SLACK_SECONDS, Heartbeat
from ttsr_studio.watch.queue.clock import Clock, SteadyTime
from ttsr_studio.watch.queue.jobs import Queue


class Hands(Clock):
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.boot, self.steady = "a", 1000.0

    def now(self) -> SteadyTime:
        return SteadyTime(self.boot, self.steady)


def test_a_service_that_runs_and_looks_is_well(ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ttsr("watch", tmp_path, "--health").exit_code == 1
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        lost = ttsr("queue", "list")
        assert "in no watched folder" in lost.stderr
    with running(tmp_path):
        until(lambda: ttsr("watch", tmp_path, "--health").exit_code == 0)
        well = ttsr("watch", tmp_path, "--health")
        assert well.exit_code == 0, well.output
        assert well.stdout.startswith("1 running, looked ")
        assert well.stdout.endswith("0 pending, 0 running, 0 done, 0 failed\n")
        assert well.stdout.count("\n") == 1
        (tmp_path / "sfx/deep").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "sfx/deep")
        assert ttsr("queue", "pause").stdout == "paused\n"
        assert ttsr("watch", tmp_path, "--health").stdout.endswith("paused: paused by hand\n")
    ended = ttsr("watch", tmp_path, "--health")
    assert ended.exit_code == 1
    assert ended.stderr == f"{tmp_path}: no service runs here\n"


def test_a_service_that_does_not_look_is_not_well(tmp_path: Path) -> None:
    root, clock = Root(tmp_path), Hands()
    root.make()
    Queue(root.database).close()
    with instance_lock(root.state) as owner:
        heart = Heartbeat(root, owner, 60.0, clock)
        assert health.health(tmp_path, clock) == (
            False,
            f"{tmp_path}: a service runs, but has not looked through the folder in time",
        )
        heart.beat()
        clock.steady += 100
        assert health.health(tmp_path, clock)[1].startswith("1 running, looked 100 s ago; 0 pending")
        clock.steady += 2 * SLACK_SECONDS
        assert not health.health(tmp_path, clock)[0]
        heart.beat()
        assert health.health(tmp_path, clock)[0]
        clock.boot = "b"  # what was written before the machine was started again is not of this service
        assert not health.health(tmp_path, clock)[0]
        clock.boot = "a"
        root.database.write_bytes(b"no database" * 1000)
        assert "not a sound database" in health.health(tmp_path, clock)[1]
        root.mark.unlink()
        assert "not a watched root" in health.health(tmp_path, clock)[1]
