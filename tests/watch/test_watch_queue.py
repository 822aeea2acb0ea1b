"""The queue keeps every file in one state, whoever ends when, whatever the clock does."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ttsr_studio.watch.filesystem.root import Signature
from ttsr_studio.watch.policy import Backoff
from ttsr_studio.watch.queue.clock import Clock, SteadyTime, agreed_name
from ttsr_studio.watch.queue.jobs import Offer, Queue
from ttsr_studio.watch.queue.leases import MOST_EXPIRED_LEASES
from ttsr_studio.watch.queue.states import Claim, Failure, Hold, Reason
from ttsr_studio.watch.queue.store import DamagedError, JobRecord


def test_all_processes_give_a_boot_one_name(tmp_path: Path) -> None:
    """Where the system has none, each reckons the time of the boot for itself, and a minute may begin in between."""
    names = [agreed_name(tmp_path / "boot", booted) for booted in (1_800_000_059.4, 1_800_000_060.6, 1_800_000_031.0)]
    assert len(set(names)) == 1
    assert agreed_name(tmp_path / "boot", 1_800_000_500.0) not in names
    (tmp_path / "boot").write_text("broken")
    assert agreed_name(tmp_path / "boot", 1_800_000_500.0) == "1800000500"


class Hands(Clock):
    """A clock whose hands the test moves."""

    def __init__(self) -> None:
        self.date, self.steady, self.boot = 1_800_000_000.0, 100.0, "monday"

    def wall(self) -> float:
        return self.date

    def now(self) -> SteadyTime:
        return SteadyTime(self.boot, self.steady)


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def queue(tmp_path: Path, clock: Hands) -> Iterator[Queue]:
    queue = Queue(tmp_path / "queue.sqlite", clock, lease=60)
    yield queue
    queue.check()
    queue.close()


def offer(path: str = "a.wav", size: int = 10, **more: object) -> Offer:
    return Offer(path, Signature(size, 5, 7), **more)  # type: ignore[arg-type]


def taken(queue: Queue, owner: str = "one") -> JobRecord:
    claim = queue.claim(owner)
    assert claim
    return claim


def state(queue: Queue, path: str = "a.wav") -> str:
    row = queue.find(path)
    assert row
    return row.state


def test_a_job_goes_from_pending_to_done_once(queue: Queue) -> None:
    assert queue.offer([offer()]) == 1
    assert queue.offer([offer()]) == 0, "known and unchanged"
    claim = taken(queue)
    assert queue.claim("two") is None, "nobody else gets it"
    placed = []
    assert queue.finish(claim, lambda: placed.append(1))
    assert not queue.finish(claim, lambda: placed.append(2)), "a token is good once"
    assert placed == [1]
    assert queue.counts() == {"pending": 0, "running": 0, "done": 1, "failed": 0}
    assert [each["what"] for each in queue.history(claim)] == ["seen", "done"]


def test_names_that_are_not_text_are_kept(queue: Queue) -> None:
    name = os.fsdecode(b"\xff\n'.wav")
    queue.offer([offer(name)])
    assert taken(queue).path == name
    assert queue.find(name)


def test_priorities_then_order(queue: Queue) -> None:
    queue.offer([offer("a.wav"), offer("b.wav"), offer("c.wav", priority=2)])
    assert [taken(queue).path for _ in range(3)] == ["c.wav", "a.wav", "b.wav"]


def test_held_files_wait_until_they_are_let_go(queue: Queue) -> None:
    queue.offer([offer(held=Hold.UNSTABLE)])
    assert queue.claim("one") is None
    queue.offer([offer()])
    assert taken(queue).path == "a.wav"


def test_a_changed_file_is_pending_again_and_forgets_its_failures(queue: Queue) -> None:
    queue.offer([offer()])
    queue.fail(taken(queue), "broken")
    assert queue.offer([offer(size=11)]) == 1
    row = queue.find("a.wav")
    assert row
    assert (row.state, row.reason, row.attempts, row.size) == ("pending", None, 0, 11)


def test_a_change_on_its_way_does_not_take_the_last_state_away(queue: Queue) -> None:
    queue.offer([offer()])
    queue.finish(taken(queue), lambda: None)
    queue.offer([offer(size=11, held=Hold.UNSTABLE)])
    assert state(queue) == "done"
    queue.offer([offer(size=11)])
    assert state(queue) == "pending"


def test_a_file_that_changes_while_it_is_rendered_is_rendered_again(queue: Queue) -> None:
    queue.offer([offer()])
    claim = taken(queue)
    queue.offer([offer(size=11)])
    assert state(queue) == "running"
    assert queue.changed(claim, Signature(11, 5, 7))
    row = queue.find("a.wav")
    assert row
    assert (row.state, row.held) == ("pending", None)
    assert not queue.finish(claim, lambda: pytest.fail("the old render must not come into place"))
    claim = taken(queue)
    assert queue.changed(claim, Signature(12, 5, 7))
    row = queue.find("a.wav")
    assert row
    assert row.held == Hold.UNSTABLE, "nobody knows yet whether it is complete"


def test_what_was_gone_and_is_back_is_taken(queue: Queue) -> None:
    queue.offer([offer()])
    queue.fail(taken(queue), Reason.GONE)
    assert queue.offer([offer()]) == 1
    assert state(queue) == "pending"


def test_a_lease_runs_out_by_the_steady_clock_only(queue: Queue, clock: Hands) -> None:
    queue.offer([offer()])
    claim = taken(queue)
    for jump in (1e9, -2e9):
        clock.date += jump
        assert queue.reclaim() == 0, "the wall clock jumped"
    clock.steady += 50
    assert queue.renew(claim, '{"stage": "searching"}')
    clock.steady += 50
    assert queue.reclaim() == 0, "it was renewed"
    clock.steady += 11
    assert queue.reclaim() == 1
    assert not queue.renew(claim)
    assert not queue.finish(claim, lambda: pytest.fail("too late"))
    assert not queue.fail(claim, "too late")
    again = taken(queue, "two")
    assert again.token != claim.token
    assert again.expired_leases == 1
    assert queue.finish(again, lambda: None)


def test_after_a_boot_no_lease_and_no_wait_holds(queue: Queue, clock: Hands) -> None:
    queue.offer([offer("a.wav"), offer("b.wav")])
    taken(queue)
    queue.hand_back(taken(queue), "disk full", after=3600, count=Failure.RETRY)
    assert queue.claim("one") is None
    clock.boot, clock.steady = "tuesday", 3.0
    assert queue.reclaim() == 1
    assert {taken(queue).path, taken(queue).path} == {"a.wav", "b.wav"}


def test_jobs_of_a_dead_owner_come_back_at_once(queue: Queue) -> None:
    queue.offer([offer("a.wav"), offer("b.wav")])
    dead, alive = taken(queue, "dead"), taken(queue, "alive")
    assert queue.reclaim(["dead"]) == 1
    assert (state(queue, dead.path), state(queue, alive.path)) == ("pending", "running")
    row = queue.find(dead.path)
    assert row
    assert row.reason == Reason.EXPIRED


def test_what_ends_the_service_again_and_again_is_given_up(queue: Queue) -> None:
    queue.offer([offer()])
    for _ in range(MOST_EXPIRED_LEASES):
        taken(queue, "dead")
        queue.reclaim(["dead"])
    row = queue.find("a.wav")
    assert row
    assert row.state == "failed"
    assert Reason.EXPIRED in (row.reason or "")


def test_waits_grow_up_to_the_longest() -> None:
    assert [Backoff(5, 100).wait(tries) for tries in range(5)] == [5, 15, 45, 100, 100]


def test_a_wait_is_kept_and_counted(queue: Queue, clock: Hands) -> None:
    queue.offer([offer()])
    queue.hand_back(taken(queue), "no space", after=10, count=Failure.RETRY)
    assert queue.claim("one") is None
    clock.steady += 11
    claim = taken(queue)
    assert (claim.tries, claim.attempts) == (1, 2)
    queue.hand_back(claim, None)
    assert taken(queue).attempts == 2, "handed back without blame"


def test_the_same_content_is_rendered_by_one(queue: Queue) -> None:
    queue.offer([offer("a.wav"), offer("b.wav")])
    first, second = taken(queue), taken(queue)
    assert queue.identify(second, "c0ffee", "mark", "r/b.wav", "r/b.json") is Claim.OURS
    assert queue.identify(first, "c0ffee", "mark", "r/a.wav", "r/a.json") is Claim.DUPLICATE
    queue.finish(second, lambda: None)
    assert queue.identify(first, "c0ffee", "mark", "r/a.wav", "r/a.json") is Claim.OURS
    assert queue.identify(first, "c0ffee", "other settings", "r/a.wav", "r/a.json") is Claim.OURS


def test_a_failing_rename_leaves_the_job_running(queue: Queue) -> None:
    queue.offer([offer()])
    claim = taken(queue)

    def place() -> None:
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        queue.finish(claim, place)
    assert state(queue) == "running"
    assert queue.finish(claim, lambda: None)


def test_pause_cancel_retry_prune(queue: Queue, clock: Hands) -> None:
    queue.offer([offer("a.wav"), offer("b.wav")])
    queue.pause("lunch")
    assert queue.claim("one") is None
    queue.pause(None)
    claim = taken(queue)
    assert queue.cancel(["a.wav", "b.wav", "unknown.wav"]) == ["a.wav", "b.wav"]
    assert not queue.renew(claim), "a cancelled job is told so"
    assert queue.retry(None) == 2
    for _ in range(2):
        queue.finish(taken(queue), lambda: None)
    clock.date += 100
    assert queue.prune(lambda path: path == "a.wav", clock.date - 200) == 0, "not long enough ago"
    assert queue.prune(lambda path: path == "a.wav", clock.date - 50) == 1
    assert queue.find("a.wav") is None
    assert queue.find("b.wav")


@pytest.mark.parametrize("harm", [b"", b"no database at all, but long enough to be looked at" * 40])
def test_a_damaged_database_is_said(tmp_path: Path, harm: bytes) -> None:
    path = tmp_path / "queue.sqlite"
    queue = Queue(path)
    queue.offer([offer(f"{i}.wav") for i in range(500)])
    queue.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    queue.close()
    data = path.read_bytes()
    path.write_bytes(harm or data[: len(data) // 2] + b"\xaa" * 4096 + data[len(data) // 2 + 4096 :])
    with pytest.raises(DamagedError):
        Queue(path).check()


def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(DamagedError, match="another version"):
        Queue(path)


def test_columns_keep_the_names_that_they_were_given_first(queue: Queue) -> None:
    queue.offer([offer()])
    queue.db.execute("UPDATE files SET deaths = 2, losses = 3, twin = ?", (b"other.wav",))
    row = queue.find("a.wav")
    assert row
    assert (row.crashes, row.expired_leases, row.duplicate_of) == (2, 3, "other.wav")


def test_many_threads_take_every_job_once(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    Queue(path).offer([offer(f"{i}.wav") for i in range(60)])
    done: list[str] = []

    def work(owner: str) -> None:
        queue = Queue(path)
        while claim := queue.claim(owner):
            assert queue.finish(claim, lambda claim=claim: done.append(claim.path))
        queue.close()

    threads = [threading.Thread(target=work, args=(str(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == sorted(f"{i}.wav" for i in range(60))


def test_what_waits_and_was_moved_is_forgotten_under_its_old_path(queue: Queue) -> None:
    queue.offer([offer("old/a.wav"), offer("old/b.wav", size=11), offer("old/done.wav", size=12)])
    for path in ("old/a.wav", "old/b.wav", "old/done.wav"):
        claim = taken(queue)
        assert claim.path == path
        if path == "old/a.wav":
            queue.fail(claim, Reason.GONE)
        elif path == "old/b.wav":
            queue.hand_back(claim, "later")
            queue.pause("so that it stays")
            queue.pause(None)
            queue.cancel(["old/b.wav"])
        else:
            queue.finish(claim, lambda: None)
    queue.offer([offer("linked.wav", size=13)])
    new = {f"new/{name}.wav": offer(size=size).signature for name, size in [("a", 10), ("b", 11), ("done", 12)]}
    new["second.wav"] = offer(size=13).signature
    assert queue.forget_moved(new, lambda path: path.startswith("old")) == [("old/a.wav", "new/a.wav")]
    assert queue.find("old/a.wav") is None
    assert state(queue, "old/b.wav") == "failed", "what was cancelled stays so"
    assert state(queue, "old/done.wav") == "done"
    assert state(queue, "linked.wav") == "pending", "it is there still, under two names"
