"""The `audiosr` package itself, as the reference of the engine's parity, on networks of any size.

The package cannot be imported beside current libraries: it pulls in torchaudio, torchvision and a tokenizer that asks
the network. What is compared here needs none of these, so names that are only imported stand empty.
"""

import contextlib
import importlib
import importlib.util
import io
import sys
import types
from pathlib import Path
from typing import Any

import torch

UNNEEDED = {
    "torchaudio": [],
    "torchvision": [],
    "torchvision.utils": ["make_grid"],
    "progressbar": [],
    "audiosr.utilities.data": [],
    "audiosr.clap.open_clip": ["create_model"],
    "audiosr.clap.training.data": ["get_audio_features"],
    "audiosr.latent_diffusion.modules.audiomae.AudioMAE": ["Vanilla_AudioMAE"],
    "audiosr.latent_diffusion.modules.phoneme_encoder.encoder": ["TextEncoder"],
}


def available() -> bool:
    return importlib.util.find_spec("audiosr") is not None


def prepare() -> None:
    """Make the package's own modules importable, without its `__init__` and what it does not need here."""
    spec = importlib.util.find_spec("audiosr")
    assert spec is not None
    assert spec.origin is not None
    for name in ("transformers", "diffusers"):  # while they can still see what is really installed
        importlib.import_module(name)
    package = types.ModuleType("audiosr")
    package.__path__ = [str(Path(spec.origin).parent)]
    sys.modules["audiosr"] = package
    for name, attributes in UNNEEDED.items():
        module = types.ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, None)
        sys.modules[name] = module


def latent_diffusion(unet: int, head: int, vae: int, vocoder: int) -> Any:
    """The package's `LatentDiffusion` in evaluation mode, with as many channels as told."""
    utils = importlib.import_module("audiosr.utils")
    model: Any = importlib.import_module("audiosr.utilities.model")
    ddpm: Any = importlib.import_module("audiosr.latent_diffusion.models.ddpm")
    ddpm.CLAPAudioEmbeddingClassifierFreev2 = lambda **_: torch.nn.Identity()  # 200 M weights that nothing here asks
    sizes = model.get_vocoder_config_48k() | {"upsample_initial_channel": vocoder}
    model.get_vocoder_config_48k = lambda: sizes
    params = utils.get_basic_config()["model"]["params"]
    params["unet_config"]["params"] |= {"model_channels": unet, "num_head_channels": head}
    stage = params["cond_stage_config"]["concat_lowpass_cond"]["params"]["first_stage_config"]
    for first in (params["first_stage_config"], stage):
        first["params"]["ddconfig"]["ch"] = vae
    params["first_stage_config"]["params"].pop("reload_from_ckpt", None)
    with contextlib.redirect_stdout(io.StringIO()):
        whole = ddpm.LatentDiffusion(device=torch.device("cpu"), **params)
    return whole.eval()
