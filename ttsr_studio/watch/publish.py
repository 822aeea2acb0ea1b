"""From a finished render in the work folder to its place in the tree; notes of what failed; sources out of the way."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

from ttsr_studio.audio.formats import KEPT
from ttsr_studio.config.sidecar import sidecar
from ttsr_studio.errors import OutputError, shown
from ttsr_studio.report.paths import report_names
from ttsr_studio.report.write import write_report
from ttsr_studio.storage.atomic import fit_name, sync_folder
from ttsr_studio.watch.filesystem.root import DONE, FAILED, RENDERS, Tree
from ttsr_studio.watch.queue.jobs import Queue
from ttsr_studio.watch.queue.store import Entry

TAKEN_AGAIN = "It is taken again when it is replaced, or with `ttsr queue retry`."


@dataclass(frozen=True)
class Place:
    """Where the results of a source belong, relative to the root."""

    output: str
    report: str


def place_of(path: str, queue: Queue) -> Place:
    """The place of a source's render. Two sources of one stem in a folder do not get into each other's way."""
    source = PurePath(path)
    kept = source.suffix.lower() in KEPT
    plain = source.stem + (source.suffix if kept else ".wav")
    for name in (plain, source.name + (source.suffix if kept else ".wav")):
        output = PurePath(RENDERS, source.parent, fit_name(name))
        place = Place(str(output), str(report_names(Path(output))[0]))
        other = queue.reported(place.report)
        if other is None or other.path == path:
            return place
    raise OutputError(
        f"{shown(Path(path))}: {place.output} is taken by {other.path if other else ''}; rename the source"
    )


class Delivery:
    """Puts results into one tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def stage(self, claim: Entry, output: str) -> Path:
        """Where the render of a job is written first: an empty folder of its own, its final name."""
        folder = self.tree.stages / str(claim.token)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder / PurePath(output).name

    def clear(self, claim: Entry) -> None:
        shutil.rmtree(self.tree.stages / str(claim.token), ignore_errors=True)

    def sweep(self, tokens: set[int]) -> None:
        """Remove what jobs left behind that nobody works on any more."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.tree.stages.iterdir():
                if path.name.isdecimal() and int(path.name) not in tokens:
                    shutil.rmtree(path, ignore_errors=True)

    # What is there already

    def found(self, place: Place, sha256: str, fingerprint: str) -> str | None:
        """The checksum of a render that is there already, of this content with these settings; None without one."""
        report = self._report(place)
        job = report.get("job") or {}
        if job.get("fingerprint") != fingerprint or report["input"]["sha256"] != sha256:
            return None
        there = checksum(self.tree.root / place.output)
        return there if there == report["output"]["sha256"] else None

    def _report(self, place: Place) -> dict[str, Any]:
        try:
            report = json.loads((self.tree.root / place.report).read_text(encoding="utf-8"))
            return report if isinstance(report, dict) and "input" in report and "output" in report else {}
        except (OSError, ValueError):
            return {}

    def refuse_foreign(self, place: Place, claim: Entry) -> None:
        """Raise OutputError where a file has the name of a render or report and was not put there by this service."""
        output, report = self.tree.root / place.output, self._report(place)
        known = {claim.output_sha256, report.get("output", {}).get("sha256")} - {None}
        there = checksum(output)
        foreign = [output] if there is not None and there not in known else []
        if not known:
            foreign += [path for path in report_names(output) if path.exists()]
        if foreign:
            raise OutputError(
                f"{shown(foreign[0].relative_to(self.tree.root))}: exists already and is not what was rendered there; "
                "move it away"
            )

    # Putting in place

    def annotate(self, target: Path, job: Mapping[str, Any]) -> None:
        """Write into a staged report what it is of: the source in the tree, the fingerprint, the twin."""
        path = report_names(target)[0]
        report = json.loads(path.read_text(encoding="utf-8"))
        write_report(path, report | {"job": dict(job)})

    def copy_twin(self, twin: Entry, target: Path, name: str, job: Mapping[str, Any]) -> str | None:
        """Stage the render of a twin under another name; its checksum, None when it is not what it was.

        Args:
            name: of the source.
        """
        assert twin.output
        output = self.tree.root / twin.output
        try:
            shutil.copyfile(output, target)
            for theirs, ours in zip(report_names(output), report_names(target), strict=True):
                shutil.copyfile(theirs, ours)
            sha256 = checksum(target)
            report = json.loads(report_names(target)[0].read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if sha256 is None or report["output"]["sha256"] != sha256:
            return None
        report["input"]["name"], report["output"]["name"] = name, target.name
        write_report(report_names(target)[0], report | {"job": dict(job)})
        return sha256

    def pairs(self, target: Path, place: Place) -> list[tuple[Path, Path]]:
        """Staged files and their final names, synced, the audio last: where it is, its report is too."""
        output = self.tree.root / place.output
        output.parent.mkdir(parents=True, exist_ok=True)
        besides = sorted(path for path in target.parent.iterdir() if path != target)
        for staged in (*besides, target):
            with staged.open("rb+") as file:
                os.fsync(file.fileno())
        return [*((staged, output.with_name(staged.name)) for staged in besides), (target, output)]

    @staticmethod
    def put(pairs: list[tuple[Path, Path]]) -> None:
        """Rename staged files to their final names. Raises OSError."""
        for staged, final in pairs:
            staged.replace(final)
        sync_folder(pairs[-1][1].parent)

    # Notes

    def note_path(self, path: str) -> Path:
        source = PurePath(path)
        return self.tree.root / FAILED / source.parent / fit_name(f"{source.name}.txt")

    def note(self, path: str, reason: str, again: str) -> None:
        """Leave a note of what went wrong where people who never type a command will look."""
        note = self.note_path(path)
        when = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
        text = f"{shown(Path(path))}\n\n{reason}\n\n{when}. {again}\n"
        with contextlib.suppress(OSError):  # the database has it too
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(text, encoding="utf-8", errors="backslashreplace")

    def clear_note(self, path: str) -> None:
        with contextlib.suppress(OSError):
            self.note_path(path).unlink()
            folder = self.note_path(path).parent
            while folder != self.tree.failed:
                folder.rmdir()
                folder = folder.parent

    # Sources

    def move(self, row: Entry) -> None:
        """Take a source that is finished, and its sidecar, out of the drop folder, unless it is another by now."""
        source = self.tree.root / row.path
        if self.tree.look_at(row.path) == row.signature:
            folder = self.tree.root / (DONE if row.state == "done" else FAILED)
            target = free_name(folder / row.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = sidecar(source)
            source.rename(target)
            if beside.is_file() and not any(p.stem == source.stem for p in source.parent.iterdir() if p != beside):
                beside.rename(sidecar(target))
            sync_folder(target.parent)


def free_name(path: Path) -> Path:
    """A name that is not there yet: the path's own, or with a number."""
    candidate, number = path, 1
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = path.with_name(fit_name(f"{path.stem}~{number}{path.suffix}"))
    return candidate


def checksum(path: Path) -> str | None:
    """sha256 of a file, None when it is not there."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EISDIR:
            raise OutputError(f"{shown(path)}: is a folder; move it away") from error
        raise
