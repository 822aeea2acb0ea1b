"""A small network that was trained alone becomes a part of the built-in engine's weights."""

from dataclasses import replace
from pathlib import Path

import torch

from ttsr_studio.engines.builtin.image import ImageNetwork
from ttsr_studio.engines.builtin.levels import LevelNetwork
from ttsr_studio.engines.builtin.networks import BuiltinNetwork, load_network


def with_part(engine: Path, name: str, part: LevelNetwork | ImageNetwork) -> BuiltinNetwork:
    """An engine's network with this part (`levels` or `image`) in place of the one it has, if any."""
    base = load_network(engine, torch.device("cpu"))
    made = BuiltinNetwork(replace(base.config, **{name: part.width}))
    others = {key: value for key, value in base.state_dict().items() if not key.startswith(f"{name}.")}
    made.load_state_dict(others | {f"{name}.{key}": value for key, value in part.state_dict().items()})
    return made
