"""Progress of a render: what the pipeline reports, and how a terminal shows it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """Where a render stands.

    Attributes:
        stage: "reading", "searching", "writing".
        done, total: of that stage: seconds of audio, or evaluations of a row.
        rendered: seconds of audio that are finished.
    """

    stage: str
    done: float
    total: float
    rendered: float = 0.0


Watch = Callable[[Event], None]
"""Told of every step."""


class CancellationToken:
    """Whether somebody asked to stop. Searches look at it between solver steps."""

    def __init__(self) -> None:
        self.asked = False
