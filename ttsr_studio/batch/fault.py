"""Whose fault it is that a file was not rendered: what tells a render farm whether to try again."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

from ttsr_studio.errors import Cause, ChangedError, DeviceError, MissingError, TtsrError, cause_of

Fault = Literal["surroundings", "crash", "settings", "input"]
"""surroundings: disk, memory, share, device, what is not installed here: the same may go well later, or elsewhere.
crash: an error that nobody foresaw. settings: options that cannot be. input: the file itself."""
FAULTS: tuple[Fault, ...] = get_args(Fault)
"""Those that a retry may cure come first."""
RETRIED: tuple[Fault, ...] = ("surroundings", "crash")

OF_CAUSE: dict[Cause, Fault] = {
    Cause.SETTINGS: "settings",
    Cause.ENVIRONMENT: "surroundings",
    Cause.CHANGED: "surroundings",
    Cause.CRASH: "crash",
}

EXIT_CODES: dict[Fault, int] = {"input": 1, "settings": 1, "crash": 70, "surroundings": 75}
"""Exit codes of a job whose files failed, by fault: 70 and 75 as sysexits.h has them."""


def fault_of(error: Exception, source: Path | None = None) -> Fault:
    """Whose fault an error is; a source whose whole folder is not there may be on a share that is not mounted."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
        return "surroundings"
    if not isinstance(error, TtsrError | OSError):
        return "crash"
    if isinstance(error, MissingError | ChangedError | DeviceError):
        return "surroundings"
    fault = OF_CAUSE.get(cause_of(error), "input")
    return "surroundings" if fault == "input" and source and not source.parent.is_dir() else fault


def worst(faults: Iterable[Fault | None]) -> Fault | None:
    """Of several the one that a retry may cure; None where there is none."""
    found = set(faults)
    return next((fault for fault in FAULTS if fault in found), None)
