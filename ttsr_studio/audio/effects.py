"""Effects and plug-ins on audio that streams by, through pedalboard (GPLv3, the extra `ttsr-studio[chain]`).

An effect gets blocks of one size, keeps its state from one to the next, and gives as many samples as it got: what it
delays by its latency is taken away, one effect at a time, since pedalboard's own chains add up latencies of blocks
that are not whole to a shift (16 samples for a limiter before an MP3 encoder, 0.9.26).
"""

import enum
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.audio.decode import Blocks
from ttsr_studio.errors import MissingError, OptionError, OutputError, pip_install, shown, unknown

BLOCK = 1 << 16
PATIENCE = 64
"""Blocks of silence that an effect may take after the end to give what it holds back."""

NOT_OFFERED = {
    "Chain", "ExternalPlugin", "IIRFilter", "Mix", "Pedalboard", "Plugin", "PluginContainer", "VST3Plugin",
    "AudioUnitPlugin", "PitchShift", "GSMFullRateCompressor",
}  # fmt: skip
"""Containers, and two effects that do not keep to the sample when audio streams by."""


@dataclass(frozen=True)
class LoadedEffect:
    """An effect that is ready.

    Attributes:
        name: of the effect or plug-in.
        file: of a plug-in; None for what pedalboard has itself.
        settings: all of them, as they are in force.
    """

    plugin: Any
    name: str
    file: str | None
    settings: Mapping[str, Any]


def pedalboard(wanted: str) -> Any:
    """The library. Raises MissingError when it is not installed."""
    try:
        return importlib.import_module("pedalboard")
    except ImportError as error:
        raise MissingError(f"{wanted} needs the package 'pedalboard': {pip_install('ttsr-studio[chain]')}") from error


def built_in() -> dict[str, type]:
    """Effects that pedalboard has itself, by name."""
    library = pedalboard("--chain")
    found = {name: getattr(library, name) for name in dir(library) if name not in NOT_OFFERED and name[0] != "_"}
    return {name: each for name, each in found.items() if isinstance(each, type) and issubclass(each, library.Plugin)}


def load_effects(place: str, tables: Sequence[Mapping[str, Any]]) -> list[LoadedEffect]:
    """New effects of the tables of a chain.

    Raises OptionError for unknown effects and settings, values that they refuse and plug-ins that cannot be loaded, and
    MissingError where pedalboard is not installed.
    """
    return [load_effect(f"--chain: {place} {number}", table) for number, table in enumerate(tables, 1)]


def load_effect(what: str, table: Mapping[str, Any]) -> LoadedEffect:
    """One effect of a table, see `options.chain`."""
    if "plugin" not in table:
        return load_external(what, table)
    kinds, name = built_in(), table["plugin"]
    if name not in kinds:
        raise OptionError(f"{what}: {unknown('effect', name, kinds)}")
    known = effect_settings(kinds[name])
    given = {key: value for key, value in table.items() if key != "plugin"}
    for key in given:
        if key not in known:
            raise OptionError(f"{what}: {name}: {unknown('setting', key, known)}")
    try:
        values = {key: in_kind(kinds[name], key, value) for key, value in given.items()}
        plugin = kinds[name](**values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split("\n\nInvoked")[0].split())
        told = ", ".join(f"{key} = {value!r}" for key, value in given.items()) or "no settings"
        raise OptionError(f"{what}: {name}: refuses {told} ({reason})") from error
    return LoadedEffect(plugin, name, None, {key: setting_value(getattr(plugin, key)) for key in known})


def effect_settings(kind: type) -> list[str]:
    """Names of the settings of an effect."""
    own = [key for key in dir(kind) if isinstance(getattr(kind, key), property)]
    return [key for key in own if getattr(kind, key).fset or key == "impulse_response_filename"]


def in_kind(kind: type, key: str, value: Any) -> Any:
    """A value, of names the one that the effect has by that name. Raises ValueError for an unknown one."""
    if not isinstance(value, str) or key == "impulse_response_filename":
        return value
    for names in (each for each in vars(kind).values() if isinstance(each, type) and hasattr(each, "__members__")):
        if isinstance(getattr(kind(), key), names):
            if value not in names.__members__:
                raise ValueError(f"{key}: known: {', '.join(names.__members__)}")
            return names.__members__[value]
    return value


def setting_value(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, bool | int | float | str) and not isinstance(value, enum.Enum):
        return round(value, 6) if isinstance(value, float) else value
    return getattr(value, "name", str(value))


def load_external(what: str, table: Mapping[str, Any]) -> LoadedEffect:
    """A plug-in of its own file, with its parameters."""
    file = table.get("vst3") or table["au"]
    if not Path(file).exists():
        raise OptionError(f"{what}: {shown(Path(file))}: no such plug-in; install it, or correct the path")
    try:
        plugin = pedalboard("--chain").load_plugin(file, plugin_name=table.get("name"))
    except (ImportError, ValueError, RuntimeError) as error:
        raise OptionError(f"{what}: {shown(Path(file))}: cannot be loaded ({' '.join(str(error).split())})") from error
    for key, value in table.get("parameters", {}).items():
        if key not in plugin.parameters:
            raise OptionError(f"{what}: {plugin.name}: {unknown('parameter', key, plugin.parameters)}")
        try:
            setattr(plugin, key, value)
        except (TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise OptionError(f"{what}: {plugin.name}: refuses {key} = {value!r} ({reason})") from error
    return LoadedEffect(
        plugin, str(plugin.name), file, {key: setting_value(getattr(plugin, key)) for key in plugin.parameters}
    )


def processed(blocks: Blocks, effects: Iterable[LoadedEffect], rate: int, frames: int) -> Blocks:
    """Blocks of a file of so many samples through effects, one after the other: as long, without delay.

    Raises OutputError for an effect that gives up or gives values that are not finite.
    """
    for effect in effects:
        blocks = through(blocks, effect, rate, frames)
    return iter(blocks)


def through(blocks: Blocks, effect: LoadedEffect, rate: int, frames: int) -> Iterator[NDArray[np.float32]]:
    """Blocks through one effect."""
    done = 0
    for block in of_one_size(blocks):
        try:
            made = effect.plugin.process(block, rate, reset=False)
        except (ValueError, RuntimeError) as error:
            raise OutputError(f"--chain: {effect.name}: {' '.join(str(error).split())}; leave it out") from error
        if not np.isfinite(made).all():
            raise OutputError(f"--chain: {effect.name}: gave values that are not finite; change its settings")
        made = made[:, : frames - done]
        done += made.shape[1]
        if made.size:
            yield made
        if done == frames:
            return
    raise OutputError(f"--chain: {effect.name}: gave {done} of {frames} samples; leave it out")


def of_one_size(blocks: Blocks) -> Iterator[NDArray[np.float32]]:
    """The same audio in blocks of one size, since effects begin anew when it grows; then silence."""
    rest: NDArray[np.float32] | None = None
    for block in blocks:
        rest = block if rest is None else np.concatenate([rest, block], axis=1)
        while rest.shape[1] >= BLOCK:
            yield np.ascontiguousarray(rest[:, :BLOCK])
            rest = rest[:, BLOCK:]
    if rest is None:
        return
    yield np.pad(rest, ((0, 0), (0, BLOCK - rest.shape[1])))
    for _ in range(PATIENCE):
        yield np.zeros((len(rest), BLOCK), np.float32)


def limiter(ceiling_db: float) -> LoadedEffect:
    """Pedalboard's look-ahead limiter for true peaks; all channels go down together, nothing before a peak's 5 ms."""
    settings = {"ceiling_db": ceiling_db, "release_ms": 100.0, "lookahead_ms": 5.0, "true_peak": True}
    return LoadedEffect(pedalboard("--limiter").BrickwallLimiter(**settings), "BrickwallLimiter", None, settings)
