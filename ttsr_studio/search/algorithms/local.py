"""What algorithms share: rounds of zero-order search, standard scores, and random numbers that have an address."""

import math
from collections.abc import Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.diffusion.noise import NoiseKey, cosine_to_stride, normal, stride_to_cosine
from ttsr_studio.errors import OptionError
from ttsr_studio.search.protocol import Answer, Candidate, Request, Rollout, best, score, solve

COSINE = 0.99
"""The paper's lambda, taken for a cosine (see `noise.draw`)."""


def nearness(neighbours: int, cosine: float | None, stride: float | None) -> float:
    """The cosine that one of two ways to give a neighbour's distance means; 0.99 when neither is given.

    Raises OptionError for both, for what is no distance, and for rounds without neighbours.
    """
    if neighbours < 1:
        raise OptionError(f"zero-order search needs at least 1 neighbour a round, not {neighbours}")
    if cosine is not None and stride is not None:
        raise OptionError("--cosine and --stride both say how far a neighbour lies; pass one of them")
    if stride is not None:
        return stride_to_cosine(stride)
    cosine = COSINE if cosine is None else cosine
    cosine_to_stride(cosine)
    return cosine


def climb(
    centre: Candidate, finished: Sequence[Candidate], renders: int, neighbours: int, cosine: float
) -> Generator[Request, Answer, list[Candidate]]:
    """Render neighbours of a centre round by round; the best of centre and neighbours is the next centre.

    Args:
        finished: candidates so far.
        renders: the most that may be added to them.
        neighbours: K, in every round.

    Returns:
        All finished candidates.
    """
    every = list(finished)
    most = len(every) + renders
    while len(every) < most:
        count = min(neighbours, most - len(every))
        # Numbered by the round, so that a centre that stays is not given the same neighbours again.
        keys = [centre.key.child("near", len(every) + k, cosine) for k in range(count)]
        fresh = yield from solve([Rollout(key) for key in keys])
        if not fresh:
            break
        every += fresh
        reranking = [centre, *fresh]
        centre = best(reranking, (yield from score(reranking)))
    return every


def standardised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores in standard deviations from their mean; what could not be scored counts as the worst."""
    finite = np.isfinite(scores)
    if not finite.any():
        return np.zeros(len(scores))
    scores = np.where(finite, scores, scores[finite].min())
    spread = float(scores.std())
    return (scores - scores.mean()) / spread if spread > 1e-12 else np.zeros(len(scores))


def uniform(key: NoiseKey, number: int, what: str = "resample") -> float:
    """A number in [0, 1) that belongs to a window and a step, or the number of what it is for."""
    return 0.5 * (1 + math.erf(float(normal(key, f"{what} {number}", (1,))[0]) / math.sqrt(2)))
