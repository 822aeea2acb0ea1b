"""Evolution: generations of noises, selected by tournament and mutated, first at the start and then on the way."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.diffusion.noise import NoiseKey, cosine_to_stride, normal
from ttsr_studio.errors import OptionError
from ttsr_studio.search.protocol import (
    Asking,
    Budget,
    Candidate,
    Problem,
    Rollout,
    Search,
    choose,
    resume,
    score,
    solve,
    too_small,
    top,
)

TOURNAMENT = 3
"""Candidates that are compared for a parent."""


@dataclass(frozen=True)
class Rules:
    """See `evolution_search`."""

    generations: int
    elites: int
    cosine: float


def evolution_search(
    problem: Problem,
    budget: Budget,
    *,
    generations: int = 3,
    elites: int = 2,
    cosine: float = 0.8,
    share: float = 0.5,
) -> Search:
    """Evolutionary search of noise and of states on the way (He et al. 2025, "Scaling image and video generation via
    test-time evolutionary search", EvoSearch, arXiv 2505.17618, algorithm 1).

    The first generation is drawn. Each next one keeps the elites and fills up with mutated winners of tournaments: a
    turn of the starting noise that keeps its norm (equation 7). All are scored by the x0-prediction at the start, one
    evaluation each, which those that go on need anyway. The best go half of the way; there a last generation is made,
    as equation 8 has it, by the winners' states with the noise of one step added again; the best of it and of the
    elites go on to their ends.

    Args:
        generations: at the start, the drawn one included, at least 1.
        elites: kept as they are from one generation to the next, at least 1; fewer than a generation has.
        cosine: of a mutation, -1 to below 1; larger is nearer.
        share: of the budget that goes to the start, above 0 and below 1.
    """
    plan = problem.plan
    if generations < 1 or elites < 1 or not 0 < share < 1 or cosine == 1:
        raise OptionError(
            f"evolution: generations {generations}, elites {elites} from 1 on; share "
            f"{share:g} above 0 and below 1; cosine {cosine:g} below 1"
        )
    cosine_to_stride(cosine)
    if plan.steps < 3:
        raise OptionError("evolution needs three --steps or more: with fewer there is no way to mutate on")
    half, look = plan.steps // 2, plan.preview_cost(1)
    # One that goes half of the way, a child of it, and both ends.
    climb = plan.cost(0, half, ahead=True) + look
    child = plan.cost(half - 1, half) + look
    finish = plan.cost(half, plan.steps, ahead=True)
    if budget.nfe < look + climb + child + finish:
        raise too_small("evolution", budget, look + climb + child + finish)
    made = max(1, min(int(share * budget.nfe), budget.nfe - climb - child - finish) // look)
    every = yield from bred(problem, made, Rules(generations, elites, cosine))
    left = budget.nfe - look * len(every)
    count = max(1, min(len(every), left // (climb + child + finish)))
    best_few = top(every, (yield from score(every)), count)
    on = yield from solve(resume(best_few), half, preview=1, essential=1)
    left -= climb * count
    scores = yield from score(on)
    parents = tournament_winners(on, scores, problem.key, len(every), (left - finish * count) // child)
    rollouts = [
        Rollout(parent.key.child("renoise", len(every) + i, half, half - 1), parent) for i, parent in enumerate(parents)
    ]
    children = yield from solve(rollouts, half, preview=1)
    both = [*on, *children]
    finished = yield from solve(resume(top(both, (yield from score(both)), count)), essential=1)
    return (yield from choose(finished))


def bred(problem: Problem, made: int, rules: Rules) -> Asking:
    """`yield from` it: generations at the start, `made` candidates in all, each with its x0-prediction."""
    size = max(1, (made + (rules.generations - 1) * rules.elites) // rules.generations)
    standing = yield from solve(problem.draws(min(size, made)), 0, preview=1, essential=1)
    every = list(standing)
    for _ in range(1, rules.generations):
        scores = yield from score(standing)
        kept = top(standing, scores, min(rules.elites, size - 1))
        wanted = min(size - len(kept), made - len(every))
        parents = tournament_winners(standing, scores, problem.key, len(every), wanted)
        keys = [parent.key.child("near", len(every) + i, rules.cosine) for i, parent in enumerate(parents)]
        fresh = yield from solve([Rollout(key) for key in keys], 0, preview=1)
        every += fresh
        standing = [*kept, *fresh]
        if len(fresh) < len(keys):
            break
    return every


def tournament_winners(
    population: list[Candidate], scores: NDArray[np.float64], key: NoiseKey, turn: int, count: int
) -> list[Candidate]:
    """Parents by tournament: the best of every `TOURNAMENT` at random; the same for a key and turn."""
    if count < 1:
        return []
    numbers = normal(key, f"tournament {turn}", (count * TOURNAMENT,)).numpy().reshape(count, TOURNAMENT)
    # Uniform, since the normal distribution's own order is: by its distribution function.
    ranks = np.argsort(np.argsort(numbers, axis=None, kind="stable"), kind="stable").reshape(count, TOURNAMENT)
    drawn = ranks * len(population) // (count * TOURNAMENT)
    return [population[int(row[np.argmax(scores[row])])] for row in drawn]
