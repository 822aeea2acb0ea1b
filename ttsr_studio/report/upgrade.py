"""Reports of older versions, in the words of the present one."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

RENAMED = {
    "windows/*/candidates/*/looks": "previews",
    "judged/*/control": "random_baseline",
    "job/twin": "duplicate_of",
    "brief": "annotations",
    "judged": "scores",
    "finalists": "n_best",
    "control": "random_baseline",
}
"""What a field of schema 2 is called in schema 3, by its place; the inner ones first."""


def upgrade(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """A report of schema 2 as one of schema 3; anything else as it is."""
    if not isinstance(report, Mapping) or report.get("schema_version") != "2":
        return report
    upgraded = deepcopy(dict(report))
    for place, name in RENAMED.items():
        *path, old = place.split("/")
        for part in _parts(upgraded, path):
            if isinstance(part, dict) and old in part:
                part[name] = part.pop(old)
    return upgraded | {"schema_version": "3"}


def _parts(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """What lies at a path, in which "*" is every item."""
    if not path:
        yield value
        return
    head, *rest = path
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if head != "*":
        items = [value[head]] if isinstance(value, dict) and head in value else []
    for item in items:
        yield from _parts(item, rest)
