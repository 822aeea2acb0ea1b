"""Renders of files, made by `ttsr render --job` (docs/studio/jobs.md)."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stems import Channel, JoinError, group, join, name_of

CANCELLED = 130
LOOK_SECONDS = 0.2
LEAVE_SECONDS = 60.0
"""How long a cancelled render may take to leave nothing half-written."""

COMPANIONS = {"report": ".ttsr.json", "figure": ".ttsr.png"}

ALWAYS = {"rate": "source", "page": False, "keep-top": 1, "control": False}
"""Options that no preset decides. Ardour plays sources at the session's rate, whatever they say: a render has the rate
of what it replaces. And a session has a place for one render of a source, and its report."""

Watch = Callable[[float, str], None]
"""Told how far the whole is, from 0 to 1, and what is being done."""


class JobError(Exception):
    """Nothing was placed anywhere; the message says why."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Request:
    """How to render.

    Attributes:
        skip_failed: go on without the files that could not be rendered.
        cancel: somebody who wants the job called off makes this file.
        progress: where `ttsr` writes how far it is.
    """

    ttsr: str = "ttsr"
    preset: str = "general"
    options: Mapping[str, Any] = field(default_factory=dict)
    skip_failed: bool = False
    cancel: Path | None = None
    progress: Path | None = None


@dataclass(frozen=True)
class Render:
    """A finished render in the work folder.

    Attributes:
        files: what it is a render of; several mono files became its channels.
        output: None where it failed.
    """

    files: tuple[Path, ...]
    name: str
    output: Path | None
    reason: str
    companions: Mapping[str, Path]


@contextmanager
def rendered(regions: Sequence[Sequence[Channel]], request: Request, watch: Watch) -> Iterator[list[Render]]:
    """Render what regions play, every file once, into a folder that is gone afterwards.

    Raises JobError where `ttsr` refuses, is cancelled, or a file fails and failures are not to be skipped.
    """
    with tempfile.TemporaryDirectory(prefix="ttsr-ardour-") as name:
        work = Path(name)
        inputs = stage(group(regions), work)
        result = run(list(inputs), work, request, watch)
        if result["status"] == "cancelled":
            raise JobError("cancelled", CANCELLED)
        done = [finished(each, inputs[Path(each["input"])]) for each in result["files"]]
        failed = [f"{', '.join(path.name for path in each.files)}: {each.reason}" for each in done if not each.output]
        if failed and not (request.skip_failed and len(failed) < len(done)):
            raise JobError("\n".join(failed))
        yield done


def refuse_wrong(request: Request, source: Path) -> None:
    """Raises JobError where `ttsr` would refuse the job. Nothing is rendered: it is called off before it begins."""
    with tempfile.TemporaryDirectory(prefix="ttsr-ardour-") as name:
        cancel = Path(name) / "cancel"
        cancel.touch()
        run([source], Path(name), replace(request, cancel=cancel), lambda _share, _what: None)


def stage(units: Sequence[tuple[Path, ...]], work: Path) -> dict[Path, tuple[Path, ...]]:
    """What `ttsr` is to read for every unit. A file stays where it is, since its sidecar lies beside it."""
    inputs: dict[Path, tuple[Path, ...]] = {}
    stems: set[str] = set()
    for number, files in enumerate(split_where_unlike(units, work)):
        unit, joined = files
        source = joined or unit[0]
        if source.stem in stems:  # two folders may hold files of one name, but the renders share a folder
            source = Path(shutil.copy(source, folder_in(work, str(number)) / f"{source.stem} {number}{source.suffix}"))
        stems.add(source.stem)
        inputs[source] = unit
    return inputs


def split_where_unlike(units: Sequence[tuple[Path, ...]], work: Path) -> Iterator[tuple[tuple[Path, ...], Path | None]]:
    """Units with their joined file. What cannot be joined goes one by one: the same seed still is the same noise."""
    for number, files in enumerate(units):
        if len(files) == 1:
            yield files, None
            continue
        target = folder_in(work, f"joined {number}") / f"{name_of(files)}.wav"
        try:
            join(files, target)
            yield files, target
        except JoinError as error:
            print(f"{', '.join(path.name for path in files)}: rendered one by one ({error})", file=sys.stderr)
            for path in files:
                yield (path,), None


def folder_in(work: Path, name: str) -> Path:
    folder = work / name
    folder.mkdir()
    return folder


def run(inputs: Sequence[Path], work: Path, request: Request, watch: Watch) -> dict[str, Any]:
    """Have `ttsr` do a job; its result. Raises JobError where there is none, or `ttsr` refuses."""
    progress, cancel = request.progress or work / "progress.json", request.cancel or work / "cancel"
    job = {
        "job_version": "1",
        "inputs": [str(path) for path in inputs],
        "preset": request.preset,
        "options": {**request.options, **ALWAYS},
        "output": str(work / "renders" / "{stem}{ext}"),
        "app": True,  # one that runs has its engine loaded already
        "result": str(work / "result.json"),
        "progress": str(progress),
        "cancel": str(cancel),
        "done": str(work / "done"),
    }
    (work / "job.json").write_text(json.dumps(job, ensure_ascii=False), encoding="utf-8")
    code, said = call([request.ttsr, "render", "--job", str(work / "job.json")], work, progress, cancel, watch)
    try:
        result: dict[str, Any] = json.loads((work / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise JobError(f"{request.ttsr} ended with {code} and without a result: {said}", 1) from None
    if result["status"] == "refused":
        raise JobError(result["message"], 2)
    return result


def call(command: Sequence[str], work: Path, progress: Path, cancel: Path, watch: Watch) -> tuple[int, str]:
    """Run a program until it ends, and tell how far it is; its exit code and what it said. Ctrl-C cancels it."""
    log = work / "log"
    try:
        with log.open("wb") as out:
            # In a process group of its own, Ctrl-C does not reach it: the job is called off as jobs are.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
    except OSError as error:
        raise JobError(f"{command[0]} cannot be started ({error.strerror}); name it with --ttsr", 2) from error
    try:
        while process.poll() is None:
            tell(progress, watch)
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        cancel.touch()
        end(process)
        raise JobError("cancelled", CANCELLED) from None
    return process.returncode, log.read_text(encoding="utf-8", errors="replace").strip()


def end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(LEAVE_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def tell(progress: Path, watch: Watch) -> None:
    try:
        at = json.loads(progress.read_text(encoding="utf-8"))
        watch(at["of_all"], f"{Path(at['input']).name} ({at['file']} of {at['files']}): {at['stage']}")
    except (OSError, ValueError, KeyError, TypeError):
        return  # nothing to tell yet


def finished(entry: Mapping[str, Any], files: tuple[Path, ...]) -> Render:
    output = Path(entry["output"]) if entry["status"] == "rendered" else None
    companions = {suffix: Path(entry[key]) for key, suffix in COMPANIONS.items() if entry.get(key)}
    reason = entry["reason"].removeprefix(f"{entry['input']}: ")
    return Render(files, name_of(files), output, reason, companions)


def place(
    renders: Sequence[Render], used: Iterable[Channel], audio: Path, reports: Path
) -> tuple[dict[Channel, Channel], list[Path]]:
    """Move renders into a session under free names; what plays instead of what, and all files that are new."""
    at: dict[Path, tuple[Path, int | None]] = {}
    new: list[Path] = []
    try:
        for render in renders:
            if render.output is None:
                continue
            target = move(render.output, audio, f"{render.name}_ttsr", render.output.suffix)
            new.append(target)
            new += [
                move(path, reports, target.stem, ending) for ending, path in render.companions.items() if path.exists()
            ]
            alone = len(render.files) == 1
            at |= {path: (target, None if alone else number) for number, path in enumerate(render.files)}
    except OSError as error:
        remove(new)
        raise JobError(f"{error.filename}: {error.strerror}") from error
    plays = {(path, channel): at[path] for path, channel in used if path in at}
    return {old: (path, old[1] if number is None else number) for old, (path, number) in plays.items()}, new


def is_render(path: Path, reports: Path) -> bool:
    """Whether a file was placed here: a report says so. Ardour's import adds a number and the channel to its name."""
    name = re.fullmatch(r"(.+_ttsr)(-\d+)*(%\w+)?", path.stem)
    return name is not None and any((reports / f"{stem}.ttsr.json").exists() for stem in (name[0], name[1]))


def move(source: Path, folder: Path, stem: str, suffix: str) -> Path:
    """Move a file into a folder under the first free name; nobody sees half of it."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        target = folder / f"{stem}{f'-{number}' if number > 1 else ''}{suffix}"
        try:
            target.open("xb").close()
            break
        except FileExistsError:
            number += 1
    part = folder / f".{target.name}.part"
    try:
        shutil.copyfile(source, part)
        os.replace(part, target)
    except OSError:
        remove([part, target])
        raise
    return target


def remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
