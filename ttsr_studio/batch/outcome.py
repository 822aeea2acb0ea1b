"""What becomes of files that are rendered together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ttsr_studio.batch.fault import Fault
from ttsr_studio.batch.plan import Job
from ttsr_studio.errors import TtsrError

if TYPE_CHECKING:
    from ttsr_studio.rendering.inference.session import Session
    from ttsr_studio.rendering.summary import Rendered


class CancelledError(TtsrError):
    """Somebody called all files off."""


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file.

    Attributes:
        reason: in one line, of a failure, or of a file that is skipped since there is nothing to add to it; of what was
            cancelled, the names of all files that were at work, where there were several.
        fault: whose fault a failure is.
        rendered: the render, with the session that made it; None where there is none.
        trace: lines on where a failure that nobody foresaw happened.
        there: why an output that exists is left as it is, of a file that is skipped for that.
        goes_on: whether another file is in hand that was begun before this was known, and whose outcome comes next.
    """

    job: Job
    status: Literal["rendered", "failed", "skipped", "cancelled"]
    reason: str = ""
    fault: Fault | None = None
    rendered: "tuple[Session, Rendered] | None" = None
    trace: Sequence[str] = ()
    there: str = ""
    goes_on: bool = False
