"""The official checkpoint's names, and where each weight goes in the graph's own classes."""

import re
from collections.abc import Iterator

from ttsr_studio.engines.audiosr.networks import PARTS, AudioSRConfig, shapes

SCALE = "scale_factor"
"""What latents are multiplied with before diffusion."""

UNUSED = (
    "clap.",
    "model_ema.",
    "cond_stage_models.0.vae.",
    "first_stage_model.encoder.",
    "first_stage_model.quant_conv.",
    "logvar",
    "betas",
    "alphas_cumprod",
    "sqrt_",
    "log_one_minus_",
    "posterior_",
    "lvlb_weights",
)
"""Families of the official file that inference does without: a text and audio encoder that nothing asks, averaged
weights that the package does not load either, the half of each of its two VAEs that is not run, and the diffusion's
tables, which are computed."""

NOT_STORED = {"vocoder": ("mean", "scale")}
"""Buffers of the graph's classes that the official file does not have and that nothing reads."""

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
LAYERS, LEVELS = 2, 4


def _renamed(name: str, table: dict[str, str]) -> str:
    """`name` ends in .weight or .bias; what is before it is looked up, itself where the table is silent."""
    stem, leaf = name.rsplit(".", 1)
    return f"{table.get(stem, stem)}.{leaf}"


def _unet(name: str) -> str:
    found = re.fullmatch(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name)
    if found:
        way, level, kind, number, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
        per_level = LAYERS + 1
        sites = number // 2 if kind == "attentions" else number
        if way == "down":
            block = 1 + per_level * level + (LAYERS if kind == "downsamplers" else sites)
            place, sampled = f"input_blocks.{block}", "0.op"
        else:
            block = per_level * level + (LAYERS if kind == "upsamplers" else sites)
            # The upsampler follows the attention transformers of its block, of which the outermost level has none.
            place, sampled = f"output_blocks.{block}", "3.conv" if level < LEVELS - 1 else "1.conv"
        if kind == "resnets":
            return f"{place}.0.{_renamed(rest, RESNET)}"
        if kind == "attentions":
            return f"{place}.{1 + number % 2}.{rest}"
        return f"{place}.{sampled}.{rest.removeprefix('conv.')}"
    found = re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name)
    if found:
        kind, number, rest = found[1], int(found[2]), found[3]
        if kind == "attentions":
            return f"middle_block.{1 + number}.{rest}"
        return f"middle_block.{0 if number == 0 else 3}.{_renamed(rest, RESNET)}"
    return _renamed(name, UNET_TOP)


def _vae(name: str) -> str:
    if name.startswith(("quant_conv.", "post_quant_conv.")):
        return name
    half, rest = name.split(".", 1)
    found = re.fullmatch(r"(down|up)_blocks\.(\d)\.(resnets|downsamplers|upsamplers)\.(\d)\.(.+)", rest)
    if found:
        way, level, kind, number, leaf = found[1], int(found[2]), found[3], found[4], found[5]
        place = f"{half}.{way}.{level if way == 'down' else LEVELS - 1 - level}"
        if kind == "resnets":
            return f"{place}.block.{number}.{leaf.replace('conv_shortcut', 'nin_shortcut')}"
        return f"{place}.{way}sample.{leaf}"
    found = re.fullmatch(r"mid_block\.resnets\.(\d)\.(.+)", rest)
    if found:
        return f"{half}.mid.block_{int(found[1]) + 1}.{found[2]}"
    found = re.fullmatch(r"mid_block\.attentions\.0\.(.+)", rest)
    if found:
        return f"{half}.mid.attn_1.{_renamed(found[1], VAE_ATTENTION)}"
    return f"{half}.{rest.replace('conv_norm_out', 'norm_out')}"


def _official(part: str, name: str) -> str:
    """The official name of one of our weights.

    The package encodes the condition with the VAE of its conditioning stage and decodes with that of the first stage.
    """
    if part == "unet":
        return f"model.diffusion_model.{_unet(name)}"
    if part == "vocoder":
        return f"first_stage_model.vocoder.{name.replace('upsampler.', 'ups.')}"
    encodes = name.startswith(("encoder.", "quant_conv."))
    return f"{'cond_stage_models.0.vae' if encodes else 'first_stage_model'}.{_vae(name)}"


def official_names(part: str, config: AudioSRConfig) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Every weight of a part: (our name, the official file's name, our shape).

    The VAE's attention is linear here and a convolution of size 1 there: the same numbers, two axes more.
    """
    for name, shape in shapes(part, config):
        if name not in NOT_STORED.get(part, ()):
            yield name, _official(part, name), tuple(shape)


def all_official_names(config: AudioSRConfig) -> set[str]:
    """Every name that inference needs from an official file."""
    return {official for part in PARTS for _, official, _ in official_names(part, config)} | {SCALE}


def unused(name: str) -> bool:
    """Whether an official name belongs to a family that is known not to be needed."""
    return name.startswith(UNUSED)
