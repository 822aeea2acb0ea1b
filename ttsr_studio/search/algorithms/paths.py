"""Search over paths: branches of partly denoised samples, made by adding noise again and scored by x0-predictions."""

from ttsr_studio.errors import OptionError
from ttsr_studio.search.protocol import (
    Budget,
    Problem,
    Rollout,
    SamplingPlan,
    Search,
    choose,
    score,
    solve,
    too_small,
    top,
)

Round = tuple[int, int, int]
"""Steps of the plan: where the parents stand, up to where noise is added, down to where the children stop."""


def paths_search(
    problem: Problem, budget: Budget, *, branches: int = 2, level: float = 0.11, rise: float = 0.78, fall: float = 0.81
) -> Search:
    """Search over paths (Ma et al. 2025, "Search over Paths"; section 3.2 of arXiv 2501.09732).

    N noises run down to a level. Then, round after round, M children of each are made by adding noise, run down a
    little further than before, and the best N by their x0-predictions (one evaluation more each) are kept, until the
    end. N is what the budget allows; what is left of it goes to more children in the last round.

    Args:
        branches: M, children of each in a round, at least 1.
        level: where the first N stop, in flow time t = sigma / (1 + sigma), above 0 and below 1.
        rise: how far noise is added, in flow time (the paper's delta f).
        fall: how far children run down again (delta b), above `rise`. Levels go to the nearest of the plan's steps.
    """
    if branches < 1:
        raise OptionError(f"paths: {branches} branches; at least 1")
    if not (0 < level < 1 and 0 < rise < fall):
        raise OptionError(f"paths: level {level:g}, rise {rise:g}, fall {fall:g}; level from 0 to 1, fall above rise")
    plan = problem.plan
    first, rounds = rounds_of(plan, level, rise, fall)
    start, each = plan.cost(0, first), [child_cost(plan, part) for part in rounds]
    per_path = start + branches * sum(each)
    count = budget.nfe // per_path
    if count < 1:
        raise too_small("paths", budget, per_path)
    spare = (budget.nfe - count * per_path) // each[-1]
    standing = yield from solve(problem.draws(count), first, essential=1)
    made = 0
    for number, (at, up, down) in enumerate(rounds):
        last = number == len(rounds) - 1
        parents = [standing[i % len(standing)] for i in range(count * branches + (spare if last else 0))]
        rollouts = [Rollout(p.key.child("renoise", made + i, at, up), p) for i, p in enumerate(parents)]
        made += len(rollouts)
        children = yield from solve(rollouts, None if last else down, preview=0 if last else 1, essential=1)
        if last:
            return (yield from choose(children))
        standing = top(children, (yield from score(children)), count)
    raise AssertionError("a plan has at least one round")


def rounds_of(plan: SamplingPlan, level: float, rise: float, fall: float) -> tuple[int, list[Round]]:
    """The step of the first stop, and the rounds down to the end, on the steps of a plan."""
    first = max(1, min(plan.steps - 1, plan.step_at(level / (1 - level))))
    if plan.steps < 2:
        raise OptionError("paths needs two --steps or more: with one there is nowhere to stop on the way")
    rounds: list[Round] = []
    at, t = first, level
    while at < plan.steps:
        high = min(t + rise, 0.999)
        up = min(at, plan.step_at(high / (1 - high)))
        t = t + rise - fall
        down = plan.steps if t <= 0 else min(plan.steps, plan.step_at(t / (1 - t)))
        # Rounds that a coarse plan cannot tell apart are one; the last one ends the run.
        down = max(down, at + 1)
        rounds.append((at, up, down))
        at = down
    return first, rounds


def child_cost(plan: SamplingPlan, part: Round) -> int:
    _, up, down = part
    return plan.cost(up, down) + (plan.preview_cost(1) if down < plan.steps else 0)
