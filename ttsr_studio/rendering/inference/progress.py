"""Progress of a render: what the pipeline reports, and how a terminal shows it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

STAGES = {"reading": (0.0, 0.05), "searching": (0.05, 0.95), "writing": (0.95, 1.0)}
"""Parts of a whole render that its stages are, from and to: most of the time goes into the search."""


@dataclass(frozen=True)
class Event:
    """Where a render stands. Nothing in it goes back from one event of a render to the next; the last says 1.0.

    Attributes:
        stage: "reading", then "searching", then "writing".
        done, total: of that stage: evaluations of windows in the search, seconds of audio in the others. A search that
            ends early jumps to its total; where a budget in seconds sets how much is searched, the total may change.
        rendered: seconds of audio that are searched.
        fraction: of the whole render, 0 to 1: reading is its first twentieth, writing its last.
        windows_left: windows that are not searched to their end yet.
    """

    stage: str
    done: float
    total: float
    rendered: float = 0.0
    fraction: float = 0.0
    windows_left: int = 0


Watch = Callable[[Event], None]
"""Told of every step."""


class Progress:
    """Takes steps of a render and tells a watch of them, in order and up to 1.0."""

    def __init__(self, watch: Watch) -> None:
        self.watch, self.last = watch, Event("starting", 0.0, 1.0)
        self.parts, self.part = 1, 0

    def __call__(self, event: Event) -> None:
        """Take a step; one that goes back stands where the last one stood."""
        begin, end = STAGES[event.stage]
        share = min(1.0, event.done / event.total) if event.total else 0.0
        fraction = max(self.last.fraction, begin + (end - begin) * share)
        done = event.total * min(1.0, (fraction - begin) / (end - begin))
        rendered = max(self.last.rendered, event.rendered)
        self.last = replace(event, done=done, rendered=rendered, fraction=fraction)
        self.watch(self.last)

    def expect(self, parts: int) -> None:
        """What comes is written in so many parts."""
        self.parts, self.part = parts, 0

    def writing(self, share: float, seconds: float) -> None:
        """Such a share of the part in hand is written, of audio of so many seconds."""
        self(Event("writing", seconds * (self.part + share) / self.parts, seconds))

    def written(self, seconds: float) -> None:
        """The part in hand is written."""
        self.writing(1.0, seconds)
        self.part = min(self.part + 1, self.parts - 1)

    def end(self, seconds: float) -> None:
        """The render is over."""
        self(Event("writing", seconds, seconds, seconds))


class CancellationToken:
    """Whether somebody asked to stop. Searches look at it between solver steps."""

    def __init__(self) -> None:
        self.asked = False
