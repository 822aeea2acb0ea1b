"""The N that is worth it for every preset of the built-in engine: the knee of its own judges' curve, by replay."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from ttsr_studio.config import presets
from ttsr_studio.errors import OptionError
from ttsr_studio.evaluation.benchmark.system_spec import make_options
from ttsr_studio.evaluation.replay.overoptimization import Knee, find_knee
from ttsr_studio.evaluation.replay.policy import Policy
from ttsr_studio.evaluation.replay.scaling import Curve, Group, pooled, trace
from ttsr_studio.evaluation.replay.score_file import Rewards
from ttsr_studio.options import RenderOptions


@dataclass(frozen=True)
class Advice:
    """The N for a preset, or why there is none.

    Attributes:
        kind: of the clips that it is measured on.
        now: the preset's own N, or its budget.
    """

    preset: str
    judged_by: str
    kind: str
    now: str
    knee: Knee | None
    why_not: str = ""


def advise(rewards: Rewards, parts: Sequence[Group], seed: int) -> Iterator[Advice]:
    """The knee for every preset of the built-in engine, by its own verifiers, on its own kind where there are clips."""
    here = {column.split("/")[0] for column in rewards.columns}
    curves: dict[Policy, Curve] = {}
    for name in sorted(presets.available()):
        try:
            options = make_options(name, {"preset": name}, seed, oracle=False)
        except OptionError as error:
            yield Advice(name, "", "", "", None, str(error))
            continue
        if options.engine != "builtin":
            continue
        asked = [v for v in options.verifiers if not v.endswith("?") or v.removesuffix("?") in here]
        names = tuple(v.removesuffix("?") for v in asked)
        kind = next((part.kind for part in parts if part.kind in name.split("-")), parts[-1].kind)
        told = Advice(name, "+".join(names), kind, str(options.candidates or options.budget), None)
        if reason := obstacle(options, names, here, rewards.plan.steps):
            yield replace(told, why_not=reason)
            continue
        choice = "clip" if "clip" in (options.scope, options.choice) else options.choice
        policy = Policy("", names, ensemble=options.ensemble, choice=choice)
        group = next(part for part in pooled(parts) if part.kind == kind)
        curves[policy] = curve = curves.get(policy) or trace(policy, rewards, seed)
        yield replace(told, knee=find_knee(curve, group, seed))


def obstacle(options: RenderOptions, names: Sequence[str], here: Collection[str], steps: int) -> str:
    """Why a preset cannot be replayed on these draws; empty when it can."""
    absent = ", ".join(name for name in names if name not in here)
    if absent or not names:
        return f"not judged here: {absent or ', '.join(options.verifiers)}"
    if options.steps not in (None, steps):
        return f"takes {options.steps} steps, these draws {steps}"
    if options.search != "random":
        return f"searches by {options.search}, which makes other draws"
    return "weighs its verifiers" if options.weights else ""


def advice_table(advice: Sequence[Advice]) -> list[str]:
    lines = ["", "| preset | judged by | measured on | now | recommended N | 95 % |", "|---|---|---|---:|---:|---:|"]
    for one in advice:
        found = f"{one.knee.words} | {one.knee.span}" if one.knee else f"– | {one.why_not}"
        lines.append(f"| {one.preset} | {one.judged_by} | {one.kind} | {one.now} | {found} |")
    return lines
