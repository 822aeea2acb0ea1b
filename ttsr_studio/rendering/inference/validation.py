"""What may be wrong with the options of a session, once its engine and verifiers are known."""

from collections.abc import Iterator

from ttsr_studio.audio.effects import limiter, load_effects
from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.diffusion.schedule_names import SCHEDULES, SPACINGS
from ttsr_studio.errors import OptionError, PluginError, unknown
from ttsr_studio.rendering.inference.settings import SessionSettings
from ttsr_studio.search.protocol import Budget, Problem
from ttsr_studio.search.registry import uses_gradients, uses_previews
from ttsr_studio.verifiers.protocol import Previewing, differentiable
from ttsr_studio.verifiers.registry import refuse_strangers


def problems(session: SessionSettings) -> Iterator[OptionError]:
    """Everything that is wrong, in order; what comes later may only be asked for when nothing came before."""
    yield from engine_problems(session)
    yield from preview_problems(session)
    yield from budget_problems(session)
    yield from n_best_problems(session)
    yield from window_verifier_problems(session)
    yield from gradient_problems(session)
    yield from search_problems(session)
    yield from effect_problems(session)


def engine_problems(session: SessionSettings) -> Iterator[OptionError]:
    options, engine = session.options, session.engine
    if session.steps < 2 and any("early" in verifier.needs for verifier in session.panel.everyone):
        yield OptionError("verifier 'self_consistency' needs two --steps or more: with one nothing comes earlier")
    scale = session.guidance.scale
    if scale != 1 and not engine.guided:
        yield OptionError(f"--guidance {scale:g}: engine {engine.name!r} cannot be guided; leave it out")
    if scale == 1 and (options.guidance_interval or options.guidance_rescale):
        yield OptionError("--guidance-interval and --guidance-rescale need guidance: a --guidance other than 1")
    if session.schedule in SPACINGS and engine.times is None:
        yield OptionError(
            f"--schedule {session.schedule}: engine {engine.name!r} has no timesteps to space; "
            f"use one of {', '.join(sorted(SCHEDULES))}"
        )


def preview_problems(session: SessionSettings) -> Iterator[OptionError]:
    engine, level = session.engine, session.preview_level
    if level is None:
        return
    if level not in engine.previews:
        yield unknown(f"preview of engine {engine.name!r}", level, engine.previews)
    if not any(isinstance(verifier, Previewing) for verifier in session.panel.choosing("window")):
        yield OptionError("--decode-top needs a verifier that can score before decoding; add --verifier consensus")


def budget_problems(session: SessionSettings) -> Iterator[OptionError]:
    options, needed = session.options, session.plan.run + session.overhead
    if options.budget_nfe is not None and options.budget_nfe < needed:
        mean = ", the mean render" if session.overhead else ""
        yield OptionError(
            f"--budget {options.budget}: one candidate takes {needed} evaluations ({session.solver}, "
            f"{session.steps} steps{mean}); allow at least that, or fewer --steps"
        )


def n_best_problems(session: SessionSettings) -> Iterator[OptionError]:
    options, most = session.options, session.candidates
    wanted = max(options.keep_top, options.take)
    if wanted > most:
        name = "keep-top" if wanted == options.keep_top else "take"
        made = "only 1 candidate is made" if most == 1 else f"only {most} candidates are made"
        yield OptionError(f"--{name} {wanted}: {made}; allow more --candidates")
    if options.amount == "auto" and min(most, options.decode_top or most) < 2:
        yield OptionError("--amount auto goes by where candidates differ; allow two or more --candidates, all decoded")
    if options.finalists and not session.panel.scoring("clip"):
        yield OptionError("--finalists: no verifier scores clips here; add wer, or --scope clip")


def window_verifier_problems(session: SessionSettings) -> Iterator[OptionError]:
    """What needs a verifier of windows where there is none."""
    options, panel = session.options, session.panel
    if panel.choosing("window"):
        choosing = [verifier.name for verifier in panel.search]
        silent = all({"early", "others"} & verifier.needs for verifier in panel.choosing("window"))
        if silent and uses_previews(options.search):
            names = ", ".join(choosing)
            yield OptionError(f"--search {options.search} goes by scores on the way, and {names} has none; add critic")
        try:
            refuse_strangers((), [name for name, _ in options.targets], choosing)
        except OptionError as error:
            yield error
        return
    for what, wanted in (
        (f"--search {options.search}", uses_previews(options.search)),
        ("--choice clip", options.choice == "clip"),
        ("--target", bool(options.targets)),
    ):
        if wanted:
            yield OptionError(f"{what} needs a verifier that scores windows; add critic, or leave --scope out")


def gradient_problems(session: SessionSettings) -> Iterator[OptionError]:
    """What a search by gradients lacks."""
    search, panel = session.options.search, session.panel
    if not uses_gradients(search):
        return
    if not getattr(session.engine, "differentiable", False):
        yield OptionError(
            f"--search {search}: engine {session.engine.name!r} has no gradients (what they take of memory is too "
            "much for it); use --engine builtin, or another search"
        )
    lacking = [v.name for v in panel.choosing("window") if panel.weights.get(v.name, 1.0) > 0 and not differentiable(v)]
    if lacking:
        yield OptionError(
            f"--search {search}: verifier {', '.join(map(repr, lacking))} has no gradient to climb by; use critic or "
            f"consensus, and pass --hold-out {lacking[0]} to have it scored beside them"
        )


def effect_problems(session: SessionSettings) -> Iterator[OptionError]:
    """What effects refuse. Raises MissingError where pedalboard is not installed."""
    options = session.options
    if options.limiter:
        limiter(options.ceiling)
    try:
        for place, tables in (options.chain.tables() if options.chain else {}).items():
            load_effects(place, tables)
    except OptionError as error:
        yield error


def search_problems(session: SessionSettings) -> Iterator[OptionError]:
    """What the search itself refuses, which it does before its first request."""
    try:
        next(session.start(Problem(NoiseKey(session.options.seed), session.plan), Budget(session.window_nfe)))
    except OptionError as error:
        yield error
    except PluginError as error:
        yield OptionError(f"--search {session.options.search}: it fails before its first request: {error}")
    except StopIteration:
        yield OptionError(f"--search {session.options.search}: it ends before its first request; take another")
