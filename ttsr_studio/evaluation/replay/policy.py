"""Policies of a search as the user writes them: `NAME: KEY=VALUE ...`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ttsr_studio.config.option_fields import FIELDS
from ttsr_studio.errors import OptionError, unknown
from ttsr_studio.evaluation.replay.policy_text import split_policy
from ttsr_studio.evaluation.replay.score_file import ScoreFile, columns_named
from ttsr_studio.options.values import parse_targets
from ttsr_studio.search.algorithms.successive_halving import prune, rung_steps
from ttsr_studio.search.protocol import SamplingPlan
from ttsr_studio.verifiers.registry import mean_render_nfe, needs_of
from ttsr_studio.verifiers.rules import RULES, TYPICAL, Rule

REPLAYED_SEARCHES = ("random", "halving", "poisson")


@dataclass(frozen=True)
class Policy:
    """How draws are made and one of them is chosen.

    Attributes:
        verifiers: names or columns of those that choose; none for a random choice.
        n: draws that are started; None for what `nfe` allows, or for all there are.
        nfe: the most evaluations of a window and channel, the mean render that a verifier needs included.
        rungs, keep: of halving, see `search.halving`.
        mean: of poisson, see `search.poisson`.
        choice: what one choice holds for, "window", "segment" (without the price of seams) or "clip".
        targets: (verifier, score): draws one by one, no further once the best so far has all of these.
    """

    name: str
    verifiers: tuple[str, ...] = ()
    n: int | None = None
    nfe: int | None = None
    search: str = "random"
    rungs: tuple[float, ...] = (0.25, 0.5)
    keep: float = 0.5
    mean: float = 0.5
    ensemble: Rule = "rank"
    choice: str = "window"
    targets: tuple[tuple[str, float], ...] = ()

    @property
    def overhead(self) -> int:
        """Evaluations that go before the search, counted as a render counts them."""
        return mean_render_nfe(needs_of(name.split("/")[0]) for name in self.verifiers)


def one_of(known: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise unknown("value", text, known)
        return text

    return read


POLICY_KEYS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "n": ("n", int),
    "nfe": ("nfe", int),
    "search": ("search", one_of(REPLAYED_SEARCHES)),
    "rungs": ("rungs", lambda text: tuple(float(part) for part in text.split(","))),
    "keep": ("keep", float),
    "mean": ("mean", float),
    "verifier": ("verifiers", lambda text: tuple(text.replace("+", ",").split(","))),
    "ensemble": ("ensemble", one_of(tuple(RULES))),
    "choice": ("choice", one_of(FIELDS["choice"].choices)),
    "target": ("targets", lambda text: parse_targets(part.replace(":", "=") for part in text.split("+"))),
}
"""Key -> the field that it sets, and what reads its value."""


def parse_policy(text: str) -> Policy:
    """ "name: key=value key=value" -> a policy. Raises OptionError for what is not known or does not fit."""
    name, pairs = split_policy(text)
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key not in POLICY_KEYS:
            raise unknown("--policy key", key, POLICY_KEYS)
        field, read = POLICY_KEYS[key]
        try:
            fields[field] = read(value)
        except (ValueError, OptionError) as error:
            raise OptionError(f"policy {name!r}: {key}={value}: {error}") from None
    policy = Policy(name, **fields)
    if policy.ensemble == "pessimism" and policy.verifiers and TYPICAL not in policy.verifiers:
        policy = replace(policy, verifiers=(*policy.verifiers, TYPICAL))
    halves = {"rungs", "keep"} & set(fields)
    for wrong, why in (
        (policy.n is not None and policy.nfe is not None, "n and nfe exclude each other"),
        (min(policy.n or 1, policy.nfe or 1) < 1, "n and nfe are 1 or more"),
        (bool(halves) and policy.search != "halving", f"{', '.join(sorted(halves))}: of search=halving only"),
        (not 0 < policy.keep < 1, "keep is above 0 and below 1"),
        ("mean" in fields and policy.search != "poisson", "mean: of search=poisson only"),
        (not 0 < policy.mean <= 1, "mean is above 0, and 1 or less"),
        (
            policy.choice == "segment" and fields.get("ensemble", "pessimism") != "pessimism",
            "segments are combined by deviations; no ensemble but pessimism",
        ),
        (bool(policy.targets) and policy.search != "random", f"{policy.search} knows no target here"),
        (bool(policy.targets) and policy.choice == "clip", "a target is of windows, and choice=clip draws whole clips"),
    ):
        if wrong:
            raise OptionError(f"policy {name!r}: {why}")
    return policy


def starts(policy: Policy, plan: SamplingPlan, most: int) -> int:
    """How many draws a policy begins with, of `most` there are. Raises OptionError when its budget allows none."""
    if policy.n is not None or policy.nfe is None:
        return most if policy.n is None else policy.n
    budget = policy.nfe - policy.overhead
    if policy.search != "halving":
        count = budget // plan.run
    else:
        stops = rung_steps(policy.rungs, plan)
        count = max((n for n in range(1, budget + 1) if prune(n, stops, policy.keep, plan)[1] <= budget), default=0)
    if count < 1:
        mean = f" and {policy.overhead} of the mean render" if policy.overhead else ""
        raise OptionError(
            f"policy {policy.name!r}: nfe={policy.nfe} is not enough for one run of {plan.run} evaluations{mean}"
        )
    return count


def check(policy: Policy, file: ScoreFile) -> None:
    """Raise OptionError for a policy that the file has not what to replay with."""
    where = f"policy {policy.name!r}"
    least = min(file.recordings, key=lambda recording: recording.count)
    count = starts(policy, file.plan, least.count)
    if count > least.count:
        raise OptionError(f"{where}: {count} draws, but the file holds {least.count} of a window ({least.label})")
    if not policy.verifiers and (count > 1 or policy.choice == "segment"):
        raise OptionError(f"{where}: who chooses? verifier=A+B; known: {', '.join(sorted(file.columns))}")
    columns = file.resolve(policy.verifiers, f"{where}: verifier")
    choosing = {column.split("/")[0] for column in columns}
    for name, _ in policy.targets:
        if name.split("/")[0] not in choosing:
            raise unknown(f"{where}: target", name, columns)
        file.resolve([name], f"{where}: target")
    if policy.choice == "segment" and any(len(w.shares) > 1 for r in file.recordings for w in r.windows):
        for name in policy.verifiers:
            columns_named(name, file.segments, f"{where}: verifier of segments")
    if policy.choice == "clip" and any(len({w.count for w in r.windows}) > 1 for r in file.recordings):
        raise OptionError(f"{where}: choice=clip needs the same draws in all windows of a clip")
    for step in rung_steps(policy.rungs, file.plan) if policy.search == "halving" else ():
        if step not in file.previews:
            held = ", ".join(map(str, file.previews)) or "none"
            raise OptionError(
                f"{where}: no previews at step {step} in the file, which has {held}; "
                "draw with --search census --set every=1, which scores them after every step"
            )
        if not {column.split("/")[0] for column in file.previews[step]} & choosing:
            raise unknown(f"{where}: verifier of previews", "+".join(policy.verifiers), file.previews[step])
