"""The shape of a job file; its options are those of the table that a job may hold."""

from typing import Any

from jsonschema import Draft202012Validator

from ttsr_studio.config.option_fields import FIELDS, held_by
from ttsr_studio.options.schema import options_schema

VERSION = "1"
WRITTEN = {
    "rate": r"^\s*\d+(\.\d+)?\s*[kK]?([hH][zZ])?\s*$",
    "depth": r"^((16|24)[ _-]?[Bb]it|32[ _-]?([Bb]it[ _-]?)?[Ff]loat|[Ff]loat(32)?)$",
}
"""How people write what an option of few values takes: 44.1k, 24-bit; what it comes to is checked with the rest."""


def job_schema() -> dict[str, Any]:
    """The JSON schema of a job, which `ttsr schema job` prints."""
    text = {"type": "string", "minLength": 1}
    return {
        "$schema": Draft202012Validator.META_SCHEMA["$id"],
        "title": "Job of ttsr render --job",
        "type": "object",
        "additionalProperties": False,
        "required": ["job_version", "inputs", "result"],
        "properties": {
            "job_version": {"const": VERSION},
            "inputs": {
                "description": "Audio files or folders; relative paths are relative to the job file.",
                "type": "array",
                "minItems": 1,
                "items": text,
            },
            "preset": text,
            "options": {
                "description": "Options of ttsr render by name, without dashes.",
                "type": "object",
                "additionalProperties": False,
                "properties": job_options(),
            },
            "output": {"description": "File, folder or template, as -o.", **text},
            "outputs": {
                "description": "Output files instead, one for each input, in their order.",
                "type": "array",
                "minItems": 1,
                "items": text,
            },
            "existing": {"enum": ["refuse", "overwrite", "skip"]},
            "keep_top": {"type": "integer", "minimum": 1},
            "page": {"type": "boolean"},
            "app": {"description": "Let a running ttsr app do it, where it can.", "type": "boolean"},
            "report": {"description": "Whether reports are written beside outputs.", "type": "boolean"},
            "result": {"description": "Where the result is written.", **text},
            "progress": text,
            "cancel": text,
            "done": text,
        },
    }


def job_options() -> dict[str, Any]:
    """JSON schemas of the options that a job may hold, by name: from the table; of several, one alone will do."""
    of_fields, found = options_schema(), dict[str, Any]()
    for name in held_by("job"):
        schema = of_fields[FIELDS[name].field]
        kinds = [kind for kind in schema.pop("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) > 1:
            schema["anyOf"] = kinds
        elif kinds:
            schema |= kinds[0]
        if FIELDS[name].several and FIELDS[name].kind is str:
            schema["type"] = ["string", "array"]
        schema.pop("default", None)  # it is the preset's value that holds
        if name in WRITTEN:
            schema = {"anyOf": [schema, {"type": "string", "pattern": WRITTEN[name]}]}
        found[name] = schema
    return found
