"""Progress of a command, on a terminal or in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ttsr_studio.rendering.inference.progress import Event, Watch

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
    last = time.monotonic()
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:

        def watch(name: str, number: int, files: int) -> Watch:
            for task in bar.task_ids:
                bar.remove_task(task)
            shown = name if len(name) <= 32 else f"{name[:15]}…{name[-16:]}"
            prefix = f"[{number + 1}/{files}] {shown}" if files > 1 else shown
            task = bar.add_task(prefix, total=None, count="", rendered=0.0)
            stage = ""

            def report(event: Event) -> None:
                nonlocal stage, last
                if not quiet and not console.is_terminal and time.monotonic() - last > LINE_SECONDS:
                    last = time.monotonic()
                    line = f"{prefix} {event.stage} {event.done / event.total:.0%}"
                    console.print(line, highlight=False, markup=False, soft_wrap=True)
                if event.stage != stage:
                    stage = event.stage
                    bar.reset(task, total=event.total, description=f"{prefix} {stage}")
                unit = f"{event.done:.0f}/{event.total:.0f} evaluations" if stage == "searching" else ""
                bar.update(task, completed=event.done, total=event.total, count=unit, rendered=event.rendered)

            return report

        yield watch
