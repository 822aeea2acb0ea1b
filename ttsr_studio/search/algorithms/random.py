"""Random search: independent noises, the best is kept."""

from ttsr_studio.search.protocol import Budget, Problem, Search, choose, solve


def random_search(problem: Problem, budget: Budget) -> Search:
    """Random search: algorithm 1 of Jin et al., "Inference-time scaling for diffusion-based audio SR" (2026)."""
    candidates = yield from solve(problem.draws(budget.runs(problem.plan)), essential=1)
    return (yield from choose(candidates))
