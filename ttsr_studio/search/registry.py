"""Search algorithms by name. A new one is one file and one line in `SEARCHES`."""

from collections.abc import Callable
from inspect import Parameter, isgeneratorfunction, signature
from typing import Any

from ttsr_studio.errors import OptionError
from ttsr_studio.plugins.registry import Registry
from ttsr_studio.search.algorithms.coarse_to_fine import screen_search
from ttsr_studio.search.algorithms.fk_steering import steering_search
from ttsr_studio.search.algorithms.paths import paths_search
from ttsr_studio.search.algorithms.random import random_search
from ttsr_studio.search.algorithms.random_then_local import polish_search
from ttsr_studio.search.algorithms.successive_halving import halving_search
from ttsr_studio.search.algorithms.traced_random import census_search
from ttsr_studio.search.algorithms.zero_order import zero_order_search
from ttsr_studio.search.protocol import Budget, Problem, Search

BUILT_IN = {
    "random": random_search,
    "zero-order": zero_order_search,
    "paths": paths_search,
    "halving": halving_search,
    "screen": screen_search,
    "polish": polish_search,
    "steering": steering_search,
    "census": census_search,
}


def misfit(entry: Any) -> str | None:
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
    return f"its settings need keywords and defaults: {', '.join(odd)}" if odd else None


SEARCHES: Registry[Callable[..., Search]] = Registry("search", BUILT_IN, misfit)


def uses_previews(name: str) -> bool:
    """Whether a search needs scores on its way, so that a verifier has to score windows."""
    return name != "random"


def search_settings(name: str) -> tuple[str, ...]:
    """Names of the settings that an algorithm takes besides problem and budget."""
    return tuple(signature(SEARCHES[name]).parameters)[2:]


def start_search(name: str, problem: Problem, budget: Budget, settings: dict[str, Any]) -> Search:
    """Start a search by name. Raises OptionError for an unknown name or a setting that it does not take."""
    known = search_settings(name)
    if strange := set(settings) - set(known):
        takes = ", ".join(known) or "none"
        raise OptionError(f"search {name!r} does not take {', '.join(sorted(strange))}; its settings: {takes}")
    return SEARCHES[name](problem, budget, **{key: read_setting(name, key, value) for key, value in settings.items()})


def read_setting(search: str, key: str, value: Any) -> Any:
    """A setting as its algorithm has it; texts are read by the kind of its default. Raises OptionError."""
    if not isinstance(value, str):
        return value
    parameter = signature(SEARCHES[search]).parameters[key]
    kind = str(parameter.annotation)
    try:
        if "tuple" in kind:
            return tuple(float(part) for part in value.split(","))
        if kind == "<class 'int'>":
            return int(value)
        if "float" in kind:
            return float(value)
    except ValueError:
        raise OptionError(f"search {search!r}: {key}={value} is not a number") from None
    return value
