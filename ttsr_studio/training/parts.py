"""Small networks that are trained alone and become a part of the built-in engine's weights."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

import torch

from ttsr_studio.engines.builtin.engine import WEIGHTS
from ttsr_studio.engines.builtin.image import ImageNetwork
from ttsr_studio.engines.builtin.levels import LevelNetwork
from ttsr_studio.engines.builtin.networks import BuiltinNetwork, load_network
from ttsr_studio.training.command import existing_file
from ttsr_studio.weights.checkpoint import export


def with_part(engine: Path, name: str, part: LevelNetwork | ImageNetwork) -> BuiltinNetwork:
    """An engine's network with this part (`levels` or `image`) in place of the one it has, if any."""
    base = load_network(engine, torch.device("cpu"))
    made = BuiltinNetwork(replace(base.config, **{name: part.width}))
    others = {key: value for key, value in base.state_dict().items() if not key.startswith(f"{name}.")}
    made.load_state_dict(others | {f"{name}.{key}": value for key, value in part.state_dict().items()})
    return made


def add_part_options(parser: ArgumentParser) -> None:
    """What the commands that train a part have in common."""
    parser.add_argument("--engine", type=existing_file, default=WEIGHTS, help="weights that it becomes a part of")
    parser.add_argument("--peak", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    parser.add_argument("--stop-at", type=int, help="the step at which this call ends; the next goes on from there")


def export_part(name: str, part: LevelNetwork | ImageNetwork, frames: int, given: Namespace) -> None:
    """Write FOLDER/builtin.safetensors: the weights of --engine with this part, and how it was trained."""
    made = with_part(given.engine, name, part)
    training = {"steps": given.steps, "batch": given.batch, "frames": frames, "seed": given.seed}
    export(made, made.config.to_dict(), given.folder / "builtin.safetensors", training)
