"""Systems as the user writes them: `NAME: KEY=VALUE ...`, and grids `KEY=A,B,C`. Keys are options of `ttsr render`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from ttsr_studio.config.option_fields import FIELDS, OptionField, held_by
from ttsr_studio.config.resolve import resolve
from ttsr_studio.errors import OptionError, unknown
from ttsr_studio.options import RenderOptions

KEYS = held_by("evaluation")
"""Options that a system may set."""

FIXED = tuple(name for name in held_by("preset") if name not in KEYS)
"""Options that a preset may set and an evaluation fixes for all."""

SpecValues = dict[str, str]


@dataclass(frozen=True)
class Spec:
    """A system to render with."""

    name: str
    options: RenderOptions


def plan_specs(renders: Sequence[str], grids: Sequence[str], seed: int, oracle: bool) -> list[Spec]:
    """Every `--render`, multiplied by every `--grid`; a grid alone varies the defaults.

    Raises OptionError for an unknown key, value or name, a key set twice, or an oracle verifier without `oracle`.
    """
    axes = [parse_grid(text) for text in grids]
    if len({key for key, _ in axes}) < len(axes):
        raise OptionError("two --grid set the same key; give all its values in one")
    bases = [parse_render(text) for text in renders] or ([("", {})] if axes else [])
    specs = []
    for name, values in bases:
        for key, _ in axes:
            if key in values:
                raise OptionError(f"--render {name!r} and a --grid both set {key}")
        for point in product(*(choices for _, choices in axes)):
            chosen = dict(zip((key for key, _ in axes), point, strict=True))
            full_name = " ".join([*([name] if name else []), *(f"{k}={v}" for k, v in chosen.items())])
            specs.append(Spec(full_name, make_options(full_name, values | chosen, seed, oracle)))
    return specs


def parse_render(text: str) -> tuple[str, SpecValues]:
    """ "name: key=value key=value" -> (name, values)."""
    name, _, rest = text.partition(":")
    name = name.strip()
    if not name or "=" in name:
        raise OptionError(
            f"--render {text!r}: write NAME: KEY=VALUE ..., such as 'best8: candidates=8 verifier=continuity'"
        )
    values: SpecValues = {}
    for part in rest.split():
        key, value = split_pair("--render", part)
        if key in values:
            raise OptionError(f"--render {name!r} sets {key} twice")
        values[key] = value
    return name, values


def parse_grid(text: str) -> tuple[str, list[str]]:
    """ "key=a,b,c" -> (key, its values); members of one set of verifiers are joined by +."""
    key, value = split_pair("--grid", text)
    choices = value.split(",")
    if len(set(choices)) < len(choices) or not all(choices):
        raise OptionError(f"--grid {text!r}: values are given once each, separated by commas")
    return key, choices


def split_pair(option: str, text: str) -> tuple[str, str]:
    key, equals, value = text.strip().partition("=")
    if not equals or not value:
        raise OptionError(f"{option}: {text!r} is not KEY=VALUE")
    if key not in KEYS and key != "preset":
        raise unknown(f"{option} key", key, (*KEYS, "preset"))
    return key, value


def make_options(name: str, values: SpecValues, seed: int, oracle: bool) -> RenderOptions:
    """Options of one system: its values over its preset's, with what an evaluation fixes."""
    given: dict[str, Any] = {key: read_value(name, key, text) for key, text in values.items() if key != "preset"}
    given |= {key: FIELDS[key].default for key in FIXED} | {"rate": 48000, "depth": "32f", "loudness": "off"}
    options = resolve(values.get("preset"), given, defaults={"seed": seed})
    if "lsd" not in options.verifiers:
        return options
    if not oracle:
        raise OptionError(f"system {name!r}: verifier lsd scores by the truth; pass --oracle to allow it")
    return replace(options, reference=Path("truth.wav"))


def read_value(name: str, key: str, text: str) -> Any:
    """The value of a key. Raises OptionError for what it cannot be."""
    field = FIELDS[key]
    try:
        value = parse_value(field, text)
    except ValueError:
        wanted = {int: "a whole number", bool: "true or false", tuple: "LOW-HIGH"}.get(field.kind, "a number")
        raise OptionError(f"system {name!r}: {key}={text}: {wanted} is needed") from None
    if field.choices and value not in field.choices:
        raise unknown(key, value, field.choices)
    return value


def parse_value(field: OptionField, text: str) -> Any:
    """The value that a text stands for; several are joined by "+", names of verifiers by "," too, captions by "|".

    Of pairs ("rungs:0.5,0.75+keep:0.5") the parts are joined by ":". Raises ValueError.
    """
    if field.several == "texts":
        return text.split("|")
    if field.several == "names":
        return text.replace("+", ",").split(",")
    if field.several:
        return [part.replace(":", "=") for part in text.split("+")]
    if field.kind is tuple:
        low, high = text.split("-")
        return float(low), float(high)
    if field.kind is bool and text not in ("true", "false"):
        raise ValueError(text)
    return text == "true" if field.kind is bool else field.kind(text)
