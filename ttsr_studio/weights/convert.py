"""Installing models that libraries load from a folder or a file of their own format, with nothing in it executed."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ttsr_studio.errors import InputError, shown
from ttsr_studio.weights.store import Tell

KEPT = (".json", ".txt")
WEIGHTS = "model.safetensors"


def transformer(source: Path, place: Path, precision: str, tell: Tell) -> dict[str, Any]:
    """Copy a folder of configuration, vocabulary and weights; a pickled `pytorch_model.bin` becomes safetensors.

    Weights stay in the precision that they came in. Raises InputError when something is missing or cannot be read.
    """
    if not source.is_dir():
        raise InputError(f"{source}: give the folder that holds config.json and the weights")
    config = source / "config.json"
    try:
        json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{config}: not a model's configuration ({error})") from error
    for path in sorted(source.iterdir()):
        if path.suffix in KEPT and path.is_file():
            shutil.copyfile(path, place / path.name)
    given, pickled = source / WEIGHTS, source / "pytorch_model.bin"
    if given.is_file():
        try:
            with safe_open(given, framework="pt") as stored:
                names = list(stored.keys())
        except SafetensorError as error:
            raise InputError(f"{given}: not a file of weights ({error})") from error
        tell(f"{len(names)} weights")
        shutil.copyfile(given, place / WEIGHTS)
    elif pickled.is_file():
        tensors = read_pickled(pickled)
        tell(f"{len(tensors)} weights, converted to safetensors")
        save_file(
            {name: value.clone().contiguous() for name, value in tensors.items()}, place / WEIGHTS, {"format": "pt"}
        )
    else:
        raise InputError(f"{source}: holds neither {WEIGHTS} nor pytorch_model.bin")
    return {}


def read_pickled(path: Path) -> dict[str, torch.Tensor]:
    """A table of weights, read without running anything in it. Raises InputError when it is none."""
    data = load_safely(path)
    if not isinstance(data, dict) or not data or not all(isinstance(value, torch.Tensor) for value in data.values()):
        raise InputError(f"{shown(path)}: holds no table of weights")
    return data


def load_safely(path: Path) -> Any:
    """What `torch.save` wrote, when it is made of tensors and plain data. Raises InputError otherwise."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise InputError(f"{shown(path)}: cut short, or not a checkpoint of tensors alone") from error


def whisper(source: Path, place: Path, precision: str, tell: Tell) -> dict[str, Any]:
    """Copy a Whisper checkpoint, `{"dims": ..., "model_state_dict": ...}`. Raises InputError when it is none."""
    data = load_safely(source)
    if not isinstance(data, dict) or not {"dims", "model_state_dict"} <= set(data):
        raise InputError(f"{source}: not a Whisper checkpoint (no dims and model_state_dict inside)")
    tell(f"{len(data['model_state_dict'])} weights")
    shutil.copyfile(source, place / "whisper.pt")
    return {"dims": {name: int(value) for name, value in data["dims"].items()}}


def sigmos(source: Path, place: Path, precision: str, tell: Tell) -> dict[str, Any]:
    """Copy SIGMOS as ONNX, once ONNX Runtime finds in it what takes spectra and gives seven opinions.

    Raises InputError when it is another model, or none.
    """
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        said = session.run(None, {given.name: np.zeros((1, 3, 4, 481), np.float32)})[0]
    except Exception as error:  # its own classes have no common base but this
        why = " ".join(str(error).split())[:160]
        raise InputError(f"{shown(source)}: not a model of SIGMOS ({why})") from error
    if np.shape(said) != (1, 7):
        raise InputError(f"{shown(source)}: not a model of SIGMOS: it gives {np.shape(said)} in place of 7 opinions")
    tell(f"takes {given.name}, gives 7 opinions")
    shutil.copyfile(source, place / "sigmos.onnx")
    return {"input": given.name}
