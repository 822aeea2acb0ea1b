"""A session: the engine and the verifiers, loaded once, for many files."""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from ttsr_studio.audio.crossover import MapCrossover
from ttsr_studio.diffusion.batch_limit import BatchLimit
from ttsr_studio.diffusion.device_memory import USUAL
from ttsr_studio.diffusion.model import Engine
from ttsr_studio.diffusion.samplers.registry import SAMPLERS
from ttsr_studio.diffusion.schedule_names import SCHEDULES, SPACINGS
from ttsr_studio.engines.device import resolve_device
from ttsr_studio.engines.registry import ENGINES, EngineSettings, load_engine
from ttsr_studio.errors import MissingError, OptionError, unknown
from ttsr_studio.options import RenderOptions
from ttsr_studio.plugins.plugin import Plugin
from ttsr_studio.plugins.registry import Registry
from ttsr_studio.rendering.inference.scoring import ScoringSetup
from ttsr_studio.rendering.inference.settings import SessionSettings
from ttsr_studio.rendering.inference.state import SamplingConfig
from ttsr_studio.rendering.inference.validation import problems
from ttsr_studio.search.registry import SEARCHES
from ttsr_studio.verifiers.panel import Panel
from ttsr_studio.verifiers.protocol import Need, Verifier
from ttsr_studio.verifiers.registry import VERIFIERS, load_verifiers, refuse_strangers
from ttsr_studio.verifiers.rules import TYPICAL


class Session(SessionSettings):
    """Everything that files of one run share.

    Args:
        engine, panel, limit: those of these options where they are there already; None to load them.

    Raises OptionError or MissingError before anything is read when a name, device, weights file or a verifier's need
    is not there, or options do not fit one another.
    """

    def __init__(
        self,
        options: RenderOptions,
        engine: Engine | None = None,
        panel: Panel | None = None,
        limit: BatchLimit | None = None,
    ) -> None:
        self.check_names(options)
        self.device = resolve_device(options.device)
        panel = panel or load_panel(options, self.device)
        engine = engine or load_engine(options.engine, self.device, engine_settings(options))
        self.limit = limit or BatchLimit(options.batch)
        super().__init__(options, engine, panel)
        self.validate()

    @property
    def rows(self) -> int:
        """Of a batch: as many as asked for, or found to fit."""
        return self.limit.rows or USUAL

    def validate(self) -> None:
        """Raise OptionError for the first of the options that does not fit the others, the engine or the verifiers."""
        for problem in problems(self):
            raise problem

    def with_options(self, options: RenderOptions) -> "Session":
        """Another session; engine and verifiers are loaded anew only where the options differ in them."""
        return Session(options, *self.serving(options))

    def serving(self, options: RenderOptions) -> "Parts":
        """What is loaded here and serves other options as well."""
        old = self.options
        if self.device != resolve_device(options.device):
            return Parts()
        same = (old.engine, engine_settings(old)) == (options.engine, engine_settings(options))
        return Parts(
            self.engine if same else None,
            self.panel if panel_options(old) == panel_options(options) else None,
            self.limit if same and old.batch == options.batch else None,
        )

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

    def parts(self) -> dict[tuple[str, str], Plugin | None]:
        """Engine, sampler, search and verifiers by kind and name; the plug-in of those of other packages."""
        named: list[tuple[Registry[Any], str]] = [
            (ENGINES, self.engine.name),
            (SAMPLERS, self.solver),
            (SEARCHES, self.options.search),
            *((VERIFIERS, verifier.name) for verifier in self.panel.everyone),
        ]
        return {(registry.kind, name): registry.plugin(name) for registry, name in named}

    def sampling_config(self, setup: ScoringSetup) -> SamplingConfig:
        """How the candidates of a file are made and scored."""
        options = self.options
        return SamplingConfig(
            engine=self.engine,
            sampler=self.sampler,
            sigmas=self.sigmas(),
            coarse=self.coarse_sigmas,
            temperature=self.temperature,
            crossover=MapCrossover(setup.bandwidth, setup.sample_rate),
            panel=self.panel,
            annotations=setup.annotations,
            limit=self.limit,
            guidance=self.guidance,
            preview_level=self.preview_level,
            top=options.decode_top or 0,
            segment_seconds=options.segment if options.choice == "segment" else 0.0,
            trace_held_out=options.witness,
            most=self.candidates,
            scale=setup.scale,
        )


def engine_settings(options: RenderOptions) -> EngineSettings:
    return EngineSettings(**{name: getattr(options, name) for name in EngineSettings.__dataclass_fields__})


def load_panel(options: RenderOptions, device: str) -> Panel:
    """Load the verifiers. One whose name ends in "?" is left out when it is not installed, and named as such.

    Raises OptionError or MissingError for verifiers that cannot be loaded, and weights that fit none of them.
    """
    available: set[Need] = {"expected", "early", "others", "input"}
    available |= {"reference"} if options.reference else set()
    left_out: dict[str, str] = {}

    def load(names: Collection[str]) -> Iterator[Verifier]:
        for name in names:
            try:
                yield from load_verifiers([name.removesuffix("?")], frozenset(available), device)
            except MissingError as error:
                if not name.endswith("?"):
                    raise
                left_out[name.removesuffix("?")] = str(error)

    search, held_out = tuple(load(options.verifiers)), tuple(load(options.hold_out))
    if not search:
        raise MissingError(f"none of the optional verifiers is here: {'; '.join(left_out.values())}")
    if options.ensemble == "pessimism":
        if TYPICAL in options.hold_out:
            raise OptionError(f"--hold-out {TYPICAL}: --ensemble pessimism goes by it; leave one of the two out")
        search = search if TYPICAL in [verifier.name for verifier in search] else (*search, *load([TYPICAL]))
    weights = dict(options.weights)
    choosing = [verifier.name for verifier in search]
    refuse_strangers(weights, (), choosing)
    if not any(weights.get(name, 1.0) for name in choosing):
        raise OptionError("--weight: all verifiers that choose have weight 0; give at least one a weight")
    return Panel(search, held_out, options.ensemble, weights, options.scope, left_out)


class Parts(NamedTuple):
    """What is loaded for a session; nothing by default.

    Attributes:
        limit: rows of a batch that the device was found to hold.
    """

    engine: Engine | None = None
    panel: Panel | None = None
    limit: BatchLimit | None = None


def panel_options(options: RenderOptions) -> tuple[object, ...]:
    """What the verifiers depend on."""
    given = options.verifiers, options.hold_out, options.ensemble, options.weights, options.scope
    return *given, options.reference is not None


class Sessions:
    """Sessions of files whose options may differ: the last one serves while they do not, its parts while those do.

    Args:
        last: one that is there already.
    """

    def __init__(self, last: Session | None = None) -> None:
        self.last = last

    def serves(self, options: RenderOptions) -> bool:
        """Whether nothing has to be loaded for these options."""
        return self.last is not None and None not in self.last.serving(options)[:2]

    def of(self, options: RenderOptions) -> Session:
        """A session with these options. Raises what `Session` raises."""
        last = self.last
        if last is None or last.options != options:
            parts = last.serving(options) if last else Parts()
            self.last = None  # two engines need not fit into memory
            del last
            last = self.last = Session(options, *parts)
        return last
