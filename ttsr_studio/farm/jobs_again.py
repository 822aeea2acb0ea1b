"""From what became of a bundle to another one, of what is to be run again."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ttsr_studio.batch.fault import RETRIED
from ttsr_studio.batch.path_map import pure
from ttsr_studio.farm.jobs_bundle import JobData, refuse_taken, write_bundle
from ttsr_studio.farm.jobs_collect import OVER, CollectedFile, CollectedJob, Collection
from ttsr_studio.farm.jobs_split import answers_of

PATHS = ("output", "done")
FILES = ("reference", "chain")
"""Options that name a file."""


@dataclass(frozen=True)
class Again:
    """What is run again.

    Attributes:
        jobs, files: how many are in the new bundle; none was written where there are none.
        left: files that failed by their own fault, or by settings, or whose job file is none.
        running: files of jobs that are being done.
    """

    jobs: int
    files: int
    left: int
    running: int


def write_again(collection: Collection, into: Path, everything: bool, replaced: bool) -> Again:
    """Write a bundle of all that is not done, but for what would fail the same way.

    Args:
        everything: what failed by its input or its settings is taken, too.
        replaced: whether the bundle may take the place of another.

    Raises what `write_bundle` does.
    """
    wanted = [(job, [file for file in job.files if is_wanted(file, everything)]) for job in collection.jobs]
    chosen = [(job, files) for job, files in wanted if files and job.data is not None]
    count = sum(len(files) for _, files in chosen)
    statuses = collection.counts()
    running = statuses["running"]
    left = statuses.total() - sum(statuses[status] for status in OVER) - running - count
    if chosen:
        refuse_taken(into, replaced, "--again")
        bundle = replace(collection.bundle, path=into, jobs=len(chosen))
        folder = collection.bundle.path / "presets"
        presets = {file.name: file.read_bytes() for file in sorted(folder.glob("*.toml"))}
        data = [data_again(job, files, number, collection) for number, (job, files) in enumerate(chosen, 1)]
        sources = [Path(file.input) for _, files in chosen for file in files if Path(file.input).exists()]
        write_bundle(bundle, data, presets, sources, replaced)
    return Again(len(chosen), count, left, running)


def is_wanted(file: CollectedFile, everything: bool) -> bool:
    """Whether a file is run again."""
    if file.status == "failed":
        return everything or file.fault in (None, *RETRIED)
    return file.status in ("crashed", "cancelled", "never ran")


def data_again(job: CollectedJob, files: Sequence[CollectedFile], number: int, collection: Collection) -> JobData:
    """A job of some of the files of another, as its file holds it now, by hand or not."""
    assert job.data is not None
    folder = os.path.abspath(collection.bundle.path / "jobs")
    data: JobData = {key: absolute(value, folder) if key in PATHS else value for key, value in job.data.items()}
    data["options"] = options_again(data.get("options", {}), folder)
    indexes = [file.index for file in files if file.index is not None]
    every = range(len(data["inputs"]))
    kept = sorted(set(indexes)) if "outputs" in data and len(indexes) == len(files) else every
    for key in ("inputs", "outputs"):
        if key in data:
            data[key] = [absolute(data[key][index], folder) for index in kept]
    return data | answers_of(number)


def options_again(options: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Options whose files are named in full."""
    named = {key: absolute(value, folder) if key in FILES else value for key, value in options.items()}
    if "speaker" in named:
        named["speaker"] = [absolute(name, folder) for name in named["speaker"]]
    return named


def absolute(name: str, folder: str) -> str:
    """A path that is seen from a folder, in full; one that is in full, of whatever system, stays."""
    if pure(name) or name.startswith(("{", "~")):
        return name
    ending = os.sep if name.endswith("/") else ""
    return os.path.normpath(os.path.join(folder, name)) + ending
