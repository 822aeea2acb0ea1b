"""Best of Poisson: random search over a number of draws that is itself drawn, which hedges against gamed verifiers."""

import numpy as np

from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.errors import OptionError
from ttsr_studio.search.protocol import Budget, Problem, Search, choose, solve


def poisson_search(problem: Problem, budget: Budget, *, mean: float = 0.5) -> Search:
    """Best of Poisson (Khalaf et al. 2025, "Inference-time reward hacking in large language models", 2506.19248).

    Best of n draws with n one more than a Poisson number of its own in every window, never more than the budget allows.
    Over many windows that is nearly the distribution that gains most of the verifiers' score for its distance from the
    engine's own, where best-of-N of a fixed N overshoots. What is not drawn is not spent.

    Args:
        mean: the part of the budget that windows take on average, above 0 to 1.
    """
    if not 0 < mean <= 1:
        raise OptionError(f"poisson: a mean of {mean:g} of the budget; above 0, at most 1")
    most = budget.runs(problem.plan)
    count = int(poisson_counts(key_random(problem.key), most, mean, 1)[0])
    candidates = yield from solve(problem.draws(count), essential=1)
    return (yield from choose(candidates))


poisson_search.uses_previews = False  # type: ignore[attr-defined]


def key_random(key: NoiseKey) -> np.random.Generator:
    """Random numbers of a window: the same wherever and whenever it is searched."""
    return np.random.default_rng([key.seed, key.position % 2**32, key.group, 7])


def poisson_counts(rng: np.random.Generator, most: int, mean: float, size: int) -> np.ndarray:
    """Numbers of draws, [size], 1 to `most`, about `mean` of it on average."""
    return np.asarray(np.minimum(1 + rng.poisson(max(0.0, mean * most - 1), size), most))
