"""Zero-order search: neighbours of a pivot noise, the best becomes the pivot."""

from typing import Literal

from ttsr_studio.errors import unknown
from ttsr_studio.search.algorithms.local import climb, nearness
from ttsr_studio.search.protocol import Budget, Problem, Rollout, Search, best, choose, score, solve

Pivot = Literal["elitist", "paper"]


def zero_order_search(
    problem: Problem,
    budget: Budget,
    *,
    neighbours: int = 2,
    cosine: float | None = None,
    stride: float | None = None,
    pivot: Pivot = "elitist",
) -> Search:
    """Zero-order search (algorithm 2 of Jin et al.; Ma et al. 2025, section 3.2).

    Args:
        neighbours: K, rendered in every round.
        cosine: between a neighbour and its pivot; larger is nearer (the paper's lambda 0.99, see `noise.draw`).
        stride: the same as the chord, 0 to 2 times the norm; one of the two.
        pivot: "paper" moves to the best neighbour of the round whatever it is worth, and returns the last pivot, as
            the pseudo-code does. "elitist" renders the first pivot too, keeps it in the round it came from, and
            returns the best candidate so far, so that more rounds never make it worse.
    """
    near, renders = nearness(neighbours, cosine, stride), budget.runs(problem.plan)
    if pivot == "elitist":
        first = yield from solve(problem.draws(1), essential=1)
        every = yield from climb(first[0], first, renders - 1, neighbours, near)
        return (yield from choose(every))
    if pivot != "paper":
        raise unknown("pivot", pivot, ("elitist", "paper"))
    around, made, centre = problem.draws(1)[0].key, 0, None
    while made < renders:
        keys = [around.child("near", made + k, near) for k in range(min(neighbours, renders - made))]
        fresh = yield from solve([Rollout(key) for key in keys], essential=1 - min(made, 1))
        if not fresh:
            break
        made += len(fresh)
        centre = best(fresh, (yield from score(fresh)))
        around = centre.key
    assert centre is not None
    return centre
