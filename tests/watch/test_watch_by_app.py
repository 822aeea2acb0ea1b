"""Jobs of other programs that the running app does: uploads, progress, renders and reports that are brought back."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers import Ttsr, below, load, save, until, voice
from watch_folder import served

from ttsr_studio.batch.job_file import read_job
from ttsr_studio.batch.job_run import carry_out
from ttsr_studio.report.paths import report_names
from ttsr_studio.report.validate import load_report
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.queue.jobs import Queue
from ttsr_studio.watch.queue.store import JobRecord

QUICK = {"candidates": 2, "steps": 1, "rate": "source", "page": False, "control": False}


@pytest.fixture
def root(tmp_path: Path) -> Root:
    (tmp_path / "root").mkdir()
    root = Root(tmp_path / "root")
    root.make()
    Queue(root.database).close()
    return root


@pytest.fixture
def queue(root: Root) -> Iterator[Queue]:
    with closing(Queue(root.database)) as queue:
        yield queue


def job(folder: Path, **more: Any) -> Path:
    """A job on one file, which asks for two renders of it by the app."""
    save(folder / "vox 1.wav", below(voice(0.4), 5000))
    values = {
        "job_version": "1", "inputs": ["vox 1.wav"], "preset": "preview", "options": QUICK, "keep_top": 2, "app": True,
        "output": "out/{stem}_ttsr{ext}", "result": "result.json", "progress": "progress.json", "cancel": "cancel",
        "done": "done",
    }  # fmt: skip
    path = folder / "job.json"
    path.write_text(json.dumps(values | more))
    return path


def begun(path: Path) -> tuple[threading.Thread, list[Any]]:
    """A job under way, and where what came of it will be."""
    came = list[Any]()
    thread = threading.Thread(target=lambda: came.append(carry_out(read_job(path))))
    thread.start()
    return thread, came


def claimed(queue: Queue) -> JobRecord:
    """What has come to the queue, taken as a worker takes it."""
    claim = until(lambda: queue.claim("service-1-abcd"))
    assert isinstance(claim, JobRecord)
    return claim


def finish(root: Root, queue: Queue, claim: JobRecord, ttsr: Ttsr) -> None:
    """Render a claimed file as its sidecar says, and finish it."""
    output = Path("_renders", claim.path)
    done = ttsr("render", root.path / claim.path, "-o", root.path / output)
    assert done.exit_code == 0, done.output
    queue.identify(claim, "0" * 64, "1", str(output), str(report_names(output)[0]))
    queue.finish(claim, lambda: None)


def test_the_app_renders_and_the_job_has_what_it_would_have_had(
    ttsr: Ttsr, root: Root, queue: Queue, tmp_path: Path
) -> None:
    with served(root):
        thread, came = begun(job(tmp_path))
        claim = claimed(queue)
        assert claim.path == "jobs/vox 1.wav"
        assert claim.priority == 10
        finish(root, queue, claim, ttsr)
        thread.join(60)
    ((status, (result,)),) = came
    assert status == "done"
    assert [Path(each["output"]).name for each in result.top] == ["vox 1_ttsr.wav", "vox 1_ttsr_top2.wav"]
    own = tmp_path / "own"
    own.mkdir()
    assert carry_out(read_job(job(own, app=False)))[0] == "done"
    for name in ("vox 1_ttsr.wav", "vox 1_ttsr_top2.wav"):
        assert (load(tmp_path / "out" / name) == load(own / "out" / name)).all()
    report = load_report(tmp_path / "out/vox 1_ttsr.ttsr.json")
    assert report.output.name == "vox 1_ttsr.wav"
    assert report.best[1].name == "vox 1_ttsr_top2.wav"
    again = ttsr("render", tmp_path / "vox 1.wav", "--again", result.report, "-o", tmp_path / "again.wav")
    assert "the same, bit for bit" in again.stdout
    Path(result.figure).unlink()
    with served(root):
        status, (left,) = carry_out(read_job(job(tmp_path, existing="skip")))
    assert (status, left.status, left.reason) == ("done", "skipped", f"{result.output}: picture drawn anew")
    assert Path(result.figure).is_file()


def test_called_off_the_app_leaves_it_too(root: Root, queue: Queue, tmp_path: Path) -> None:
    with served(root):
        thread, came = begun(job(tmp_path))
        until(lambda: queue.find("jobs/vox 1.wav"))
        (tmp_path / "cancel").touch()
        thread.join(60)
        found = queue.find("jobs/vox 1.wav")
    ((status, (result,)),) = came
    assert (status, result.status) == ("cancelled", "cancelled")
    assert found is not None
    assert found.state not in ("pending", "running")
    assert not (tmp_path / "out").exists()


def test_an_app_that_ends_or_cannot_leaves_the_job_to_this_process(root: Root, queue: Queue, tmp_path: Path) -> None:
    with served(root):
        thread, came = begun(job(tmp_path))
        until(lambda: queue.find("jobs/vox 1.wav"))
    thread.join(60)
    ((status, _),) = came
    assert status == "done"
    assert (tmp_path / "out/vox 1_ttsr.wav").is_file()
    shutil.rmtree(tmp_path / "out")
    with served(root):
        seen = queue.counts()
        assert carry_out(read_job(job(tmp_path, options=QUICK | {"device": "cpu"})))[0] == "done"
        assert queue.counts() == seen, "a device is not the app's to choose"
