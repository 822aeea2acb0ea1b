"""Successive halving: many starts, and after a part of the way only the most promising go on."""

import math
from collections.abc import Sequence

from ttsr_studio.errors import OptionError
from ttsr_studio.search.protocol import (
    Budget,
    Problem,
    SamplingPlan,
    Search,
    choose,
    resume,
    score,
    solve,
    too_small,
    top,
)


def halving_search(
    problem: Problem, budget: Budget, *, rungs: tuple[float, ...] = (0.25, 0.5), keep: float = 0.5
) -> Search:
    """Successive halving (Jamieson and Talwalkar 2016, algorithm 1) over diffusion runs, scored by x0-predictions.

    Candidates run to the first rung; the best of them by the x0-prediction of their last step, which costs nothing, go
    on from where they stand, to the next rung and at last to the end. It starts as many as the budget allows.

    Args:
        rungs: parts of the way (of the steps) after which candidates are compared, ascending, above 0 and below 1. On
            the built-in engine ranks after a quarter of it already correlate by .9 with those of finished renders.
        keep: the part that goes on at every rung, above 0 and below 1.
    """
    if not 0 < keep < 1:
        raise OptionError(f"halving: a part of {keep:g} to keep; above 0 and below 1")
    stops, plan = rung_steps(rungs, problem.plan), problem.plan
    count = max((n for n in range(1, budget.nfe + 1) if prune(n, stops, keep, plan)[1] <= budget.nfe), default=0)
    if count < 1:
        raise too_small("halving", budget, prune(1, stops, keep, plan)[1])
    sizes, _ = prune(count, stops, keep, plan)
    standing = yield from solve(problem.draws(sizes[0]), stops[0], essential=1)
    for size, stop in zip(sizes[1:], [*stops[1:], None], strict=True):
        standing = top(standing, (yield from score(standing)), size) if len(standing) > 1 else standing
        standing = yield from solve(resume(standing), stop, essential=1)
    return (yield from choose(standing))


def rung_steps(rungs: Sequence[float], plan: SamplingPlan) -> list[int]:
    """Parts of the way -> steps, at least one before the first and after the last, without repeats."""
    if not rungs or any(not 0 < rung < 1 for rung in rungs) or list(rungs) != sorted(rungs):
        raise OptionError(f"halving: rungs {', '.join(f'{rung:g}' for rung in rungs)}; above 0 and below 1, ascending")
    if plan.steps < 2:
        raise OptionError("halving needs two --steps or more: with one there is nothing to go on with")
    return sorted({min(plan.steps - 1, max(1, round(rung * plan.steps))) for rung in rungs})


def prune(starts: int, stops: Sequence[int], keep: float, plan: SamplingPlan) -> tuple[list[int], int]:
    """How many run in every part, and what that costs."""
    sizes = [starts]
    for _ in stops:
        sizes.append(max(1, math.floor(sizes[-1] * keep)))
    edges = [0, *stops, plan.steps]
    parts = (size * plan.cost(a, b) for size, a, b in zip(sizes, edges, edges[1:], strict=False))
    return sizes, sum(parts)
