"""From flags, presets, sidecars and jobs to the options of one render: the one place where precedence is decided."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ttsr_studio.config import presets
from ttsr_studio.config.fitting import refuse_unfit
from ttsr_studio.config.option_fields import FIELDS, registered, settings_of
from ttsr_studio.config.sidecar import KEYS as ANNOTATION_KEYS
from ttsr_studio.config.sidecar import read_sidecar, sidecar
from ttsr_studio.errors import OptionError, shown, unknown
from ttsr_studio.options import RenderOptions
from ttsr_studio.storage.home import from_home

LIMITS = {"candidates": "budget", "budget": "candidates"}
"""A limit of a search, and the one that takes its place."""

FIELD_NAMES = {field.field for field in FIELDS.values()}
OF_SOME_SEARCHES = ("neighbours", "cosine", "stride", "pivot")


def resolve(
    preset: str | None,
    given: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    report: Mapping[str, Any] | None = None,
) -> RenderOptions:
    """Options as `ttsr render --preset PRESET` has them with what is given: that, then a report's, then the preset's.

    Args:
        preset: name or path; None to take the options' own defaults.
        given: values by option name. What is given wins even where it equals the default.
        defaults: values by field, in place of the options' own.
        report: values by field of an earlier render.

    Raises OptionError for what is unknown or wrong, or does not fit together.
    """
    own = presets.values_of(preset) if preset else {}
    for name, value in (*own.items(), *given.items()):
        FIELDS[name].refuse_other(value)
    values = {**(defaults or {}), **by_field(own)}
    values |= {"preset": Path(preset).stem} if preset else {}
    earlier = {name: value for name, value in (report or {}).items() if name in FIELD_NAMES}
    options = RenderOptions(**{**values, **earlier, **by_field(given)})
    options = replace(options, **giving_way(options, given))
    known = registered("verifiers")
    for verifier in (*options.verifiers, *options.hold_out):
        if verifier.removesuffix("?") not in known:
            raise unknown("verifier", verifier.removesuffix("?"), known)
    return options


def with_sidecar(source: Path, options: RenderOptions, given: Collection[str]) -> RenderOptions:
    """Options of one file: those of its sidecar, then flags (`given`, by option name), then presets.

    A preset in the sidecar takes the place of the command's. Raises OptionError or InputError for what cannot be.
    """
    file = sidecar(source)
    values = read_sidecar(file) if file.is_file() else {}
    own = {key: value for key, value in values.items() if key not in ANNOTATION_KEYS}
    if not own:
        return options
    preset, reference = own.pop("preset", None), own.pop("reference", None)
    own = {key: presets.checked(file, key, value) for key, value in own.items()}
    resolved = resolve_of(file, preset or "general", own)
    if preset:
        kept = by_field({name: getattr(options, FIELDS[name].field) for name in given if name not in own})
        merged = replace(resolved, **kept)
    else:
        taken = by_field({name: getattr(resolved, FIELDS[name].field) for name in own})
        taken |= {one: None for one, other in LIMITS.items() if other in own and one not in own}
        merged = replace(options, **taken)
    return replace(merged, reference=file.parent / from_home(reference)) if reference else merged


def resolve_of(file: Path, preset: str, own: Mapping[str, Any]) -> RenderOptions:
    """Options of a sidecar. Raises OptionError, naming it."""
    try:
        return resolve(preset, own)
    except OptionError as error:
        raise OptionError(f"{shown(file)}: {error}") from error


def by_field(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by option name -> by field of the options."""
    return {FIELDS[name].field: value for name, value in values.items()}


def giving_way(options: RenderOptions, given: Collection[str]) -> dict[str, Any]:
    """Fields that give way to what was given: a limit of one kind to another, settings to a search without them."""
    known = settings_of(options.search)
    changed: dict[str, Any] = {one: None for one, other in LIMITS.items() if other in given and one not in given}
    changed |= {name: None for name in OF_SOME_SEARCHES if name not in known and name not in given}
    if "set" not in given:
        changed["settings"] = tuple(pair for pair in options.settings if pair[0] in known)
    return changed


def refuse_without_effect(options: RenderOptions, given: Collection[str]) -> None:
    """Raise OptionError for settings of segments where nothing is chosen by segment, and what else does not fit.

    Raises MissingError for a verifier that lacks a file.
    """
    refuse_unfit(options)
    for name in ("segment", "seam"):
        if options.choice != "segment" and name in given:
            raise OptionError(f"--{name} is of --choice segment, not of --choice {options.choice}; leave it out")


def read_transcript(value: str | None) -> str | None:
    """A text, or what the .txt file of that name holds. Raises OptionError when that cannot be read."""
    if value is None or not value.endswith(".txt"):
        return value
    try:
        return Path(from_home(value)).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--transcript {value}: {error}") from error
