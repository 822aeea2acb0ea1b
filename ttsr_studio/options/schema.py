"""JSON schema of the options, made of their table."""

import re
from typing import Any

from pydantic import TypeAdapter

from ttsr_studio.options import RenderOptions, row
from ttsr_studio.options.values import RATES


def options_schema() -> dict[str, dict[str, Any]]:
    """JSON schema of every option's value by field, as reports have it: of several, a list of texts."""
    schemas: dict[str, dict[str, Any]] = TypeAdapter(RenderOptions).json_schema()["properties"]
    for field, schema in schemas.items():
        for key in ("title", *row(field)):
            schema.pop(key, None)
        schema["description"] = re.sub(r" Known are {\w+}\.", "", schema["description"])
        if row(field).get("several"):
            schemas[field] = {"type": "array", "items": {"type": "string"}, "description": schema["description"]}
    del schemas["rate"]["anyOf"]
    schemas["rate"]["enum"] = ["source", *RATES]
    return schemas
