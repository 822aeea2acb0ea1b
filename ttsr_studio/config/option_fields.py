"""The table of options as those read it who take options from somewhere: by the names of the command line.

What an option is stands in `ttsr_studio.options`; what else a registry knows (engines, searches, verifiers and the
like) is asked for when it is wanted, since registries load torch.
"""

from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from ttsr_studio.errors import OptionError, nearest
from ttsr_studio.options import (
    FIELD_INFO,
    EngineOptions,
    Holder,
    KnownOptions,
    OptionGroup,
    OutputOptions,
    SearchOptions,
    VerifierOptions,
    option_name,
    row,
)
from ttsr_studio.options.values import RATES, READ

TABLES = SearchOptions, VerifierOptions, KnownOptions, EngineOptions, OutputOptions
GROUPS: tuple[str, ...] = get_args(OptionGroup)
"""Titles of all groups of options, in the order that help and pages have."""


@dataclass(frozen=True)
class OptionField:
    """One option.

    Attributes:
        name: as on the command line, without dashes before it.
        field: of `RenderOptions`.
        group: that it is told of in, one of `GROUPS`.
        kind: of its value, or of one of several: bool, int, float, str, Path, or tuple for two numbers.
        literals: all that it takes; empty where a registry says that, or where there is no such list.
        several: what it takes, where it may be given more than once.
        metavar: what stands for its value in the help.
        unset: what holds where it is not given, in words.
        held_by: what may set it besides a flag.
        flag: whether there is a flag of it.
    """

    name: str
    field: str
    group: str
    kind: type
    default: Any
    summary: str
    literals: tuple[str, ...] = ()
    several: str | None = None
    metavar: str | None = None
    unset: str | None = None
    held_by: tuple[Holder, ...] = ()
    flag: bool = True

    @property
    def choices(self) -> tuple[str, ...]:
        """All values that it takes; empty where they are not in a list."""
        return self.literals or (() if self.several else registered(self.field))

    @property
    def help(self) -> str:
        """What the command line says of it."""
        if self.field == "verifiers":
            return self.summary.format(verifiers=", ".join(registered(self.field)))
        if self.field == "settings":
            from ttsr_studio.search.registry import BUILT_IN

            taken = {search: ", ".join(settings_of(search)) for search in BUILT_IN}
            return self.summary.format(settings="; ".join(f"{name}: {each}" for name, each in taken.items() if each))
        return self.summary

    def read(self, value: Any) -> Any:
        """A value as its option has it, of what people write for it: 44100 of "44.1k"."""
        return READ[self.field](value) if self.field in READ else value

    def refuse_other(self, value: Any) -> None:
        """Raise OptionError for a value that is not among the choices, where there are such."""
        if self.choices and str(self.read(value)) not in self.choices:
            known = ", ".join(map(repr, self.choices))
            near = nearest(str(value), self.choices)
            raise OptionError(f"Invalid value for '--{self.name}': {value!r} is not one of {known}{near}.")


def registered(field: str) -> tuple[str, ...]:
    """What a registry knows of that an option names; nothing for other options."""
    if field == "engine":
        from ttsr_studio.engines.registry import ENGINES

        return tuple(ENGINES)
    if field == "search":
        from ttsr_studio.search.registry import SEARCHES

        return tuple(SEARCHES)
    if field == "solver":
        from ttsr_studio.diffusion.samplers.registry import SAMPLERS

        return tuple(SAMPLERS)
    if field == "schedule":
        from ttsr_studio.diffusion.schedule_names import SCHEDULES, SPACINGS

        return (*SCHEDULES, *SPACINGS)
    if field == "verifiers":
        from ttsr_studio.verifiers.registry import VERIFIERS

        return tuple(VERIFIERS)
    return ()


def settings_of(search: str) -> tuple[str, ...]:
    """Names of the settings that a search takes. Raises OptionError for an unknown search."""
    from ttsr_studio.search.registry import search_settings

    return search_settings(search)


def read_field(field: str) -> OptionField:
    """A row of the table as an option."""
    information, told = FIELD_INFO[field], row(field)
    kind: Any
    members = [each for each in get_args(information.annotation) if each is not NoneType]
    several = told.get("several")
    literals: tuple[str, ...] = ()
    if field == "chain":
        kind = Path
    elif field == "rate":
        kind, literals = str, ("source", *map(str, RATES))
    elif get_origin(information.annotation) is Literal:
        kind, literals = str, get_args(information.annotation)
    elif several:
        kind = Path if members[0] is Path else str
    elif members and get_origin(members[0]) is Literal:
        kind, literals = str, get_args(members[0])
    else:
        kind = members[0] if members else information.annotation
        kind = get_origin(kind) or kind
    return OptionField(
        option_name(field),
        field,
        told["group"],
        kind,
        information.default,
        information.description or "",
        literals,
        several,
        told.get("metavar") or (several if several and "=" in several else None),
        told["unset"],
        told["held_by"],
        told.get("flag", True),
    )


FIELDS = {option_name(name): read_field(name) for table in TABLES for name in table.__annotations__}
"""Every option of a render by its name."""


def held_by(holder: Holder) -> tuple[str, ...]:
    """Names of the options that something other than a flag may set."""
    return tuple(name for name, field in FIELDS.items() if holder in field.held_by)


PRESET_KEYS = held_by("preset")
"""Names of the options that a preset, a sidecar or a `ttsr-watch.toml` may set."""
