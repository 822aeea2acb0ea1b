"""Gradient: noises that are turned, step by step, towards where the verifiers' scores rise."""

from ttsr_studio.diffusion.noise import stride_to_cosine
from ttsr_studio.errors import OptionError
from ttsr_studio.search.protocol import (
    Budget,
    Candidate,
    Problem,
    Rollout,
    Search,
    best,
    choose,
    resume,
    score,
    solve,
    too_small,
    with_gradient,
)


def gradient_search(
    problem: Problem, budget: Budget, *, chains: int = 2, stride: float = 0.2, through: int = 2
) -> Search:
    """Gradient ascent on the starting noise (Tang et al., "Inference-time alignment of diffusion models with direct
    noise optimization", arXiv 2405.18881), through few steps of the sampler (DITTO-2, Novack et al., arXiv 2405.20289).

    A chain begins with a draw. In every round the noise of each goes through a coarse run, what comes of it is scored,
    and the way back tells where scores rise; the noise is turned that way by a stride, which shrinks to nothing by the
    end, and stays noise (`noise.ascended`). At last every chain's best noise goes on to its end, from the evaluation
    that it has had; where the coarse run is the whole run, every position is finished already. Rounds are as many as
    the budget allows: one costs 4 evaluations for each step of the coarse run less one, for the way back counts as two
    and all steps but the last are made twice (`protocol.with_gradient`).

    Args:
        chains: noises that climb beside each other, at least 1; fewer where the budget has no room.
        stride: of the first turn, as the chord over the norm, above 0 to 1.
        through: steps of a coarse run of the sampler that gradients go through, at least 1 (the first x0-prediction);
            all of them where there are fewer.
    """
    plan = problem.plan
    if chains < 1 or not 0 < stride <= 1 or through < 1:
        raise OptionError(
            f"gradient: {chains} chains, stride {stride:g}, through {through} steps; chains from 1 on, a stride above "
            "0 to 1, steps from 1 on"
        )
    through = min(through, plan.steps)
    whole = through == plan.steps
    until, climb = (None, plan.run) if whole else (0, plan.preview_cost(through))
    climb, finish = with_gradient(climb, plan.each), 0 if whole else plan.cost(0, plan.steps, ahead=True)
    if budget.nfe < climb + finish:
        raise too_small("gradient", budget, climb + finish)
    count = min(chains, budget.nfe // (climb + finish))
    standing = yield from solve(problem.draws(count), until, through, essential=1, gradient=True)
    ways: list[list[Candidate]] = [[each] for each in standing]
    rounds, made = (budget.nfe - count * finish) // (count * climb), len(standing)
    for turn in range(1, rounds):
        cosine = stride_to_cosine(stride * (1 - (turn - 1) / rounds))
        rollouts = [Rollout(way[-1].key.child("ascend", made + i, cosine), way[-1]) for i, way in enumerate(ways)]
        after = yield from solve(rollouts, until, through, gradient=True)
        made += len(after)
        for way, each in zip(ways, after, strict=False):
            way.append(each)
        if len(after) < len(ways):
            break
    every = [each for way in ways for each in way]
    if whole:
        return (yield from choose(every))
    scores, tops = (yield from score(every)), []
    for way in ways:
        own, scores = scores[: len(way)], scores[len(way) :]
        tops.append(best(way, own))
    finished = yield from solve(resume(tops), essential=1)
    return (yield from choose(finished))


gradient_search.uses_gradients = True  # type: ignore[attr-defined]
