"""Census: random search that previews every candidate on its way, to learn what previews are worth."""

from ttsr_studio.errors import OptionError
from ttsr_studio.search.protocol import Budget, Problem, Search, choose, resume, solve


def census_search(problem: Problem, budget: Budget, *, every: int = 1) -> Search:
    """Algorithm 1 of Jin et al. (2026), with the x0-prediction of every `every`-th step scored, at no evaluation more.

    Candidates and choice are those of random search. What is kept of it (`--keep-rewards`) can be replayed under any
    policy that prunes.
    """
    if every < 1:
        raise OptionError(f"census: every {every} steps; at least 1")
    plan = problem.plan
    standing = yield from solve(problem.draws(budget.runs(plan)), min(every, plan.steps), essential=1)
    for stop in range(2 * every, plan.steps + every, every):
        standing = yield from solve(resume(standing), min(stop, plan.steps), essential=1)
    return (yield from choose(standing))
