"""Progress of a command, on a terminal or in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ttsr_studio.evaluation.sweep import Reporter
from ttsr_studio.render.inference.progress import Event, Watch

LINE_SECONDS = 15.0


class SpeedColumn(ProgressColumn):
    """Audio rendered per second of search: x real time."""

    def render(self, task: Task) -> Text:
        seconds, rendered = task.elapsed or 0.0, task.fields.get("rendered", 0.0)
        return Text(f"{rendered / seconds:.2f}x" if seconds and rendered else "-", style="progress.data.speed")


@contextmanager
def show_progress(quiet: bool) -> Iterator[Callable[[str, int, int], Watch]]:
    """Give a function (file name, its number, of how many) -> the report of that file's progress.

    A bar on a terminal; in a log, a line every 15 s.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        SpeedColumn(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    told = time.monotonic()
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:

        def watch(name: str, number: int, files: int) -> Watch:
            for task in bar.task_ids:
                bar.remove_task(task)
            shown = name if len(name) <= 32 else f"{name[:15]}…{name[-16:]}"
            prefix = f"[{number + 1}/{files}] {shown}" if files > 1 else shown
            task = bar.add_task(prefix, total=None, count="", rendered=0.0)
            stage = ""

            def report(event: Event) -> None:
                nonlocal stage, told
                if not quiet and not console.is_terminal and time.monotonic() - told > LINE_SECONDS:
                    told = time.monotonic()
                    line = f"{prefix} {event.stage} {event.done / event.total:.0%}"
                    console.print(line, highlight=False, markup=False, soft_wrap=True)
                if event.stage != stage:
                    stage = event.stage
                    bar.reset(task, total=event.total, description=f"{prefix} {stage}")
                unit = f"{event.done:.0f}/{event.total:.0f} evaluations" if stage == "searching" else ""
                bar.update(task, completed=event.done, total=event.total, count=unit, rendered=event.rendered)

            return report

        yield watch


class SweepProgress(Reporter):
    """How far a sweep over clips is, as a bar; what fails is a line on standard error."""

    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self.bar, self.task, self.begun = bar, bar.add_task("", total=None), 0

    def expect(self, cases: int) -> None:
        self.begun = 0
        self.bar.reset(self.task, total=cases)

    def step(self, study: str, clip: str) -> None:
        self.bar.update(self.task, completed=self.begun, description=f"{study}  {clip}"[-60:])
        self.begun += 1

    def failed(self, reason: str) -> None:
        super().failed(reason)
        click.echo(f"failed: {reason}", err=True)


@contextmanager
def sweep_progress() -> Iterator[SweepProgress]:
    """Give what sweeps report to; draws nothing when standard error is not a terminal."""
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
        yield SweepProgress(bar)
