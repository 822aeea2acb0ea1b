"""Progress of a render: one line a file on a terminal, which clears itself; in a log, a line from time to time."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TaskProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

from ttsr_studio.cli.time_left import TimeLeft
from ttsr_studio.rendering.inference.progress import Event, Watch
from ttsr_studio.report.numbers import roughly

LINE_SECONDS = 15.0


LOADING_SECONDS = 5.0
"""After which a log is told what is waited for."""


@contextmanager
def told_in_a_log(line: Callable[[], str], first: float | None = None) -> Iterator[None]:
    """Where standard error is no terminal, print a line from time to time, the first one after so many seconds."""
    console, done = Console(stderr=True), threading.Event()

    def tell() -> None:
        wait = LINE_SECONDS if first is None else first
        while not done.wait(wait):
            console.print(line(), highlight=False, markup=False, soft_wrap=True)
            wait = LINE_SECONDS

    if console.is_terminal:
        yield
        return
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


@contextmanager
def engine_loading(quiet: bool) -> Iterator[None]:
    """Say that the engine is loaded, which takes seconds; in a log, where it takes long."""
    console = Console(stderr=True)
    if quiet:
        yield
        return
    telling = told_in_a_log(lambda: "loading the engine", LOADING_SECONDS)
    with console.status("loading the engine") if console.is_terminal else telling:
        yield


class LeftColumn(ProgressColumn):
    """How long the file, and all of them, will take."""

    def __init__(self, left: TimeLeft) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self.left = left

    def render(self, task: Task) -> Text:
        mine, every = self.left.of_file(), self.left.of_all()
        if mine is None or every is None:
            return Text(str(task.fields["stage"]))
        more = f", {roughly(every)} for all" if len(self.left.work) > 1 else ""
        return Text(f"{roughly(mine)} left{more}")


class RenderProgress:
    """Shows where the render in hand is, until it is cleared.

    Args:
        names: of the files.
        quiet: whether nothing is shown.
    """

    def __init__(self, names: Sequence[str], left: TimeLeft, quiet: bool) -> None:
        self.names, self.left = names, left
        self.console = Console(stderr=True)
        self.drawn = not quiet and self.console.is_terminal
        self.logged = not quiet and not self.console.is_terminal
        self.last = time.monotonic()
        self.bar: Progress | None = None
        self.windows_left, self.name = 0, names[0] if names else ""

    def __enter__(self) -> "RenderProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def begin(self, number: int) -> Watch:
        """Turn to a file, by its number from 0 on; gives what is told of its progress."""
        self.clear()
        self.left.begin(number)
        self.name = name = self.names[number]
        prefix = f"[{number + 1}/{len(self.names)}] " if len(self.names) > 1 else ""
        shown = name if len(name) <= 32 else f"{name[:15]}…{name[-16:]}"
        task = self._draw(f"{prefix}{name}") if self.drawn else None

        def report(event: Event) -> None:
            nonlocal task
            self.left.see(event)
            self.windows_left = event.windows_left
            if self.due():
                self.say(f"{prefix}{shown} {event.stage} {event.done / event.total:.0%}")
            if self.drawn and self.bar is None:  # another file's line took it away
                task = self._draw(f"{prefix}{name}")
            if self.bar is not None and task is not None:
                self.bar.update(task, completed=event.fraction, stage=event.stage)

        return report

    def due(self) -> bool:
        """Whether it is time for another line in a log."""
        due = self.logged and time.monotonic() - self.last > LINE_SECONDS
        self.last = time.monotonic() if due else self.last
        return due

    def say(self, line: str) -> None:
        """Print a line; above the bar where there is one."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def clear(self) -> None:
        """Take the line away, so that others may print."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _draw(self, text: str) -> TaskID:
        columns = (
            TextColumn(
                "{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
            ),
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            LeftColumn(self.left),
        )
        self.bar = Progress(
            *columns, console=self.console, transient=True, expand=True, redirect_stdout=sys.stdout.isatty()
        )
        self.bar.start()
        return self.bar.add_task(text, total=1.0, stage="reading")
