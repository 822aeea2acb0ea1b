"""The ensemble decides which render a user gets; every rule here decides it."""

import numpy as np
import pytest

from ttsr_studio.errors import OptionError
from ttsr_studio.verifiers.ensemble import RULES, combine

NAN = float("nan")


def test_single_verifier_keeps_its_order() -> None:
    score = np.array([3.0, -1.0, 7.5, 0.0])
    for rule in RULES:
        assert np.argsort(combine({"a": score}, rule).values).tolist() == np.argsort(score).tolist()


def test_ranks_are_averaged_for_ties_and_run_from_0_to_1() -> None:
    combined = combine({"a": np.array([1.0, 2.0, 2.0, 4.0])}, "rank")
    np.testing.assert_allclose(combined.values, [0.0, 0.5, 0.5, 1.0])


def test_rank_is_the_weighted_mean_of_ranks() -> None:
    scores = {"a": np.array([0.0, 1.0, 2.0]), "b": np.array([2.0, 1.0, 0.0])}
    np.testing.assert_allclose(combine(scores, "rank").values, [0.5, 0.5, 0.5])
    np.testing.assert_allclose(combine(scores, "rank", {"a": 3.0}).values, [0.25, 0.5, 0.75])


def test_rank_ignores_scale_and_zsum_does_not() -> None:
    scores = {"a": np.array([0.0, 1.0, 2.0, 100.0]), "b": np.array([2.0, 3.0, 4.0, 2.5])}
    assert combine(scores, "rank").values.argmax() == 2
    assert combine(scores, "zsum").values.argmax() == 3


def test_minrank_prefers_the_candidate_nobody_dislikes() -> None:
    scores = {"a": np.array([9.0, 5.0, 0.0]), "b": np.array([0.0, 5.0, 9.0])}
    assert combine(scores, "minrank").values.argmax() == 1


def test_constant_verifier_adds_nothing() -> None:
    score = np.array([0.1, 0.3, 0.2])
    alone = combine({"a": score}, "zsum").values
    np.testing.assert_array_equal(combine({"a": score, "b": np.full(3, 0.1) * 3}, "zsum").values, alone)


@pytest.mark.parametrize("rule", RULES)
def test_a_candidate_that_a_verifier_could_not_score_never_wins(rule: str) -> None:
    scores = {"a": np.array([9.0, 1.0, 2.0]), "b": np.array([NAN, 1.0, 2.0])}
    combined = combine(scores, rule)  # type: ignore[arg-type]
    assert combined.excluded == (0,)
    assert combined.values[0] == -np.inf
    assert combined.values.argmax() == 2


def test_a_verifier_that_scored_nothing_is_left_out() -> None:
    combined = combine({"a": np.array([1.0, 2.0]), "b": np.array([NAN, NAN])})
    assert combined.left_out == ("b",)
    assert combined.excluded == ()
    np.testing.assert_allclose(combined.values, [0.0, 1.0])


def test_nothing_scored_at_all_leaves_every_candidate_equal() -> None:
    combined = combine({"a": np.array([NAN, NAN])})
    assert combined.values.tolist() == [0.0, 0.0]
    assert combined.left_out == ("a",)


def test_one_candidate_is_the_best() -> None:
    assert combine({"a": np.array([-3.0])}).values.tolist() == [1.0]


def test_a_verifier_of_weight_0_excludes_nobody() -> None:
    scores = {"a": np.array([1.0, 2.0]), "b": np.array([1.0, NAN])}
    assert combine(scores, weights={"b": 0.0}).excluded == ()


@pytest.mark.parametrize(
    ("scores", "rule", "weights", "message"),
    [
        ({}, "rank", None, "no verifier"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, "rank", None, "same candidates"),
        ({"a": np.zeros(0)}, "rank", None, "same candidates"),
        ({"a": np.zeros(2)}, "mean", None, "known: minrank, pessimism, rank, shrunk, zsum"),
        ({"a": np.zeros(2)}, "rank", {"b": 1.0}, "known: a"),
        ({"a": np.zeros(2)}, "rank", {"a": -1.0}, "0 or more"),
        ({"a": np.zeros(2)}, "rank", {"a": 0.0}, "at least one"),
    ],
)
def test_what_does_not_fit_is_refused(scores, rule, weights, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(OptionError, match=message):
        combine(scores, rule, weights)


def test_a_shrunk_vote_believes_an_outlier_of_few_less_than_one_of_many() -> None:
    few = np.array([0.0, 1.0, 2.0, 9.0])
    many = np.concatenate([np.linspace(0, 2, 99), [9.0]])

    def lead(scores: np.ndarray, rule: str) -> float:
        votes = np.sort(combine({"a": scores}, rule).values)  # type: ignore[arg-type]
        return float((votes[-1] - votes[-2]) / (votes[-2] - votes[0]))

    assert lead(few, "shrunk") < 0.8 * lead(few, "zsum")
    assert lead(many, "shrunk") > 0.8 * lead(many, "zsum")
    scores = {"a": few, "b": np.array([3.0, 2.0, 2.5, 0.0])}
    assert combine(scores, "shrunk").values.shape == (4,)
    assert combine({"a": np.full(3, 0.1) * 3, "b": few[:3]}, "shrunk").values.argmax() == 2, "a constant adds nothing"


def test_pessimism_passes_over_a_winner_that_is_unlike_the_others() -> None:
    scores = {"a": np.array([0.0, 1.0, 2.0, 3.0, 4.0]), "typical": -np.array([1.0, 0.9, 1.1, 1.0, 3.0])}
    assert combine(scores, "zsum").values.argmax() != 4
    plain, hedged = combine({"a": scores["a"]}, "zsum").values, combine(scores, "pessimism").values
    assert (plain.argmax(), hedged.argmax()) == (4, 3)
    np.testing.assert_allclose(hedged[:2], plain[:2], err_msg="what is typical loses nothing")
    assert combine(scores, "pessimism", {"typical": 0.0}).values.argmax() == 4
    alike = {"a": scores["a"], "typical": np.full(5, -1.0)}
    np.testing.assert_allclose(combine(alike, "pessimism").values, plain)
    assert combine({"typical": scores["typical"]}, "pessimism").values.argmin() == 4
