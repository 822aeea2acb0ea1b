"""The path through the candidates of a window is the best there is: checked against every path."""

from itertools import pairwise, product

import numpy as np
import pytest
from numpy.typing import NDArray

from ttsr_studio.errors import OptionError
from ttsr_studio.search.viterbi import best_path

Array = NDArray[np.float64]


def worth(path: tuple[int, ...], scores: Array, seams: Array, first: Array | None) -> float:
    """What a path scores, less what its seams cost."""
    total = sum(float(scores[s, i]) for s, i in enumerate(path))
    total -= sum(float(seams[s, a, b]) for s, (a, b) in enumerate(pairwise(path)))
    return total - (0.0 if first is None else float(first[path[0]]))


def by_hand(scores: Array, seams: Array, first: Array | None = None) -> list[int]:
    segments, candidates = scores.shape
    every: list[tuple[int, ...]] = list(product(range(candidates), repeat=segments))
    return list(every[int(np.argmax([worth(path, scores, seams, first) for path in every]))])


def case(seed: int) -> tuple[Array, Array, Array]:
    """Scores, seams and first prices of 1 to 5 segments and 1 to 5 candidates."""
    rng = np.random.default_rng(seed)
    segments, candidates = (int(n) for n in rng.integers(1, 6, 2))
    seams = rng.uniform(0, 3, (segments - 1, candidates, candidates))
    return rng.standard_normal((segments, candidates)), seams, rng.uniform(0, 3, candidates)


@pytest.mark.parametrize("seed", range(60))
def test_it_is_the_best_of_all_paths(seed: int) -> None:
    scores, seams, first = case(seed)
    assert best_path(scores, seams) == by_hand(scores, seams)
    assert best_path(scores, seams, first) == by_hand(scores, seams, first)


@pytest.mark.parametrize("seed", range(60))
def test_a_forbidden_candidate_is_never_taken(seed: int) -> None:
    """Whatever the seams around it cost, as long as every segment has one that is allowed."""
    scores, seams, first = case(seed)
    rng = np.random.default_rng(seed)
    forbidden = rng.random(scores.shape) < 0.6
    forbidden[np.arange(len(scores)), rng.integers(scores.shape[1], size=len(scores))] = False
    barred = np.where(forbidden, -np.inf, scores)
    path = best_path(barred, 100 * seams, first)
    assert not any(forbidden[s, i] for s, i in enumerate(path))
    assert path == by_hand(barred, 100 * seams, first)


@pytest.mark.parametrize("seed", range(20))
def test_without_seams_every_segment_has_its_own_best(seed: int) -> None:
    scores, seams, _ = case(seed)
    assert best_path(scores, np.zeros_like(seams)) == scores.argmax(axis=1).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_seams_beyond_price_leave_the_best_whole_candidate(seed: int) -> None:
    scores, seams, _ = case(seed)
    dear = np.broadcast_to(1e6 * (1 - np.eye(scores.shape[1])), seams.shape)
    assert best_path(scores, dear) == [int(scores.sum(axis=0).argmax())] * len(scores)


def test_one_dear_beginning_is_worth_another_candidate() -> None:
    scores, seams = np.array([[1.0, 0.5]]), np.zeros((0, 2, 2))
    assert best_path(scores, seams) == [0]
    assert best_path(scores, seams, np.array([1.0, 0.0])) == [1]


def test_a_seam_is_paid_once_and_in_its_own_direction() -> None:
    """From 0 to 1 costs 3 and from 1 to 0 nothing: the way there is not worth it, the way back is."""
    seams = np.array([[[0.0, 3.0], [0.0, 0.0]]])
    assert best_path(np.array([[2.0, 0.0], [0.0, 2.0]]), seams) == [0, 0]
    assert best_path(np.array([[0.0, 2.0], [2.0, 0.0]]), seams) == [1, 0]


def test_the_first_of_equals_is_taken() -> None:
    assert best_path(np.zeros((3, 4)), np.zeros((2, 4, 4))) == [0, 0, 0]


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 2, 3), (3, 3, 3)])
def test_seams_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match=r"\(3, 2\) needs seams of its shape"):
        best_path(np.zeros((3, 2)), np.zeros(shape))
    with pytest.raises(OptionError, match="seams"):
        best_path(np.zeros((3, 0)), np.zeros((2, 0, 0)))
