"""What a budget still allows, when a search has to stop, and how far it is.

`BudgetTracker` belongs to the file: it gives every group of windows its share of the time and reports progress.
`GroupBudget` belongs to the search of one group, wherever that runs.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ttsr_studio.diffusion.denoiser import Meter
from ttsr_studio.rendering.inference.progress import CancellationToken, Event, Watch
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.search.protocol import Budget, SamplingPlan
from ttsr_studio.search.scheduler import Halt

BESIDE_THE_NETWORK = 1.5
"""What an evaluation costs with decoding and scoring, in network evaluations, until it has been measured."""


@dataclass(frozen=True)
class TimeShare:
    """What a group of windows may take of a budget in seconds; plain data.

    Attributes:
        seconds: of search; infinite without such a budget.
        per_evaluation: seconds that an evaluation of a row took so far with all that comes with it; 0 before any.
    """

    seconds: float = float("inf")
    per_evaluation: float = 0.0


class GroupBudget:
    """Time and evaluations of the search of one group of windows.

    Args:
        most: evaluations of a window and channel that are never exceeded.
        meter: the network's, of this group.
        rows: of a window, one for each channel.
        stop: set by the user.
    """

    def __init__(
        self, plan: SamplingPlan, most: int, share: TimeShare, meter: Meter, rows: int, stop: CancellationToken
    ) -> None:
        self._began = time.perf_counter()
        self._plan, self._most, self._share = plan, most, share
        self._meter, self._rows, self._stop = meter, rows, stop

    @property
    def timed(self) -> bool:
        """Whether there is a budget in seconds."""
        return self._share.seconds != float("inf")

    @property
    def unknown(self) -> bool:
        """Whether there is a budget in seconds, and what an evaluation takes has yet to be measured."""
        return self.timed and not self._cost()

    def _left(self) -> float:
        return self._share.seconds - (time.perf_counter() - self._began)

    def _cost(self) -> float:
        """Seconds of one evaluation of a row with everything that comes with it; 0 when not known."""
        if self._share.per_evaluation or not self._meter.nfe:
            return self._share.per_evaluation
        self._meter.settle()
        return BESIDE_THE_NETWORK * self._meter.seconds / self._meter.nfe

    def of_windows(self, windows: int) -> Budget:
        """What each of so many windows, which are searched next, may spend."""
        if not self.timed or self.unknown:
            return Budget(self._most)
        affordable = int(max(0.0, self._left()) / (self._cost() * windows * self._rows))
        return Budget(max(self._plan.run, min(self._most, affordable)))

    def room(self) -> float:
        """Evaluations of a row, all channels of a window, that there is time for."""
        if not self.timed or self.unknown:
            return float("inf")
        return max(0.0, self._left()) / (self._cost() * self._rows)

    def over(self) -> bool:
        """Whether what is under way has to be given up."""
        return self._stop.asked or self._left() <= 0

    def halt(self, targets: Mapping[str, float], best: Callable[[int], Mapping[str, float]]) -> Halt:
        """Why a window has to stop, if it has.

        Args:
            targets: scores by verifier that end a window's search once its best candidate has all of them.
            best: the scores of a window's best candidate so far, by column.
        """

        def asked(window: int) -> str | None:
            if self._stop.asked:
                return "interrupted"
            if self._left() <= 0:
                return "time"
            if targets and (scores := best(window)) and all(met(scores, *target) for target in targets.items()):
                return "target"
            return None

        return asked


@dataclass
class BudgetTracker:
    """The budget in seconds of one file's search, shared evenly over its windows, and its progress.

    Attributes:
        windows, seconds: of the file.
        per_window: evaluations that a window is expected to take.
        budget_seconds: of search; None for no such budget.
        stages: what all groups that are done took.
        progress: told of every batch.
    """

    windows: int
    seconds: float
    per_window: int
    budget_seconds: float | None
    stages: Stages
    progress: Watch
    _began: float = field(default_factory=time.perf_counter)
    _through: int = 0
    _finished: int = 0

    def begin(self, windows: int) -> TimeShare:
        """A group of so many windows is searched from here: what it may take."""
        self._through += windows
        elapsed = time.perf_counter() - self._began
        nfe = self.stages.network.nfe
        speed = elapsed / nfe if nfe else 0.0
        if self.budget_seconds is None:
            return TimeShare(per_evaluation=speed)
        return TimeShare(self.budget_seconds * self._through / self.windows - elapsed, speed)

    def start(self) -> None:
        """The search begins now: what went before was no part of it."""
        self._began = time.perf_counter()

    def begin_beside(self, windows: int, workers: int, busy: float) -> TimeShare:
        """A group is searched from here, beside those of other workers: what it may take.

        Args:
            workers: how many there are.
            busy: seconds that groups which are done took, all workers together.
        """
        left = self.windows - self._through
        self._through += windows
        nfe = self.stages.network.nfe
        speed = busy / nfe if nfe else 0.0
        if self.budget_seconds is None:
            return TimeShare(per_evaluation=speed)
        rounds = math.ceil(max(windows, left) / (windows * workers))
        return TimeShare((self.budget_seconds - (time.perf_counter() - self._began)) / rounds, speed)

    def reached(self, spent: float, per_window: int) -> None:
        """The group in hand has spent so many evaluations of windows, of which each may take `per_window`."""
        self.per_window = per_window
        self._report(self._finished * per_window + spent)

    def end(self, windows: int) -> None:
        """So many windows are done, however many evaluations they took."""
        self._finished += windows
        self._report(self._finished * self.per_window)

    def _report(self, done: float) -> None:
        total = self.windows * self.per_window
        done = min(done, total)
        left = self.windows - self._finished
        self.progress(Event("searching", done, total, self.seconds * done / total, windows_left=left))


def met(scores: Mapping[str, float], name: str, value: float) -> bool:
    """Whether a verifier, or every scale of it, gives at least so much."""
    own = [score for column, score in scores.items() if column.split("/")[0] == name or column == name]
    return bool(own) and all(score >= value for score in own)
