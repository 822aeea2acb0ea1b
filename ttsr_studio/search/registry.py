"""Search algorithms by name. A new one is one file and one line in `BUILT_IN`; it is imported on use."""

import re
from collections.abc import Callable, Collection
from inspect import Parameter, isgeneratorfunction, signature
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from ttsr_studio.errors import OptionError, first_line, nearest, unknown
from ttsr_studio.plugins.plugin import Plugin
from ttsr_studio.plugins.registry import Registry

if TYPE_CHECKING:
    from ttsr_studio.search.protocol import Answer, Budget, Candidate, Problem, Search


BUILT_IN = {
    "random": ("ttsr_studio.search.algorithms.random:random_search", ""),
    "poisson": ("ttsr_studio.search.algorithms.poisson:poisson_search", "mean"),
    "zero-order": ("ttsr_studio.search.algorithms.zero_order:zero_order_search", "neighbours cosine stride pivot"),
    "paths": ("ttsr_studio.search.algorithms.paths:paths_search", "branches level rise fall"),
    "halving": ("ttsr_studio.search.algorithms.successive_halving:halving_search", "rungs keep"),
    "screen": ("ttsr_studio.search.algorithms.coarse_to_fine:screen_search", "coarse finish"),
    "polish": ("ttsr_studio.search.algorithms.random_then_local:polish_search", "share neighbours cosine stride"),
    "steering": ("ttsr_studio.search.algorithms.fk_steering:steering_search", "strength eta resample funnel"),
    "gradient": ("ttsr_studio.search.algorithms.gradient:gradient_search", "chains stride through"),
    "evolution": (
        "ttsr_studio.search.algorithms.evolution:evolution_search",
        "generations elites cosine share",
    ),
    "tree": ("ttsr_studio.search.algorithms.tree:tree_search", "eta temperature widening ways"),
    "census": ("ttsr_studio.search.algorithms.traced_random:census_search", "every"),
}
"""Name -> where it is, and its settings: `render --help` tells of them and imports none."""
WITHOUT_PREVIEWS = {"random", "poisson"}
"""Those that need no scores on their way."""


def search_misfit(entry: Any) -> str | None:
    """Why something is no search, None when it is one."""
    if not isgeneratorfunction(entry):
        return "it is no generator function"
    parameters = list(signature(entry).parameters.values())
    if len(parameters) < 2:
        return "it takes no problem and budget"
    odd = [
        each.name
        for each in parameters[2:]
        if each.kind is not Parameter.KEYWORD_ONLY or each.default is Parameter.empty
    ]
    if odd:
        return f"its settings need keywords and defaults: {', '.join(odd)}"
    try:
        for wanted in setting_types(entry).values():
            TypeAdapter(wanted)
    except (NameError, TypeError, SyntaxError, PydanticUserError) as error:
        return f"the types of its settings cannot be read ({type(error).__name__}: {first_line(error)})"
    return None


SEARCHES: "Registry[Callable[..., Search]]" = Registry(
    "search", {name: value for name, (value, _) in BUILT_IN.items()}, search_misfit
)


def uses_previews(name: str) -> bool:
    """Whether a search needs scores on its way, so that a verifier has to score windows.

    It does unless it says otherwise: `my_search.uses_previews = False`.
    """
    return bool(getattr(SEARCHES[name], "uses_previews", name != "random"))


def uses_gradients(name: str) -> bool:
    """Whether a search climbs by gradients, which engine and verifiers then need: `my_search.uses_gradients = True`."""
    return bool(getattr(SEARCHES[name], "uses_gradients", False))


def search_settings(name: str) -> tuple[str, ...]:
    """Names of the settings that an algorithm takes besides problem and budget."""
    if name in BUILT_IN:
        return tuple(BUILT_IN[name][1].split())
    return tuple(signature(SEARCHES[name]).parameters)[2:]


def refuse_settings(name: str, settings: Collection[str]) -> None:
    """Raise OptionError for an unknown search or a setting that it does not take."""
    known = search_settings(name)
    if strange := set(settings) - set(known):
        takes = ", ".join(known) or "none"
        near = next(filter(None, (nearest(each, known) for each in sorted(strange))), "")
        raise OptionError(f"search {name!r} does not take {', '.join(sorted(strange))}; its settings: {takes}{near}")


def start_search(name: str, problem: "Problem", budget: "Budget", settings: dict[str, Any]) -> "Search":
    """Start a search by name. Raises OptionError for an unknown name or a setting that it does not take."""
    refuse_settings(name, settings)
    values = {key: read_setting(name, key, value) for key, value in settings.items()}
    search, plugin = SEARCHES[name], SEARCHES.plugin(name)
    return watched(plugin, search(problem, budget, **values)) if plugin else search(problem, budget, **values)


def watched(plugin: Plugin, search: "Search") -> "Search":
    """The same search, whose failures are the plug-in's."""
    answer: Answer | None = None
    while True:
        try:
            with plugin.blamed():
                request = next(search) if answer is None else search.send(answer)
        except StopIteration as finished:
            winner: Candidate = finished.value
            return winner
        answer = yield request


def read_setting(search: str, key: str, value: Any) -> Any:
    """A setting as its algorithm has it; texts are read by the type of it, a tuple's parts between commas.

    Raises OptionError.
    """
    if not isinstance(value, str):
        return value
    wanted = setting_types(SEARCHES[search])[key]
    several = any(get_origin(each) is tuple for each in (wanted, *get_args(wanted)))
    try:
        return TypeAdapter(wanted).validate_python(value.split(",") if several else value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "literal_error":
            raise unknown(key, value, re.findall("'(.*?)'", first["ctx"]["expected"])) from None
        if first["type"] in ("int_parsing", "float_parsing", "int_from_float"):
            raise OptionError(f"search {search!r}: {key}={value} is not a number") from None
        raise OptionError(f"search {search!r}: {key}={value}: {first['msg']}") from None


def setting_types(search: "Callable[..., Search]") -> dict[str, Any]:
    """Types of a search's settings, by its annotations, or else by their defaults."""
    settings = list(signature(search).parameters.values())[2:]
    said = {each.name: each.annotation for each in settings if each.annotation is not Parameter.empty}
    own = type("Settings", (), {"__annotations__": said})  # what the rest is annotated with may not be there to import
    known = get_type_hints(own, globalns=getattr(search, "__globals__", {}))
    return {each.name: known.get(each.name, str if each.default is None else type(each.default)) for each in settings}
