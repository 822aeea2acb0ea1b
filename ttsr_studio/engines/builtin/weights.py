"""The weights file: fp16 safetensors whose metadata holds the network's sizes."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ttsr_studio.engines.builtin.network import BuiltinNetwork, NetworkConfig
from ttsr_studio.errors import MissingError


def export(net: BuiltinNetwork, path: Path, training: dict[str, int]) -> None:
    """Write the weights in half precision, with the configuration and the training settings as metadata."""
    tensors = {name: value.detach().half().contiguous().cpu() for name, value in net.state_dict().items()}
    save_file(tensors, path, {"config": json.dumps(net.config.to_dict()), "training": json.dumps(training)})


def load_network(path: Path, device: torch.device) -> BuiltinNetwork:
    """Read a weights file into a float32 network in inference mode.

    Raises MissingError when the file is not there or is not a weights file of this engine.
    """
    if not path.is_file():
        raise MissingError(f"{path}: the built-in engine's weights are missing; install ttsr-studio again")
    with safe_open(path, framework="pt") as stored:
        metadata = stored.metadata() or {}
        if "config" not in metadata:
            raise MissingError(f"{path}: not a weights file of the built-in engine (no configuration inside)")
        net = BuiltinNetwork(NetworkConfig(**json.loads(metadata["config"])))
        net.load_state_dict({name: stored.get_tensor(name).float() for name in stored.keys()})  # noqa: SIM118
    return net.to(device).eval().requires_grad_(False)


def checksum(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as stored:
        return hashlib.file_digest(stored, "sha256").hexdigest()
