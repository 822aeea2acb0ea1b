"""Torch devices by name."""

import torch

from ttsr_studio.errors import DeviceError, unknown


def keep_float32() -> None:
    """Let no product or convolution on NVIDIA's cards be rounded to TF32 (-60 dB); torch does it in convolutions.

    A candidate is then the CPU's to about 1e-6. Who wants speed for accuracy asks for `--precision bf16`.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def resolve_device(name: str) -> str:
    """ "auto" -> the best device there is, "gpu" -> cuda or mps.

    Raises DeviceError for one that is not on this machine, OptionError for what is none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "gpu":
        found = resolve_device("auto")
        if found == "cpu":
            raise DeviceError("device 'gpu': torch sees no GPU on this machine (`ttsr doctor` says more); here: cpu")
        return found
    kind = name.split(":")[0]
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in here:
        raise unknown("device", name, ["auto", "gpu", *here])
    if not here[kind]:
        raise DeviceError(
            f"device {name!r} is not available on this machine; here: {', '.join(d for d in here if here[d])}"
        )
    cards = [f"{kind}:{number}" for number in range(torch.cuda.device_count() if kind == "cuda" else 1)]
    if name not in (kind, *cards):
        raise DeviceError(f"device {name!r} is not there; here: {', '.join(cards)}")
    return name
