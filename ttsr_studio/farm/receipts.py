"""What a command that has files rendered on a farm leaves in their folders while it runs: marks, and workers' receipts.

A mark shows that a machine sees the folder, and that the command still wants something written there. A receipt says
that a render lies there, should the answer find nobody: workers may outlive the head, and the way to who asked them.
"""

import time
from collections.abc import Collection
from contextlib import suppress
from glob import escape
from pathlib import Path

from ttsr_studio.errors import InputError, OutputError, shown
from ttsr_studio.farm.works import note_of
from ttsr_studio.rendering.output import make_folder
from ttsr_studio.rendering.summary import Rendered
from ttsr_studio.rendering.tasks import RenderTask
from ttsr_studio.report.lacking import lacking, was_cut_off
from ttsr_studio.report.paths import page_name, report_paths
from ttsr_studio.report.validate import load_report
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.storage.marks import clear_stale, mark_name

TOUCH_SECONDS = 60.0
"""Between two signs that a command goes on."""


class Marks:
    """The marks of one command, by folder."""

    def __init__(self) -> None:
        self.by_folder: dict[Path, Path] = {}
        self._touched = time.monotonic()

    def add(self, folder: Path) -> None:
        """Mark a folder, which is made, and clear what killed commands left there. Raises OutputError."""
        if folder in self.by_folder:
            return
        make_folder(folder)
        mark = folder / mark_name()
        try:
            mark.touch()
        except OSError as error:
            raise OutputError(f"{shown(folder)}: {error.strerror}; choose another -o") from error
        self.by_folder[folder] = mark
        clear_stale(folder)

    def of(self, target: Path) -> Path:
        """The mark beside an output."""
        return self.by_folder[target.parent]

    def receipt(self, number: int, target: Path) -> Path:
        """Where the worker that delivers a file, by its number, says so."""
        mark = self.of(target)
        return mark.with_name(f"{mark.name}.{number}.json")

    def delivered(self, number: int, task: RenderTask) -> Rendered | None:
        """The render of a worker of which nothing more was heard, where it lies whole at its target; else None."""
        data, picture, _ = report_paths(task.target)
        receipt = self.receipt(number, task.target)
        if not receipt.exists() and task.report and self.is_ours(number, task.target) and not lacking(task.target):
            receipt = data  # it was lost after its last file and before it said so
        try:
            report = load_report(receipt)
            if report.output.sha256 != sha256(task.target):
                return None
        except (OSError, InputError):
            return None
        page = page_name(task.target) if task.report and task.options.page else None
        return Rendered(report, task.target, (data, picture) if task.report else None, page)

    def forget(self, number: int, target: Path) -> None:
        """Remove what a worker left for the case that nobody hears of a file."""
        receipt = self.receipt(number, target)
        for path in (receipt, note_of(receipt)):
            with suppress(OSError):
                path.unlink()

    def is_ours(self, number: int, target: Path) -> bool:
        """Whether what lies at a target is what a worker wrote there, be it without its report."""
        if was_cut_off(target):
            return True
        try:
            return note_of(self.receipt(number, target)).read_text() == str(target.stat().st_ino)
        except (OSError, ValueError):
            return False

    def touch(self) -> None:
        """Show others now and then that this command goes on."""
        if time.monotonic() - self._touched > TOUCH_SECONDS:
            self._touched = time.monotonic()
            for mark in self.by_folder.values():
                with suppress(OSError):
                    mark.touch()

    def remove(self, targets: Collection[Path]) -> None:
        """Remove marks and receipts, and what workers that went away left half written beside outputs."""
        left: list[Path] = []
        for mark in self.by_folder.values():  # the mark first: from then on nobody writes any more
            left += [mark, *mark.parent.glob(f"{escape(mark.name)}.*")]
        for target in targets:
            left += target.parent.glob(f".{escape(target.stem)}*.partial*")
        for path in left:
            with suppress(OSError):
                path.unlink()
