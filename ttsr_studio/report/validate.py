"""Check a report against its published schema."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from ttsr_studio.errors import InputError


@cache
def validator() -> Draft202012Validator:
    """Return the validator of `report.schema.json`."""
    schema = json.loads(files("ttsr_studio.report").joinpath("report.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def validate(report: Mapping[str, Any]) -> None:
    """Raise InputError, naming the place, unless the report (parsed JSON) fits the schema."""
    error = best_match(validator().iter_errors(report))
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path) or "the top level"
        raise InputError(f"not a report of this version: at {place}: {error.message[:200]}")
