"""What came of a job."""

from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from ttsr_studio.errors import Cause, TtsrError, cause_of
from ttsr_studio.watch.policy import AROUND_A_FILE, WRONG_SETTINGS, Backoff


class Ending(Enum):
    """How a job ended."""

    DONE = auto()
    SKIPPED = auto()
    """There is nothing to add to the file."""
    FAILED = auto()
    """For good."""
    RETRY = auto()
    """It cannot be done now, and may be later."""
    CRASHED = auto()
    """The worker crashed, hung or took too much."""
    STOPPED = auto()
    """The service is to end."""
    MACHINE_LOST = auto()
    """The machine that rendered it went away."""
    WORKER_LOST = auto()
    """The worker on another machine went away, and the machine did not."""
    LOST = auto()
    """It is somebody else's by now, or cancelled."""
    CHANGED = auto()
    """The file is another by now, and pending again."""
    MOVED = auto()
    """The file has another path by now, under which it is pending."""


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
        line: what there is to say of it; of a moved file the path at which it is now.
        report: of a render that was made.
        backoff: when it is tried again.
    """

    ending: Ending
    line: str = ""
    report: Path | None = None
    backoff: Backoff = AROUND_A_FILE


class EndedError(Exception):
    """Ends a job wherever it is."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.line)
        self.outcome = outcome


def of_cause(cause: Cause, line: str) -> Outcome:
    """What comes of a job that cannot be done, by what that is about."""
    if cause is Cause.NOTHING_TO_ADD:
        return Outcome(Ending.SKIPPED, line)
    if cause is Cause.INPUT:
        return Outcome(Ending.FAILED, line)
    return Outcome(Ending.RETRY, line, backoff=WRONG_SETTINGS if cause is Cause.SETTINGS else AROUND_A_FILE)


def of_error(error: TtsrError, available: bool) -> Outcome:
    """What comes of a job that ends in an error; nothing is the file's fault while the root is not available."""
    return of_cause(cause_of(error) if available else Cause.ENVIRONMENT, str(error))
