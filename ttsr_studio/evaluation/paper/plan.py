"""What the paper compares (Jin et al. 2026, Table 1), as far as it is here: guides, algorithms, verifiers of each kind.

The kind's preset (paper-speech, paper-music, paper-sfx) gives engine, solver, steps, guidance, N, K, lambda, the
verifiers and the rule of their ensemble. One draw holds for a whole clip, as in the paper: verifiers score windows, and
their means over the clip's windows choose, since zero-order search needs scores on its way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ttsr_studio.audio.decode import probe
from ttsr_studio.engines.device import resolve_device
from ttsr_studio.errors import InputError, MissingError, OptionError
from ttsr_studio.evaluation.benchmark.dataset import Clip
from ttsr_studio.evaluation.benchmark.degradation import Conditions
from ttsr_studio.evaluation.benchmark.system_spec import make_options
from ttsr_studio.evaluation.benchmark.systems import session_for
from ttsr_studio.options import RenderOptions
from ttsr_studio.search.registry import search_settings
from ttsr_studio.verifiers.protocol import Verifier
from ttsr_studio.verifiers.registry import load_verifier
from ttsr_studio.verifiers.rules import Rule

PAPER_KINDS = ("speech", "music", "sfx")
LR_INPUT, DRAW, ORACLE_LSD = "LR input", "Vanilla (one draw)", "Oracle LSD (ceiling)"
ALGORITHMS = {"random": "Random", "zero-order": "Zero-Order"}
PAPER_NAMES = {"aesthetics": "AES", "speaker": "SpkSim", "wer": "WER", "clap": "CLAP", "dnsmos": "DNSMOS"}
"""Verifiers as the paper's tables name them; others keep their own names."""

BUILT_IN = ("critic", "consensus")
GOES_BY = {
    "wer": ("transcript", "a transcript of all their words", "the words that it finds in the input"),
    "speaker": ("speaker", "another recording of the speaker", "the input itself"),
    "clap": ("caption", "a caption", "the preset's captions, or the input itself"),
}
"""Verifier -> the field of a clip that it needs to measure it, that in words, and what it guides by without it."""


@dataclass(frozen=True)
class TableLine:
    """A line of Table 1 for one kind.

    Attributes:
        guide: who chooses, as the tables name it; `LR_INPUT` and `DRAW` where nobody does.
        algorithm: "" where nothing is searched.
        options: None for the input itself.
    """

    kind: str
    guide: str
    algorithm: str = ""
    options: RenderOptions | None = None

    @property
    def name(self) -> str:
        return f"{self.guide} + {ALGORITHMS[self.algorithm]}" if self.algorithm else self.guide


@dataclass(frozen=True)
class PaperPlan:
    """What is compared, on what, and who scores it.

    Attributes:
        lines: in the order of the tables, kind after kind.
        clips: with transcripts only where all their words are in what counts of them.
        verifiers: by name, loaded.
        scoring: {kind: names of the verifiers of its columns}.
        missing: {name: why it is not here, and how to get it}.
        weights: {engine: {file name: sha256}}.
    """

    lines: list[TableLine]
    clips: list[Clip]
    verifiers: dict[str, Verifier]
    scoring: dict[str, tuple[str, ...]]
    missing: dict[str, str]
    weights: dict[str, dict[str, str]]

    @property
    def kinds(self) -> list[str]:
        return list(self.scoring)


def plan_paper(
    clips: Sequence[Clip],
    conditions: Conditions,
    *,
    engine: str | None = None,
    candidates: int | None = None,
    seed: int = 0,
    oracle: bool = False,
) -> PaperPlan:
    """Find out what can be compared here.

    Args:
        engine: instead of the presets', with its own solver, steps and guidance.
        candidates: N, instead of the presets'.
        oracle: also search by the distance to the truth.

    Raises OptionError for a kind that the paper has not, MissingError when the engine's weights are not installed.
    """
    kinds = [kind for kind in PAPER_KINDS if any(clip.kind == kind for clip in clips)]
    if strange := sorted({clip.kind for clip in clips} - set(PAPER_KINDS)):
        raise OptionError(
            f"--paper: it compares {', '.join(PAPER_KINDS)}; there are clips of kind {', '.join(strange)}"
        )
    bases = {kind: base_options(kind, engine, candidates, seed) for kind in kinds}
    weights = {
        o.engine: engine_weights(o, asked=engine is not None) for o in {o.engine: o for o in bases.values()}.values()
    }
    paper = {kind: [name.removesuffix("?") for name in options.verifiers] for kind, options in bases.items()}
    wanted = {kind: tuple(dict.fromkeys((*names, *besides(kind), "critic"))) for kind, names in paper.items()}
    here, missing = probe_verifiers([name for names in wanted.values() for name in names], bases[kinds[0]].device)
    scoring = {kind: tuple(name for name in names if name in here) for kind, names in wanted.items()}
    lines = [
        line
        for kind, options in bases.items()
        for line in make_lines(kind, options, [name for name in paper[kind] if name in here], scoring[kind], oracle)
    ]
    return PaperPlan(lines, [cut_short(clip, conditions.seconds) for clip in clips], here, scoring, missing, weights)


def besides(kind: str) -> tuple[str, ...]:
    """Verifiers that the paper has not, where they are installed."""
    return ("dnsmos",) if kind == "speech" else ()


def base_options(kind: str, engine: str | None, candidates: int | None, seed: int) -> RenderOptions:
    """What all searches of a kind have in common, with the settings of zero-order search in it."""
    name = f"paper-{kind}"
    options = make_options(name, {"preset": name, "search": "zero-order"}, seed, oracle=False)
    options = replace(options, choice="clip", scope="window", finalists=None, settings=())
    if engine is not None:
        own: dict[str, Any] = dict.fromkeys(("solver", "schedule", "steps", "guidance", "temperature", "window"))
        options = replace(options, engine=engine, guidance_interval=None, guidance_rescale=0.0, **own)
    return options if candidates is None else replace(options, candidates=candidates, budget=None)


def engine_weights(options: RenderOptions, asked: bool) -> dict[str, str]:
    """Checksums of an engine's weights. Raises MissingError, with what to do, when they are not installed."""
    try:
        return session_for(guided(options, ("critic",), "rank", "random")).engine.weights()
    except MissingError as error:
        if asked:
            raise
        raise MissingError(
            f"--paper renders with engine {options.engine}, as the paper does, and it is not here: {error}; or pass "
            "--paper-engine builtin"
        ) from error


def probe_verifiers(names: Sequence[str], device: str) -> tuple[dict[str, Verifier], dict[str, str]]:
    """Load verifiers: those that are here by name, and why the others are not."""
    here: dict[str, Verifier] = {}
    missing: dict[str, str] = {}
    for name in dict.fromkeys(names):
        try:
            here[name] = load_verifier(name, resolve_device(device))
        except MissingError as error:
            missing[name] = str(error)
    return here, missing


def make_lines(
    kind: str, options: RenderOptions, paper: Sequence[str], scoring: Sequence[str], oracle: bool
) -> Iterator[TableLine]:
    """The lines of a kind: the paper's verifiers that are here and their ensemble, then those of this tool.

    Args:
        paper, scoring: names of the paper's verifiers, and of all, that are here.
    """
    guides: list[tuple[str, tuple[str, ...], Rule]] = [(PAPER_NAMES.get(name, name), (name,), "rank") for name in paper]
    if len(paper) > 1:
        guides.append((ensemble_title(paper), tuple(paper), options.ensemble))
    guides += [(name, (name,), "rank") for name in BUILT_IN if name not in paper]
    guides.append(("+".join(BUILT_IN), BUILT_IN, "zsum"))
    guides += [(PAPER_NAMES[name], (name,), "rank") for name in besides(kind) if name in scoring and name not in paper]
    yield TableLine(kind, LR_INPUT)
    yield TableLine(kind, DRAW, "", guided(options, ("critic",), "rank", "random", candidates=1, budget=None))
    for title, verifiers, rule in guides:
        for algorithm in ALGORITHMS:
            yield TableLine(kind, title, algorithm, guided(options, verifiers, rule, algorithm))
    if oracle:
        yield TableLine(
            kind, ORACLE_LSD, "random", guided(options, ("lsd",), "rank", "random", reference=Path("truth.wav"))
        )


def ensemble_title(names: Sequence[str]) -> str:
    return f"Ensemble ({', '.join(PAPER_NAMES.get(name, name) for name in names)})"


def guided(
    options: RenderOptions, verifiers: tuple[str, ...], rule: Rule, algorithm: str, **changed: Any
) -> RenderOptions:
    """Options of a search by some verifiers and an algorithm, without settings that it does not take."""
    takes = search_settings(algorithm)
    dropped = {name: None for name in ("neighbours", "cosine", "stride", "pivot") if name not in takes}
    weights = tuple(pair for pair in options.weights if pair[0] in verifiers)
    return replace(
        options, verifiers=verifiers, ensemble=rule, weights=weights, search=algorithm, **(dropped | changed)
    )


def cut_short(clip: Clip, seconds: float | None) -> Clip:
    """A clip, without its transcript where only its first seconds count."""
    if seconds is None:
        return clip
    try:
        info = probe(clip.path)
    except InputError:
        return clip  # a failure when it is its turn
    return clip if info.frames <= seconds * info.rate else replace(clip, transcript=None)


def settings_line(plan: PaperPlan) -> str:
    """What the renders were made with, for the head of the tables."""
    lines = {}
    for line in plan.lines:
        if line.algorithm != "zero-order" or line.options is None:
            continue
        o = line.options
        guidance = None if o.guidance is None else f"guidance {o.guidance:g}"
        sampler = [o.solver, o.schedule, None if o.steps is None else f"{o.steps} steps", guidance]
        shown = ", ".join(part for part in sampler if part) or "its own sampler"
        budget = f"N = {o.candidates}" if o.candidates else f"budget {o.budget}"
        zero = [f"{name} {value}" for name, value in o.search_settings().items()]
        lines[line.kind] = f"{o.engine} ({shown}), {budget}; zero-order: {', '.join(zero)}"
    if len(set(lines.values())) == 1:
        return next(iter(lines.values()))
    return "; ".join(f"{kind}: {text}" for kind, text in lines.items())


def notes(plan: PaperPlan) -> list[str]:
    """What is not in the tables, and why."""
    found = [f"{PAPER_NAMES.get(name, name)} is not here: {why}." for name, why in plan.missing.items()]
    found.append(
        "consensus guides and has no column: it compares with the engine's own mean, which finished audio has not."
    )
    for kind in plan.kinds:
        if not any(line.kind == kind and line.guide.startswith("Ensemble") for line in plan.lines):
            found.append(f"No ensemble for {kind}: fewer than two of the paper's verifiers are here.")
        clips = [clip for clip in plan.clips if clip.kind == kind]
        for name, (known, what, instead) in GOES_BY.items():
            count = sum(bool(getattr(clip, known)) for clip in clips)
            if name in plan.scoring[kind] and count < len(clips):
                found.append(
                    f"{PAPER_NAMES[name]}, {kind}: {count} of {len(clips)} clips have {what}, and only these count in "
                    f"its column. As a guide it goes by {instead} for the others."
                )
    return found
