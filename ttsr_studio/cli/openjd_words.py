"""What a render manager that knows Open Job Description reads from what a job prints.

https://github.com/OpenJobDescription/openjd-specifications/wiki/How-Jobs-Are-Run
"""

from pathlib import Path
from typing import Any

import click

from ttsr_studio.errors import on_one_line

STEP = 1.0
"""Percent between two lines of one stage."""


class OpenJdWords:
    """Prints how far a job is, and why it failed, one line each."""

    def __init__(self) -> None:
        self.percent, self.status = -STEP, ""

    def __call__(self, progress: dict[str, Any]) -> None:
        """Tell of progress, as the progress file has it; nothing where nothing is new."""
        percent = 100.0 * float(progress["of_all"])
        name = on_one_line(Path(progress["input"]).name)
        of = f"{progress['file']} of {progress['files']}, {name}: " if progress["file"] else ""
        status = f"{of}{progress['stage']}"
        if status != self.status:
            self._say("status", status)
        if percent >= self.percent + STEP or percent == 100.0 != self.percent:
            self._say("progress", f"{percent:.1f}")
            self.percent = percent
        self.status = status

    def fail(self, reason: str) -> None:
        """Why the job failed."""
        self._say("fail", on_one_line(reason))

    @staticmethod
    def _say(what: str, text: str) -> None:
        click.echo(f"openjd_{what}: {text}")
