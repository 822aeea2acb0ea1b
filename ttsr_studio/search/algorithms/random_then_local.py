"""Polish: random search, then the last part of the budget on the neighbourhood of its best."""

from ttsr_studio.errors import OptionError
from ttsr_studio.search.algorithms.local import climb, nearness
from ttsr_studio.search.protocol import Budget, Problem, Search, best, choose, score, solve


def polish_search(
    problem: Problem,
    budget: Budget,
    *,
    share: float = 0.2,
    neighbours: int = 2,
    cosine: float | None = None,
    stride: float | None = None,
) -> Search:
    """Algorithm 1 of Jin et al. (2026) followed by elitist rounds of its algorithm 2 from the best draw.

    Args:
        share: of the budget that goes to the neighbourhood, 0 to below 1.
        neighbours, cosine, stride: as in zero-order search.
    """
    if not 0 <= share < 1:
        raise OptionError(f"polish: a share of {share:g} of the budget; from 0 to below 1")
    near, renders = nearness(neighbours, cosine, stride), budget.runs(problem.plan)
    last = int(share * renders)
    drawn = yield from solve(problem.draws(renders - last), essential=1)
    centre = best(drawn, (yield from score(drawn)))
    every = yield from climb(centre, drawn, last, neighbours, near)
    return (yield from choose(every))
