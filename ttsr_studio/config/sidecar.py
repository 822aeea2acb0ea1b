"""Sidecars: what is known of a file, and options for it, in `NAME.ttsr.toml` beside it.

transcript = "the words that are spoken"
caption = "a finger-picked guitar in a dry room"
captions = ["speech", "music"]        # what it may be, when there is no caption
speaker = ["other_take.wav"]          # recordings of the same speaker, relative to the sidecar
reference = "truth.wav"               # ground truth, for the oracle lsd
preset = "speech"                     # and any option of `ttsr render`, as in a preset
candidates = 16
take = 2                              # the second best in place of the best
"""

import tomllib
from pathlib import Path
from typing import Any

from ttsr_studio.config.option_fields import FIELDS, PRESET_KEYS, held_by
from ttsr_studio.errors import InputError, shown, unknown
from ttsr_studio.options import KNOWN
from ttsr_studio.storage.atomic import fit_name

KEYS = tuple(name for name in held_by("sidecar") if FIELDS[name].group == KNOWN)
"""What is known of a file."""

OWN = tuple(name for name in held_by("sidecar") if name not in (*KEYS, *PRESET_KEYS))
"""What goes before options besides, and is no option of a preset."""


def sidecar(source: Path) -> Path:
    """Where a file's sidecar is, or would be."""
    return source.with_name(fit_name(f"{source.stem}.ttsr.toml"))


def read_sidecar(path: Path) -> dict[str, Any]:
    """A sidecar's values by key; those of options are as they stand there.

    Raises InputError for broken TOML, an unknown key, or a value of another type than what is known of a file has.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{shown(path)}: not a readable sidecar: {error}") from error
    for key, value in values.items():
        if key not in held_by("sidecar"):
            raise InputError(f"{shown(path)}: {unknown('key', key, held_by('sidecar'))}")
        refuse_sidecar_kind(path, key, value)
    return values


def refuse_sidecar_kind(path: Path, key: str, value: Any) -> None:
    """Raise InputError for a value of another type than what is known of a file has."""
    if key not in (*KEYS, *OWN):
        return
    several, kind = FIELDS[key].several, FIELDS[key].kind
    if kind is int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{shown(path)}: {key} must be a whole number from 1 on")
        return
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if not (texts if several else isinstance(value, str)):
        raise InputError(f"{shown(path)}: {key} must be {'a list of texts' if several else 'a text'}")
