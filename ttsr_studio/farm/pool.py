"""Many pieces of work over all workers of a farm: what is lost is done elsewhere, whoever comes is given some.

Worker threads hold a line each. The thread that asks hears answers as they come, and now and then nothing, so that it
can say how far all is, and see to whether somebody wants to stop.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ttsr_studio.errors import Cause, FarmError
from ttsr_studio.farm.actor import Work
from ttsr_studio.farm.farm import UNUSABLE, Farm, FarmAwayError, Line
from ttsr_studio.farm.messages import Seat, Whereabouts
from ttsr_studio.farm.works import NotShared
from ttsr_studio.rendering.tasks import LostError, StoppedError, TaskFailed, guarded

TICK_SECONDS = 0.2
ROOM_SECONDS = 1.0
"""Between two looks for room, or for a farm that is away."""

AWAY_SECONDS = 600.0
"""For which a farm that went away is waited for."""

REMIND_SECONDS = 60.0
"""Between two words that it waits still."""

MOST_LOST = 6
"""Workers that may end in a row over one piece of work; lost machines do not count."""

MOST_WORKERS = 64


@dataclass(frozen=True)
class Pieces:
    """What is to be done.

    Attributes:
        count: how many.
        make: makes a piece by its number and where it is to be done; None where there is nothing to do.
        what: says what it is.
        limit: the number up to which pieces may be begun by now.
        otherwise: makes a piece anew for a machine that does not see the share.
        found: the answer of a piece whose worker was lost, where that shows that it was done all the same; else None.
    """

    count: int
    make: Callable[[int, Seat], Work | None]
    what: Callable[[int], str]
    limit: Callable[[], int]
    otherwise: Callable[[int], Work] | None = None
    found: Callable[[int], Any] = lambda _: None


@dataclass(frozen=True)
class Piece:
    """An answer: what the work returned, or `TaskFailed`; None where there was nothing to do, or it was left."""

    number: int
    answer: Any
    seconds: float


@dataclass
class PoolRun:
    """One run over pieces, as its threads share it."""

    pieces: Pieces
    todo: deque[int] = field(default_factory=deque)
    lost: dict[int, int] = field(default_factory=dict)
    answers: deque[Piece] = field(default_factory=deque)
    broken: BaseException | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)
    over: bool = False


class Pool:
    """All workers that a command may have.

    Args:
        tell: told what keeps the work up, in a line, once for every time.
        warm: what a worker does before its first piece; None for nothing.

    Attributes:
        standings: where pieces in hand are, by number.
    """

    def __init__(self, farm: Farm, workers: int | None, tell: Callable[[str], None], warm: Work | None = None) -> None:
        self.farm, self.tell, self.warm = farm, tell, warm
        self.most = workers or MOST_WORKERS
        self.lines: list[Line] = []
        self.standings: dict[int, Whereabouts] = {}
        self.workers = 0
        self._said: tuple[str | None, float] = None, 0.0
        self._asked: bool | None = None
        self._started = False

    def run(self, pieces: Pieces) -> Iterator[Piece | None]:
        """Answers as they come; None now and then.

        Raises FarmError where the farm cannot be used, or stays away.
        """
        turn = PoolRun(pieces, deque(range(pieces.count)))
        while len(self.lines) < min(self.most, pieces.count):
            self.lines.append(self.farm.line())
        lines = self.lines[: pieces.count]
        self._say_start(len(lines))
        threads = [threading.Thread(target=self._work, args=(line, turn), daemon=True) for line in lines]
        for thread in threads:
            thread.start()
        try:
            yield from self._answers(turn)
        finally:
            with turn.changed:
                turn.over = True
                turn.changed.notify_all()
            for thread in threads:
                thread.join()
            self.standings.clear()
            self.workers, self._asked = 0, None

    def _say_start(self, wanted: int) -> None:
        """Say, before the first of them, that workers are started, which takes its time."""
        starting = min(wanted, self.farm.room)
        if starting and not self._started:
            self._started = True
            self.tell(f"starting {starting} worker{'s' * (starting > 1)} on the farm at {self.farm.head}")

    def _answers(self, turn: PoolRun) -> Iterator[Piece | None]:
        left, away_from = turn.pieces.count, None
        while left:
            with turn.changed:
                if not turn.answers and not turn.broken:
                    turn.changed.wait(TICK_SECONDS)
                found = turn.answers.popleft() if turn.answers else None
            if turn.broken:
                raise turn.broken
            if found:
                left -= 1
                yield found
                continue
            self._find_lost(turn)
            away_from = self._patience(away_from) if not self.workers else None
            yield None

    @staticmethod
    def _find_lost(turn: PoolRun) -> None:
        """Take in what lost workers finished all the same."""
        with turn.changed:
            for number in [number for number in turn.todo if number in turn.lost]:
                if (answer := turn.pieces.found(number)) is not None:
                    turn.todo.remove(number)
                    turn.answers.append(Piece(number, answer, 0.0))

    def _patience(self, away_from: float | None) -> float | None:
        """Since when the farm is away; None where it is not. Raises FarmError when it has been long enough."""
        now, away = time.monotonic(), self.farm.trouble()
        if away and (away.startswith(UNUSABLE) or now - (away_from or now) > AWAY_SECONDS):
            raise FarmError(away)
        reason, (said, at) = away or self.farm.held(), self._said
        if reason != said or (reason and now - at > REMIND_SECONDS):
            self._said = reason, now
            if reason:
                self.tell(f"{'still ' if reason == said else ''}waiting: {reason}")
        return (away_from or now) if away else None

    def enough(self, leave: bool = False) -> None:
        """Have pieces in hand end with the best so far; with `leave` at once, with nothing."""
        if self._asked is None or leave > self._asked:
            self._asked = leave
            for line in self.lines:
                line.enough(leave)

    # The threads

    def _work(self, line: Line, turn: PoolRun) -> None:
        try:
            while self._next(line, turn):
                pass
        except BaseException as error:
            with turn.changed:
                turn.broken = error
                turn.changed.notify_all()

    def _next(self, line: Line, turn: PoolRun) -> bool:
        """Do a piece, once there is a worker; False when there is nothing left to do."""
        fresh = line.seat is None
        if not line.open(lambda: not turn.over):
            with turn.changed:
                turn.changed.wait_for(lambda: turn.over, ROOM_SECONDS)
            return not turn.over
        try:
            if fresh and self.warm:
                line.do(self.warm, "loading", lambda _: self._go_on(turn))
            number = self._take(turn)
            if number is None:
                return False
            self.workers += 1
            try:
                self._do(line, turn, number)
            finally:
                self.workers -= 1
                self.standings.pop(number, None)
        except StoppedError:
            return False
        except LostError:
            pass  # while it loaded
        return True

    def _take(self, turn: PoolRun) -> int | None:
        """The next piece that may be begun; None when there is none left."""
        with turn.changed:
            while not turn.over:
                if turn.todo and turn.todo[0] < turn.pieces.limit():
                    return turn.todo.popleft()
                turn.changed.wait(TICK_SECONDS)
        return None

    def _do(self, line: Line, turn: PoolRun, number: int) -> None:
        seat, began = line.seat, time.monotonic()
        assert seat is not None
        try:
            with turn.changed:  # one at a time: what pieces are made of is read from one file
                answer = guarded(Path(turn.pieces.what(number)), lambda: turn.pieces.make(number, seat))
            if answer is not None and not isinstance(answer, TaskFailed):
                answer = self._ask(line, turn, number, answer)
            if isinstance(answer, NotShared) and turn.pieces.otherwise:
                answer = self._ask(line, turn, number, turn.pieces.otherwise(number))
        except LostError as error:
            answer = self._lost(turn, number, error)
            if answer is None:
                return
        with turn.changed:
            turn.answers.append(Piece(number, answer, time.monotonic() - began))
            turn.changed.notify_all()
        if isinstance(answer, TaskFailed) and answer.cause is Cause.CRASH:
            with contextlib.suppress(LostError):
                line.close()  # what an error of the device leaves behind is not to be trusted

    def _ask(self, line: Line, turn: PoolRun, number: int, work: Work) -> Any:
        def see(where: Whereabouts | None) -> None:
            self._see(turn, number, where)

        return line.do(work, turn.pieces.what(number), see, stopped=self._asked is not None)

    def _lost(self, turn: PoolRun, number: int, error: LostError) -> TaskFailed | None:
        """Put a piece back that its worker did not finish; after many in a row it is given up."""
        with turn.changed:
            turn.lost[number] = turn.lost.get(number, 0) + (not error.machine)
            if turn.lost[number] >= MOST_LOST:
                return TaskFailed(Cause.CRASH, f"{error}; {MOST_LOST} workers in a row")
            turn.todo.appendleft(number)
            turn.changed.notify_all()
        if not isinstance(error, FarmAwayError):
            self.tell(f"{error}; {turn.pieces.what(number)} is done elsewhere")
        return None

    def _see(self, turn: PoolRun, number: int, standing: Whereabouts | None) -> None:
        self._go_on(turn)
        if standing:
            self.standings[number] = standing

    @staticmethod
    def _go_on(turn: PoolRun) -> None:
        if turn.over:
            raise StoppedError
