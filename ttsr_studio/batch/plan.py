"""From what the user typed to a list of jobs: folders opened up, outputs named, conflicts refused."""

import itertools
import os
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ttsr_studio.audio.formats import KEPT, SOUNDING, WRITTEN, kept_suffix
from ttsr_studio.errors import OptionError, nearest, shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.report.paths import report_names
from ttsr_studio.storage.atomic import fit_name
from ttsr_studio.storage.home import from_home
from ttsr_studio.storage.names import FileKeys, refuse_impossible

DEFAULT = "{dir}/{stem}_ttsr{ext}"
TEMPLATE_FIELDS = ("dir", "stem", "ext", "preset", "engine", "seed", "rate")


@dataclass(frozen=True)
class Job:
    """One file to render.

    Attributes:
        source: the input.
        target: the output; its folder may not exist yet.
        reference: ground truth for this input, or None.
    """

    source: Path
    target: Path
    reference: Path | None


def plan_jobs(inputs: tuple[Path, ...], output: str | None, options: RenderOptions) -> list[Job]:
    """Name every input's output.

    Raises OptionError when two inputs share an output, an output is one of the inputs, a template has an unknown field,
    one output file is named for several inputs or with an unknown suffix, or there is a file where a folder should be.
    """
    found = [pair for path in inputs for pair in expand(path)]
    if not found:
        raise OptionError(f"{shown(inputs[0])}: no audio files here (known endings: {' '.join(SOUNDING)})")
    output = from_home(output) if output else output
    into_file = output is not None and is_file_name(output)
    if output is not None and into_file and len(found) > 1:
        raise OptionError(
            f"-o {shown(Path(output))}: one file cannot take {len(found)} renders; give a folder or a template"
        )
    jobs = [
        Job(
            source,
            name_target(source, root, output, options),
            find_reference(source, options.reference, len(found)),
        )
        for source, root in found
    ]
    if not into_file:
        jobs = told_apart(jobs)
    refuse_impossible_targets(jobs)
    return jobs


def plan_named(inputs: Sequence[Path], outputs: Sequence[Path], options: RenderOptions) -> list[Job]:
    """The jobs of inputs, all files, whose outputs are named one by one. Raises OptionError as `plan_jobs` does."""
    jobs = [
        Job(source, target, find_reference(source, options.reference, len(inputs)))
        for source, target in zip(inputs, outputs, strict=True)
    ]
    for job in jobs:
        refuse_ending(job.target)
    refuse_impossible_targets(jobs)
    return jobs


def refuse_impossible_targets(jobs: Sequence[Job]) -> None:
    """Raise OptionError where outputs get into each other's way, or there is a file where a folder should be."""
    refuse_conflicts(jobs)
    for folder in {job.target.parent for job in jobs}:
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        if not there.is_dir():
            raise OptionError(f"{shown(there)}: is no folder; choose another -o")


def told_apart(jobs: list[Job]) -> list[Job]:
    """Jobs whose outputs do not get into each other's way: `a.ogg` beside `a.wav` becomes `a.ogg.wav`.

    A source that keeps its ending keeps its name, `a.aiff` beside `a.wav` too: `report_paths` tells reports apart.
    """
    kept = {job.source for job in jobs if job.target.suffix.lower() == job.source.suffix.lower()}
    owners: dict[Path, Path] = {}
    for job in sorted(jobs, key=lambda job: job.source not in kept):
        owners.setdefault(report_names(job.target)[0].absolute(), job.source)
    own = kept | set(owners.values()) | {job.source for job in jobs if job.source.stem not in job.target.name}
    taken = {job.target for job in jobs if job.source in own}
    named = []
    for job in jobs:
        if job.source not in own:
            job = replace(job, target=next(name for name in full_names(job) if name not in taken))
            taken.add(job.target)
        named.append(job)
    return named


def full_names(job: Job) -> Iterator[Path]:
    """Names of an output that say which of several sources of one stem it is of: `a.ogg.wav`, `a.ogg_2.wav`."""
    for number in itertools.count(1):
        name = job.source.name + (f"_{number}" if number > 1 else "")
        yield job.target.with_name(fit_name(job.target.name.replace(job.source.stem, name, 1)))


def passed_over(inputs: tuple[Path, ...]) -> str | None:
    """What else lies in the folders that are searched, in one line; None where there is nothing else."""
    kinds = Counter(
        other.suffix.lower() or "without an ending"
        for path in inputs
        if path.is_dir()
        for other in path.rglob("*")
        if other.is_file() and other.suffix.lower() not in SOUNDING and not belongs_to_tool(other)
    )
    if not kinds:
        return None
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
    total = sum(kinds.values())
    return f"{total} file{'s' if total > 1 else ''} passed over: {ascii(told)[1:-1]}"


def belongs_to_tool(path: Path) -> bool:
    """Whether a file is hidden, or one of this tool: a report, its picture and figures, a page, a sidecar."""
    return path.name.startswith(".") or ".ttsr." in path.name or path.name == "ttsr-watch.toml"


def expand(path: Path) -> list[tuple[Path, Path]]:
    """A file, or all audio files below a folder in order: (file, folder that it was found under)."""
    if not path.is_dir():
        return [(path, path.parent)]
    files = (p for p in path.rglob("*") if p.suffix.lower() in SOUNDING and p.is_file() and not p.is_symlink())
    return [(p, path) for p in sorted(files) if not p.name.startswith(".") and not is_render(p)]


def is_render(path: Path) -> bool:
    """Whether a file is named as a render of this tool, and lies beside its source or its report."""
    name = re.fullmatch(r"(.+)_ttsr(_top\d+|_control)?", path.stem)
    if name is None:
        return False
    sources = (path.with_name(name[1] + ending) for ending in ("", path.suffix, *SOUNDING))
    return path.with_name(f"{name[1]}_ttsr.ttsr.json").exists() or any(source.exists() for source in sources)


def is_file_name(output: str) -> bool:
    return "{" not in output and not output.endswith(os.sep) and not Path(output).is_dir() and Path(output).suffix != ""


def name_target(source: Path, root: Path, output: str | None, options: RenderOptions) -> Path:
    """Where a render goes. A folder keeps the names and the tree below the input's own folder."""
    ext = kept_suffix(source.suffix)
    if output is not None and is_file_name(output):
        refuse_ending(Path(output))
        if options.bitrate is not None and Path(output).suffix.lower() in KEPT:
            raise OptionError(
                f"--bitrate {options.bitrate}: {Path(output).suffix} is lossless; name the output .m4a, .mp3, .opus "
                "or .ogg, or leave it out"
            )
        return Path(output)
    if output is None or "{" in output:
        values = {
            "dir": str(source.parent),
            "stem": source.stem,
            "ext": ext,
            "preset": options.preset,
            "engine": options.engine,
            "seed": options.seed,
            "rate": options.rate,
        }
        try:
            target = Path((output or DEFAULT).format(**values))
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            known = " ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS) + nearest(str(error.args[0]), TEMPLATE_FIELDS)
            raise OptionError(f"-o {shown(Path(output or DEFAULT))}: unknown field {error}; known: {known}") from error
        if target.suffix.lower() not in WRITTEN:
            target = target.with_name(target.name + ext)
    else:
        target = Path(output) / source.parent.relative_to(root) / (source.stem + ext)
    return target.with_name(fit_name(target.name))


def refuse_ending(output: Path) -> None:
    """Raise OptionError for an output of a kind that is not written."""
    if output.suffix.lower() not in WRITTEN:
        raise OptionError(
            f"-o {shown(output)}: unknown output suffix {output.suffix!r}; use .wav, .flac, .aiff, "
            ".mp3, .m4a, .mp4, .mov, .mkv, … (see docs/use/formats.md)"
        )


def find_reference(source: Path, reference: Path | None, count: int) -> Path | None:
    """The ground truth of one input: the file given, or the file of the same stem in the folder given."""
    if reference is None:
        return None
    if not reference.is_dir():
        if count > 1:
            raise OptionError(f"--reference {shown(reference)}: one file cannot serve {count} inputs; give a folder")
        return reference
    matches = sorted(p for p in reference.iterdir() if p.stem == source.stem and p.suffix.lower() in SOUNDING)
    if not matches:
        raise OptionError(f"--reference {shown(reference)}: holds no {shown(Path(source.stem))} for {shown(source)}")
    return matches[0]


def refuse_conflicts(jobs: Sequence[Job]) -> None:
    keys = FileKeys()
    sources = {keys.of(job.source): job.source for job in jobs}
    taken: dict[Hashable, Path] = {}
    for job in jobs:
        refuse_impossible(job.target)
        target = keys.of(job.target)
        if target in sources:
            raise OptionError(f"{shown(job.target)}: an input would be overwritten; choose another -o")
        if target in taken and keys.of(taken[target]) == keys.of(job.source):
            raise OptionError(f"{shown(job.source)}: is given twice; name it once")
        if target in taken:
            raise OptionError(
                f"{shown(job.target)}: both {shown(taken[target])} and {shown(job.source)} would be written here; "
                "choose another -o"
            )
        taken[target] = job.source
