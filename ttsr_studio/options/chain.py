"""A chain of effects as it is asked for: tables of a TOML file, before and after a render.

[[before]]
plugin = "NoiseGate"            # an effect that pedalboard has, and its settings
threshold_db = -60

[[after]]
vst3 = "plug-ins/DeEsser.vst3"  # or au = "…"; relative to this file
name = "DeEsser"                # where the file holds several
parameters = {threshold_db = -30}
"""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttsr_studio.errors import OptionError, shown, unknown

PLACES = ("before", "after")
KINDS = ("plugin", "vst3", "au")
EXTERNAL = ("name", "parameters")
FILES = ("vst3", "au", "impulse_response_filename")
"""Keys whose values are files."""


@dataclass(frozen=True)
class Chain:
    """Effects before and after a render.

    Attributes:
        text: the tables as JSON, files absolute.
    """

    text: str

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """The tables by place, as in the TOML file."""
        tables: dict[str, list[dict[str, Any]]] = json.loads(self.text)
        return tables


def parse_chain(value: Any) -> Chain:
    """A path of a TOML file, or its tables as a report has them. Raises OptionError for what is no chain."""
    if isinstance(value, Chain):
        return value
    if isinstance(value, dict):
        return checked_chain("chain", value, Path())
    path = Path(value)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise OptionError(f"--chain {shown(path)}: cannot be read ({error.strerror}); name a TOML file") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"--chain {shown(path)}: not valid TOML: {error}") from error
    return checked_chain(f"--chain {shown(path)}", tables, path.absolute().parent)


def checked_chain(what: str, tables: dict[str, Any], folder: Path) -> Chain:
    """A chain of tables, its files seen from a folder. Raises OptionError for keys that are none, or missing ones."""
    for place, effects in tables.items():
        if place not in PLACES:
            raise OptionError(f"{what}: {unknown('table', place, PLACES)}")
        if not isinstance(effects, list) or not all(isinstance(each, dict) for each in effects):
            raise OptionError(f"{what}: {place} is no list of tables; write [[{place}]] above each effect")
        for number, effect in enumerate(effects, 1):
            check_effect(f"{what}: {place} {number}", effect)
    if not any(tables.values()):
        raise OptionError(f'{what}: holds no effect; write [[before]] or [[after]], and below it plugin = "Compressor"')
    whole = {
        place: [
            {key: str(folder / value) if key in FILES else value for key, value in effect.items()}
            for effect in tables.get(place, ())
        ]
        for place in PLACES
    }
    try:
        return Chain(json.dumps(whole, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise OptionError(f"{what}: settings are numbers, texts, true or false ({error})") from error


def check_effect(what: str, effect: dict[str, Any]) -> None:
    """Raise OptionError for an effect that is not one of the kinds, or whose keys are of another kind."""
    named = [kind for kind in KINDS if kind in effect]
    if len(named) != 1:
        raise OptionError(f"{what}: names {'no effect' if not named else 'several'}; give one of {', '.join(KINDS)}")
    for key in FILES:
        if key in effect and not isinstance(effect[key], str):
            raise OptionError(f"{what}: {key} takes the path of a file, not {effect[key]!r}")
    if not isinstance(effect[named[0]], str):
        raise OptionError(f"{what}: {named[0]} takes a name in quotes, not {effect[named[0]]!r}")
    if named[0] == "plugin":
        return
    for key in effect:
        if key not in (named[0], *EXTERNAL):
            near = unknown("key", key, (named[0], *EXTERNAL))
            raise OptionError(f"{what}: {near}; settings of the plug-in go into parameters = {{…}}")
    if not isinstance(effect.get("parameters", {}), dict):
        raise OptionError(f"{what}: parameters takes a table, such as {{threshold_db = -30}}")
