"""AudioSR's networks, on the classes of diffusers and transformers that hold them exactly.

A latent UNet that predicts v, a VAE of log-mel pictures and a HiFi-GAN vocoder. Sizes are those of the official
checkpoints unless told otherwise; a test makes the same graph with few channels.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

import torch
from diffusers import AudioLDM2UNet2DConditionModel, AutoencoderKL
from torch import nn
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from ttsr_studio.errors import MissingError

PARTS = ("unet", "vae", "vocoder")
UNET_LEVELS = (1, 2, 3, 5)
VAE_LEVELS = (1, 2, 4, 8)
UPSAMPLING = ((6, 12), (5, 10), (4, 8), (2, 4), (2, 4))
"""Rate and kernel of the vocoder's stages; 480 samples a mel frame in all."""


@dataclass(frozen=True)
class AudioSRConfig:
    """Sizes of the three networks.

    Attributes:
        mels: bands of the log-mel picture, a multiple of 8.
        latent: channels of the latent.
        unet: channels of the UNet's outermost level, a multiple of `head` and of 32.
        head: channels of an attention head.
        vae: channels of the VAE's outermost level, a multiple of 32.
        vocoder: channels where the vocoder begins, a multiple of 32.
    """

    mels: int = 256
    latent: int = 16
    unet: int = 128
    head: int = 32
    vae: int = 128
    vocoder: int = 1536

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "AudioSRConfig":
        known = {field.name for field in fields(cls)}
        if set(data) != known:
            raise MissingError(f"sizes of an AudioSR checkpoint: {sorted(data)}; known: {sorted(known)}")
        return cls(**{name: int(value) for name, value in data.items()})


def build_unet(config: AudioSRConfig) -> nn.Module:
    """x_t and the condition, [N, 2 latent, T, F], and t [N] -> v [N, latent, T, F]; self-attention only."""
    channels = tuple(config.unet * level for level in UNET_LEVELS)
    net: Any = AudioLDM2UNet2DConditionModel(
        in_channels=2 * config.latent,
        out_channels=config.latent,
        layers_per_block=2,
        block_out_channels=channels,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * 3),
        up_block_types=(*["CrossAttnUpBlock2D"] * 3, "UpBlock2D"),
        attention_head_dim=tuple(width // config.head for width in channels),
        cross_attention_dim=([None, None],) * 4,
        transformer_layers_per_block=1,
    )
    return cast(nn.Module, net)


def build_vae(config: AudioSRConfig) -> nn.Module:
    """Log-mel pictures [N, 1, T, mels] <-> latents [N, latent, T/8, mels/8]."""
    net: Any = AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=tuple(config.vae * level for level in VAE_LEVELS),
        layers_per_block=2,
        latent_channels=config.latent,
        norm_num_groups=32,
    )
    return cast(nn.Module, net)


def build_vocoder(config: AudioSRConfig) -> nn.Module:
    """Log-mel [N, T, mels] -> audio [N, 480 T + 16] at 48 kHz."""
    net: Any = SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=config.mels,
            sampling_rate=48000,
            upsample_initial_channel=config.vocoder,
            upsample_rates=[rate for rate, _ in UPSAMPLING],
            upsample_kernel_sizes=[kernel for _, kernel in UPSAMPLING],
            resblock_kernel_sizes=[3, 7, 11, 15],
            resblock_dilation_sizes=[[1, 3, 5]] * 4,
            normalize_before=False,
        )
    )
    return cast(nn.Module, net)


BUILDERS = {"unet": build_unet, "vae": build_vae, "vocoder": build_vocoder}


def skeleton(part: str, config: AudioSRConfig) -> nn.Module:
    """One of `PARTS` with its shapes but no memory behind them."""
    with torch.device("meta"):
        net = BUILDERS[part](config)
    return net.eval().requires_grad_(False)


def shapes(part: str, config: AudioSRConfig) -> Iterator[tuple[str, torch.Size]]:
    """Names and shapes of a part's weights, in diffusers' and transformers' names."""
    for name, value in skeleton(part, config).state_dict().items():
        yield name, value.shape
