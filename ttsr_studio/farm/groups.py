"""One file over a farm: its groups of windows are searched by workers, and chosen and joined here.

What comes out is the local render, bit for bit: a group's search depends on its request alone, a request on the file's
plan, and noise on its key, wherever it is drawn.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from ttsr_studio.audio.windows import Window
from ttsr_studio.errors import Cause, FarmError, InputError, TtsrError, shown
from ttsr_studio.farm.farm import Farm
from ttsr_studio.farm.pool import Piece, Pieces, Pool
from ttsr_studio.farm.works import SearchWork
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.group import GroupResult
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.rendering.inference.windows import FileSearch
from ttsr_studio.rendering.tasks import TaskFailed, Workplace

AHEAD = 2
"""Parts that may be searched before their turn, besides one for every worker: they wait in memory."""

PARTS = 4
"""Parts for every worker, at least, into which groups are cut: of few long ones one would keep all others waiting."""


@dataclass(frozen=True)
class Warm:
    """Load what a render needs."""

    source: Path
    options: RenderOptions

    def __call__(self, place: Workplace) -> None:
        place.sessions.of(self.options)


@dataclass(frozen=True)
class GroupPart:
    """Some windows of a group, by its number, which are searched together."""

    group: int
    windows: Sequence[Window]


def cut_evenly(groups: Sequence[Sequence[Window]], workers: int, together: bool) -> list[GroupPart]:
    """Groups in parts of about one size, as many as keep so many workers busy to the end: what is found is the same.

    Args:
        together: whether all windows are one problem, which cannot be cut.
    """
    total = sum(map(len, groups))
    most = total if together else math.ceil(total / max(len(groups), PARTS * workers, 1))
    parts = []
    for number, group in enumerate(groups):
        count = math.ceil(len(group) / max(1, most))
        edges = [len(group) * part // count for part in range(count + 1)]
        parts += [GroupPart(number, group[start:stop]) for start, stop in pairwise(edges)]
    return parts


class FarmSearch:
    """Searches groups of windows on a farm.

    Args:
        device: that workers compute on.
        tell: told what keeps the work up, in a line.

    Attributes:
        begun: whether a worker has been given some of the file in hand.
    """

    def __init__(self, farm: Farm, workers: int | None, device: str, tell: Callable[[str], None]) -> None:
        self.pool, self.device, self.begun = Pool(farm, workers, tell), device, False

    def __call__(self, search: FileSearch) -> Iterator[GroupResult | None]:
        """Results of all groups, in order. Raises what `search_group` does, and FarmError."""
        options, self.begun = search.session.options, False
        turn = FileTurn(search, self.device, cut_evenly(search.plan.groups, self.workers, options.choice == "clip"))
        self.pool.warm = Warm(search.name, replace(options, device=self.device))
        pieces = Pieces(
            len(turn.parts),
            lambda number, _: turn.request(number, self.workers),
            lambda number: f"{shown(Path(search.name.name))}, part {number + 1} of {len(turn.parts)}",
            lambda: turn.through + self.workers + AHEAD,
        )
        since = time.perf_counter()
        for piece in self.pool.run(pieces):
            self.begun |= bool(self.pool.workers or piece)
            if not self.pool.workers and piece is None:
                search.stages.add("farm", time.perf_counter() - since)
            since = time.perf_counter()
            if search.stop and search.stop.asked:
                if piece is None and not self.pool.workers and (self.pool.farm.trouble() or self.pool.farm.held()):
                    raise KeyboardInterrupt  # there is no best so far of all, and no telling when there will be
                self.pool.enough()
            if piece is None:
                standings = list(self.pool.standings.values())
                turn.see([(s.done, s.total) for s in standings if s.stage == "searching"])
                continue
            yield from turn.take(piece)
            since = time.perf_counter()

    @property
    def workers(self) -> int:
        """How many there may be at the moment."""
        return max(1, min(self.pool.most, self.pool.farm.slots))


class FileTurn:
    """One file's parts, on their way."""

    def __init__(self, search: FileSearch, device: str, parts: Sequence[GroupPart]) -> None:
        self.search, self.device, self.parts, self.through = search, device, parts, 0
        self.results: list[GroupResult] = []
        self.busy = 0.0
        self.found: dict[int, GroupResult | None] = {}
        self.started = False

    def request(self, number: int, workers: int) -> SearchWork | None:
        """What a part's search needs; called by the threads of the pool, one at a time."""
        search = self.search
        if not self.started:
            search.tracker.start()  # until here the machines loaded what they need
            self.started = True
        windows = self.parts[number].windows
        request = search.request(windows, search.tracker.begin_beside(len(windows), workers, self.busy))
        if request is None:
            return None
        return SearchWork(search.name, replace(request, options=replace(request.options, device=self.device)))

    def see(self, standings: list[tuple[float, float]]) -> None:
        """Say how far the parts in hand are."""
        if standings:
            self.search.tracker.reached(sum(done for done, _ in standings), int(max(most for _, most in standings)))

    def take(self, piece: Piece) -> Iterator[GroupResult | None]:
        """Take in a part; hand out the groups that are whole, in their turn."""
        search, answer = self.search, piece.answer
        if isinstance(answer, TaskFailed):
            raise error_of(answer)
        if answer is not None:
            search.stages.merge(answer.stages)
            self.busy += piece.seconds
        search.tracker.end(len(self.parts[piece.number].windows))
        self.found[piece.number] = answer
        while self.through in self.found:
            if result := self.found.pop(self.through):
                self.results.append(result)
            self.through += 1
            following = self.parts[self.through : self.through + 1]
            if not following or following[0].group != self.parts[self.through - 1].group:
                results, self.results = self.results, []
                yield joined(results) if results else None


def joined(results: Sequence[GroupResult]) -> GroupResult:
    """The result of a group from those of its parts."""
    windows = tuple(each for result in results for each in result.windows)
    return GroupResult(windows, tuple(each for result in results for each in result.winners), Stages())


def error_of(failure: TaskFailed) -> TtsrError:
    """A failure elsewhere as the error that it would have been here."""
    return (InputError if failure.cause is Cause.INPUT else FarmError)(failure.line)
