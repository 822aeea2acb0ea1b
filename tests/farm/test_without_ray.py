"""What a farm does where its head or a worker goes away, with workers in this process."""

import os
import pickle
import socket
from collections.abc import Callable
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import Ttsr
from watch_folder import stem

from ttsr_studio.audio.windows import Window
from ttsr_studio.batch.plan import Job
from ttsr_studio.cli.farm_render import FarmProgress, FarmRun
from ttsr_studio.cli.render_files import is_begun, what_of
from ttsr_studio.farm import heads, pool
from ttsr_studio.farm.actor import LeftError, RenderActor
from ttsr_studio.farm.census import GOING, answer_of
from ttsr_studio.farm.farm import Farm, FarmAwayError, Line
from ttsr_studio.farm.gateway import why_ended
from ttsr_studio.farm.groups import GroupPart, cut_evenly
from ttsr_studio.farm.heads import head_of, refuse_apart, refuse_silent
from ttsr_studio.farm.machines import CutOffError, Machines
from ttsr_studio.farm.messages import FarmGone, FarmSettings, FarmState, Machine, Seat
from ttsr_studio.farm.pool import Pool
from ttsr_studio.farm.receipts import Marks
from ttsr_studio.farm.waiting import holders, worker_name
from ttsr_studio.farm.works import OnShare, RenderWork
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering import pipeline
from ttsr_studio.rendering.inference.progress import CancellationToken
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.tasks import LostError, RenderTask
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.storage.marks import clear_stale, mark_name

pytest.importorskip("ray", reason="ray is not installed: the extra farm")

OPTIONS = RenderOptions(candidates=1, steps=1, verifiers=("continuity",), device="cpu")


class LosingFarm(Farm):
    """A farm whose head goes away with the first work that it is given, for good."""

    def __init__(self, at_work: Callable[[RenderWork], None]) -> None:
        super().__init__(FarmSettings("127.0.0.1:1"))
        self.at_work, self.gone = at_work, False

    def line(self) -> Line:
        return LosingLine(self, 1)

    def trouble(self) -> str | None:
        return "the farm is away: no head answers" if self.gone else None


class LosingLine(Line):
    farm: LosingFarm

    def open(self, go_on: Any = None) -> bool:
        self.seat = Seat("node", "host", "address", 1)
        return not self.farm.gone

    def do(self, work: Any, *_: Any, **__: Any) -> Any:
        self.farm.gone = True
        self.farm.at_work(work)
        raise FarmAwayError("the farm is away: its head does not answer")


def run_of(farm: Farm) -> FarmRun:
    token, progress = CancellationToken(), FarmProgress([1.0, 1.0], quiet=True)
    return FarmRun(Pool(farm, 1, lambda line: None), Session(OPTIONS), lambda job: OPTIONS, progress, token)


def test_what_was_delivered_counts_although_the_head_went_away_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "AWAY_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    stale = tmp_path / "out" / mark_name().replace(f"-{os.getpid()}-", "-99999999-")
    stale.touch()
    jobs = [Job(stem(Path(f"{name}.wav"), seconds=0.3), Path("out", f"{name}.wav"), None) for name in "ab"]
    farm = LosingFarm(lambda work: RenderActor(1).do(pickle.dumps(work), "a.wav", False) and None)
    done, left = run_of(farm).over(jobs, [job.source for job in jobs])
    assert (done.job, done.status, left.job, left.status, left.fault) == (
        jobs[0], "rendered", jobs[1], "failed", "surroundings",
    )  # fmt: skip
    assert left.reason == "b.wav: the farm is away: no head answers"
    assert done.rendered
    rendered = done.rendered[1]
    assert rendered.files == (Path("out/a.ttsr.json"), Path("out/a.ttsr.png")), "as the user wrote it"
    assert rendered.summary["sha256"] == sha256(tmp_path / "out" / "a.wav")
    assert rendered.line.startswith("out/a.wav: ")
    assert sorted(os.listdir("out")) == ["a.ttsr.json", "a.ttsr.npz", "a.ttsr.png", "a.wav"]


def test_a_render_whose_worker_ends_before_its_report_is_taken_back_and_nothing_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise LeftError

    monkeypatch.setattr(pool, "AWAY_SECONDS", 0.0)
    monkeypatch.setattr(pipeline, "write_reports", killed)
    monkeypatch.setattr(pipeline, "take_back", lambda request: None)  # a worker that is killed does nothing more
    out = tmp_path / "out"
    jobs = [Job(stem(tmp_path / f"{name}.wav", seconds=0.3), out / f"{name}.wav", None) for name in "ab"]
    seen: list[str] = []

    def at_work(work: RenderWork) -> None:
        RenderActor(1).do(pickle.dumps(work), "a.wav", False)
        (out / "b.wav").write_text("somebody else's")
        seen.extend(path.name for path in out.glob("*.wav"))

    left = list(run_of(LosingFarm(at_work)).over(jobs, [job.source for job in jobs]))
    assert [each.status for each in left] == ["failed", "failed"]
    assert sorted(seen) == ["a.wav", "b.wav"]
    assert os.listdir(out) == ["b.wav"]


@pytest.mark.parametrize("wrote_on", [False, True])
def test_audio_of_a_worker_that_ended_before_its_report_is_made_anew_by_the_next(
    wrote_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker is killed and the next begins; or the first writes on, unseen, and ends while the next searches."""
    job = Job(stem(tmp_path / "a.wav", seconds=0.3), tmp_path / "out" / "a.flac", None)
    written = pipeline.write_reports
    works: list[RenderWork] = []

    def killed(*_: Any) -> None:
        raise LeftError

    def dies(work: RenderWork) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "write_reports", killed)
            patch.setattr(pipeline, "take_back", lambda request: None)
            assert pickle.loads(RenderActor(1).do(pickle.dumps(work), "a.wav", False)) is None
        assert {".a.flac.ttsr-writing", "a.flac"} <= set(os.listdir(tmp_path / "out"))
        for note in (tmp_path / "out").glob(".*.inode"):
            note.unlink()  # a share may have numbers of its own for files

    def do(line: Line, work: RenderWork, *_: Any, **__: Any) -> Any:
        works.append(work)
        if len(works) == 1 + wrote_on:
            dies(works[0])
        if len(works) == 1:
            raise LostError("its worker ended", machine=False)
        return pickle.loads(RenderActor(1).do(pickle.dumps(work), "a.wav", False))

    monkeypatch.setattr(LosingLine, "do", do)
    run = run_of(LosingFarm(lambda work: None))
    (done,) = run.over([job], [job.source])
    assert (done.status, len(works), pipeline.write_reports) == ("rendered", 2, written), done.reason
    assert sorted(os.listdir(tmp_path / "out")) == ["a.flac", "a.ttsr.json", "a.ttsr.npz", "a.ttsr.png"]
    assert done.rendered
    assert done.rendered[1].summary["sha256"] == sha256(job.target)


def test_a_render_that_nobody_waits_for_any_more_is_left_whole_or_not_at_all(tmp_path: Path) -> None:
    marks = Marks()
    marks.add(tmp_path)
    task = RenderTask(stem(tmp_path / "a.wav", seconds=0.3), tmp_path / "b.wav", OPTIONS, replace=False)
    work = RenderWork(task, OnShare.of(marks.of(task.target), task.source), marks.receipt(0, task.target))
    actor = RenderActor(1)
    plain = actor._report

    def report(stage: str, done: float, total: float) -> None:
        if stage == "searching":
            marks.remove([])  # who asked ended
        plain(stage, done, total)

    actor._report = report  # type: ignore[method-assign]
    assert pickle.loads(actor.do(pickle.dumps(work), "a.wav", False)) is None
    assert os.listdir(tmp_path) == ["a.wav"]


def test_what_killed_commands_left_is_cleared_away_and_nothing_else(tmp_path: Path) -> None:
    mine, dead = mark_name(), mark_name().replace(f"-{os.getpid()}-", "-99999999-")
    other, silent = (f".ttsr-farm-elsewhere-{process}-{'0' * 16}" for process in (1, 2))
    early = f".ttsr-farm-{'0' * 16}"
    kept = {mine, other, ".ttsr-farm-notes", "a.wav"}
    for name in (*kept, dead, f"{dead}.1.json", f".{dead}.1.0a1b.partial.json", silent, early):
        (tmp_path / name).touch()
    for name in (silent, early):
        os.utime(tmp_path / name, (1.0, 1.0))
    (tmp_path / f"{dead}.x").mkdir()
    (tmp_path / f"{dead}.x" / "in.wav").touch()
    clear_stale(tmp_path)
    assert set(os.listdir(tmp_path)) == kept


def test_groups_are_cut_so_that_all_workers_are_busy_to_the_end() -> None:
    windows = [Window(n, n, n + 1, n, n + 1, 0, 0) for n in range(12)]
    groups = [windows[:10], windows[10:]]
    parts = cut_evenly(groups, 2, together=False)
    assert [len(part.windows) for part in parts] == [2] * 6
    assert list(chain.from_iterable(part.windows for part in parts)) == windows
    assert [part.group for part in parts] == [0] * 5 + [1]
    assert [len(part.windows) for part in cut_evenly([windows], 1, together=True)] == [12]
    assert cut_evenly([windows[:1]] * 40, 2, together=False) == [GroupPart(n, windows[:1]) for n in range(40)]
    assert cut_evenly([], 2, together=False) == []


@pytest.mark.parametrize(
    ("gpus", "cards", "told"),
    [
        (1.0, 0.0, "no machine of the farm has a card; pass --farm-gpus 0 to work on processors, or join one by"),
        (2.0, 1.0, "no machine of the farm has more than 1 of the 2 cards of a worker; pass a smaller --farm-gpus"),
        (None, 0.0, "the farm has no machine that takes workers; join one by `ray start --address=…`"),
    ],
)
def test_a_farm_without_the_cards_that_were_asked_for_says_so(gpus: float | None, cards: float, told: str) -> None:
    farm = Farm(FarmSettings("127.0.0.1:1", gpus))
    farm._see(FarmState((Machine("node", "host", "address", {"CPU": 2.0} | ({"GPU": cards} if cards else {})),)))
    assert str(farm._unusable).startswith(told)


def test_a_device_that_no_machine_of_the_farm_has_is_refused_at_once(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Farm, "trouble", lambda farm: None)
    source = stem(tmp_path / "a.wav", seconds=0.3)
    refused = ttsr("render", source, "-o", tmp_path / "b.wav", "--farm", "127.0.0.1:1", "--device", "cuda")
    assert refused.exit_code == 2
    assert "--device cuda: no machine of the farm at 127.0.0.1:1 has a card; leave --device out" in refused.stderr


def test_a_head_is_named_as_it_was_typed() -> None:
    with pytest.raises(ConnectionError, match=r"no head answers at farm:1 \(.*`ray stop` there and on all machines"):
        refuse_silent("127.0.0.1:1", "farm:1")


def test_auto_of_several_clusters_names_them_and_stays_with_the_one_that_was_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray._private import services

    with ExitStack() as stack:
        made = [stack.enter_context(socket.create_server(("", 0))) for _ in range(2)]
        one, other = both = sorted(f"127.0.0.1:{each.getsockname()[1]}" for each in made)
        here = {*both, "127.0.0.1:1"}  # the last one has ended; what is left of it is still there
        monkeypatch.setattr(services, "find_gcs_addresses", lambda: here)
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        with pytest.raises(ConnectionError, match=rf"to 2 clusters, {one} and {other}: name one by its HOST:PORT"):
            head_of(FarmSettings("auto"))
        before = FarmSettings("auto", before=other)
        assert head_of(FarmSettings(one)) == one
        assert head_of(before).rpartition(":")[2] == other.rpartition(":")[2]
        monkeypatch.setenv("RAY_ADDRESS", one)
        assert head_of(FarmSettings("auto")).rpartition(":")[2] == one.rpartition(":")[2]
        monkeypatch.delenv("RAY_ADDRESS")
        here.remove(other)
        monkeypatch.setattr(heads, "TALK_SECONDS", 0.1)
        with pytest.raises(ConnectionError, match="does not talk as a Ray head does: check host and port"):
            head_of(before)
        assert head_of(FarmSettings("auto")).rpartition(":")[2] == one.rpartition(":")[2]


def test_a_farm_that_is_reached_again_says_so_once() -> None:
    said: list[str] = []
    farm = Farm(FarmSettings("auto"), said.append)
    farm._hear(FarmGone("no head answers"))
    state = FarmState((), head="10.0.0.1:6379")
    farm._hear(state)
    assert said == []
    for why in ("its node has ended; join it anew", "no head answers; start it by `ray start --head …` there"):
        farm._hear(FarmGone(why))
    for _ in range(2):
        farm._hear(state)
    assert said == ["the farm is reached again, at 10.0.0.1:6379, after 0 s; it was away: its node has ended"]


def test_ctrl_c_while_the_farm_is_reached_says_what_was_done(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(_farm: Farm) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Farm, "trouble", pressed)
    sources = [stem(tmp_path / f"{name}.wav", seconds=0.3) for name in "ab"]
    left = ttsr("render", *sources, "-o", tmp_path / "out", "--farm", "127.0.0.1:1")
    assert (left.exit_code, (tmp_path / "out").exists()) == (130, False)
    assert left.stderr.strip() == (
        "interrupted while the farm was reached; 0 of 2 files done, 2 left; the same command with --skip-existing goes "
        "on there"
    )


def test_a_line_of_progress_that_says_nothing_new_is_not_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    progress = FarmProgress([1.0, 1.0], quiet=False)
    monkeypatch.setattr(progress, "due", lambda: True)
    monkeypatch.setattr(progress, "say", said.append)
    for share in (0.0, 0.0, 0.5, 0.5, 1.0):
        progress.see({0: share} if share else {})
    assert [line.rpartition(", ")[2] for line in said] == ["25%", "50%"]


def test_a_share_that_is_gone_is_told_by_its_folder(ttsr: Ttsr, tmp_path: Path) -> None:
    told = ttsr("render", tmp_path / "reels" / "day" / "a.wav", "-o", tmp_path / "out.wav")
    assert (told.exit_code, f"the folder {tmp_path / 'reels'} is not there" in told.stderr) == (1, True), told.output


def test_a_machine_that_ends_or_went_away_differs_in_nothing() -> None:
    from ray import exceptions

    def get(answer: Exception) -> None:
        raise answer

    ray = SimpleNamespace(exceptions=exceptions, get=get)
    assert answer_of(ray, exceptions.TaskUnschedulableError("The node does not exist any more")) == GOING
    assert answer_of(ray, ImportError("no module")) == "no ttsr-studio that can be imported: no module"


def test_others_read_what_a_command_renders(tmp_path: Path) -> None:
    folder, file = tmp_path, tmp_path / "a.wav"
    assert what_of([folder], 200) == f"{folder} (200 files)"
    assert what_of([file], 1) == str(file)
    assert what_of([file, file], 2) == f"{file} and 1 more"
    assert what_of([folder, folder], 30) == f"{folder} and 1 more (30 files)"


def test_nobody_waits_for_what_one_holds_oneself() -> None:
    ours, others = "ttsr render out on vm, process 1", "ttsr watch in on vm, process 2"
    mine = [worker_name(ours, f"7.{number}") for number in (1, 2)]
    assert holders([*mine, worker_name(others, "8.1")], ours) == f"{others} (1)"
    assert holders(mine, ours) is None
    assert holders([], ours) == "other programs"


def test_a_farm_whose_node_on_this_machine_died_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray._private.state as of_ray

    def node(name: str, alive: bool) -> dict[str, Any]:
        return {"NodeID": name, "NodeManagerHostname": "vm", "NodeManagerAddress": "::1", "Resources": {"CPU": 2.0}} | {
            "Alive": alive
        }

    nodes = [node("ours", True), node("other", True)]
    left = SimpleNamespace(get_draining_nodes=dict, available_resources_per_node=lambda: {"other": {"CPU": 2.0}})
    monkeypatch.setattr(of_ray, "state", left)
    here = SimpleNamespace(get_node_id=lambda: "ours")
    machines = Machines(SimpleNamespace(nodes=lambda: nodes, get_runtime_context=lambda: here), FarmSettings("auto"))
    machines.look([])
    assert machines.best() == machines.by_node["other"]
    nodes[0] = node("ours", False)
    with pytest.raises(CutOffError, match="what connected this command with it has ended"):
        machines.look([])


def test_what_ray_says_of_a_lost_worker_comes_in_plain_words() -> None:
    owner = "The actor died because its owner has died. Owner Id: 0c00 Worker exit detail: Owner's node"
    assert why_ended(RuntimeError(f"The actor died\n\tpid: 1\n{owner}")) == (
        "the part of the cluster that started it has ended"
    )
    silent = "The actor is dead because its worker process has died. Worker exit detail: Worker connection closed"
    assert why_ended(RuntimeError(f"{silent} unexpectedly.")) == "it was killed, crashed, or ran out of memory"
    assert why_ended(RuntimeError("one\n" + "word " * 100)).endswith("word …")


def test_an_address_that_leads_nowhere_says_what_to_do(ttsr: Ttsr, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"known by the name in nohost\.invalid:1 \(.*\); check it"):
        refuse_silent("nohost.invalid:1")
    with pytest.raises(ConnectionError, match=r"answers at farm:1 does not talk as .*`ray start --address=farm:1`"):
        refuse_apart(["127.0.0.1:2"], "farm:1")
    refuse_apart(["127.0.0.1:2", "127.0.0.1:1"], "farm:1")
    for port in ("0", "99999"):
        told = ttsr("farm", "status", f"127.0.0.1:{port}")
        assert (told.exit_code, "a port is a number from 1 to 65535" in told.stderr) == (2, True)
    told = ttsr("render", stem(tmp_path / "a.wav", seconds=0.3), "--farm", "--candidates")
    assert (told.exit_code, "--farm needs a value: auto or HOST:PORT" in told.stderr) == (2, True)
    told = ttsr("farm", "status", "--farm", "head:1")
    assert "The address is a plain argument: `ttsr farm status HOST:PORT`." in told.stderr


def test_leaving_names_all_files_that_were_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [Job(stem(tmp_path / f"{name}.wav", seconds=0.3), tmp_path / "out" / f"{name}.wav", None) for name in "abc"]
    run = run_of(LosingFarm(lambda work: None))

    def pressed(tasks: Any) -> Any:
        for number in (0, 1):
            run._begin(number, tasks[number])
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_answers", pressed)
    left = list(run.over(jobs, [job.source for job in jobs]))
    assert [each.status for each in left] == ["cancelled"] * 3
    assert left[0].reason == f"{jobs[0].source} and {jobs[1].source}"
    assert not is_begun(run), "a file that was only waited for is not named"
    assert os.listdir(tmp_path / "out") == [], "the mark is cleared away"
