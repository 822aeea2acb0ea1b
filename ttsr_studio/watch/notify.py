"""The program that wants to know what came of files."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from ttsr_studio.watch.event_log import EventLog
from ttsr_studio.watch.queue.states import JobState

NOTIFY_SECONDS = 60.0


def notify(command: Sequence[str], state: JobState, path: Path, log: EventLog) -> None:
    """Run a program, where there is one, with the path as its last argument, never through a shell."""
    if not command:
        return
    try:
        done = subprocess.run(
            [*command, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=NOTIFY_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log("notify failed", reason=str(error))
        return
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        log("notify failed", reason=f"exit code {done.returncode}", said=said, state=state)
