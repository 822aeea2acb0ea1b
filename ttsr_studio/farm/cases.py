"""Cases of an evaluation over a farm: each is measured whole on one machine."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ttsr_studio.errors import shown
from ttsr_studio.farm.actor import Work
from ttsr_studio.farm.farm import Farm
from ttsr_studio.farm.pool import Pieces, Pool
from ttsr_studio.rendering.tasks import TaskFailed


class FarmCases:
    """Measures cases on a farm.

    Args:
        tell: told what keeps the work up, in a line.
    """

    def __init__(self, farm: Farm, workers: int | None, tell: Callable[[str], None]) -> None:
        self.pool, self.tell = Pool(farm, workers, tell), tell

    def __call__(self, works: Sequence[Work]) -> Iterator[tuple[int, Any]]:
        """Numbers and answers, as they are done; None for what failed. Raises FarmError."""
        if not works:
            return
        what = [shown(work.source) for work in works]
        pieces = Pieces(len(works), lambda number, _: works[number], what.__getitem__, lambda: len(works))
        for piece in self.pool.run(pieces):
            if piece is None:
                continue
            if isinstance(piece.answer, TaskFailed):
                self.tell(f"not measured on the farm, but here: {piece.answer.line}")
            yield piece.number, None if isinstance(piece.answer, TaskFailed) else piece.answer
