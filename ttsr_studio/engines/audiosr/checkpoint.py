"""From an official AudioSR file (`pytorch_model.bin`) to safetensors with only what inference needs, and from there
to networks on a device.

Nothing is unpickled but tensors, the file is mapped rather than read, and one network at a time is converted, so that
6 GB on disk need little memory.
"""

import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ttsr_studio.engines.audiosr.networks import PARTS, AudioSRConfig, skeleton
from ttsr_studio.engines.audiosr.state_dict import NOT_STORED, SCALE, all_official_names, official_names, unused
from ttsr_studio.engines.audiosr.vocoder import measure_delay
from ttsr_studio.errors import InputError, MissingError, shown
from ttsr_studio.weights.store import Tell

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def convert(source: Path, place: Path, precision: str, tell: Tell) -> dict[str, Any]:
    """Write `unet.safetensors`, `vae.safetensors` and `vocoder.safetensors` into a folder; return what goes with them.

    Args:
        source: a file of `{"state_dict": {name: tensor}}`, as `torch.save` writes it.
        precision: of the weights on disk, "fp16" or "fp32".

    Raises InputError when the file is no AudioSR checkpoint: the names that are missing, not known, or of another
    shape are in the message.
    """
    weights = read_official(source)
    config = infer_config(source, weights)
    check_names(source, weights, config)
    scale = float(weights[SCALE])
    for part in PARTS:
        tell(f"{part}: converting to {precision}")
        weights = read_official(source)  # mapped afresh: what the last part touched need not stay in memory
        tensors = {}
        for name, official, shape in official_names(part, config):
            value = weights[official]
            if value.numel() != torch.Size(shape).numel() or tuple(value.shape[: len(shape)]) != shape:
                raise InputError(
                    f"{source}: {official} is {tuple(value.shape)}, not {shape}; not an AudioSR checkpoint"
                )
            if not value.isfinite().all():
                raise InputError(f"{source}: {official} holds numbers that are not finite; the file is damaged")
            tensors[name] = value.reshape(shape).to(DTYPES[precision]).contiguous()
        save_file(tensors, place / f"{part}.safetensors")
    tell("vocoder: measuring its delay")
    vocoder = load_part(place, "vocoder", config, torch.float32, torch.device("cpu"))
    delay = measure_delay(vocoder, config.mels)
    return {
        "sizes": config.to_json(),
        "precision": precision,
        "scale_factor": scale,
        "vocoder_delay": delay.samples,
        "vocoder_delay_measured": delay.measured,
        "vocoder_delay_correlation": delay.correlation,
    }


def read_official(source: Path) -> dict[str, Tensor]:
    """Map an official file's weights into memory. Raises InputError when it is none, or is cut short."""
    advice = "give the pytorch_model.bin of AudioSR, whole"
    try:
        data = torch.load(source, map_location="cpu", mmap=True, weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{source}: no such file; {advice}") from error
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise InputError(f"{source}: cut short, or not a checkpoint of tensors alone; {advice}") from error
    weights = data.get("state_dict", data) if isinstance(data, dict) else {}
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(f"{source}: holds no table of weights; {advice}")
    return weights


def infer_config(source: Path, weights: dict[str, Tensor]) -> AudioSRConfig:
    """Read the networks' sizes off their outermost layers. Raises InputError when these are not there."""
    try:
        return AudioSRConfig(
            mels=weights["first_stage_model.vocoder.conv_pre.weight"].shape[1],
            latent=weights["model.diffusion_model.out.2.weight"].shape[0],
            unet=weights["model.diffusion_model.input_blocks.0.0.weight"].shape[0],
            vae=weights["cond_stage_models.0.vae.encoder.conv_in.weight"].shape[0],
            vocoder=weights["first_stage_model.vocoder.conv_pre.weight"].shape[0],
        )
    except KeyError as error:
        raise InputError(f"{source}: has no {error}; not an AudioSR checkpoint") from error


def check_names(source: Path, weights: Iterable[str], config: AudioSRConfig) -> None:
    """Raise InputError unless every weight is there that is needed, and nothing that is not known."""
    there, needed = set(weights), all_official_names(config)
    missing = sorted(needed - there)
    if missing:
        raise InputError(f"{source}: {len(missing)} weights are missing, {_few(missing)}; not an AudioSR checkpoint")
    strange = sorted(name for name in there - needed if not unused(name))
    if strange:
        raise InputError(
            f"{source}: {len(strange)} weights are not known, {_few(strange)}; another model's checkpoint?"
        )


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def load_part(place: Path, part: str, config: AudioSRConfig, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """One network of a converted checkpoint, ready for inference.

    Raises MissingError when its file cannot be read or does not hold the graph.
    """
    path = place / f"{part}.safetensors"
    net = skeleton(part, config)
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise MissingError(f"{shown(path)}: cannot be read ({error}); import the model again") from error
    tensors = {name: value.to(device, dtype) for name, value in stored.items()}
    width = {"mean": torch.zeros, "scale": torch.ones}
    for name in NOT_STORED.get(part, ()):
        tensors[name] = width[name](config.mels, device=device, dtype=dtype)
    try:
        net.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise MissingError(
            f"{shown(path)}: does not hold AudioSR's {part} ({str(error)[:200]}); import it again"
        ) from error
    return net.requires_grad_(False).eval()
