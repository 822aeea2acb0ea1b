"""The path through the candidates of a window is the best there is: checked against every path."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ttsr_studio.errors import OptionError
from ttsr_studio.search.viterbi import best_path

Array = NDArray[np.float64]
Case = tuple[Array, Array, Array]


def worth(path: tuple[int, ...], scores: Array, seams: Array, first: Array) -> float:
    """What a path scores, less what its seams cost."""
    total = sum(float(scores[s, i]) for s, i in enumerate(path))
    total -= sum(float(seams[s, a, b]) for s, (a, b) in enumerate(pairwise(path)))
    return total - float(first[path[0]])


def best_worth(scores: Array, seams: Array, first: Array) -> float:
    every = product(range(scores.shape[1]), repeat=len(scores))
    return max(worth(path, scores, seams, first) for path in every)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Scores, seams and first prices of 1 to 4 segments and candidates: whole numbers, so that sums are exact."""
    segments, candidates = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    prices = st.integers(0, 9).map(float)
    scores = draw(arrays(np.float64, (segments, candidates), elements=st.integers(-9, 9).map(float)))
    seams = draw(arrays(np.float64, (segments - 1, candidates, candidates), elements=prices))
    return scores, seams, draw(arrays(np.float64, candidates, elements=prices))


@given(case=cases())
def test_it_is_the_best_of_all_paths(case: Case) -> None:
    scores, seams, first = case
    free = np.zeros_like(first)
    assert worth(tuple(best_path(scores, seams)), scores, seams, free) == best_worth(scores, seams, free)
    assert worth(tuple(best_path(scores, seams, first)), *case) == best_worth(*case)


@given(case=cases(), data=st.data())
def test_a_forbidden_candidate_is_never_taken(case: Case, data: st.DataObject) -> None:
    """Whatever the seams around it cost, as long as every segment has one that is allowed."""
    scores, seams, first = case
    forbidden = data.draw(arrays(np.bool_, scores.shape))
    allowed = data.draw(arrays(np.intp, len(scores), elements=st.integers(0, scores.shape[1] - 1)))
    forbidden[np.arange(len(scores)), allowed] = False
    barred = np.where(forbidden, -np.inf, scores)
    path = best_path(barred, 100 * seams, first)
    assert not any(forbidden[s, i] for s, i in enumerate(path))
    assert worth(tuple(path), barred, 100 * seams, first) == best_worth(barred, 100 * seams, first)


@given(case=cases())
def test_without_seams_every_segment_has_its_own_best(case: Case) -> None:
    scores, seams, _ = case
    assert best_path(scores, np.zeros_like(seams)) == scores.argmax(axis=1).tolist()


@given(case=cases())
def test_seams_beyond_price_leave_the_best_whole_candidate(case: Case) -> None:
    scores, seams, _ = case
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
