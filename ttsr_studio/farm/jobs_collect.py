"""What became of the jobs of a bundle, from the answers that they left."""

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ttsr_studio.batch.fault import FAULTS, Fault
from ttsr_studio.batch.job_file import read_job, read_json
from ttsr_studio.batch.job_lock import is_held
from ttsr_studio.batch.path_map import PathMap, pure
from ttsr_studio.errors import OptionError, TtsrError, on_one_line, shown
from ttsr_studio.farm.jobs_bundle import Bundle

FileStatus = Literal["done", "skipped", "failed", "crashed", "cancelled", "running", "never ran"]
"""Of a file. skipped: there is nothing to add to it. crashed: its job began, and ended without a word."""
STATUSES: tuple[FileStatus, ...] = get_args(FileStatus)
OVER: tuple[FileStatus, ...] = ("done", "skipped")
SILENT_SECONDS = 900.0
"""A job of another machine that has not told of progress for so long is taken for dead."""


@dataclass(frozen=True)
class CollectedFile:
    """What became of a file.

    Attributes:
        input, output: as this machine calls them; the output is None where none is known.
        reason: why there is no render, in a line.
        index: its place among the inputs of its job; None for one that does not stand there.
    """

    input: str
    status: FileStatus
    reason: str = ""
    fault: Fault | None = None
    output: str | None = None
    index: int | None = None


@dataclass(frozen=True)
class CollectedJob:
    """What became of a job.

    Attributes:
        data: what its job file holds; None where that cannot be read.
        host: the machine that did it, where that is known.
    """

    number: int
    data: dict[str, Any] | None
    files: tuple[CollectedFile, ...]
    host: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For other programs."""
        files = [{key: value for key, value in asdict(file).items() if key != "index"} for file in self.files]
        return {"job": self.number, "host": self.host, "files": files}


@dataclass(frozen=True)
class Collection:
    """What became of a bundle."""

    bundle: Bundle
    jobs: tuple[CollectedJob, ...] = field(default_factory=tuple)

    def files(self) -> Iterator[tuple[CollectedJob, CollectedFile]]:
        """Every file with its job."""
        yield from ((job, file) for job in self.jobs for file in job.files)

    def counts(self) -> Counter[str]:
        """How many files there are of each status."""
        return Counter(file.status for _, file in self.files())

    def to_json(self) -> dict[str, Any]:
        """For other programs."""
        counts = self.counts()
        return {
            "collect_version": "1",
            "bundle": str(self.bundle.path),
            "counts": {status: counts[status] for status in STATUSES},
            "jobs": [job.to_json() for job in self.jobs],
        }


def collect(bundle: Bundle, over: bool = False, look: bool = True) -> Collection:
    """Read the answers of all jobs. Nothing is written.

    Args:
        over: nothing runs any more: what has begun and has no result has crashed.
        look: whether outputs that were written are looked for.
    """
    back = bundle.maps.back()
    jobs = [collect_job(bundle, number, back, over) for number in numbers(bundle)]
    if look:
        jobs = [with_lost_outputs(job) for job in jobs]
    return Collection(bundle, tuple(jobs))


def numbers(bundle: Bundle) -> list[int]:
    """Numbers of all jobs: those that were written, and those that somebody put beside them."""
    try:
        names = os.listdir(bundle.path / "jobs")
    except OSError:
        names = []
    more = {int(name.removesuffix(".json")) for name in names if name.removesuffix(".json").isdecimal()}
    return sorted(more | set(range(1, bundle.jobs + 1)))


def collect_job(bundle: Bundle, number: int, back: PathMap, over: bool) -> CollectedJob:
    """What became of one job."""
    path = bundle.job(number)
    try:
        job = read_job(path)
        data = read_json(path)
    except OptionError as error:
        return CollectedJob(number, None, (damaged_job(path, error),))
    named = [name if pure(name) else str(job.place(name)) for name in data["inputs"]]
    running = not over and is_held(path)  # before its result is read, which is written while it is held
    result = answer(job.result, "result_version")
    if running or result is None or not isinstance(result.get("files"), list):
        status, reason, fault, host = without_result(running, over, job.progress, job.result.exists())
        files = [CollectedFile(back.of(name), status, reason, fault, index=index) for index, name in enumerate(named)]
        return CollectedJob(number, data, tuple(files), host)
    return CollectedJob(number, data, tuple(files_of(result, named, data.get("outputs"), back)), result.get("host"))


def damaged_job(path: Path, error: TtsrError) -> CollectedFile:
    """A job file that is none stands for all of its files."""
    words = "is gone; split again, or put it back" if not path.exists() else on_one_line(str(error))
    reason = words if str(path) in words else f"{shown(path)}: {words}"
    return CollectedFile(str(path), "failed", reason, "settings")


def answer(path: Path, version: str) -> dict[str, Any] | None:
    """What a job answered; None where it has not, or not yet, or what is there is something else."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and version in data else None


def without_result(
    running: bool, over: bool, progress: Path | None, damaged_result: bool
) -> tuple[FileStatus, str, Fault | None, str | None]:
    """FileStatus, reason, fault and host of a job that has no result, or is done again."""
    told = answer(progress, "progress_version") if progress else None
    host = str(told["host"]) if told and "host" in told else None
    how_far = f"{100 * share_in(told):.0f} %" if told else ""
    if running:
        return "running", how_far, None, host
    if damaged_result:
        return "crashed", "its result cannot be read", "crash", host
    if told is None or progress is None:
        return "never ran", "", None, None
    silent = time.time() - progress.stat().st_mtime
    if not over and host != socket.gethostname() and silent < SILENT_SECONDS:
        return "running", f"{how_far}, as {host} said {max(0, silent):.0f} s ago", None, host
    began = f"began on {host}, and ended at {how_far} without a word: killed, out of memory, or the power went"
    return "crashed", began, "crash", host


def share_in(progress: Mapping[str, Any]) -> float:
    """How much of a job was done, as its progress says."""
    share = progress.get("of_all")
    return float(share) if isinstance(share, int | float) else 0.0


def files_of(
    result: Mapping[str, Any], named: Sequence[str], outputs: Sequence[str] | None, back: PathMap
) -> Iterator[CollectedFile]:
    """What became of the files of a job that has a result.

    Args:
        named: its inputs, as its job file has them; a node may call them otherwise.
        outputs: the same of its outputs; None where it names none.
    """
    files = [file for file in result["files"] if isinstance(file, dict)]
    in_order = outputs is not None and len(files) == len(named)
    seen = set()
    for number, file in enumerate(files):
        source, status, reason = (str(file.get(key) or "") for key in ("input", "status", "reason"))
        index = number if in_order else named.index(source) if source in named else None
        seen.add(index)
        output = outputs[number] if outputs and in_order else file.get("output")
        there = status == "rendered" or (status == "skipped" and not reason)
        yield CollectedFile(
            back.of(source if index is None else named[index]),
            "done" if there else known_status(status),
            on_one_line(reason),
            fault_in(file),
            back.of(str(output)) if output else None,
            index,
        )
    for index, name in enumerate(named):
        if index not in seen and Path(name).suffix:  # one without may be a folder, whose files are told of
            yield of_whole_job(result, back.of(name), index)


def known_status(text: str) -> FileStatus:
    """A status of a result; what is unknown counts as failed."""
    return next((status for status in STATUSES if status == text), "failed")


def of_whole_job(result: Mapping[str, Any], source: str, index: int) -> CollectedFile:
    """What became of a file that the result of its job does not name: the job was refused, cancelled, or changed."""
    known: dict[str, FileStatus] = {"refused": "failed", "cancelled": "cancelled"}
    status = known.get(str(result.get("status")), "never ran")
    return CollectedFile(source, status, on_one_line(str(result.get("message") or "")), fault_in(result), index=index)


def fault_in(data: Mapping[str, Any]) -> Fault | None:
    """The fault that an answer names."""
    return next((fault for fault in FAULTS if fault == data.get("fault")), None)


def with_lost_outputs(job: CollectedJob) -> CollectedJob:
    """A job with what it wrote and is not to be found from here: a node may have had another folder there."""

    def seen(file: CollectedFile) -> CollectedFile:
        if file.status != "done" or file.output is None or Path(file.output).exists():
            return file
        reason = f"{shown(Path(file.output))}: was written on {job.host or 'a node'}, and is not there, seen from here"
        return CollectedFile(file.input, "failed", reason, "surroundings", file.output, file.index)

    return CollectedJob(job.number, job.data, tuple(map(seen, job.files)), job.host)
