"""What a policy would choose among the draws of a file.

A file holds M draws of every window, and a policy that draws n of them could have drawn any n. So it is tried on many
subsets of the draws, keyed by clip, the same ones for every policy with that n; what comes out is the chance that
each draw has of being chosen. Permutations are cut into blocks of n, so that at n = 1 all draws are equally likely and
a random choice has no error of its own.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.evaluation.replay.policy import Policy, starts
from ttsr_studio.evaluation.replay.score_file import Array, Columns, Draws, Recording, columns_named, in_all
from ttsr_studio.search.algorithms.poisson import poisson_counts
from ttsr_studio.search.algorithms.successive_halving import prune, rung_steps
from ttsr_studio.search.protocol import SamplingPlan
from ttsr_studio.verifiers.ensemble import combine
from ttsr_studio.verifiers.panel import Panel
from ttsr_studio.verifiers.protocol import Verifier
from ttsr_studio.verifiers.rules import RULES, TYPICAL, Rule, ranks, tally, untypical

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """What a policy does on a window.

    Attributes:
        chances: of every draw of being chosen, [M, 1], or in every segment, [M, S].
        nfe: evaluations of a window and channel that it takes on average, as a render counts them.
    """

    chances: Array
    nfe: float


def choices(policy: Policy, recording: Recording, plan: SamplingPlan, orders: int, seed: int) -> list[Choice]:
    """What a policy, checked before, does in every window of a clip.

    Args:
        orders: subsets of the draws that are tried, at least.
        seed: of these; the clip's name is added to it.
    """
    windows = [as_one(recording.windows)] if policy.choice == "clip" else list(recording.windows)
    found = []
    for window in windows:
        drawn = subsets(recording.label, window.count, starts(policy, plan, window.count), orders, seed)
        choice = choose_draw(policy, window, drawn, plan)
        found.append(replace(choice, nfe=choice.nfe + policy.overhead))
    return found * len(recording.windows) if policy.choice == "clip" else found


def as_one(windows: Sequence[Draws]) -> Draws:
    """All windows of a clip as one: a draw is the same noise throughout, its score the mean over windows.

    Windows that a verifier has no scores of are left out of its mean, as in a search.
    """

    def mean(every: Sequence[Columns]) -> Columns:
        found = {}
        for name in in_all(every):
            scores = [columns[name] for columns in every if np.isfinite(columns[name]).any()]
            found[name] = np.mean(scores, axis=0) if scores else np.full(windows[0].count, np.nan)
        return found

    previews = {step: mean([w.previews[step] for w in windows]) for step in in_all([w.previews for w in windows])}
    return Draws(mean([window.scores for window in windows]), previews, {}, np.ones(1))


def subsets(label: str, total: int, size: int, count: int, seed: int) -> Index:
    """At least `count` subsets of `size` of the draws 0 to total - 1, in random orders, [R, size]."""
    rng = np.random.default_rng([seed, zlib.crc32(label.encode())])
    blocks = total // size
    orders = rng.permuted(np.tile(np.arange(total), (math.ceil(count / blocks), 1)), axis=1)
    return orders[:, : blocks * size].reshape(-1, size)


def choose_draw(policy: Policy, window: Draws, drawn: Index, plan: SamplingPlan) -> Choice:
    """What a policy does with some drawings [R, n] of one window's draws."""
    scored = np.ones(drawn.shape, bool)
    nfe = float(drawn.shape[1] * plan.run)
    if policy.search == "halving":
        drawn, nfe = halved(policy, window, drawn, plan)
        scored = np.ones(drawn.shape, bool)
    elif policy.search == "poisson":
        counts = poisson_counts(
            np.random.default_rng([len(drawn), drawn.shape[1]]), drawn.shape[1], policy.mean, len(drawn)
        )
        scored = np.arange(drawn.shape[1]) < counts[:, None]
        nfe = float(counts.mean() * plan.run)
    elif policy.targets:
        counts = until_met(policy, window, drawn)
        scored = np.arange(drawn.shape[1]) < counts[:, None]
        nfe = float(counts.mean() * plan.run)
    if policy.choice == "segment" and len(window.shares) > 1:
        return Choice(by_segment(policy, window, drawn, scored), nfe)
    columns = columns_of(policy, window.scores)
    chosen = votes(columns, drawn, policy.ensemble, scored).argmax(axis=1) if columns else np.zeros(len(drawn), int)
    numbers = np.take_along_axis(drawn, chosen[:, None], axis=1)[:, 0]
    return Choice(np.bincount(numbers, minlength=window.count)[:, None] / len(drawn), nfe)


def columns_of(policy: Policy, columns: Columns) -> Columns:
    """The columns of those that choose."""
    return {
        column: values
        for column, values in columns.items()
        if any(name in (column, column.split("/")[0]) for name in policy.verifiers)
    }


def halved(policy: Policy, window: Draws, drawn: Index, plan: SamplingPlan) -> tuple[Index, float]:
    """The draws that come to their end, [R, k], and what all took."""
    stops = rung_steps(policy.rungs, plan)
    sizes, nfe = prune(drawn.shape[1], stops, policy.keep, plan)
    for size, step in zip(sizes[1:], stops, strict=True):
        if drawn.shape[1] > 1:
            early = votes(columns_of(policy, window.previews[step]), drawn, policy.ensemble)
            drawn = np.take_along_axis(drawn, np.argsort(-early, axis=1, kind="stable")[:, :size], axis=1)
    return drawn, float(nfe)


def until_met(policy: Policy, window: Draws, drawn: Index) -> Index:
    """How many draws it takes until the best so far has the target, [R]; all where it never has."""
    counts = np.full(len(drawn), drawn.shape[1])
    going, columns = np.arange(len(drawn)), columns_of(policy, window.scores)
    wanted = [
        (window.scores[column], score)
        for name, score in policy.targets
        for column in columns_named(name, window.scores)
    ]
    for count in range(1, drawn.shape[1]):
        best = votes(columns, drawn[going, :count], policy.ensemble).argmax(axis=1)
        numbers = drawn[going, best]
        met = np.logical_and.reduce([values[numbers] >= score for values, score in wanted])
        counts[going[met]] = count
        going = going[~met]
        if not len(going):
            break
    return counts


@dataclass(frozen=True)
class Voter:
    """A verifier's place in a panel without the verifier."""

    name: str


def by_segment(policy: Policy, window: Draws, drawn: Index, scored: Mask) -> Array:
    """Chances [M, S] when every segment takes the best of what was scored, seams being free."""
    columns = columns_of(policy, window.segments)
    best = segment_votes(columns, drawn, scored, policy.ensemble).argmax(axis=1)
    chances = np.zeros((window.count, len(window.shares)))
    np.add.at(chances, (np.take_along_axis(drawn, best, axis=1), np.arange(best.shape[1])[None]), 1 / len(drawn))
    return chances


def segment_votes(columns: Columns, drawn: Index, scored: Mask, rule: Rule = "zsum") -> Array:
    """An ensemble's scores of the segments of drawings [R, n], each compared within itself: [R, n, S].

    The same as `Panel.combine_segments` row by row, all rows at once where everything is scored.
    """
    names = [column.split("/")[0] for column in columns]
    if scored.all() and all(np.isfinite(values).all() for values in columns.values()):
        total = np.zeros((*drawn.shape, next(iter(columns.values())).shape[1]))
        doubt = np.zeros_like(total)
        voting = [name for name in names if rule != "pessimism" or name != TYPICAL]
        for name, values in zip(names, columns.values(), strict=True):
            if name not in voting:
                doubt = untypical(values[drawn].swapaxes(1, 2)).swapaxes(1, 2)
                continue
            apart = values[drawn] - values[drawn].mean(axis=1, keepdims=True)
            size = np.sqrt(np.square(apart).mean(axis=(1, 2), keepdims=True))
            total += np.where(size > 1e-12, apart / np.where(size > 1e-12, size, 1.0), 0.0) / names.count(name)
        total -= doubt
        return total
    panel = Panel(tuple(cast(Verifier, Voter(name)) for name in names), rule=rule)
    rows = []
    for numbers, mask in zip(drawn, scored, strict=True):
        combined = np.full((len(numbers), next(iter(columns.values())).shape[1]), -np.inf)
        combined[mask] = panel.combine_segments({column: values[numbers[mask]] for column, values in columns.items()})
        rows.append(combined)
    return np.stack(rows)


def votes(columns: Mapping[str, Array], drawn: Index, rule: Rule, scored: Mask | None = None) -> Array:
    """An ensemble's scores of drawings [R, n], each compared within itself; -inf for what is not scored.

    The same as `ensemble.combine` row by row, all rows at once where every verifier has scored everything.
    """
    taken = {name: values[drawn] for name, values in columns.items()}
    if scored is not None:
        taken = {name: np.where(scored, values, np.nan) for name, values in taken.items()}
    if len(taken) == 1:
        (only,) = taken.values()
        return np.where(np.isfinite(only), only, -np.inf)
    if not all(np.isfinite(values).all() for values in taken.values()):
        rows = [combine({name: values[r] for name, values in taken.items()}, rule).values for r in range(len(drawn))]
        return np.stack(rows)
    groups: dict[str, list[Array]] = {}
    for name, values in taken.items():
        groups.setdefault(name.split("/")[0], []).append(values)
    scores = {n: parts[0] if len(parts) == 1 else np.mean([ranks(p) for p in parts], 0) for n, parts in groups.items()}
    doubted = scores.pop(TYPICAL, None) if rule == "pessimism" else None
    total = tally(np.stack([RULES[rule](values) for values in scores.values()]), np.ones(len(scores)), rule)
    return total if doubted is None else total - untypical(doubted)
