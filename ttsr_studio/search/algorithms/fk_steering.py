"""Steering: particles that are weighed by their x0-predictions and drawn anew while they are denoised."""

import math

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.diffusion.noise import NoiseKey, normal
from ttsr_studio.errors import OptionError
from ttsr_studio.search.protocol import Budget, Problem, Rollout, Search, choose, resume, score, solve, too_small, top


def steering_search(
    problem: Problem, budget: Budget, *, strength: float = 2.0, eta: float = 1.0, resample: float = 0.5
) -> Search:
    """Feynman-Kac steering (Singhal et al. 2025, "A general framework for inference-time scaling and steering of
    diffusion models", section 3, difference potentials), in log-weights.

    Particles take stochastic steps (DDIM with eta, Song et al. 2021, equation 16), for a duplicate that took the same
    way would be no new candidate. At every step a particle's weight grows by exp(strength · (z - z of its parent)), z
    its score among the particles in standard deviations; when the effective sample size falls under `resample` times
    their number, they are drawn anew in proportion to their weights (systematic resampling). The x0-prediction that
    is scored is the one that the next step needs, so a particle costs what a run of one evaluation a step does.

    Args:
        strength: lambda, above 0.
        eta: of the steps, above 0 to 1: how much of the noise is new.
        resample: part of the particles, 0 to 1; 0 never draws anew.
    """
    if not 0 < eta <= 1 or not 0 < strength < math.inf or not 0 <= resample <= 1:
        raise OptionError(
            f"steering: strength {strength:g} above 0, eta {eta:g} above 0 to 1, resample {resample:g} from 0 to 1"
        )
    plan = problem.plan
    # One evaluation a step, whatever the solver: stochastic steps are first order.
    count = budget.nfe // (plan.each * plan.steps)
    if count < 1:
        raise too_small("steering", budget, plan.each * plan.steps)
    particles = yield from solve(problem.draws(count), 0, preview=1, essential=1)
    weights, known = np.zeros(len(particles)), np.zeros(len(particles))
    for step in range(plan.steps - 1):
        z = standardised((yield from score(particles)))
        weights, known = weights + strength * (z - known), z
        chosen = np.arange(len(particles))
        if effective(weights) < resample * len(particles):
            chosen = systematic(weights, uniform(problem.key, step))
            weights = np.zeros(len(particles))
        known = known[chosen]
        parents = [particles[i] for i in chosen]
        rollouts = [Rollout(p.key.child("walk", i, step, eta), p) for i, p in enumerate(parents)]
        after = yield from solve(rollouts, step + 1, preview=1, essential=1)
        if len(after) < len(particles):
            # Time is up: the others go on in the same steps, the best first, with weights that start anew.
            after = top(after, (yield from score(after)), len(after))
            weights, known = np.zeros(len(after)), np.zeros(len(after))
        particles = after
    finished = yield from solve(resume(particles), essential=1)
    return (yield from choose(finished))


def standardised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores in standard deviations from their mean; what could not be scored counts as the worst."""
    finite = np.isfinite(scores)
    if not finite.any():
        return np.zeros(len(scores))
    scores = np.where(finite, scores, scores[finite].min())
    spread = float(scores.std())
    return (scores - scores.mean()) / spread if spread > 1e-12 else np.zeros(len(scores))


def effective(log_weights: NDArray[np.float64]) -> float:
    """Effective sample size, 1 to N: (sum w)² / sum w²."""
    w = np.exp(log_weights - log_weights.max())
    return float(w.sum() ** 2 / np.square(w).sum())


def systematic(log_weights: NDArray[np.float64], u: float) -> NDArray[np.int64]:
    """Systematic resampling by one number u in [0, 1): indices [N], in order."""
    w = np.exp(log_weights - log_weights.max())
    edges = np.cumsum(w) / w.sum()
    places = (u + np.arange(len(w))) / len(w)
    return np.minimum(np.searchsorted(edges, places, side="right"), len(w) - 1)


def uniform(key: NoiseKey, step: int) -> float:
    """A number in [0, 1) that belongs to a window and a step."""
    return 0.5 * (1 + math.erf(float(normal(key, f"resample {step}", (1,))[0]) / math.sqrt(2)))
