"""Which candidate each stretch of a render comes from: the best path by scores less the price of seams."""

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.errors import OptionError


def best_path(
    scores: NDArray[np.float64], seams: NDArray[np.float64], first: NDArray[np.float64] | None = None
) -> list[int]:
    """Viterbi (1967) over (segment, candidate).

    Args:
        scores: [S, N], higher is better; -inf for a candidate that may not be taken.
        seams: [S - 1, N, N], the price, 0 or more, of going from candidate i in one segment to j in the next.
        first: [N], the price of beginning with a candidate.

    Returns:
        The candidate of every segment, [S]; the lowest number among equals.

    Raises OptionError for shapes that do not fit.
    """
    segments, candidates = scores.shape
    if seams.shape != (segments - 1, candidates, candidates) or not candidates:
        raise OptionError(f"a path over scores {scores.shape} needs seams of its shape, not {seams.shape}")
    value = scores[0] - (0.0 if first is None else first)
    came = np.zeros((segments, candidates), np.int64)
    for s in range(1, segments):
        ways = value[:, None] - seams[s - 1]
        came[s] = ways.argmax(axis=0)
        value = ways.max(axis=0) + scores[s]
    path = [int(value.argmax())]
    for s in range(segments - 1, 0, -1):
        path.append(int(came[s, path[-1]]))
    return path[::-1]
