"""Check reports against their models, and publish these as a JSON schema."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from ttsr_studio.errors import InputError
from ttsr_studio.options.schema import options_schema
from ttsr_studio.report.schema import Report
from ttsr_studio.report.upgrade import upgrade

SCHEMA_ID = "https://racerk.github.io/tt-scale-audiosr/report.schema.json"


@cache
def adapter() -> TypeAdapter[Report]:
    return TypeAdapter(Report)


def validate(report: Mapping[str, Any]) -> Report:
    """A report from parsed JSON, of this version or an older one. Raises InputError, naming the place that is wrong."""
    try:
        return adapter().validate_python(upgrade(report))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = "/".join(map(str, first["loc"])) or "the top level"
        raise InputError(f"not a report of this version: at {place}: {first['msg'][:200]}") from error


def load_report(path: Path) -> Report:
    """Read a report from its file. Raises InputError when it is none."""
    try:
        return validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(str(error)) from error


class _Untitled(GenerateJsonSchema):
    """Without a title for every field, which would say its name once more."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """The JSON schema of a report (draft 2020-12)."""
    made = adapter().json_schema(mode="serialization", schema_generator=_Untitled)
    made["$defs"]["ToolInfo"]["properties"]["options"]["properties"] = options_schema()
    return {"$schema": _Untitled.schema_dialect, "$id": SCHEMA_ID, **made}
