"""Random search: independent noises, the best is kept."""

from ttsr_studio.search.contract import Budget, Problem, Score, Search, Solve, best


def random_search(problem: Problem, budget: Budget) -> Search:
    """Random search: algorithm 1 of Jin et al., "Inference-time scaling for diffusion-based audio SR" (2026)."""
    keys = tuple(problem.key.child("draw", i) for i in range(budget.candidates))
    candidates = yield Solve(keys)
    assert isinstance(candidates, list)
    scores = yield Score(tuple(candidates))
    assert not isinstance(scores, list)
    return best(candidates, scores)
