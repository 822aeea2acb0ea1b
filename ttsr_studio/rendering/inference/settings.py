"""What the options of a session come to, once its engine and verifiers are known."""

import math
from functools import cached_property

import numpy as np
from torch import Tensor

from ttsr_studio.diffusion.guidance import Guidance
from ttsr_studio.diffusion.model import Engine
from ttsr_studio.diffusion.samplers.base import Sampler
from ttsr_studio.diffusion.samplers.registry import get_sampler
from ttsr_studio.diffusion.schedule_names import SPACINGS
from ttsr_studio.diffusion.schedules import sigmas
from ttsr_studio.options import RenderOptions
from ttsr_studio.search.protocol import Budget, Problem, SamplingPlan, Search
from ttsr_studio.search.registry import start_search
from ttsr_studio.verifiers.panel import Panel
from ttsr_studio.verifiers.registry import MEAN_RENDER_NFE, mean_render_nfe

MOST_CANDIDATES = 128
"""Renders of a window that a budget in seconds alone may grow to."""

N_BEST = 4
"""Assembled renders that clip verifiers score, where others have scored the windows before."""


class SessionSettings:
    """Options with the engine's own values where none were given, and what follows from them."""

    def __init__(self, options: RenderOptions, engine: Engine, panel: Panel) -> None:
        self.options, self.engine, self.panel = options, engine, panel
        self.solver = options.solver or engine.default_solver
        self.steps = options.steps or engine.default_steps
        self.schedule = options.schedule or engine.default_schedule
        given = options.temperature
        self.temperature = engine.default_temperature if given is None else given
        scale = engine.default_guidance if options.guidance is None else options.guidance
        interval = options.guidance_interval or (0.0, math.inf)
        self.guidance = Guidance(scale, interval, options.guidance_rescale)

    @property
    def preview_level(self) -> str | None:
        """The level at which candidates are scored before they are decoded, None when all are decoded."""
        return None if self.options.decode_top is None else self.options.look or self.engine.previews[0]

    @property
    def sampler(self) -> Sampler:
        return get_sampler(self.solver)

    @cached_property
    def plan(self) -> SamplingPlan:
        """A run of the sampler, and what it costs."""
        levels = tuple(map(float, self.sigmas()))
        return SamplingPlan(levels, self.sampler.evaluations, 2 if self.guidance.scale != 1 else 1)

    @property
    def overhead(self) -> int:
        """Evaluations of a window and channel that go before the search: the mean render, where one is needed."""
        needed = mean_render_nfe(verifier.needs for verifier in self.panel.everyone)
        return needed if self.preview_level is None else MEAN_RENDER_NFE

    @cached_property
    def window_nfe(self) -> int:
        """Evaluations that a search may spend on a window and channel."""
        run, options = self.plan.run, self.options
        most = run * (options.candidates or MOST_CANDIDATES)
        if options.budget_nfe is not None:
            allowed = options.budget_nfe - self.overhead
            most = min(allowed, most) if options.candidates else allowed
        if not self.panel.choosing("window") and options.finalists:
            most = min(most, options.finalists * run)  # nobody would compare more
        return most

    @property
    def candidates(self) -> int:
        """The most renders of a window that are carried to their end."""
        return self.window_nfe // self.plan.run

    @property
    def n_best(self) -> int:
        """Renders that are assembled whole: several when a verifier scores clips, or when several are wanted."""
        options, reranked = self.options, 1
        if self.panel.scoring("clip"):
            usual = N_BEST if self.panel.choosing("window") else self.candidates
            reranked = min(self.candidates, options.finalists or usual)
        return max(options.keep_top, options.take, reranked)

    def sigmas(self) -> Tensor:
        """Noise levels [steps + 1] of a whole run, the engine's own shape for its own schedule."""
        if self.schedule in SPACINGS and self.engine.times is not None:
            return self.engine.times.schedule(self.schedule, self.steps)
        own = self.schedule == self.engine.default_schedule
        low, high = self.engine.sigma_range
        return sigmas(self.schedule, self.steps, low, high, **(self.engine.schedule_options if own else {}))

    def coarse_sigmas(self, sigma: float, steps: int) -> Tensor:
        """Noise levels [steps + 1] from one of the plan to 0, evenly picked from its own."""
        every = self.sigmas()
        first = int((every - sigma).abs().argmin())
        return every[np.unique(np.linspace(first, len(every) - 1, steps + 1).round().astype(int))]

    def start(self, problem: Problem, budget: Budget) -> Search:
        """Start the search of one window."""
        return start_search(self.options.search, problem, budget, self.options.search_settings())
