"""Torch devices by name."""

import torch

from ttsr_studio.errors import OptionError, unknown


def resolve_device(name: str) -> str:
    """ "auto" -> the best device there is. Raises OptionError for one that is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = name.split(":")[0]
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in here:
        raise unknown("device", name, ["auto", *here])
    if not here[kind]:
        raise OptionError(
            f"device {name!r} is not available on this machine; here: {', '.join(d for d in here if here[d])}"
        )
    return name
