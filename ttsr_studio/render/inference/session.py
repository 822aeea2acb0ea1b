"""A session: the engine and the verifiers, loaded once, for many files."""

import math
from collections.abc import Collection, Iterator

import numpy as np
from torch import Tensor

from ttsr_studio.diffusion.batch_limit import BatchLimit
from ttsr_studio.diffusion.guidance import Guidance
from ttsr_studio.diffusion.model import Engine
from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.diffusion.samplers.base import Sampler
from ttsr_studio.diffusion.samplers.registry import SAMPLERS, get_sampler
from ttsr_studio.diffusion.schedules import SCHEDULES, sigmas
from ttsr_studio.diffusion.timesteps import SPACINGS
from ttsr_studio.engines.device import resolve_device
from ttsr_studio.engines.registry import ENGINES, EngineSettings, load_engine
from ttsr_studio.errors import MissingError, OptionError, unknown
from ttsr_studio.options import RenderOptions
from ttsr_studio.search.protocol import Budget, Problem, SamplingPlan, Search
from ttsr_studio.search.registry import USING_PREVIEWS, start_search
from ttsr_studio.verifiers.panel import Panel
from ttsr_studio.verifiers.protocol import Need, Previewing, Verifier
from ttsr_studio.verifiers.registry import VERIFIERS, load_verifiers

MOST_CANDIDATES = 128
"""Renders of a window that a budget in seconds alone may grow to."""

FINALISTS = 4
"""Assembled renders that clip verifiers judge, where others have judged the windows before."""


def engine_settings(options: RenderOptions) -> EngineSettings:
    return EngineSettings(**{name: getattr(options, name) for name in EngineSettings.__dataclass_fields__})


class Session:
    """Everything that files of one run share.

    Args:
        engine: the one of these options where it is loaded already; None to load it.

    Raises OptionError or MissingError before anything is read when a name, device, weights file or a verifier's need
    is not there.
    """

    def __init__(self, options: RenderOptions, engine: Engine | None = None) -> None:
        self.check_names(options)
        self.options = options
        self.device = resolve_device(options.device)
        self.panel = self._panel()
        self.engine = engine or load_engine(options.engine, self.device, engine_settings(options))
        self.solver = options.solver or self.engine.default_solver
        self.steps = options.steps or self.engine.default_steps
        self.schedule = options.schedule or self.engine.default_schedule
        given = options.temperature
        self.temperature = self.engine.default_temperature if given is None else given
        if self.steps < 2 and any("early" in verifier.needs for verifier in self.panel.everyone):
            raise OptionError("verifier 'self_consistency' needs two --steps or more: with one nothing comes earlier")
        self.guidance = self._guidance()
        self.look = self._look()
        self.sigmas()
        self.limit = BatchLimit(options.batch)
        self.plan = SamplingPlan(
            tuple(map(float, self.sigmas())),
            get_sampler(self.solver).evaluations,
            2 if self.guidance.scale != 1 else 1,
        )
        self.window_nfe = self._affordable()
        if not self.panel.choosing("window") and self.options.finalists:
            # More would be heard by nobody.
            self.window_nfe = min(self.window_nfe, self.options.finalists * self.plan.run)
        assert self.finalists
        self._refuse_what_nobody_judges()
        next(self.start(Problem(NoiseKey(options.seed), self.plan), Budget(self.window_nfe)))

    def _panel(self) -> Panel:
        """Load the verifiers. One whose name ends in "?" is left out when it is not installed, and named as such."""
        options = self.options
        available: set[Need] = {"expected", "early", "input"}
        available |= {"reference"} if options.reference else set()
        left_out: dict[str, str] = {}

        def load(names: Collection[str]) -> Iterator[Verifier]:
            for name in names:
                try:
                    yield from load_verifiers([name.removesuffix("?")], frozenset(available), self.device)
                except MissingError as error:
                    if not name.endswith("?"):
                        raise
                    left_out[name.removesuffix("?")] = str(error)

        search, held_out = tuple(load(options.verifiers)), tuple(load(options.hold_out))
        if not search:
            raise MissingError(f"none of the optional verifiers is here: {'; '.join(left_out.values())}")
        weights = dict(options.weights)
        choosing = [verifier.name for verifier in search]
        for name in weights:
            if name not in choosing:
                raise OptionError(f"--weight {name}: not among the verifiers that choose here: {', '.join(choosing)}")
        if not any(weights.get(name, 1.0) for name in choosing):
            raise OptionError("--weight: all verifiers that choose have weight 0; give at least one a weight")
        return Panel(search, held_out, options.ensemble, weights, options.scope, left_out)

    @property
    def finalists(self) -> int:
        """Renders that are assembled whole: several when a verifier judges clips, or when several are wanted.

        Raises OptionError when finalists were asked for and nothing judges them, or more than there are candidates.
        """
        wanted = max(self.options.keep_top, self.options.take)
        if wanted > self.candidates:
            name = "keep-top" if wanted == self.options.keep_top else "take"
            raise OptionError(f"--{name} {wanted}: only {self.candidates} candidates are made; allow more --candidates")
        return max(wanted, self._judged_finalists())

    def _judged_finalists(self) -> int:
        if not self.panel.scoring("clip"):
            if self.options.finalists:
                raise OptionError("--finalists: no verifier judges clips here; add wer, or --scope clip")
            return 1
        alone = not self.panel.choosing("window")
        return min(self.candidates, self.options.finalists or (self.candidates if alone else FINALISTS))

    @staticmethod
    def check_names(options: RenderOptions) -> None:
        """Refuse unknown names, without loading anything."""
        asked: list[tuple[str, str | None, Collection[str]]] = [
            ("engine", options.engine, ENGINES),
            ("solver", options.solver, SAMPLERS),
            ("schedule", options.schedule, (*SCHEDULES, *SPACINGS)),
            *(("verifier", name.removesuffix("?"), VERIFIERS) for name in (*options.verifiers, *options.hold_out)),
        ]
        for kind, name, known in asked:
            if name is not None and name not in known:
                raise unknown(kind, name, known)

    def _guidance(self) -> Guidance:
        """How the engine is guided. Raises OptionError for an engine that cannot be, or settings without a scale."""
        options, engine = self.options, self.engine
        scale = engine.default_guidance if options.guidance is None else options.guidance
        if scale != 1 and not engine.guided:
            raise OptionError(f"--guidance {scale:g}: engine {engine.name!r} cannot be guided; leave it out")
        if scale == 1 and (options.guidance_interval or options.guidance_rescale):
            raise OptionError("--guidance-interval and --guidance-rescale need guidance: a --guidance other than 1")
        return Guidance(scale, options.guidance_interval or (0.0, math.inf), options.guidance_rescale)

    def _look(self) -> str | None:
        """The level at which candidates are judged before they are decoded, None when all are decoded."""
        options, engine = self.options, self.engine
        if options.decode_top is None:
            return None
        level = options.look or engine.previews[0]
        if level not in engine.previews:
            raise unknown(f"look of engine {engine.name!r}", level, engine.previews)
        if not any(isinstance(verifier, Previewing) for verifier in self.panel.choosing("window")):
            raise OptionError("--decode-top needs a verifier that can judge before decoding; add --verifier consensus")
        return level

    @property
    def candidates(self) -> int:
        """The most renders of a window that are carried to their end."""
        return self.window_nfe // self.plan.run

    def _affordable(self) -> int:
        """Evaluations that a search may spend on a window and channel."""
        run, options = self.plan.run, self.options
        most = run * (options.candidates or MOST_CANDIDATES)
        if options.budget_nfe is None:
            return most
        previews = 2 * (self.look is not None or any("expected" in verifier.needs for verifier in self.panel.everyone))
        if options.budget_nfe - previews < run:
            raise OptionError(
                f"--budget {options.budget}: one candidate takes {run + previews} evaluations ({self.solver}, "
                f"{self.steps} steps{', the mean render' if previews else ''}); allow at least that, or fewer --steps"
            )
        return min(options.budget_nfe - previews, most if options.candidates else options.budget_nfe)

    def _refuse_what_nobody_judges(self) -> None:
        """Raise OptionError for what needs a judge of windows where there is none."""
        if self.panel.choosing("window"):
            judging = [verifier.name for verifier in self.panel.search]
            for name, _ in self.options.targets:
                if name.split("/")[0] not in judging:
                    raise OptionError(f"--target {name}: no verifier of that name chooses here: {', '.join(judging)}")
            return
        for what, wanted in (
            (f"--search {self.options.search}", self.options.search in USING_PREVIEWS),
            ("--choice clip", self.options.choice == "clip"),
            ("--target", bool(self.options.targets)),
        ):
            if wanted:
                raise OptionError(f"{what} needs a verifier that judges windows; add critic, or leave --scope out")

    @property
    def witness(self) -> bool:
        return self.options.witness

    @property
    def sampler(self) -> Sampler:
        return get_sampler(self.solver)

    def sigmas(self) -> Tensor:
        """Noise levels [steps + 1] of a whole run, the engine's own shape for its own schedule."""
        if self.schedule in SPACINGS:
            if self.engine.times is None:
                raise OptionError(
                    f"--schedule {self.schedule}: engine {self.engine.name!r} has no timesteps to space; "
                    f"use one of {', '.join(sorted(SCHEDULES))}"
                )
            return self.engine.times.schedule(self.schedule, self.steps)
        own = self.schedule == self.engine.default_schedule
        low, high = self.engine.sigma_range
        return sigmas(self.schedule, self.steps, low, high, **(self.engine.schedule_options if own else {}))

    def coarse_sigmas(self, sigma: float, steps: int) -> Tensor:
        """Noise levels [steps + 1] from one of the course to 0, evenly picked from its own."""
        every = self.sigmas()
        first = int((every - sigma).abs().argmin())
        return every[np.unique(np.linspace(first, len(every) - 1, steps + 1).round().astype(int))]

    def start(self, problem: Problem, budget: Budget) -> Search:
        """Start the search of one window."""
        return start_search(self.options.search, problem, budget, self.options.search_settings())


class Sessions:
    """Sessions of files whose options may differ: the last one serves while they do not, its engine while that does.

    Args:
        last: one that is there already.
    """

    def __init__(self, last: Session | None = None) -> None:
        self.last = last

    def of(self, options: RenderOptions) -> Session:
        """A session with these options. Raises what `Session` raises."""
        last = self.last
        if last is None or last.options != options:
            engine = last.engine if last and self._same_engine(last, options) else None
            self.last = None  # two engines need not fit into memory
            del last
            last = self.last = Session(options, engine)
        return last

    @staticmethod
    def _same_engine(last: Session, options: RenderOptions) -> bool:
        wanted = options.engine, resolve_device(options.device), engine_settings(options)
        return (last.options.engine, last.device, engine_settings(last.options)) == wanted
