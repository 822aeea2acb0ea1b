"""Screen: a coarse run of many noises, then the whole run of the best of them."""

from ttsr_studio.errors import OptionError
from ttsr_studio.search.protocol import Budget, Problem, Search, choose, resume, score, solve, too_small, top


def screen_search(problem: Problem, budget: Budget, *, coarse: int = 2, finish: float = 0.25) -> Search:
    """Few deterministic steps tell which noises are worth all of them: the same noise, the same solver.

    A probability flow is a map from noise to sample that a coarse solver follows roughly (Song et al. 2021), so ranks
    by its results come near the ranks by the whole runs.

    Args:
        coarse: steps of the first pass, fewer than the plan has.
        finish: part of the noises whose run is then made whole, above 0 to 1; at least one.
    """
    plan = problem.plan
    if not 1 <= coarse < plan.steps:
        raise OptionError(f"screen: {coarse} coarse steps; from 1 to {plan.steps - 1}, below the --steps of a run")
    if not 0 < finish <= 1:
        raise OptionError(f"screen: a part of {finish:g} to finish; above 0, at most 1")
    score_preview = plan.preview_cost(coarse)
    # Both runs begin with the same evaluation.
    rest = plan.cost(0, plan.steps, ahead=True)

    def cost(starts: int) -> int:
        return starts * score_preview + max(1, int(finish * starts)) * rest

    count = max((n for n in range(1, budget.nfe + 1) if cost(n) <= budget.nfe), default=0)
    if count < 1:
        raise too_small("screen", budget, cost(1))
    seen = yield from solve(problem.draws(count), 0, preview=coarse, essential=1)
    chosen = top(seen, (yield from score(seen)), max(1, int(finish * count)))
    finished = yield from solve(resume(chosen), essential=1)
    return (yield from choose(finished))
