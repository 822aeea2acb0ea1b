"""What `ttsr tune` varies: settings of the sampler, what each costs, and which stay under a limit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, cast

from ttsr_studio.diffusion.model import Engine
from ttsr_studio.diffusion.samplers.registry import get_sampler
from ttsr_studio.diffusion.schedule_names import SPACINGS
from ttsr_studio.errors import OptionError
from ttsr_studio.search.protocol import SamplingPlan

if TYPE_CHECKING:
    import optuna

SOLVERS = ("euler", "heun", "dpmpp-2m", "dpmpp-3m", "unipc", "unipc-3")
"""The survey's (tables II and IV), each of another order; dpmpp-1 is euler in these coordinates."""

SHAPES = ("edm", "linear", "quadratic", "cosine", "linear-logsnr")
"""The survey's schedules (section IV); log-linear is linear-logsnr in these coordinates."""


@dataclass(frozen=True)
class SamplerSetting:
    """How a candidate is drawn.

    Attributes:
        guidance: scale, 1 for none.
        rho: of schedule "edm"; None for the engine's own, or 7.
    """

    solver: str
    steps: int
    schedule: str
    temperature: float
    guidance: float
    rho: float | None = None

    @property
    def nfe(self) -> int:
        """Network evaluations of a run of one window and channel."""
        levels = (0.0,) * (self.steps + 1)
        return SamplingPlan(levels, get_sampler(self.solver).evaluations, 2 if self.guidance != 1 else 1).run

    def most_steps(self, limit: int) -> int:
        """The most steps, with all else as it is, that stay within a limit; 0 for none."""
        return next((n for n in range(limit, 0, -1) if replace(self, steps=n).nfe <= limit), 0)

    def __str__(self) -> str:
        rho = "" if self.rho is None else f" rho {self.rho:g}"
        guidance = "" if self.guidance == 1 else f", guidance {self.guidance:g}"
        return f"{self.solver}, {self.steps} steps, {self.schedule}{rho}, temperature {self.temperature:g}{guidance}"


@dataclass(frozen=True)
class Axes:
    """What is varied. `steps` empty: whatever the limit allows; `rhos` are of schedule "edm"."""

    solvers: tuple[str, ...]
    steps: tuple[int, ...]
    schedules: tuple[str, ...]
    temperatures: tuple[float, ...]
    guidances: tuple[float, ...]
    rhos: tuple[float | None, ...]

    @classmethod
    def of(cls, engine: Engine, given: Mapping[str, Sequence[Any]]) -> "Axes":
        """Axes as given; else all solvers and schedules, with guidance and without, the engine's own first.

        Raises OptionError for a rho that no schedule has.
        """

        def axis(name: str, own: Any, others: Sequence[Any] = ()) -> tuple[Any, ...]:
            return tuple(dict.fromkeys(given.get(name) or (own, *others)))

        spaced = SPACINGS if engine.times is not None else ()
        schedules = axis("schedule", engine.default_schedule, (*SHAPES, *spaced))
        if given.get("rho") and "edm" not in schedules:
            raise OptionError("--rho is of schedule edm; add --schedule edm, or leave it out")
        return cls(
            axis("solver", engine.default_solver, SOLVERS),
            tuple(sorted(set(given.get("steps") or ()))),
            schedules,
            axis("temperature", engine.default_temperature),
            axis("guidance", engine.default_guidance, (1.0,)),
            axis("rho", None),
        )

    def fitting(self, setting: SamplerSetting, limit: int) -> list[int]:
        """Steps, ascending, with which a setting stays within the limit: of those given, or all but 1."""
        most = setting.most_steps(limit)
        return [n for n in self.steps or range(min(2, most), most + 1) if 1 <= n <= most]

    def grid(self, limit: int) -> tuple[list[SamplerSetting], int]:
        """Every setting within the limit, and how many are above it.

        Where no steps are given: as many as the limit allows, half of these and a quarter, but not 1 alone.
        """
        settings, above = [], 0
        places = product(self.solvers, self.schedules, self.temperatures, self.guidances)
        for solver, schedule, temperature, guidance in places:
            for rho in self.rhos if schedule == "edm" else (None,):
                start = SamplerSetting(solver, 1, schedule, temperature, guidance, rho)
                fitting = self.fitting(start, limit)
                if not self.steps:
                    most = fitting[-1] if fitting else 0
                    fitting = [n for n in (most, most // 2, most // 4) if n in fitting]
                above += len(self.steps) - len(fitting) if self.steps else not fitting
                settings += [replace(start, steps=n) for n in fitting]
        return settings, above


def suggest(trial: "optuna.Trial", axes: Axes, limit: int) -> SamplerSetting | None:
    """The next setting, its steps chosen among those within the limit; None where there are none."""
    solver = trial.suggest_categorical("solver", axes.solvers)
    schedule = trial.suggest_categorical("schedule", axes.schedules)
    temperature = trial.suggest_categorical("temperature", axes.temperatures)
    guidance = trial.suggest_categorical("guidance", axes.guidances)
    rho = trial.suggest_categorical("rho", axes.rhos) if schedule == "edm" else None
    setting = SamplerSetting(solver, 1, schedule, temperature, guidance, cast(float | None, rho))
    fitting = axes.fitting(setting, limit)
    if not fitting:
        return None
    # Each range is a parameter of its own: what is known of the steps of one solver says little of another's.
    place = trial.suggest_int(f"steps up to {fitting[-1]}", 0, len(fitting) - 1)
    return replace(setting, steps=fitting[place])
