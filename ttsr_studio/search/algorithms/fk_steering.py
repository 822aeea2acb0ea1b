"""Steering: particles that are weighed by their x0-predictions and drawn anew while they are denoised."""

import math

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.errors import OptionError
from ttsr_studio.search.algorithms.local import standardised, uniform
from ttsr_studio.search.protocol import Budget, Problem, Rollout, Search, choose, resume, score, solve, too_small, top


def steering_search(
    problem: Problem,
    budget: Budget,
    *,
    strength: float = 2.0,
    eta: float = 1.0,
    resample: float = 0.5,
    funnel: tuple[float, ...] = (1.0,),
) -> Search:
    """Feynman-Kac steering (Singhal et al. 2025, "A general framework for inference-time scaling and steering of
    diffusion models", section 3, difference potentials), in log-weights.

    Particles take stochastic steps (DDIM with eta, Song et al. 2021, equation 16), for a duplicate that took the same
    way would be no new candidate. At every step a particle's weight grows by exp(strength · (z - z of its parent)), z
    its score among the particles in standard deviations; when the effective sample size falls under `resample` times
    their number, they are drawn anew in proportion to their weights (systematic resampling). The x0-prediction that
    is scored is the one that the next step needs, so a particle costs what a run of one evaluation a step does.

    With a funnel there are fewer particles at every step, drawn anew from the last, and more at first; a second number
    weighs early scores down (funnel schedule and adaptive temperature, Su et al. 2025, arXiv 2508.12361).

    Args:
        strength: lambda, above 0.
        eta: of the steps, above 0 to 1: how much of the noise is new.
        resample: part of the particles, 0 to 1; 0 never draws anew.
        funnel: particles at the last step as a part of those at the first, above 0 to 1; and, where it is given, a
            power p, 0 or more: the strength at the k-th of K steps is strength · (k / K)^p.
    """
    share, patience = (*funnel, 0.0)[:2] if funnel else (0.0, 0.0)
    sound = 0 < share <= 1 and patience >= 0 and len(funnel) < 3
    if not (0 < eta <= 1 and 0 < strength < math.inf and 0 <= resample <= 1 and sound):
        raise OptionError(
            f"steering: strength {strength:g} above 0, eta {eta:g} above 0 to 1, resample {resample:g} from 0 to 1, "
            f"funnel {','.join(f'{each:g}' for each in funnel)}: above 0 to 1, then a power from 0 on"
        )
    plan = problem.plan
    # One evaluation a step, whatever the solver: stochastic steps are first order.
    most = budget.nfe // plan.each
    if most < plan.steps:
        raise too_small("steering", budget, plan.each * plan.steps)
    sizes = next(s for n in range(most, 0, -1) if sum(s := funnelled(n, share, plan.steps)) <= most)
    particles = yield from solve(problem.draws(sizes[0]), 0, preview=1, essential=1)
    weights, known = np.zeros(len(particles)), np.zeros(len(particles))
    for step in range(plan.steps - 1):
        z = standardised((yield from score(particles))) * ((step + 1) / max(1, plan.steps - 1)) ** patience
        weights, known = weights + strength * (z - known), z
        after_it = min(sizes[step + 1], len(particles))
        chosen = np.arange(len(particles))
        if after_it < len(particles) or effective(weights) < resample * len(particles):
            chosen = systematic(weights, uniform(problem.key, step), after_it)
            weights = np.zeros(after_it)
        known, parents = known[chosen], [particles[i] for i in chosen]
        rollouts = [Rollout(p.key.child("walk", i, step, eta), p) for i, p in enumerate(parents)]
        after = yield from solve(rollouts, step + 1, preview=1, essential=1)
        if len(after) < len(rollouts):
            # Time is up: the others go on in the same steps, the best first, with weights that start anew.
            after = top(after, (yield from score(after)), len(after))
            weights, known = np.zeros(len(after)), np.zeros(len(after))
        particles = after
    return (yield from choose((yield from solve(resume(particles), essential=1))))


def funnelled(first: int, funnel: float, steps: int) -> list[int]:
    """Particles at every step: from `first` down to that part of them, by the same factor each time, at least 1."""
    return [max(1, round(first * funnel ** (step / max(1, steps - 1)))) for step in range(steps)]


def effective(log_weights: NDArray[np.float64]) -> float:
    """Effective sample size, 1 to N: (sum w)² / sum w²."""
    w = np.exp(log_weights - log_weights.max())
    return float(w.sum() ** 2 / np.square(w).sum())


def systematic(log_weights: NDArray[np.float64], u: float, count: int = 0) -> NDArray[np.int64]:
    """Systematic resampling by one number u in [0, 1): indices [count], in order; 0 for as many as there are."""
    w = np.exp(log_weights - log_weights.max())
    edges = np.cumsum(w) / w.sum()
    count = count or len(w)
    places = (u + np.arange(count)) / count
    return np.minimum(np.searchsorted(edges, places, side="right"), len(w) - 1)
