"""What this process and the gateway to the farm tell each other. Work and answers are bytes that the gateway passes on.

A *line* is one worker's place: it is opened on some machine of the farm, given one work after the other, and closed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

NAMESPACE = "ttsr"
"""Of our actors' names within a Ray cluster."""


@dataclass(frozen=True)
class FarmSettings:
    """How a farm is reached and used.

    Attributes:
        address: of the head, "HOST:PORT", or "auto" for the one whose node runs here.
        gpus: cards of one worker, which may be a fraction; 0 for none, None for 1 where the farm has any.
        threads: of one worker, on a machine that has so many processors.
        identity: what the machines must have as it is here, see `identity`.
        log: takes what Ray prints; None for nowhere.
        owner: what asks for workers, as others on the farm read it.
        before: address of the head that was reached last; empty at first.
    """

    address: str
    gpus: float | None = None
    threads: int = 1
    identity: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    owner: str = "ttsr"
    before: str = ""


# To the gateway


@dataclass(frozen=True)
class Open:
    """Start a worker for a line, wherever there is room."""

    line: int


@dataclass(frozen=True)
class Do:
    """Work for a line.

    Attributes:
        what: says in a word or a path what it is.
        stopped: it is to end with the first that it has.
    """

    line: int
    number: int
    work: bytes
    what: str
    stopped: bool = False


@dataclass(frozen=True)
class Enough:
    """Whatever a line does is to end with the best so far; `leave`: at once, with nothing."""

    line: int
    leave: bool = False


@dataclass(frozen=True)
class Close:
    """End a line's worker, whatever it does."""

    line: int


@dataclass(frozen=True)
class Ask:
    """What do all workers do, those of other commands and services too?

    Attributes:
        installed: whether it is asked as well how the machines' installations differ, which takes seconds.
    """

    line: int = 0
    installed: bool = False


@dataclass(frozen=True)
class Wait:
    """There is work, and not a single worker for it; said again while that is so."""

    line: int = 0


# From the gateway


@dataclass(frozen=True)
class Seat:
    """Where a worker is."""

    node: str
    host: str
    address: str
    pid: int


@dataclass(frozen=True)
class Machine:
    """A node of the farm.

    Attributes:
        slots, free: workers that it takes, and those of them that nobody has.
        refused: why it is not used, None where it is.
    """

    node: str
    host: str
    address: str
    resources: Mapping[str, float]
    slots: int = 0
    free: int = 0
    draining: bool = False
    refused: str | None = None


@dataclass(frozen=True)
class FarmState:
    """The machines that are there, said every second.

    Attributes:
        hungry: whether some other command waits for a first worker.
        holders: who holds the workers, where this one waits for its first; None where that is not known.
        head: address of the head.
    """

    machines: tuple[Machine, ...]
    hungry: bool = False
    holders: str | None = None
    head: str = ""


@dataclass(frozen=True)
class FarmGone:
    """There is no farm, and why."""

    reason: str


@dataclass(frozen=True)
class Opened:
    line: int
    seat: Seat


@dataclass(frozen=True)
class NoRoom:
    """A line could not be opened; `lost` where a machine went away over it, and it may be asked again at once."""

    line: int
    lost: bool = False


@dataclass(frozen=True)
class Whereabouts:
    """Where the work of a line stands; `count` rises with every report of it.

    Attributes:
        memory: resident bytes of the worker.
    """

    line: int
    number: int
    stage: str
    done: float
    total: float
    count: int
    memory: int


@dataclass(frozen=True)
class Census:
    """All workers on the farm: node, pid, owner, does, stage, share, cards, memory.

    Attributes:
        differences: how machines differ from what is wanted, by node: in a line, or None where they do not.
    """

    workers: tuple[Mapping[str, object], ...]
    differences: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Answered:
    line: int
    number: int
    result: bytes


@dataclass(frozen=True)
class Lost:
    """A line's worker, or its whole machine, went away; the line is closed."""

    line: int
    number: int
    how: str
    machine: bool
