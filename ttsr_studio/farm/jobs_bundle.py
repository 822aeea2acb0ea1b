"""A bundle: a folder of numbered job files, and what render managers need to run them.

    bundle.json               how many jobs, and how the nodes call this machine's folders
    jobs/1.json …             job files; beside them, once they are run, N.result.json and N.progress.json
    presets/                  presets that do not come with ttsr
    commands.txt              a command line for each job
    array.sbatch              the same for SLURM
    template.yaml, asset_references.json    the same for Open Job Description

All that is written depends on what was asked for alone: the same twice is the same bytes. It can be moved, but for
the command lines, which `ttsr jobs commands` writes anew.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from ttsr_studio import __version__
from ttsr_studio.batch.job_file import read_json
from ttsr_studio.batch.job_lock import is_held
from ttsr_studio.batch.path_map import PathMap, pure, refuse_of_windows
from ttsr_studio.errors import OptionError, OutputError, shown
from ttsr_studio.farm.jobs_commands import command_lines, of_windows, slurm_script
from ttsr_studio.farm.openjd import asset_references, job_template
from ttsr_studio.storage.atomic import hidden, sync_file, sync_folder

VERSION = "1"
MANIFEST = "bundle.json"
OWN = ("jobs", "presets", "commands.txt", "array.sbatch", "template.yaml", "asset_references.json", "cancel")
"""What a bundle holds besides its manifest."""

JobData = dict[str, Any]
"""What a job file holds."""


@dataclass(frozen=True)
class Bundle:
    """What is known of all jobs of a bundle.

    Attributes:
        path: where it lies.
        jobs: how many there are; their numbers begin at 1.
        program: the words that start `ttsr` on a node.
        gpu: whether nodes need a graphics card.
        maps: from folders here to what nodes call them.
    """

    path: Path
    jobs: int
    program: tuple[str, ...] = ("ttsr",)
    gpu: bool = False
    maps: PathMap = field(default_factory=PathMap)

    def job(self, number: int) -> Path:
        """A job file."""
        return self.path / "jobs" / f"{number}.json"

    def place(self) -> str:
        """The folder as nodes have it."""
        return self.maps.of(os.path.abspath(self.path))

    @property
    def on_windows(self) -> bool:
        """Whether its nodes run Windows, by the program or by where they have it."""
        return of_windows(self.program[0]) or isinstance(pure(self.place()), PureWindowsPath)

    def lines(self) -> list[str]:
        """Its command lines."""
        return list(command_lines(self.place(), self.jobs, self.program))

    def to_json(self) -> dict[str, Any]:
        """What the manifest holds."""
        return {
            "bundle_version": VERSION,
            "version": __version__,
            "jobs": self.jobs,
            "program": list(self.program),
            "gpu": self.gpu,
            "maps": [list(rule) for rule in self.maps.rules],
        }


def read_bundle(path: Path) -> Bundle:
    """The bundle in a folder. Raises OptionError where there is none."""
    manifest = path / MANIFEST
    refuse_of_windows(str(path), "", "give it as this machine has it")
    if not manifest.is_file():
        raise OptionError(f"{shown(path)}: is no bundle (no {MANIFEST} in it); `ttsr jobs split` makes one")
    data = read_json(manifest)
    try:
        if data["bundle_version"] != VERSION:
            raise OptionError(f"{shown(manifest)}: of version {data['bundle_version']!r}, not {VERSION!r}; update ttsr")
        maps = PathMap(tuple((str(here), str(there)) for here, there in data["maps"]))
        return Bundle(path, int(data["jobs"]), tuple(map(str, data["program"])), bool(data["gpu"]), maps)
    except (KeyError, TypeError, ValueError) as error:
        raise OptionError(f"{shown(manifest)}: is damaged ({error}); split again") from error


def refuse_taken(path: Path, replace: bool, flag: str = "--into") -> None:
    """Raise OptionError where a bundle may not be written, OutputError where it cannot.

    Args:
        flag: by which the folder is given.
    """
    above = next(each for each in Path(os.path.abspath(path)).parents if each.is_dir())
    if not os.access(above, os.W_OK):
        raise unwritten(path, "Permission denied")
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir():
        raise OptionError(f"{flag} {shown(path)}: is a file; name a folder")
    if not any(path.iterdir()):
        return
    if not (path / MANIFEST).is_file():
        raise OptionError(f"{flag} {shown(path)}: holds other things; name a new folder")
    if not replace:
        raise OptionError(f"{flag} {shown(path)}: holds a bundle already; pass --replace, or name a new folder")
    if running := next((job for job in (path / "jobs").glob("*.json") if is_held(job)), None):
        raise OptionError(f"{flag} {shown(path)}: {running.name} is being done now; wait, or name a new folder")


def write_bundle(
    bundle: Bundle, jobs: Sequence[JobData], presets: Mapping[str, bytes], inputs: Sequence[Path], replace: bool
) -> None:
    """Write a bundle, whole or not at all, in the place of an earlier one where that is wanted.

    Args:
        presets: content of their files, by name.
        inputs: files here that renders read.

    Raises OptionError where something else is in the way, OutputError where it cannot be written.
    """
    refuse_taken(bundle.path, replace)
    temporary = hidden(Path(os.path.abspath(bundle.path)))
    try:
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            for name, content in contents(bundle, jobs, presets, inputs):
                file = temporary / name
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(content)
            sync_file(temporary / MANIFEST)
            sync_folder(temporary / "jobs")
            move_in(temporary, bundle.path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise unwritten(bundle.path, error.strerror) from error


def unwritten(path: Path, why: str | None) -> OutputError:
    """The error for a bundle that cannot be written."""
    return OutputError(f"--into {shown(path)}: cannot be written ({why}); check the folder and its free space")


def contents(
    bundle: Bundle, jobs: Sequence[JobData], presets: Mapping[str, bytes], inputs: Sequence[Path]
) -> list[tuple[str, bytes]]:
    """Files of a bundle by name; its manifest comes last."""
    back = bundle.maps.back()
    folders = {Path(back.of(output)).parent for data in jobs for output in data.get("outputs", ())}
    files = {f"jobs/{number}.json": json_bytes(data) for number, data in enumerate(jobs, 1)}
    files |= {f"presets/{name}": content for name, content in presets.items()}
    files["commands.txt"] = os.fsencode("".join(f"{line}\n" for line in bundle.lines()))
    files["array.sbatch"] = os.fsencode(slurm_script(bundle.jobs, bundle.program, bundle.gpu))
    files["template.yaml"] = job_template(bundle.jobs, bundle.program, bundle.gpu).encode()
    files["asset_references.json"] = json_bytes(asset_references(inputs, folders))
    files[MANIFEST] = json_bytes(bundle.to_json())
    return list(files.items())


def json_bytes(data: Any) -> bytes:
    """JSON that people can read; names that are no Unicode are escaped."""
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError:
        return (json.dumps(data, indent=2) + "\n").encode()


def move_in(temporary: Path, path: Path) -> None:
    """Give a finished folder its name; what an earlier bundle of the name holds goes, other things stay.

    Raises OSError.
    """
    if not path.exists():
        temporary.rename(path)
        sync_folder(path.parent)
        return
    (path / MANIFEST).unlink(missing_ok=True)  # without it, it is no bundle; that of the new one comes last
    for name in OWN:
        remove(path / name)
        if (temporary / name).exists():
            (temporary / name).rename(path / name)
    (temporary / MANIFEST).rename(path / MANIFEST)


def remove(path: Path) -> None:
    """Remove a file or a folder, where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
