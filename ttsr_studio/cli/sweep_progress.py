"""Progress of a sweep over clips, as `ttsr evaluate` and `ttsr tune` make them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ttsr_studio.cli.progress import told_in_a_log
from ttsr_studio.evaluation.sweep import Reporter


class SweepProgress(Reporter):
    """How far a sweep over clips is, as a bar; what fails is a line on standard error."""

    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self.bar, self.task, self.begun = bar, bar.add_task("", total=None), 0
        self.away = 0

    @property
    def line(self) -> str:
        """Where it is, for a log."""
        task = self.bar.tasks[0]
        total = "" if task.total is None else f", {task.completed:.0f} of {task.total:.0f} done"
        return f"{task.description or 'beginning'}{total}"

    def expect(self, cases: int) -> None:
        self.begun = 0
        self.bar.reset(self.task, total=cases)

    def step(self, study: str, clip: str) -> None:
        self.bar.update(self.task, completed=self.begun + self.away, description=f"{study}  {clip}"[-60:])
        self.begun, self.away = self.begun + 1, max(0, self.away - 1)

    def elsewhere(self, study: str, clip: str) -> None:
        self.away += 1
        self.bar.update(self.task, completed=self.begun + self.away, description=f"{study}  {clip}"[-60:])

    def failed(self, reason: str) -> None:
        super().failed(reason)
        click.echo(f"failed: {reason}", err=True)


@contextmanager
def sweep_progress() -> Iterator[SweepProgress]:
    """Give what sweeps report to: a bar on a terminal, in a log a line from time to time."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
    )
    quiet = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as bar:
        progress = SweepProgress(bar)
        with told_in_a_log(lambda: progress.line):
            yield progress
