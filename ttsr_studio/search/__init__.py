"""Search algorithms by name. A new one is one file and one line in `SEARCHES`."""

from collections.abc import Callable
from inspect import signature
from typing import Any

from ttsr_studio.errors import OptionError, unknown
from ttsr_studio.search.contract import Budget, Problem, Search
from ttsr_studio.search.random import random_search
from ttsr_studio.search.zero_order import zero_order_search

SEARCHES: dict[str, Callable[..., Search]] = {
    "random": random_search,
    "zero-order": zero_order_search,
}


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
    return SEARCHES[name](problem, budget, **settings)
