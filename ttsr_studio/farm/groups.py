"""One file over a farm: its groups of windows are searched by workers, and chosen and joined here.

What comes out is the local render, bit for bit: a group's search depends on its request alone, a request on the file's
plan, and noise on its key, wherever it is drawn.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ttsr_studio.errors import Cause, FarmError, InputError, TtsrError, shown
from ttsr_studio.farm.farm import Farm
from ttsr_studio.farm.pool import Piece, Pieces, Pool
from ttsr_studio.farm.works import SearchWork
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.group import GroupResult
from ttsr_studio.rendering.inference.windows import FileSearch
from ttsr_studio.rendering.tasks import TaskFailed, Workplace

AHEAD = 2
"""Groups that may be searched before their turn, besides one for every worker: they wait in memory."""


@dataclass(frozen=True)
class Warm:
    """Load what a render needs."""

    source: Path
    options: RenderOptions

    def __call__(self, place: Workplace) -> None:
        place.sessions.of(self.options)


class FarmSearch:
    """Searches groups of windows on a farm.

    Args:
        device: that workers compute on.
        tell: told what keeps the work up, in a line.
    """

    def __init__(self, farm: Farm, workers: int | None, device: str, tell: Callable[[str], None]) -> None:
        self.pool, self.device = Pool(farm, workers, tell), device

    def __call__(self, search: FileSearch) -> Iterator[GroupResult | None]:
        """Results of all groups, in order. Raises what `search_group` does, and FarmError."""
        turn = FileTurn(search, self.device)
        self.pool.warm = Warm(search.name, replace(search.session.options, device=self.device))
        most = self.pool.most
        pieces = Pieces(
            len(search.plan.groups),
            lambda number, _: turn.request(number, min(most, max(1, self.pool.farm.slots))),
            lambda number: f"{shown(Path(search.name.name))}, group {number + 1} of {len(search.plan.groups)}",
            lambda: turn.through + max(1, min(most, self.pool.farm.slots)) + AHEAD,
        )
        for piece in self.pool.run(pieces):
            if search.stop and search.stop.asked:
                if not turn.started and self.pool.farm.held():
                    raise KeyboardInterrupt  # there is no best so far, and no telling when there will be
                self.pool.enough()
            if piece is None:
                standings = list(self.pool.standings.values())
                turn.see([(s.done, s.total) for s in standings if s.stage == "searching"])
                continue
            yield from turn.take(piece)


class FileTurn:
    """One file's groups, on their way."""

    def __init__(self, search: FileSearch, device: str) -> None:
        self.search, self.device, self.through = search, device, 0
        self.busy, self.began = 0.0, time.perf_counter()
        self.found: dict[int, GroupResult | None] = {}
        self.started = False

    def request(self, number: int, workers: int) -> SearchWork | None:
        """What a group's search needs; called by the threads of the pool, one at a time."""
        search = self.search
        if not self.started:
            search.tracker.start()  # until here the machines loaded what they need
            search.stages.add("farm", time.perf_counter() - self.began)
            self.started = True
        group = search.plan.groups[number]
        request = search.request(group, search.tracker.begin_beside(len(group), workers, self.busy))
        if request is None:
            return None
        return SearchWork(search.name, replace(request, options=replace(request.options, device=self.device)))

    def see(self, standings: list[tuple[float, float]]) -> None:
        """Say how far the groups in hand are."""
        if standings:
            self.search.tracker.reached(sum(done for done, _ in standings), int(max(most for _, most in standings)))

    def take(self, piece: Piece) -> Iterator[GroupResult | None]:
        """Take in a group; hand out those whose turn it is."""
        search, answer = self.search, piece.answer
        if isinstance(answer, TaskFailed):
            raise error_of(answer)
        if answer is not None:
            search.stages.merge(answer.stages)
            self.busy += piece.seconds
        search.tracker.end(len(search.plan.groups[piece.number]))
        self.found[piece.number] = answer
        while self.through in self.found:
            result = self.found.pop(self.through)
            self.through += 1
            yield result


def error_of(failure: TaskFailed) -> TtsrError:
    """A failure elsewhere as the error that it would have been here."""
    return (InputError if failure.cause is Cause.INPUT else FarmError)(failure.line)
