"""What actors are asked to do: hash a file, render one, or search a group of windows. Data that pickles."""

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path

from ttsr_studio.config.sidecar import sidecar
from ttsr_studio.errors import OutputError, TtsrError
from ttsr_studio.farm.actor import LeftError
from ttsr_studio.rendering.inference.group import GroupRequest, GroupResult, search_group
from ttsr_studio.rendering.summary import Rendered
from ttsr_studio.rendering.tasks import HashDone, RenderTask, Workplace, hash_file, render_task
from ttsr_studio.report.earlier import clear_earlier, earlier_report
from ttsr_studio.report.lacking import was_cut_off
from ttsr_studio.report.paths import report_names, report_paths
from ttsr_studio.report.writing import end_writing
from ttsr_studio.storage.atomic import hidden, publish, sync_file, write_atomic
from ttsr_studio.storage.marks import clear_stale, mark_name

SAME_SECONDS = 2.0
"""By which the times of one file may differ between machines: shares round them."""


class NotShared:
    """The answer of a machine that does not see the share."""


@dataclass(frozen=True)
class OnShare:
    """By what a machine tells that it sees the same share: a mark where it is to write, and the source as it lies here.

    Attributes:
        mark: a file whose name is like no other's.
        size, mtime: of the source, bytes and seconds.
    """

    mark: Path
    source: Path
    size: int
    mtime: float

    @classmethod
    def of(cls, mark: Path, source: Path) -> "OnShare":
        """Raises OSError for a source that is not there."""
        status = source.stat()
        return cls(mark, source, status.st_size, status.st_mtime)

    def here(self) -> bool:
        try:
            status = self.source.stat()
            return (
                self.mark.is_file() and status.st_size == self.size and abs(status.st_mtime - self.mtime) < SAME_SECONDS
            )
        except OSError:
            return False


@dataclass(frozen=True)
class HashWork:
    """The checksum of a file on the share."""

    share: OnShare

    @property
    def source(self) -> Path:
        return self.share.source

    def __call__(self, place: Workplace) -> HashDone | NotShared:
        return hash_file(self.source, place.report) if self.share.here() else NotShared()


@dataclass(frozen=True)
class RenderWork:
    """A render from the share to the share.

    Attributes:
        receipt: where it is left that the render lies there, in case the answer finds nobody: it may be that only who
            asked, or the way there, went away. Without the mark that stands for them nothing is written any more.
    """

    task: RenderTask
    share: OnShare
    receipt: Path | None = None

    @property
    def source(self) -> Path:
        return self.task.source

    def __call__(self, place: Workplace) -> Rendered | NotShared:
        if not self.share.here():
            return NotShared()
        if self.receipt is None:
            return render_task(self.task, place)

        place = replace(place, report=Delivery(self, self.receipt, place.report))
        try:
            made = render_task(self.task, place)
        except OutputError:
            if self.task.replace or not was_cut_off(self.task.target):
                raise  # else it is of a worker that was lost, which wrote on meanwhile and then ended
            made = render_task(replace(self.task, replace=True), place)
        with suppress(TtsrError):
            write_atomic(self.receipt, json.dumps(made.report.to_json()).encode())
        return made


class Delivery:
    """Passes on where a render stands; leaves it where nobody waits for it any more, and notes which file it writes."""

    def __init__(self, work: RenderWork, receipt: Path, report: Callable[[str, float, float], None]) -> None:
        self.mark, self.target, self.note, self.report = work.share.mark, work.task.target, note_of(receipt), report
        self.noted = False

    def __call__(self, stage: str, done: float, total: float) -> None:
        """Raises LeftError."""
        if stage == "writing":
            if not self.mark.exists() and self.mark.parent.is_dir():
                raise LeftError
            if not self.noted:
                self._note()
        self.report(stage, done, total)

    def _note(self) -> None:
        """Note what the file is that gets the target's name when it is whole, which tells it from those of others."""
        pattern = f".{escape(self.target.stem)}.*.partial{escape(self.target.suffix)}"
        with suppress(OSError):
            for path in self.target.parent.glob(pattern):
                self.note.write_text(str(path.stat().st_ino))
                self.noted = True


def note_of(receipt: Path) -> Path:
    """Where a worker notes which file it writes, beside where it says that all is written."""
    return receipt.with_suffix(".inode")


@dataclass(frozen=True)
class Shipment:
    """A render that was made elsewhere, and the files of it by name."""

    rendered: Rendered
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class ShippedRender:
    """A render for a machine that does not see the share: files go there and come back as bytes.

    Attributes:
        files: what it reads, by path.
    """

    task: RenderTask
    files: Mapping[Path, bytes]

    @classmethod
    def of(cls, task: RenderTask) -> "ShippedRender":
        """Raises OSError for a file that cannot be read."""
        options = task.options
        wanted = [task.source, *([task.reference] if task.reference else []), *options.speakers]
        wanted += [options.reference] if options.reference else []
        beside = sidecar(task.source)
        wanted += [beside] if beside.is_file() else []
        return cls(task, {path: path.read_bytes() for path in wanted if path.is_file()})

    @property
    def source(self) -> Path:
        return self.task.source

    def __call__(self, place: Workplace) -> Shipment:
        clear_stale(Path(tempfile.gettempdir()))
        with tempfile.TemporaryDirectory(prefix=f"{mark_name()}.") as name:
            there = {path: Path(name, "in", str(path.parent).strip("/").replace("/", "~"), path.name)
                     for path in self.files}  # fmt: skip
            for path, copy in there.items():
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(self.files[path])
            out = Path(name, "out")
            out.mkdir()
            task, options = self.task, self.task.options
            options = replace(
                options,
                reference=there.get(options.reference, options.reference) if options.reference else None,
                speakers=tuple(there.get(path, path) for path in options.speakers),
            )
            reference = there.get(task.reference) if task.reference else None
            moved = replace(
                task, source=there[task.source], target=out / task.target.name, options=options, reference=reference,
                inputs=(),
            )  # fmt: skip
            made = render_task(moved, place)
            return Shipment(brought_home(made, task.target.parent), {p.name: p.read_bytes() for p in out.iterdir()})


def brought_home(made: Rendered, folder: Path) -> Rendered:
    """A render as it is once its files lie in a folder, by whatever way that is named."""
    files = made.files and (folder / made.files[0].name, folder / made.files[1].name)
    page = made.page and folder / made.page.name
    return replace(made, target=folder / made.target.name, files=files or None, page=page or None)


def put_in_place(shipment: Shipment, task: RenderTask) -> Rendered:
    """Put the files of a render where they belong, the audio last. Raises OutputError and OSError."""
    anew = task.replace or was_cut_off(task.target)
    earlier = earlier_report(task.target) if anew else None
    ours = report_paths(task.target)[0] == report_names(task.target)[0]  # what was put there before this was killed
    for name in sorted(shipment.files, key=lambda name: name == task.target.name):
        final = task.target.parent / name
        temporary = hidden(final)
        try:
            temporary.write_bytes(shipment.files[name])
            sync_file(temporary)
            publish(temporary, final, anew or (ours and name != task.target.name))
        finally:
            temporary.unlink(missing_ok=True)
    made = shipment.rendered
    clear_earlier(task.target, earlier, made.report, made.page, task.inputs)
    end_writing(task.target)
    return made


@dataclass(frozen=True)
class SearchWork:
    """The search of a group of windows of a file."""

    source: Path
    request: GroupRequest

    def __call__(self, place: Workplace) -> GroupResult:
        place.report("loading", 0, 1)
        session = place.sessions.of(self.request.options)
        return search_group(
            self.request, session, place.stop, lambda spent, most: place.report("searching", spent, most)
        )
