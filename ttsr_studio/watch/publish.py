"""From a render in the work folder to its place under the root; notes of what failed; sources out of the way."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from ttsr_studio.audio.formats import kept_suffix
from ttsr_studio.config.sidecar import sidecar
from ttsr_studio.errors import OutputError, shown
from ttsr_studio.report.paths import page_name, report_names
from ttsr_studio.report.upgrade import upgrade
from ttsr_studio.report.write import write_report
from ttsr_studio.storage.atomic import fit_name, sync_folder
from ttsr_studio.storage.checksum import sha256 as sha256_of
from ttsr_studio.watch.filesystem.root import DONE, FAILED, RENDERS, Root
from ttsr_studio.watch.queue.jobs import Queue
from ttsr_studio.watch.queue.states import JobState
from ttsr_studio.watch.queue.store import JobRecord

if TYPE_CHECKING:
    from ttsr_studio.report.schema import Report

TAKEN_AGAIN = "It is taken again when it is replaced, or with `ttsr queue retry`."


@dataclass(frozen=True)
class ResultPaths:
    """Where the results of a source belong, relative to the root."""

    output: str
    report: str


def result_paths(path: str, queue: Queue) -> ResultPaths:
    """The place of a source's render. Two sources of one stem in a folder do not get into each other's way."""
    source = PurePath(path)
    ending = kept_suffix(source.suffix)
    for name in (source.stem + ending, source.name + ending):
        output = PurePath(RENDERS, source.parent, fit_name(name))
        paths = ResultPaths(str(output), str(report_names(Path(output))[0]))
        other = queue.reported(paths.report)
        if other is None or other.path == path:
            return paths
    raise OutputError(
        f"{shown(Path(path))}: {paths.output} is taken by {other.path if other else ''}; rename the source"
    )


def job_entry(path: str, fingerprint: str, duplicate_of: str | None = None) -> dict[str, Any]:
    """What a report says of the job: its source, what it depends on, and whose render it is a copy of."""
    other = None if duplicate_of is None else shown(Path(duplicate_of))
    return {"source": shown(Path(path)), "fingerprint": fingerprint, "duplicate_of": other}


class Publisher:
    """Puts results in their place under one root."""

    def __init__(self, root: Root) -> None:
        self.root = root

    def stage(self, claim: JobRecord, output: str) -> Path:
        """Where the render of a job is written first: an empty folder of its own, its final name."""
        folder = self.root.stages / str(claim.token)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder / PurePath(output).name

    def clear(self, claim: JobRecord) -> None:
        shutil.rmtree(self.root.stages / str(claim.token), ignore_errors=True)

    def sweep(self, tokens: set[int]) -> None:
        """Remove what jobs left behind that nobody works on any more."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.root.stages.iterdir():
                if path.name.isdecimal() and int(path.name) not in tokens:
                    shutil.rmtree(path, ignore_errors=True)

    # What is there already

    def is_rendered(self, paths: ResultPaths, sha256: str, fingerprint: str) -> bool:
        """Whether a render of this content with these settings is there already, as it was made, its report whole."""
        report = self._report(paths)
        job = report.get("job") or {}
        if job.get("fingerprint") != fingerprint or report["input"]["sha256"] != sha256:
            return False
        output = self.root.path / paths.output
        whole = all(path.exists() for path in report_names(output))
        return whole and sha256_if_there(output) == str(report["output"]["sha256"])

    def _report(self, paths: ResultPaths) -> dict[str, Any]:
        try:
            report = json.loads((self.root.path / paths.report).read_text(encoding="utf-8"))
            return report if isinstance(report, dict) and "input" in report and "output" in report else {}
        except (OSError, ValueError):
            return {}

    def refuse_foreign(self, paths: ResultPaths, claim: JobRecord) -> None:
        """Raise OutputError where a file has the name of a render or report and was not put there by this service."""
        output, report = self.root.path / paths.output, self._report(paths)
        known = {claim.output_sha256, report.get("output", {}).get("sha256")} - {None}
        there = sha256_if_there(output)
        foreign = [output] if there is not None and there not in known else []
        if not known:
            foreign += [path for path in report_names(output) if path.exists()]
        if foreign:
            raise OutputError(
                f"{shown(foreign[0].relative_to(self.root.path))}: exists already and is not what was rendered there; "
                "move it away"
            )

    # Putting in place

    def annotate(self, target: Path, job: dict[str, Any]) -> None:
        """Write into a staged report what it is of, see `job_entry`."""
        path = report_names(target)[0]
        report = json.loads(path.read_text(encoding="utf-8"))
        write_report(path, report | {"job": job})

    def copy_duplicate(self, other: JobRecord, target: Path, name: str, job: dict[str, Any]) -> str | None:
        """Stage the render of another source under this one's name; its checksum, None when it is not what it was.

        Args:
            name: of the source.
        """
        assert other.output
        output = self.root.path / other.output
        try:
            shutil.copyfile(output, target)
            for theirs, ours in zip(report_names(output), report_names(target), strict=True):
                shutil.copyfile(theirs, ours)
            sha256 = sha256_if_there(target)
            report = dict(upgrade(json.loads(report_names(target)[0].read_text(encoding="utf-8"))))
        except (OSError, ValueError):
            return None
        if sha256 is None or report["output"]["sha256"] != sha256:
            return None
        report["input"]["name"], report["output"]["name"] = name, target.name
        write_report(report_names(target)[0], report | {"job": job})
        return sha256

    def pairs(self, target: Path, paths: ResultPaths) -> list[tuple[Path, Path]]:
        """Staged files and their final names, synced, the audio last: where it is, its report is too."""
        output = self.root.path / paths.output
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

    def replaced(self, paths: ResultPaths) -> "Report | None":
        """The report of the render that is there now; None where there is none."""
        from ttsr_studio.report.earlier import earlier_report  # with torch

        return earlier_report(self.root.path / paths.output)

    def clear_replaced(self, earlier: "Report | None", paths: ResultPaths, source: Path) -> None:
        """Remove the next best of the render that was replaced, where they are as they were made.

        Args:
            earlier: its report, None where there was none.
        """
        from ttsr_studio.report.earlier import clear_earlier

        output, report = self.root.path / paths.output, self.replaced(paths)
        if report is not None:
            page = page_name(output) if report.tool.options.get("page") else None
            clear_earlier(output, earlier, report, page, [source])

    # Notes

    def note_path(self, path: str) -> Path:
        source = PurePath(path)
        return self.root.path / FAILED / source.parent / fit_name(f"{source.name}.txt")

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
            while folder != self.root.failed:
                folder.rmdir()
                folder = folder.parent

    # Sources

    def move(self, row: JobRecord) -> None:
        """Take a source that is finished, and its sidecar, out of the drop folder, unless it is another by now."""
        source = self.root.path / row.path
        if self.root.signature_of(row.path) == row.signature:
            folder = self.root.path / (DONE if row.state is JobState.DONE else FAILED)
            target = free_name(folder / row.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = sidecar(source)
            source.rename(target)
            if beside.is_file() and not any(p.stem == source.stem for p in source.parent.iterdir() if p != beside):
                beside.rename(sidecar(target))
            sync_folder(target.parent)


def cancel_files(root: Root, queue: Queue, paths: Sequence[str], how: str) -> list[str]:
    """Give up files that are pending or running, and leave a note of it; returns which.

    Args:
        how: by what that was done, for the note.
    """
    cancelled = queue.cancel(paths)
    for path in cancelled:
        Publisher(root).note(path, f"Cancelled {how}.", TAKEN_AGAIN)
    return cancelled


def free_name(path: Path) -> Path:
    """A name that is not there yet: the path's own, or with a number."""
    candidate, number = path, 1
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = path.with_name(fit_name(f"{path.stem}~{number}{path.suffix}"))
    return candidate


def sha256_if_there(path: Path) -> str | None:
    """sha256 of a file, None when it is not there."""
    try:
        return sha256_of(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EISDIR:
            raise OutputError(f"{shown(path)}: is a folder; move it away") from error
        raise
