"""When files will be done: what is under way by how far it is, what waits by what the files before it took."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from ttsr_studio.watch.queue.status import progress_share
from ttsr_studio.watch.queue.store import JobRecord

ENOUGH = 0.03
"""Share of a search from which on its own speed says more than other files do."""

AFTER = 1.1
"""What a render takes in all, for what its search takes."""


def speed_of(done: Iterable[JobRecord]) -> float | None:
    """Seconds that a byte of a source took, of files that were rendered; None where none says so."""
    known = [
        (row.finished_at - row.started_at) / row.size
        for row in done
        if row.finished_at and row.started_at and row.size and row.output_sha256 and not row.duplicate_of
    ]
    return statistics.median(known) if known else None


class Forecast:
    """Seconds until files are done.

    Args:
        told: seconds that files were said to take before they were begun, by path.
        speed: seconds for a byte of other sources, None where nothing is known.
        now: seconds since 1970.
    """

    def __init__(self, told: Mapping[str, float], speed: float | None, now: float) -> None:
        self.told, self.speed, self.now = told, speed, now

    def of_all(self, row: JobRecord) -> float | None:
        """What a whole file takes."""
        return self.told.get(row.path, None if self.speed is None else self.speed * row.size)

    def of_running(self, row: JobRecord) -> float | None:
        """What is left of a file under way."""
        spent = self.now - (row.started_at or self.now)
        share = progress_share(row.progress)
        if share is not None and share >= ENOUGH and '"searching"' in (row.progress or ""):
            return max(1.0, spent / share * AFTER - spent)
        whole = self.of_all(row)
        return None if whole is None else max(1.0, whole - spent)

    def of_pending(self, running: Sequence[JobRecord], pending: Sequence[JobRecord], jobs: int) -> list[float | None]:
        """For each of those that wait, in their order, when it is done; None from the first on of which none knows.

        Args:
            jobs: how many are rendered at a time.
        """
        free = sorted(self.of_running(row) or 0.0 for row in running)
        free = [0.0] * max(0, jobs - len(free)) + free
        sure = all(self.of_running(row) is not None for row in running)
        found: list[float | None] = []
        for row in pending:
            whole = self.of_all(row)
            sure = sure and whole is not None
            if not sure or whole is None:
                found.append(None)
                continue
            done, *others = free
            found.append(done + whole)
            free = sorted([done + whole, *others])
        return found
