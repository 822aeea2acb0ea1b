"""Combine the scores of several verifiers into one number per candidate.

It takes the raw scores of one window, so it is no entry of the registry. The result is the average or lowest rank, 0
(worst of all) to 1 (best of all), or a sum of z-scores, in standard deviations. Higher is better. Ranking is as the
paper does it, with average ranks for ties; summing z-scores keeps how much better. `rules` has them one by one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.errors import OptionError, unknown
from ttsr_studio.verifiers.rules import RULES, TYPICAL, Rule, ranks, tally, untypical


@dataclass(frozen=True)
class Combined:
    """One number per candidate.

    Attributes:
        values: [N], float64, higher is better; -inf for an excluded candidate. Ties are the caller's to break.
        excluded: candidates that some verifier could not score, while it scored others.
        left_out: verifiers that scored no candidate at all, so that they do not count.
    """

    values: NDArray[np.float64]
    excluded: tuple[int, ...]
    left_out: tuple[str, ...]


def combine(
    scores: Mapping[str, NDArray[np.float64]], rule: Rule = "rank", weights: Mapping[str, float] | None = None
) -> Combined:
    """Combine raw scores, {verifier: [N]}, higher is better; a score that is not finite is no score.

    Args:
        scores: every verifier's score of every candidate of a window.
        rule: "rank" (weighted mean of ranks), "zsum" (weighted sum of z-scores; a verifier that scores all
            alike adds 0), "minrank" (the worst rank that any verifier with a weight above 0 gives), "shrunk" (zsum with
            z-scores drawn towards ranks) or "pessimism" (zsum less, by its weight, what "typical" finds untypical).
        weights: 0 or more per verifier; 1 for those not named.

    Columns "name/scale" are the scales of one verifier: their ranks are averaged and count as its one score, as the
    paper does with the four of AudioBox aesthetics.

    When no verifier scored anything, all values are 0.

    Raises:
        OptionError: no verifiers or candidates, unequal lengths, an unknown rule, or weights that do not fit.
    """
    if rule not in RULES:
        raise unknown("ensemble rule", rule, RULES)
    scores = _averaged(scores)
    weight = _check(scores, weights or {})
    finite = {name: np.isfinite(score) for name, score in scores.items()}
    left_out = tuple(name for name, ok in finite.items() if not ok.any())
    asked = [name for name in scores if name not in left_out and weight[name] > 0]
    voters = [name for name in asked if rule != "pessimism" or name != TYPICAL]
    size = len(next(iter(scores.values())))
    if not asked:
        return Combined(np.zeros(size), (), left_out)
    valid = np.logical_and.reduce([finite[name] for name in asked])
    values = np.full(size, -np.inf)
    if valid.any():
        votes = [RULES[rule](np.asarray(scores[name], np.float64)[valid]) for name in voters]
        share = np.array([weight[name] for name in voters])
        values[valid] = tally(np.stack(votes), share, rule) if voters else 0.0
        if len(asked) > len(voters):
            values[valid] -= weight[TYPICAL] * untypical(np.asarray(scores[TYPICAL], np.float64)[valid])
    return Combined(values, tuple(int(i) for i in np.flatnonzero(~valid)), left_out)


def _averaged(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Replace the scales of a verifier by the mean of their ranks; NaN for a candidate that one could not score."""
    columns: dict[str, list[NDArray[np.float64]]] = {}
    for name, score in scores.items():
        columns.setdefault(name.split("/")[0], []).append(np.asarray(score, np.float64))
    return {name: parts[0] if len(parts) == 1 else _mean_rank(np.stack(parts)) for name, parts in columns.items()}


def _mean_rank(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores [scales, N] -> mean rank [N], over the candidates that all scales could score."""
    valid = np.isfinite(parts).all(axis=0)
    values = np.full(parts.shape[1], np.nan)
    if valid.any():
        values[valid] = np.mean([ranks(part[valid]) for part in parts], axis=0)
    return values


def _check(scores: Mapping[str, NDArray[np.float64]], weights: Mapping[str, float]) -> dict[str, float]:
    """The weight of every verifier. Raises OptionError."""
    if not scores:
        raise OptionError("no verifier to combine; name at least one")
    shapes = {np.shape(score) for score in scores.values()}
    if len(shapes) > 1 or len(next(iter(shapes))) != 1 or next(iter(shapes)) == (0,):
        raise OptionError(f"every verifier must score the same candidates, got shapes {sorted(shapes)}")
    for name, value in weights.items():
        if name not in scores:
            raise unknown("verifier in weights", name, scores)
        if not (math.isfinite(value) and value >= 0):
            raise OptionError(f"weight of verifier {name!r} must be 0 or more, not {value:g}")
    weight = {name: float(weights.get(name, 1.0)) for name in scores}
    if not any(weight.values()):
        raise OptionError("the weights of all verifiers are 0; give at least one a weight")
    return weight
