"""Systems as the user writes them: `NAME: KEY=VALUE ...`, and grids `KEY=A,B,C`. Keys are options of `ttsr render`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ttsr_studio.config import presets
from ttsr_studio.errors import OptionError, unknown
from ttsr_studio.options import RenderOptions, parse_pairs, parse_weights
from ttsr_studio.render.inference.session import Session
from ttsr_studio.search.registry import search_settings


def _verifiers(text: str) -> tuple[str, ...]:
    return tuple(text.replace("+", ",").split(","))


def _interval(text: str) -> tuple[float, ...]:
    """ "0.1-5" -> (0.1, 5.0)."""
    low, high = text.split("-")
    return float(low), float(high)


def _weights(text: str) -> tuple[tuple[str, float], ...]:
    """ "critic:2+consensus:1" -> (("critic", 2.0), ("consensus", 1.0))."""
    return parse_weights(part.replace(":", "=") for part in text.split("+"))


def _captions(text: str) -> tuple[str, ...]:
    """ "speech|music" -> ("speech", "music")."""
    return tuple(text.split("|"))


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """ "rungs:0.5,0.75+keep:0.5" -> (("rungs", "0.5,0.75"), ("keep", "0.5"))."""
    return parse_pairs("set", (part.replace(":", "=") for part in text.split("+")), "keep:0.5")


KEYS: dict[str, Callable[[str], Any]] = {
    "engine": str,
    "search": str,
    "candidates": int,
    "budget": str,
    "verifier": _verifiers,
    "ensemble": str,
    "neighbours": int,
    "cosine": float,
    "stride": float,
    "choice": str,
    "segment": float,
    "seam": float,
    "set": _pairs,
    "hold-out": _verifiers,
    "pivot": str,
    "steps": int,
    "temperature": float,
    "solver": str,
    "schedule": str,
    "seed": int,
    "device": str,
    "batch": int,
    "guidance": float,
    "guidance-interval": _interval,
    "guidance-rescale": float,
    "precision": str,
    "window": float,
    "compile": _flag,
    "low-vram": _flag,
    "posterior": str,
    "decode-top": int,
    "look": str,
    "scope": str,
    "finalists": int,
    "weight": _weights,
    "captions": _captions,
}
"""Key -> what reads its value."""

FIXED = (
    "rate",
    "depth",
    "loudness",
    "ceiling",
    "cutoff",
    "salvage",
    "caption",
    "control",
    "target",
    "uncertain-above",
    "keep-top",
    "page",
)
"""Options that a preset may set and an evaluation fixes for all."""

Values = dict[str, str]


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


def parse_render(text: str) -> tuple[str, Values]:
    """ "name: key=value key=value" -> (name, values)."""
    name, _, rest = text.partition(":")
    name = name.strip()
    if not name or "=" in name:
        raise OptionError(
            f"--render {text!r}: write NAME: KEY=VALUE ..., such as 'best8: candidates=8 verifier=continuity'"
        )
    values: Values = {}
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
        raise unknown(f"{option} key", key, [*KEYS, "preset"])
    return key, value


def make_options(name: str, values: Values, seed: int, oracle: bool) -> RenderOptions:
    """Options of one system: its values over its preset's, with what an evaluation fixes."""
    settings: dict[str, Any] = {"seed": seed}
    if "preset" in values:
        preset = presets.load(values["preset"], [*KEYS, *FIXED])
        settings |= {_field(key): value for key, value in preset.items() if key in KEYS} | {
            "preset": Path(values["preset"]).stem
        }
        takes = search_settings(values.get("search", settings.get("search", "random")))
        for key in ("neighbours", "cosine", "stride", "pivot"):
            if key not in takes:
                settings.pop(key, None)  # of the preset's own search, not of the one that was asked for
    for key, text in values.items():
        if key != "preset":
            settings[_field(key)] = read_value(name, key, text)
    if "verifier" in settings:
        settings["verifiers"] = tuple(settings.pop("verifier"))
    if "hold_out" in settings:
        settings["hold_out"] = tuple(settings["hold_out"])
    if "weight" in settings:
        given = settings.pop("weight")
        settings["weights"] = given if isinstance(given, tuple) else parse_weights(given)
    if "set" in settings:
        given = settings.pop("set")
        pairs = given if isinstance(given, tuple) else parse_pairs("set", given, "keep=0.5")
        known = search_settings(settings.get("search", "random"))
        settings["settings"] = pairs if "set" in values else tuple(pair for pair in pairs if pair[0] in known)
    if "budget" in values and "candidates" not in values:
        settings["candidates"] = None
    if "captions" in settings:
        settings["captions"] = tuple(settings["captions"])
    needs_truth = "lsd" in settings.get("verifiers", ())
    if needs_truth and not oracle:
        raise OptionError(f"system {name!r}: verifier lsd hears the truth; pass --oracle to allow it")
    options = RenderOptions(
        **settings,
        rate=48000,
        depth="32f",
        loudness="off",
        reference=Path("truth.wav") if needs_truth else None,
    )
    Session.check_names(options)
    return options


def _field(key: str) -> str:
    return key.replace("-", "_")


def read_value(name: str, key: str, text: str) -> Any:
    try:
        return KEYS[key](text)
    except ValueError:
        kinds = {int: "a whole number", _flag: "true or false", _interval: "LOW-HIGH", _weights: "NAME:W+NAME:W"}
        kind = kinds.get(KEYS[key], "a number")
        raise OptionError(f"system {name!r}: {key}={text}: {kind} is needed") from None
