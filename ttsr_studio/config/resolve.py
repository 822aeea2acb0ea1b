"""From flags, presets and sidecars to the options of one render."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ttsr_studio.batch.plan import Job
from ttsr_studio.cli.render_options import bare_command, option_names
from ttsr_studio.config import presets
from ttsr_studio.config.sidecar import KEYS as ANNOTATION_KEYS
from ttsr_studio.config.sidecar import read_sidecar, sidecar
from ttsr_studio.errors import OptionError
from ttsr_studio.options import RenderOptions
from ttsr_studio.render.inference.session import Session
from ttsr_studio.search.registry import search_settings

LIMITS = {"candidates": "budget", "budget": "candidates"}
"""A limit of a search, and the one that takes its place."""


def resolve(preset: str, values: Mapping[str, Any]) -> RenderOptions:
    """Options as `ttsr render --preset PRESET` has them with these values, by option name, for flags.

    Raises OptionError for what the command would refuse.
    """
    names = option_names()
    given = {names[key]: value for key, value in values.items()}
    try:
        with bare_command.make_context("render", ["--preset", preset], default_map=given) as ctx:
            params = {name: value for name, value in ctx.params.items() if name in RenderOptions.__dataclass_fields__}
    except click.UsageError as error:
        raise OptionError(error.format_message()) from error
    options = RenderOptions(**params | limits(params, set(given)))
    Session.check_names(options)
    return options


def with_sidecar(job: Job, options: RenderOptions, given: Collection[str]) -> RenderOptions:
    """Options of one file: those of its sidecar, then flags (`given`, parameter names), then presets.

    A preset in the sidecar takes the place of the command's. Raises OptionError or InputError for what cannot be.
    """
    file = sidecar(job.source)
    values = read_sidecar(file) if file.is_file() else {}
    own = {key: value for key, value in values.items() if key not in ANNOTATION_KEYS}
    if not own:
        return options
    preset, reference = own.pop("preset", None), own.pop("reference", None)
    names = option_names()
    own = {key: presets.checked(file, key, value) for key, value in own.items()}
    resolved = resolve(preset or "general", own)
    fields = {names[key] for key in own}
    if preset:
        kept = {name: getattr(options, name) for name in given if name not in fields and hasattr(options, name)}
        merged = replace(resolved, **kept)
    else:
        taken = {name: getattr(resolved, name) for name in fields}
        taken |= {one: None for one, other in LIMITS.items() if other in fields and one not in fields}
        merged = replace(options, **taken)
    return replace(merged, reference=file.parent / reference) if reference else merged


def limits(values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """What gives way to what was given: a limit of one kind to another, settings to a search without them."""
    changed: dict[str, Any] = {one: None for one, other in LIMITS.items() if other in given and one not in given}
    known = search_settings(values["search"])
    changed |= {
        name: None for name in ("neighbours", "cosine", "stride", "pivot") if name not in known and name not in given
    }
    if "settings" not in given:
        changed["settings"] = tuple(pair for pair in values["settings"] if pair[0] in known)
    return changed


def read_transcript(value: str | None) -> str | None:
    """A text, or what the .txt file of that name holds. Raises OptionError when that cannot be read."""
    if value is None or not value.endswith(".txt"):
        return value
    try:
        return Path(value).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--transcript {value}: {error}") from error
