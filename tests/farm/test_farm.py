"""`--farm`: workers as actors on a Ray cluster of nodes with one processor, all on this machine."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pytest
import soundfile
from helpers import LONGEST, Ttsr, below, save, started, until, voice
from tiny_engine import write_engine
from watch_folder import counts, row, said, stem, watch

from ttsr_studio.farm import identity, works
from ttsr_studio.farm.census import GOING
from ttsr_studio.farm.farm import Farm
from ttsr_studio.farm.heads import talks_as_head
from ttsr_studio.farm.identity import installation
from ttsr_studio.farm.machines import Machines
from ttsr_studio.farm.messages import FarmSettings
from ttsr_studio.farm.workers import FarmWorker
from ttsr_studio.rendering.tasks import Limits
from ttsr_studio.training.bank import EngineFile
from ttsr_studio.training.critic import main as draw_and_rank
from ttsr_studio.training.data import held_out
from ttsr_studio.training.shards import main as pack

ray = pytest.importorskip("ray", reason="ray is not installed: the extra farm")
pytestmark = [pytest.mark.golden, pytest.mark.timeout(2 * LONGEST)]

QUICK = ("--candidates", 1, "--steps", 1, "--verifier", "continuity", "--no-report", "--json")
STORE = 100 * 2**20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that takes no workers, and two nodes that take one each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        quiet = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
        quiet |= {"no_monitor": True, "include_log_monitor": False}
        made = Cluster(initialize_head=True, head_node_args=quiet)
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=STORE)
        yield made
        made.shutdown()


@pytest.fixture
def farm(cluster: Any) -> str:
    return str(cluster.address)


def raylet(node: Any) -> int:
    """The process that starts a node's workers."""
    return int(node.all_processes["raylet"][0].process.pid)


def actors(cluster: Any, name: str = "ray::RenderActor") -> list[psutil.Process]:
    """Processes of workers, which the nodes start; ".do" are those at work."""
    ours = {raylet(node) for node in cluster.worker_nodes}
    every = psutil.process_iter(["name", "ppid"])
    return [each for each in every if each.info["ppid"] in ours and each.info["name"].startswith(name)]


def results(result: Any) -> dict[str, dict[str, Any]]:
    """What `--json` said, by the name of the input."""
    told = [json.loads(line) for line in result.stdout.splitlines()]
    return {Path(each["input"]).name: each for each in told}


def test_a_killed_worker_and_a_lost_node_count_against_no_file(
    ttsr: Ttsr, farm: str, cluster: Any, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    for number in range(5):
        stem(root / f"{number}.wav", seed=number)
    (root / "broken.wav").write_bytes(b"no audio at all" * 20)
    disturbed: list[str] = []

    def disturb() -> None:
        until(lambda: actors(cluster))[0].kill()
        disturbed.append("actor")
        until(lambda: counts(root)["done"] >= 1)
        at_work = until(lambda: actors(cluster))[0].ppid()
        cluster.remove_node(
            next(each for each in cluster.worker_nodes if raylet(each) == at_work), allow_graceful=False
        )
        disturbed.append("node")

    trouble = threading.Thread(target=disturb)
    trouble.start()
    events = watch(ttsr, root, "--farm", farm, "--farm-workers", 1, code=1)
    trouble.join()
    cluster.add_node(num_cpus=1, object_store_memory=STORE)
    assert disturbed == ["actor", "node"]
    assert counts(root) == {"pending": 0, "running": 0, "done": 5, "failed": 1}
    assert said(events, "failed") == ["broken.wav"]
    assert sorted(said(events, "done")) == [f"{number}.wav" for number in range(5)]
    there = {path: row(root, path) for path in (*said(events, "done"), "broken.wav")}
    assert not any(each.crashes or each.tries for each in there.values())
    local = ttsr("render", *sorted(root.glob("[0-9].wav")), "-o", tmp_path / "local", "--preset", "general", *QUICK)
    for name, told in results(local).items():
        assert json.loads((root / str(there[name].report)).read_text())["output"]["sha256"] == told["sha256"]


def test_a_long_file_by_groups_is_the_local_render_also_when_a_worker_is_lost(
    ttsr: Ttsr, farm: str, cluster: Any, tmp_path: Path
) -> None:
    """Its windows are one group, which is cut on the farm."""
    source = save(tmp_path / "long.wav", below(voice(14.0), 5000))
    alone = results(ttsr("render", source, "-o", tmp_path / "alone.wav", *QUICK))["long.wav"]
    killed = threading.Event()

    def disturb() -> None:
        until(lambda: actors(cluster, "ray::RenderActor.do"))[0].kill()
        killed.set()

    trouble = threading.Thread(target=disturb)
    trouble.start()
    done = ttsr("render", source, "-o", tmp_path / "farm.wav", *QUICK, "--farm", farm, "--farm-workers", 1)
    trouble.join()
    assert done.exit_code == 0, done.output
    assert killed.is_set()
    assert results(done)["long.wav"]["sha256"] == alone["sha256"]


def test_files_are_spread_and_what_is_wrong_with_one_stops_no_other(
    ttsr: Ttsr, farm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that does not see the share is sent the bytes, here of one file, and sends the render back."""
    sources = [stem(tmp_path / f"{name}.wav", seed=number) for number, name in enumerate("abc")]
    (tmp_path / "d.wav").write_bytes(b"no audio at all" * 20)
    alone = results(ttsr("render", *sources, "-o", tmp_path / "alone", *QUICK))
    plain = works.OnShare.of

    def elsewhere(mark: Path, source: Path) -> works.OnShare:
        share = plain(mark, source)
        return replace(share, mark=mark.with_name("of another share")) if source.name == "b.wav" else share

    monkeypatch.setattr(works.OnShare, "of", elsewhere)
    done = ttsr("render", *sources, tmp_path / "d.wav", "-o", tmp_path / "farm", *QUICK, "--farm", farm)
    told = results(done)
    assert done.exit_code == 1, done.output
    assert told["d.wav"]["status"] == "failed"
    assert str(tmp_path / "d.wav") in told["d.wav"]["reason"]
    assert {name: each["sha256"] for name, each in alone.items()} == {
        name: each["sha256"] for name, each in told.items() if name != "d.wav"
    }
    assert sorted(path.name for path in (tmp_path / "farm").iterdir()) == ["a.wav", "b.wav", "c.wav"]


def test_ctrl_c_ends_searches_with_the_best_so_far(ttsr: Ttsr, farm: str, cluster: Any, tmp_path: Path) -> None:
    source, out = stem(tmp_path / "a.wav", seconds=1.0), tmp_path / "out"
    endless = ("--candidates", 5000, "--steps", 2, "--verifier", "continuity", "--no-report")
    command = [sys.executable, "-m", "ttsr_studio", "render", source, "-o", out / "a.wav", *endless]
    with started([*command, "--farm", farm, "--farm-workers", 1], stderr=subprocess.PIPE) as process:
        with other(farm, "somebody") as asking:
            until(lambda: any(each["stage"] == "searching" for each in asking.census().workers))
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=LONGEST)
    assert "stopping: a.wav is finished with the best so far" in told
    assert process.returncode == 130
    assert soundfile.info(out / "a.wav").duration == 1.0
    early = (out / "a.wav").read_bytes()
    quick = ("--candidates", 1, "--steps", 1, "--no-report", "--skip-existing", "--farm", farm, "--farm-workers", 1)
    done = ttsr("render", source, stem(tmp_path / "b.wav", seconds=0.5), "-o", f"{out}/", *quick)
    assert (done.exit_code, "2 rendered, 0 skipped" in done.output) == (0, True), done.output
    assert (out / "a.wav").read_bytes() != early, "made anew, as it had ended early"


@contextmanager
def other(farm: str, owner: str) -> Iterator[Farm]:
    """Another command on the farm."""
    made = Farm(FarmSettings(farm, identity=installation(), owner=owner))
    try:
        assert made.reach() is None
        yield made
    finally:
        made.close()


def test_idle_workers_of_a_service_go_to_a_render_that_waits(ttsr: Ttsr, farm: str, tmp_path: Path) -> None:
    with other(farm, "ttsr watch /mnt/stems") as service:
        workers = [FarmWorker(service, Limits(60.0, None), tmp_path) for _ in range(2)]
        assert all(each.ready(lambda: True) for each in workers)
        over = threading.Event()

        def idle() -> None:
            while not over.wait(0.1):
                for each in workers:
                    each.rest(1.0)

        resting = threading.Thread(target=idle)
        resting.start()
        done = ttsr("render", stem(tmp_path / "a.wav"), "-o", tmp_path / "b.wav", *QUICK[:-1], "--farm", farm)
        over.set()
        resting.join()
    assert done.exit_code == 0, done.output
    assert "waiting: all workers are held by ttsr watch /mnt/stems on" in done.stderr
    assert f"process {os.getpid()} (2)" in done.stderr


def test_who_has_two_workers_hands_one_over_and_a_node_that_drains_gets_no_more(
    farm: str, cluster: Any, tmp_path: Path
) -> None:
    source = stem(tmp_path / "a.wav")
    with other(farm, "first") as first, other(farm, "second") as second:
        have, wants = [first.line(), first.line()], second.line()
        assert all(line.open() for line in have)
        until(lambda: not second.room and second.held())
        assert not wants.open()
        until(lambda: second.held() and first.hungry)
        assert [line.open() for line in have] == [False, True], "it keeps one, and takes no second one"
        assert until(wants.open)
        assert wants.seat
        assert [line.open() for line in have] == [False, True]
        wants.rest(1.0)
        assert wants.seat, "nobody waits"
        leaving = next(each for each in cluster.worker_nodes if each.node_id == wants.seat.node)
        drain(farm, leaving.node_id)
        until(lambda: any(each.draining for each in second.machines))
        assert second.census(installed=True).differences[leaving.node_id] == GOING
        done = wants.do(works.HashWork(works.OnShare.of(source, source)), "a.wav", lambda _: None)
        assert done.sha256 == sha256(source.read_bytes()).hexdigest(), "it ends what it does"
        assert not wants.open()
        cluster.remove_node(leaving)
    cluster.add_node(num_cpus=1, object_store_memory=STORE)


def test_two_workers_share_a_card_and_no_third_one(farm: str, cluster: Any) -> None:
    """The card is one in Ray's books only."""
    node = cluster.add_node(num_cpus=0, num_gpus=1, object_store_memory=STORE)
    settings = FarmSettings(farm, gpus=0.5, identity=installation(), owner="halves")
    halves = Farm(settings)
    try:
        until(lambda: halves.reach() is None and halves.slots == 2)
        lines = [halves.line() for _ in range(3)]
        assert [line.open() for line in lines] == [True, True, False]
        at = [(each["node"], each["cards"]) for each in halves.census().workers if each["owner"].startswith("halves")]
        assert at == [(node.node_id, "0")] * 2
    finally:
        halves.close()
        cluster.remove_node(node)
    ours = Machines(None, settings)
    for gpus, cards, slots in ((0.6, 2, 2), (0.25, 2, 8), (2.0, 3, 1)):
        ours.settings = replace(settings, gpus=gpus)
        assert ours.slots_in({"GPU": float(cards)}) == slots


def drain(farm: str, node: str) -> None:
    """Say that a node is to end, as autoscalers do."""
    from ray._raylet import GcsClient
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason

    preempted = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    accepted, why = GcsClient(address=farm).drain_node(node, preempted, "a test", 0)
    assert accepted, why


def test_status_says_what_each_machine_has_and_which_one_differs(
    ttsr: Ttsr, farm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert talks_as_head(farm)
    status = ttsr("farm", "status", farm, "--json")
    assert status.exit_code == 0, status.output
    assert json.loads(status.stdout)["head"] == farm
    assert sorted((each["slots"], each["differs"]) for each in json.loads(status.stdout)["machines"]) == [
        (0, None),
        (1, None),
        (1, None),
    ]
    ours = identity.installation()
    monkeypatch.setattr(identity, "installation", lambda: ours | {"torch": "1.0", "weights of x": "0123456789ab"})
    status = ttsr("farm", "status", farm)
    assert "room for 2 workers" in status.stdout
    assert status.stdout.splitlines()[0] == f"head at {farm}"
    wrong = [line for line in status.stdout.splitlines() if line.startswith("differs")]
    assert (status.exit_code, len(wrong)) == (1, 3)
    assert f"torch {ours['torch']} instead of 1.0; no weights of x; install there" in wrong[0]


def test_other_versions_or_weights_are_one_clear_line(
    ttsr: Ttsr, farm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = identity.installation()
    monkeypatch.setattr(identity, "installation", lambda: ours | {"torch": "1.0", "weights of builtin": "0123456789ab"})
    source = stem(tmp_path / "a.wav")
    refused = ttsr("render", source, "-o", tmp_path / "b.wav", *QUICK, "--farm", farm)
    assert refused.exit_code != 0
    assert f"torch {ours['torch']} instead of 1.0; weights of builtin" in refused.output
    assert not (tmp_path / "b.wav").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--farm", "ray://head:10001"), "auto, or the head's HOST:PORT"),
        (("--farm", "127.0.0.1:1"), "the farm is away"),
        (("--farm-gpus", 0.5), "pass --farm too"),
        (("--farm", "auto", "--farm-gpus", 1.5), "a fraction of a card"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(ttsr: Ttsr, tmp_path: Path, given: tuple[Any, ...], told: str) -> None:
    source = stem(tmp_path / "a.wav")
    refused = ttsr("render", source, *QUICK, *given)
    assert refused.exit_code == 2
    assert told in refused.output
    assert len(refused.stderr.splitlines()) == 1


def test_workers_of_this_machine_and_of_a_farm_are_not_both(ttsr: Ttsr, farm: str, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    refused = ttsr("watch", tmp_path / "root", "--farm", farm, "--jobs", 2)
    assert refused.exit_code == 2
    assert "pass --farm-workers" in refused.output


def test_tuning_measures_the_same_on_a_farm(ttsr: Ttsr, farm: str, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    save(clips / "a.wav", voice(0.7))
    tune = ("tune", clips, "--nfe", 1, "--objective", "lsd", "--cutoff", 8000, "--candidates", 2, "--solver", "euler")
    for name, more in (("here", ()), ("there", ("--farm", farm, "--farm-workers", 1))):
        done = ttsr(*tune, "--out", tmp_path / name, *more)
        assert done.exit_code == 0, done.output
        assert "not measured on the farm" not in done.output
    here, there = (measured(tmp_path / name / "tune.jsonl") for name in ("here", "there"))
    assert [numbers(row) for row in here] == [pytest.approx(numbers(row), rel=1e-4) for row in there]
    assert [texts(row) for row in here] == [texts(row) for row in there]


def test_training_data_are_the_same_from_a_farm(farm: str, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    rows = ["file,kind,speaker_or_class,eval_only,band_edge_hz,floor_edge_hz"]
    kept = next(f"voice {i}" for i in range(99) if held_out(f"voice {i}"))
    for number, group in enumerate(("a", "b", kept)):
        stem(folder / f"{number}.wav", seconds=0.7, seed=number)
        rows.append(f"{number}.wav,speech,{group},,24000,24000")
    (folder / "manifest.csv").write_text("\n".join(rows))
    engine, _ = write_engine(tmp_path)
    sizes = {"width": 16, "depth": 1, "batch": 2, "frames": 20, "windows": 4, "held-windows": 2, "count": 2}
    sizes |= {"expect-steps": 1, "rank-steps": 1}
    flags = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    for name, more in (("here", []), ("there", ["--farm", farm, "--farm-workers", "1"])):
        pack([str(tmp_path / name), str(folder), *more])
        draw_and_rank([str(tmp_path / name), str(folder), "--engine", str(engine), *flags, *more])
    for name in ("shard00.bin", "bank0.pt", "held.pt"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name
    part = EngineFile.of(engine)
    assert not replace(part, path=tmp_path / "gone").here()
    assert replace(part.shipped(), path=tmp_path / "gone").load().sample_rate == 48000


def numbers(row: dict[str, Any]) -> dict[str, float]:
    """Of a row, its scores with it: how a process computes differs in the last digits with what it did before."""
    flat = {**row, **row["scores"]}
    return {name: value for name, value in flat.items() if isinstance(value, int | float)}


def texts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not isinstance(value, float | dict)}


def measured(rows: Path) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in rows.read_text().splitlines()]
    return sorted(every, key=lambda row: str(row["key"]))
