"""The N that is worth it for every preset of the built-in engine: the knee of its own verifiers' curve, by replay."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from ttsr_studio.config import presets
from ttsr_studio.errors import OptionError
from ttsr_studio.evaluation.benchmark.system_spec import make_options
from ttsr_studio.evaluation.replay.overoptimization import Knee, find_knee
from ttsr_studio.evaluation.replay.policy import Policy
from ttsr_studio.evaluation.replay.scaling import Curve, Group, kinds_alone, trace
from ttsr_studio.evaluation.replay.score_file import ScoreFile
from ttsr_studio.evaluation.reporting.tables import markdown_table
from ttsr_studio.options import RenderOptions


@dataclass(frozen=True)
class Advice:
    """The N for a preset, or why there is none.

    Attributes:
        kind: of the clips that it is measured on.
        now: the preset's own N, or its budget.
    """

    preset: str
    chosen_by: str
    kind: str
    now: str
    knee: Knee | None
    why_not: str = ""


def advise(file: ScoreFile, parts: Sequence[Group], seed: int) -> Iterator[Advice]:
    """The knee for every preset of the built-in engine, by its own verifiers, on its own kind where there are clips."""
    here = {column.split("/")[0] for column in file.columns}
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
        advice = Advice(name, "+".join(names), kind, str(options.candidates or options.budget), None)
        if reason := obstacle(options, names, here, file.plan.steps):
            yield replace(advice, why_not=reason)
            continue
        choice = "clip" if "clip" in (options.scope, options.choice) else options.choice
        policy = Policy("", names, ensemble=options.ensemble, choice=choice)
        group = next(part for part in kinds_alone(parts) if part.kind == kind)
        curves[policy] = curve = curves.get(policy) or trace(policy, file, seed)
        yield replace(advice, knee=find_knee(curve, group, seed))


def obstacle(options: RenderOptions, names: Sequence[str], here: Collection[str], steps: int) -> str:
    """Why a preset cannot be replayed on these draws; empty when it can."""
    absent = ", ".join(name for name in names if name not in here)
    if absent or not names:
        return f"not scored here: {absent or ', '.join(options.verifiers)}"
    if options.steps not in (None, steps):
        return f"takes {options.steps} steps, these draws {steps}"
    if options.search != "random":
        return f"searches by {options.search}, which makes other draws"
    return "weighs its verifiers" if options.weights else ""


def advice_table(advice: Sequence[Advice]) -> list[str]:
    rows = []
    for one in advice:
        found = (one.knee.words, one.knee.span) if one.knee else ("–", one.why_not)
        rows.append([one.preset, one.chosen_by, one.kind, one.now, *found])
    left = ("preset", "chosen by", "measured on")
    return ["", *markdown_table([*left, "now", "recommended N", "95 %"], rows, left)]
