"""Search algorithms by name. A new one is one file and one line in `SEARCHES`."""

from collections.abc import Callable
from inspect import signature
from typing import Any

from ttsr_studio.errors import OptionError, unknown
from ttsr_studio.search.algorithms.coarse_to_fine import screen_search
from ttsr_studio.search.algorithms.fk_steering import steering_search
from ttsr_studio.search.algorithms.paths import paths_search
from ttsr_studio.search.algorithms.random import random_search
from ttsr_studio.search.algorithms.random_then_local import polish_search
from ttsr_studio.search.algorithms.successive_halving import halving_search
from ttsr_studio.search.algorithms.traced_random import census_search
from ttsr_studio.search.algorithms.zero_order import zero_order_search
from ttsr_studio.search.protocol import Budget, Problem, Search

SEARCHES: dict[str, Callable[..., Search]] = {
    "random": random_search,
    "zero-order": zero_order_search,
    "paths": paths_search,
    "halving": halving_search,
    "screen": screen_search,
    "polish": polish_search,
    "steering": steering_search,
    "census": census_search,
}


USING_PREVIEWS = tuple(name for name in SEARCHES if name not in ("random",))
"""Those that need scores on their way, so that a verifier has to judge windows."""


def search_settings(name: str) -> tuple[str, ...]:
    """Names of the settings that an algorithm takes besides problem and budget."""
    if name not in SEARCHES:
        raise unknown("search", name, SEARCHES)
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
