"""What may be said of a job. The values are in databases and logs, and what users and their scripts read."""

from enum import Enum, StrEnum, auto


class JobState(StrEnum):
    """Where a file stands; it is in exactly one of these."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Hold(StrEnum):
    """Why a pending file is not to be taken yet."""

    UNSTABLE = "still being written"
    SIDECAR = "waits for its sidecar"


class Reason(StrEnum):
    """Reasons that are known again by their words."""

    GONE = "gone before it was rendered; drop it again"
    EXPIRED = "the service ended while this was rendered"
    CANCELLED = "cancelled"


class Happened(StrEnum):
    """Entries of a file's history."""

    SEEN = "seen"
    CHANGED = "changed"
    BACK = "back"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    HANDED_BACK = "handed back"
    EXPIRED = "lost"
    CANCELLED = "cancelled"
    RETRY = "retry"


class Failure(StrEnum):
    """What an attempt that came to nothing counts as, by its column."""

    CRASH = "deaths"
    RETRY = "tries"
    LOSS = "losses"


class Claim(Enum):
    """Whose a job is that is about to be rendered."""

    OURS = auto()
    LOST = auto()
    DUPLICATE = auto()
