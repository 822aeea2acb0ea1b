"""The clock of a file's search: what its budget still allows, when to stop, and how far it is."""

import time
from collections.abc import Callable, Mapping, Sequence

from ttsr_studio.diffusion.denoiser import Meter
from ttsr_studio.render.inference.progress import CancellationToken, Event, Watch
from ttsr_studio.render.inference.session import Session
from ttsr_studio.search.scheduler import Halt, SolveBatch, Task

BESIDE_THE_NETWORK = 1.5
"""What an evaluation costs with decoding and judging, in network evaluations, until it has been measured."""


class BudgetTracker:
    """Time and evaluations of one file's search, shared evenly over its windows, and its progress.

    Args:
        windows: of the file.
        seconds: length of the file.
        meter: the network's, of the whole render.
        stop: raised by the user.
    """

    def __init__(
        self,
        session: Session,
        windows: int,
        seconds: float,
        channels: int,
        meter: Meter,
        progress: Watch,
        stop: CancellationToken,
    ) -> None:
        self._began = time.perf_counter()
        self._session, self._meter, self._stop = session, meter, stop
        self._windows, self._seconds, self._channels, self._progress = windows, seconds, channels, progress
        self._through, self._finished, self._batch = 0, 0, 0
        self._spent = 0.0
        self._per_window = session.window_nfe

    @property
    def timed(self) -> bool:
        """Whether there is a budget in seconds."""
        return self._session.options.budget_seconds is not None

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._began

    def begin(self, windows: int) -> None:
        """A group of so many windows is searched from here."""
        self._through += windows

    def _left(self) -> float:
        """Seconds left of the share of the windows begun so far."""
        budget = self._session.options.budget_seconds
        return float("inf") if budget is None else budget * self._through / self._windows - self.elapsed

    def _cost(self) -> float:
        """Seconds of one evaluation of a row with everything that comes with it."""
        if not self._meter.nfe:
            return 0.0
        alone = BESIDE_THE_NETWORK * self._meter.seconds / self._meter.nfe
        return self.elapsed / self._meter.nfe if self._finished else alone

    def nfe(self, windows: int) -> int:
        """Evaluations that each of so many windows, which are searched next, may spend."""
        most = self._session.window_nfe
        cost = self._cost()
        if not self.timed or not cost:
            return most
        affordable = int(max(0.0, self._left()) / (cost * windows * self._channels))
        self._per_window = max(self._session.plan.run, min(most, affordable))
        return self._per_window

    def room(self) -> float:
        """Evaluations of a row, all channels of a window, that there is time for."""
        cost = self._cost()
        return float("inf") if not self.timed or not cost else max(0.0, self._left()) / (cost * self._channels)

    def over(self) -> bool:
        """Whether what is under way has to be given up."""
        return self._stop.asked or self._left() <= 0

    def halt(self, best: Callable[[int], Mapping[str, float]]) -> Halt:
        """Why a window has to stop, if it has; `best` gives the scores of its best candidate so far."""
        targets = self._session.options.targets

        def asked(window: int) -> str | None:
            if self._stop.asked:
                return "interrupted"
            if self._left() <= 0:
                return "time"
            if targets and (said := best(window)) and all(met(said, name, value) for name, value in targets):
                return "target"
            return None

        return asked

    def watched(self, solve: SolveBatch) -> SolveBatch:
        """The same, reporting progress."""

        def solving(tasks: Sequence[Task]) -> bool:
            self._batch = sum(task.nfe for task in tasks)
            done = solve(tasks)
            self._spent += self._batch if done else 0
            self._tell(self._spent)
            return done

        return solving

    def step(self, share: float) -> None:
        """Such a share of the batch in hand is done."""
        self._tell(self._spent + share * self._batch)

    def end(self, windows: int) -> None:
        """So many windows are done, however many evaluations they took."""
        self._finished += windows
        self._spent = self._finished * self._per_window
        self._tell(self._spent)

    def _tell(self, done: float) -> None:
        total = self._windows * self._per_window
        done = min(done, total)
        self._progress(Event("searching", done, total, self._seconds * done / total))


def met(said: Mapping[str, float], name: str, value: float) -> bool:
    """Whether a verifier, or every scale of it, said at least so much."""
    own = [score for column, score in said.items() if column.split("/")[0] == name or column == name]
    return bool(own) and all(score >= value for score in own)
