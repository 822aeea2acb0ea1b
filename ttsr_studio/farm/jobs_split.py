"""From the inputs of a render to a bundle of jobs for a render manager."""

import contextlib
import heapq
import math
import os
import re
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from ttsr_studio.audio.formats import VIDEO_SUFFIXES
from ttsr_studio.batch.existing import output_there, refuse_existing
from ttsr_studio.batch.path_map import AS_THEY_ARE, PathMap, pure, refuse_of_windows
from ttsr_studio.batch.plan import Job, plan_jobs
from ttsr_studio.config import presets
from ttsr_studio.config.option_fields import FIELDS
from ttsr_studio.config.resolve import read_transcript, refuse_without_effect, resolve, with_sidecar
from ttsr_studio.config.sidecar import sidecar
from ttsr_studio.errors import (
    MissingError,
    OptionError,
    PluginError,
    TtsrError,
    in_one_line,
    nearest,
    shown,
    unknown,
)
from ttsr_studio.farm.jobs_bundle import Bundle, JobData, refuse_taken, write_bundle
from ttsr_studio.options import RenderOptions

Spread = TypeVar("Spread", bound=Hashable)
DEVICES = ("auto", "cpu", "cuda", "gpu", "mps")
MAPPED = "give it as this machine has it, and what nodes call its folder by --map HERE=Z:\\…"
DECODED = {*VIDEO_SUFFIXES, ".mp3", ".m4a", ".aac", ".opus", ".wma"}
"""Files that are only looked at by decoding them."""


@dataclass(frozen=True)
class SplitRequest:
    """What is to be split, and how.

    Attributes:
        given: options that stand on the command line, by name.
        existing: what becomes of outputs that are there: "refuse", "overwrite" or "skip".
        per: files of a job.
        maps: folders here, and what nodes call them.
        program: the words that start `ttsr` on a node.
        into: where the bundle goes.
        replace: whether it may take the place of another.
    """

    inputs: tuple[Path, ...]
    output: str | None
    preset: str
    given: Mapping[str, Any]
    into: Path
    existing: str = "refuse"
    report: bool = True
    per: int = 1
    maps: PathMap = AS_THEY_ARE
    program: tuple[str, ...] = ("ttsr",)
    replace: bool = False


@dataclass(frozen=True)
class Split:
    """What came of it.

    Attributes:
        bundle: None where nothing is left to render.
        files: how many are in it.
        seconds: of audio, all channels together.
        left_out: outputs that are there already.
        unmapped: files that lie outside of all folders that are mapped.
        unreadable: what is wrong with files whose jobs will fail, a line each.
        strange: paths of this machine that nodes under Windows are given.
    """

    bundle: Bundle | None
    files: int
    seconds: float
    left_out: int
    unmapped: int
    unreadable: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()

    @property
    def jobs(self) -> int:
        """How many jobs there are."""
        return self.bundle.jobs if self.bundle else 0


def split(asked: SplitRequest) -> Split:
    """Write a bundle.

    Raises OptionError or InputError for what `ttsr render` would refuse, for inputs that are not there, and where the
    bundle may not be written; OutputError where it cannot.
    """
    named = [("-o ", asked.output or ""), ("--into ", str(asked.into)), *(("", str(path)) for path in asked.inputs)]
    for said, path in named:
        refuse_of_windows(path, said, MAPPED)
    refuse_taken(asked.into, asked.replace)
    if missing := [path for path in asked.inputs if not path.exists()]:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise OptionError(f"{shown(missing[0])}: no such file or folder{more}")
    given = dict(asked.given)
    if "transcript" in given:
        given["transcript"] = read_transcript(given["transcript"])
    options = resolve(asked.preset, given)
    refuse_without_effect(options, given)
    jobs = plan_jobs(asked.inputs, asked.output, options)
    if options.transcript and len(jobs) > 1:
        raise OptionError("--transcript is of one file; for several, put it into sidecars: NAME.ttsr.toml")
    if options.page and not asked.report:
        raise OptionError("--page shows the report; leave --no-report out")
    if asked.existing == "refuse":
        refuse_existing(jobs, options, "pass --overwrite or --skip-existing, or another -o")
    waiting = [job for job in jobs if not (asked.existing == "skip" and output_there(job.target, asked.report).left)]
    if not waiting:
        return Split(None, 0, 0.0, len(jobs), 0)
    if asked.existing == "overwrite":
        refuse_leftovers(waiting)
    refuse_wrong_for_all(options)
    return write_split(asked, given, options, waiting, len(jobs) - len(waiting))


def refuse_wrong_for_all(options: RenderOptions) -> None:
    """Raise OptionError for options that do not fit each other, the engine or the verifiers, before all nodes do.

    What is not installed here may be there, and so may the device.
    """
    from ttsr_studio.rendering.inference.session import Session

    kind = options.device.partition(":")[0]
    if kind not in DEVICES:
        raise unknown("device", kind, DEVICES)
    with contextlib.suppress(MissingError, PluginError):
        Session(replace(options, device="cpu", low_vram=False))


def refuse_leftovers(jobs: Sequence[Job]) -> None:
    """Raise OptionError for an input that one job reads and another, which replaces an output, might clear away."""
    folders = {os.path.realpath(job.target.parent) for job in jobs}
    for job in jobs:
        if re.search(r"_(top\d+|control)$", job.source.stem) and os.path.realpath(job.source.parent) in folders:
            raise OptionError(
                f"{shown(job.source)}: is named as what an earlier render left beside an output, and --overwrite may "
                "clear it away; move it elsewhere, or choose another -o"
            )


def write_split(
    asked: SplitRequest, given: Mapping[str, Any], options: RenderOptions, jobs: Sequence[Job], left: int
) -> Split:
    """Write the bundle of jobs that are to be done."""
    from ttsr_studio.batch.work import work_of  # `--help` does not wait for soundfile

    work = {job: work_of(job.source) for job in jobs}
    groups = spread_evenly(jobs, work, asked.per)
    gpu = options.device.startswith(("cuda", "gpu"))
    bundle = Bundle(asked.into, len(groups), asked.program, gpu, asked.maps)
    preset, files = preset_of_nodes(asked.preset, asked.maps)
    common: JobData = {"job_version": "1", "preset": preset, "options": options_of_job(given, asked.maps)}
    common |= {"existing": "overwrite" if asked.existing == "overwrite" else "skip"}
    common |= {} if asked.report else {"report": False}
    data = [common | of_group(number, group, asked.maps) for number, group in enumerate(groups, 1)]
    of_jobs = [path for job in jobs for path in (job.source, job.target)]
    refuse_unused_maps(asked, [*of_jobs, *paths_in(given), presets.locate(asked.preset)])
    read = [path for job in jobs for path in (job.source, sidecar(job.source), job.reference) if path and path.exists()]
    write_bundle(bundle, data, files, [Path(os.path.abspath(path)) for path in read], asked.replace)
    mapped = asked.maps.rules
    unmapped = [job for job in jobs if mapped and asked.maps.find(os.path.abspath(job.source)) is None]
    broken = tuple(line for job in jobs if (line := why_unreadable(job.source, options, given)))
    return Split(
        bundle, len(jobs), sum(work.values()), left, len(unmapped), broken, tuple(strange_to_windows(bundle, data))
    )


def strange_to_windows(bundle: Bundle, data: Sequence[JobData]) -> Iterator[str]:
    """Paths in a bundle that nodes under Windows will not find: those of this machine."""
    if not bundle.on_windows:
        return
    for path in (bundle.place(), *(path for each in data for path in (*each["inputs"], *each["outputs"]))):
        if isinstance(pure(path), PurePosixPath):
            yield path


def refuse_unused_maps(asked: SplitRequest, paths: Sequence[Path]) -> None:
    """Raise OptionError for a folder that is mapped and holds nothing of the bundle.

    One that is there may stand beside another that is used: a studio may always give the same maps.
    """
    every = [os.path.abspath(path) for path in (*paths, asked.into)]
    unused = asked.maps.unused(every)
    all_unused = len(unused) == len(asked.maps.rules)
    for here, there in unused:
        if all_unused or not Path(here).is_dir():
            near = nearest(here, {str(folder) for path in every for folder in Path(path).parents[:-1]})
            raise OptionError(f"--map {shown(Path(here))}={there}: no input, output or bundle lies in it{near}")


def paths_in(given: Mapping[str, Any]) -> Iterator[Path]:
    """Files that options name."""
    for value in given.values():
        yield from (each for each in (value if isinstance(value, tuple | list) else [value]) if isinstance(each, Path))


def why_unreadable(path: Path, options: RenderOptions, given: Collection[str]) -> str | None:
    """Why the render of a file will fail, in a line, as far as that shows without decoding it; else None."""
    from ttsr_studio.audio.decode import probe

    try:
        options = with_sidecar(path, options, given)
        with path.open("rb") as file:
            if path.suffix.lower() not in DECODED or not file.read(1):
                probe(path, options.salvage, options.stream)
    except (OSError, TtsrError) as error:
        return in_one_line(path, error)
    return None


def of_group(number: int, group: Sequence[Job], maps: PathMap) -> JobData:
    """What a job file has of its own."""
    return {
        "inputs": [maps.of(os.path.abspath(job.source)) for job in group],
        "outputs": [maps.of(os.path.abspath(job.target)) for job in group],
        **answers_of(number),
    }


def answers_of(number: int) -> JobData:
    """Where a job answers: beside itself, so that a bundle can be moved."""
    return {"result": f"{number}.result.json", "progress": f"{number}.progress.json", "cancel": "../cancel"}


def spread_evenly(jobs: Sequence[Spread], work: Mapping[Spread, float], per: int) -> list[list[Spread]]:
    """Jobs in groups of at most `per`, evenly by work: the longest first, each to the group that has least so far.

    Groups with most work come first, so that none of them is begun last.
    """
    count = math.ceil(len(jobs) / per)
    groups: list[list[Spread]] = [[] for _ in range(count)]
    loads = [(0.0, number) for number in range(count)]
    for job in sorted(jobs, key=lambda job: -work[job]):
        load, number = heapq.heappop(loads)
        groups[number].append(job)
        if len(groups[number]) < per:
            heapq.heappush(loads, (load + work[job], number))
    return sorted(groups, key=lambda group: -sum(work[job] for job in group))


def options_of_job(given: Mapping[str, Any], maps: PathMap) -> dict[str, Any]:
    """Options of a command line as a job file holds them."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return maps.of(os.path.abspath(value))
        return [plain(each) for each in value] if isinstance(value, tuple | list) else value

    return {name: plain(value) for name, value in given.items() if value is not None and "job" in FIELDS[name].held_by}


def preset_of_nodes(name: str, maps: PathMap) -> tuple[str, dict[str, bytes]]:
    """A preset as nodes find it, and the files that the bundle has for that.

    One that does not come with ttsr goes into the bundle, unless a chain of effects lies beside it.
    """
    path = presets.locate(name)
    if path.parent == presets.folders()[-1]:
        return path.stem, {}
    if "chain" in presets.values_of(name):
        return maps.of(os.path.abspath(path)), {}
    return f"../presets/{path.name}", {path.name: path.read_bytes()}
