"""Presets: one TOML per content type, whose keys are the names of `ttsr render` options.

The user's folder comes before the built-in one; a path to a TOML file works too.
"""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import platformdirs

from ttsr_studio.config.option_fields import FIELDS, PRESET_KEYS
from ttsr_studio.errors import OptionError, shown, unknown
from ttsr_studio.storage.home import from_home

Values = dict[str, Any]


def folders() -> list[Path]:
    """Where presets are looked for, first match wins."""
    package = Path(str(files("ttsr_studio")))
    shipped = package / "_presets"
    built_in = shipped if shipped.is_dir() else package.parent / "presets"
    return [platformdirs.user_config_path("ttsr", appauthor=False, roaming=True) / "presets", built_in]


def available() -> dict[str, Path]:
    """Every preset by name."""
    found: dict[str, Path] = {}
    for folder in folders():
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def locate(name: str) -> Path:
    """The file of a preset, by name or path. Raises OptionError for an unknown one."""
    if name.endswith(".toml"):
        path = Path(from_home(name))
        if not path.is_file():
            raise OptionError(f"preset {name}: no such file")
        return path
    known = available()
    if name not in known:
        raise unknown("preset", name, known)
    return known[name]


def values_of(name: str) -> Values:
    """The values of a preset, keyed by option name.

    Raises OptionError for an unknown preset, broken TOML, or a key that is no option (the known ones are listed).
    """
    path = locate(name)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"preset {shown(path)}: not valid TOML: {error}") from error
    values.pop("description", None)
    for key in values:
        if key not in PRESET_KEYS:
            raise OptionError(f"preset {shown(path)}: {unknown('key', key, PRESET_KEYS)}")
    return {key: checked(path, key, value) for key, value in values.items()}


def checked(path: Path, key: str, value: Any) -> Any:
    """The value of an option if it is of a kind that the option can take; where several may stand, one is a list.

    Raises OptionError, naming the file.
    """
    field = FIELDS[key]
    value = field.read(value)
    if field.kind is tuple:
        if isinstance(value, list) and len(value) == 2 and all(isinstance(level, int | float) for level in value):
            return tuple(value)
        raise OptionError(f"{shown(path)}: {key} takes two noise levels, such as [0.1, 5]")
    if field.kind is Path and not field.several and isinstance(value, str):
        return str(path.parent / from_home(value))
    if field.several:
        names = [value] if isinstance(value, str) else value
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
        raise OptionError(f"{shown(path)}: {key} takes {field.several} in quotes, one or a list of them")
    if not isinstance(value, str | int | float):
        raise OptionError(f"{shown(path)}: {key} takes one value, not {value!r}")
    return value


def description(path: Path) -> str:
    """The preset's own one-line description."""
    return str(tomllib.loads(path.read_text(encoding="utf-8")).get("description", ""))
