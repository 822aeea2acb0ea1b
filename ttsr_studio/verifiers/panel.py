"""The verifiers of a render: those that choose, those that only watch, and how their votes are combined."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.verifiers.ensemble import Combined, combine
from ttsr_studio.verifiers.protocol import Scope, Verifier
from ttsr_studio.verifiers.rules import TYPICAL, Rule, untypical

Asked = Literal["auto", "window", "clip"]


@dataclass(frozen=True)
class Panel:
    """Verifiers by role.

    Attributes:
        search: those that choose.
        held_out: those that score everything and choose nothing.
        weights: of those that choose, by name; 1 where there is none.
        asked: "auto" takes every verifier's own scope; "window" and "clip" overrule it.
        left_out: {name: why} of optional ones that are not here.
    """

    search: tuple[Verifier, ...]
    held_out: tuple[Verifier, ...] = ()
    rule: Rule = "rank"
    weights: Mapping[str, float] = field(default_factory=dict)
    asked: Asked = "auto"
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def everyone(self) -> tuple[Verifier, ...]:
        return self.search + self.held_out

    def scope(self, verifier: Verifier) -> Scope:
        """What a verifier scores here. What needs a window's internals cannot be asked for a clip."""
        if self.asked == "auto" or {"expected", "early", "others"} & verifier.needs:
            return verifier.scope
        return self.asked

    def scoring(self, scope: Scope) -> tuple[Verifier, ...]:
        """Verifiers of both roles that score windows, or clips."""
        return tuple(verifier for verifier in self.everyone if self.scope(verifier) == scope)

    def choosing(self, scope: Scope) -> tuple[Verifier, ...]:
        return tuple(verifier for verifier in self.search if self.scope(verifier) == scope)

    def combine(self, columns: Mapping[str, NDArray[np.float64]], also: Mapping[str, float] | None = None) -> Combined:
        """Combine the columns of those that choose; `also` gives weights of columns that are no verifier's.

        Columns [N] of scores, at least one. Without any that chooses, all candidates are equal.
        """
        voters = {verifier.name for verifier in self.search} | set(also or {})
        votes = {name: values for name, values in columns.items() if name.split("/")[0] in voters}
        if not votes:
            return Combined(np.zeros(len(next(iter(columns.values()))) if columns else 0), (), ())
        present = {name.split("/")[0] for name in votes}
        weights = {name: w for name, w in {**self.weights, **(also or {})}.items() if name in present}
        return combine(votes, self.rule, weights)

    def combine_segments(self, columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Combine scores of segments, {column: [N, S]}, into one number each, [N, S], in standard deviations.

        Ranks would make a segment where all candidates are alike weigh as much as one where they differ, so whatever
        the rule is, this is the weighted mean of deviations from the segment's mean, over the deviations' size in the
        whole window; pessimism takes from it what is untypical of a segment's candidates. Scales of one verifier share
        its weight. A candidate that a verifier could not score gets -inf.
        """
        total, weight = np.zeros(next(iter(columns.values())).shape), 0.0
        doubt = np.zeros_like(total)
        names = [name.split("/")[0] for name in columns]
        voters = {verifier.name for verifier in self.search}
        for column, values in columns.items():
            name = column.split("/")[0]
            share = self.weights.get(name, 1.0) / names.count(name)
            known = np.isfinite(values)
            if name not in voters or not share or not known.any():
                continue
            if self.rule == "pessimism" and name == TYPICAL:
                doubt = share * untypical(np.where(known, values, -np.inf).T).T
                continue
            filled = np.where(known, values, np.nan)
            apart = filled - np.nanmean(filled, axis=0, keepdims=True)
            size = float(np.sqrt(np.nanmean(np.square(apart))))
            z = apart / size if size > 1e-12 else np.zeros_like(apart)
            total, weight = total + share * np.where(known, z, -np.inf), weight + share
        return (total - doubt) / (weight or 1.0)
