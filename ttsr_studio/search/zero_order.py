"""Zero-order search: neighbours of a pivot noise, the best becomes the pivot."""

from typing import Literal

from ttsr_studio.errors import OptionError
from ttsr_studio.search.contract import Budget, Candidate, Problem, Score, Search, Solve, best

Pivot = Literal["elitist", "paper"]


def zero_order_search(
    problem: Problem, budget: Budget, *, neighbours: int = 2, cosine: float = 0.99, pivot: Pivot = "elitist"
) -> Search:
    """Zero-order search (algorithm 2 of Jin et al.; Ma et al. 2025, section 3.2).

    Args:
        neighbours: K, rendered in every round.
        cosine: between a neighbour and its pivot; larger is nearer (the paper's lambda 0.99, see `noise.draw`).
        pivot: "paper" moves to the best neighbour of the round whatever it is worth, and returns the last pivot, as
            the pseudo-code does. "elitist" renders the first pivot too, keeps it in the round it came from, and
            returns the best candidate ever heard, so that more rounds never make it worse.
    """
    if neighbours < 1:
        raise OptionError(f"zero-order search needs at least 1 neighbour a round, not {neighbours}")
    elitist = pivot == "elitist"
    start = problem.key.child("draw", 0)
    heard: list[Candidate] = []
    centre: Candidate | None = None
    if elitist:
        first = yield Solve((start,))
        assert isinstance(first, list)
        heard, centre = first, first[0]
    while len(heard) < budget.candidates:
        around = centre.key if centre else start
        count = min(neighbours, budget.candidates - len(heard))
        # Numbered by the round, so that a pivot that stays is not given the same neighbours again.
        keys = tuple(around.child("near", len(heard) + k, cosine) for k in range(count))
        fresh = yield Solve(keys)
        assert isinstance(fresh, list)
        if not fresh:
            break
        heard += fresh
        contest = [centre, *fresh] if elitist and centre else fresh
        scores = yield Score(tuple(contest))
        assert not isinstance(scores, list)
        centre = best(contest, scores)
    assert centre is not None
    if elitist:
        scores = yield Score(tuple(heard))
        assert not isinstance(scores, list)
        return best(heard, scores)
    return centre
