"""Weights files as the package ships them: fp16 safetensors, the network's sizes in the metadata, a checksum beside."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ttsr_studio.errors import MissingError, shown
from ttsr_studio.storage.checksum import sha256

Config = dict[str, int | float]
Net = TypeVar("Net", bound=nn.Module)


def export(net: nn.Module, config: Config, path: Path, training: dict[str, int]) -> None:
    """Write the state in half precision, with the configuration and the training settings as metadata."""
    tensors = {name: value.detach().half().contiguous().cpu() for name, value in net.state_dict().items()}
    save_file(tensors, path, {"config": json.dumps(config), "training": json.dumps(training)})


def read_header(path: Path) -> dict[str, str]:
    """Return what a weights file says of itself: `config` and `training`, both JSON.

    Raises MissingError when the file is not there or is not a weights file of this project.
    """
    if not path.is_file():
        raise MissingError(f"{shown(path)}: the weights are missing; install ttsr-studio again")
    try:
        opened = safe_open(path, framework="pt")
    except SafetensorError:
        raise MissingError(f"{shown(path)}: not a weights file of ttsr-studio (no safetensors)") from None
    with opened as stored:
        metadata: dict[str, str] = stored.metadata() or {}
    if "config" not in metadata:
        raise MissingError(f"{shown(path)}: not a weights file of ttsr-studio (no configuration inside)")
    return metadata


def read_weights(path: Path) -> tuple[Config, dict[str, Tensor]]:
    """Return a weights file's configuration and its tensors in float32.

    Raises MissingError when the file is not there or is not a weights file of this project.
    """
    config: Config = json.loads(read_header(path)["config"])
    with safe_open(path, framework="pt") as stored:
        return config, {name: stored.get_tensor(name).float() for name in stored.keys()}  # noqa: SIM118


def load_weights(path: Path, make: Callable[[Config], Net], device: torch.device) -> Net:
    """Return the network that `make` builds from the file's configuration, with its weights, ready for inference.

    What is in no file the network must make on the CPU: until the weights are there, the rest has no values.
    Raises MissingError as `read_weights` does.
    """
    config, tensors = read_weights(path)
    with torch.device("meta"):  # nothing is drawn that the file replaces
        net = make(config)
    net.load_state_dict(tensors, assign=True)
    net.to(device).eval().requires_grad_(False)
    return net


def verified(path: Path, expected: Path | None) -> str:
    """Return the sha256 of a weights file; `expected` names a file that holds what it should be, None accepts any.

    Raises MissingError when it differs.
    """
    digest = sha256(path)
    if expected is not None and digest != expected.read_text().split()[0]:
        raise MissingError(
            f"{shown(path)}: not the weights that were shipped (sha256 {digest[:12]}…); install ttsr-studio again"
        )
    return digest
