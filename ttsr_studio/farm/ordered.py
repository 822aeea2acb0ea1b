"""Work after work over a farm, with answers in the order in which the work was given."""

from collections.abc import Callable, Iterator
from typing import Any

from ttsr_studio.farm.actor import Work
from ttsr_studio.farm.farm import Farm
from ttsr_studio.farm.groups import AHEAD, error_of
from ttsr_studio.farm.pool import Pieces, Pool
from ttsr_studio.rendering.tasks import TaskFailed


class OrderedWork:
    """Has work done on a farm.

    Args:
        tell: told what keeps the work up, in a line.
    """

    def __init__(self, farm: Farm, workers: int | None, tell: Callable[[str], None]) -> None:
        self.pool = Pool(farm, workers, tell)

    def __call__(
        self, count: int, make: Callable[[int], Work], otherwise: Callable[[int], Work] | None = None
    ) -> Iterator[Any]:
        """Answers in order; few more than there are workers wait for their turn.

        Args:
            make: makes a piece of work by its number, when a worker is there for it.
            otherwise: makes it for a machine that answered the first one by `NotShared`.

        Raises InputError and FarmError for what failed.
        """
        farm, through, found = self.pool.farm, 0, dict[int, Any]()
        pieces = Pieces(
            count,
            lambda number, _: make(number),
            lambda number: f"part {number + 1} of {count}",
            lambda: through + max(1, min(self.pool.most, farm.slots)) + AHEAD,
            otherwise,
        )
        for piece in self.pool.run(pieces):
            if piece is None:
                continue
            if isinstance(piece.answer, TaskFailed):
                raise error_of(piece.answer)
            found[piece.number] = piece.answer
            while through in found:
                yield found.pop(through)
                through += 1
