"""How long a render, and the files after it, will take: from what was done so far, and before that from a trial."""

import time
from collections.abc import Callable, Sequence

from ttsr_studio.rendering.inference.progress import Event

ENOUGH = 0.03
"""Share of a search from which on its own speed says more than the trial does."""
AFTER = 0.1
"""What comes after a search, as a share of it, until a file has been through that."""


class TimeLeft:
    """Takes the steps of one render after the other.

    Args:
        work: of every file, in seconds of audio.
        speed: seconds for one of them, from a trial; None where there was none.
        clock: gives seconds.
    """

    def __init__(
        self, work: Sequence[float], speed: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.work, self.clock, self._trial = work, clock, speed
        self._done_work = self._done_seconds = 0.0
        self._number, self._began, self._search, self._stopping = 0, clock(), 0.0, 1.0
        self._searched_from: float | None = None
        self._told_at = clock()
        self._told: float | None = None

    def begin(self, number: int) -> None:
        """Turn to a file, by its number from 0 on."""
        self._number, self._began, self._searched_from, self._search = number, self.clock(), None, 0.0
        self._tell(None)

    def end(self, rendered: bool) -> None:
        """The file is done with; only one that was rendered says how long others take."""
        if rendered:
            self._done_work += self.work[self._number]
            self._done_seconds += self.clock() - self._began

    def stop(self, candidates: int) -> None:
        """Of what is left to search, only the first of so many candidates is made."""
        self._stopping = 1 / max(1, candidates)
        if (left := self.of_file()) is not None:
            self._tell(left * self._stopping)

    @property
    def speed(self) -> float | None:
        """Seconds for a second of audio, from the files that are done, or the trial."""
        return self._done_seconds / self._done_work if self._done_work else self._trial

    def see(self, event: Event) -> None:
        """Take a step of the render in hand."""
        now, share = self.clock(), event.done / event.total if event.total else 0.0
        if event.stage == "writing":
            after = max(AFTER * self._search, 1.0)
            self._tell(after * (1 - share))
            return
        if event.stage == "searching":
            self._searched_from = now if self._searched_from is None else self._searched_from
            spent = now - self._searched_from
            self._search = spent
            if share >= ENOUGH and spent > 0:
                whole = spent / share
                self._tell((whole - spent) * self._stopping + AFTER * whole)
                return
        if self._told is None and self.speed is not None:
            self._tell(self.speed * self.work[self._number] - (now - self._began))

    def _tell(self, seconds: float | None) -> None:
        self._told_at, self._told = self.clock(), seconds

    def of_file(self) -> float | None:
        """Seconds that the file in hand still takes; None where nothing says so yet."""
        if self._told is None:
            return None
        return max(1.0, self._told - (self.clock() - self._told_at))

    def of_all(self) -> float | None:
        """The same of all files."""
        mine = self.of_file()
        if mine is None:
            return None
        rest = sum(self.work[self._number + 1 :])
        own = (self.clock() - self._began + mine) / self.work[self._number]
        return mine + rest * (own if not self._done_work else self._done_seconds / self._done_work)
