"""Models of verifiers with few channels and random weights, in the formats in which they are published."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import voice
from safetensors.torch import save_file
from tiny_onnx import write_planes
from torch import Tensor

from ttsr_studio.weights import store
from ttsr_studio.weights.install import install
from ttsr_studio.weights.registry import VERIFIER_MODELS

ENGLISH, ALL = 51864, 51865
"""Words of a Whisper that knows English, and of one that knows all languages."""

AES_SCALES = ["CE", "CU", "PC", "PQ"]
AES_SIZES = {
    "encoder_layers": 2,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 4,
    "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2",
    "conv_pos": 16,
    "conv_pos_groups": 4,
}
AES_CONFIG = {
    "proj_num_layer": 2,
    "proj_ln": True,
    "nth_layer": 3,
    "precision": "32",
    "target_transform": {scale: {"mean": 4.0 + i, "std": 1.0 + 0.25 * i} for i, scale in enumerate(AES_SCALES)},
}


def write_wavlm(place: Path) -> Path:
    """WavLM with few channels, in the library's format -> its folder."""
    import transformers

    torch.manual_seed(0)
    config = transformers.WavLMConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, num_buckets=32, max_bucket_distance=80,
        tdnn_dim=(32, 32, 32, 32, 48), xvector_output_dim=24, initializer_range=0.2, use_weighted_layer_sum=True,
    )  # fmt: skip
    model = transformers.WavLMForXVector(config).eval()
    with torch.no_grad():  # what all embeddings have in common is taken out, or all cosines would be close to 1
        model.feature_extractor.bias -= 0.95 * model(10 * steady(0)).embeddings[0]
    model.save_pretrained(place)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(place)
    return place


def write_clap(place: Path, seed: int) -> Path:
    """CLAP with few channels, in the library's format; its vocabulary is the 256 bytes."""
    import transformers
    from tokenizers.pre_tokenizers import ByteLevel

    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "projection_dim": 12, "initializer_factor": 10.0}
    text = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 40}
    audio = {"depths": [1, 1], "num_attention_heads": [1, 2], "patch_embeds_hidden_size": 8, "window_size": 4}
    config = transformers.ClapConfig(
        text_config={**sizes, **text, "vocab_size": 261}, audio_config={**sizes, **audio}, projection_dim=12
    )
    model = transformers.ClapModel(config).eval()
    extractor = transformers.ClapFeatureExtractor(truncation="rand_trunc")
    features = extractor(sound(0)[0].numpy(), sampling_rate=48000, return_tensors="pt")["input_features"]
    with torch.no_grad():
        model.audio_model.audio_encoder.batch_norm.running_mean.fill_(-30.0)
        model.audio_model.audio_encoder.batch_norm.running_var.fill_(400.0)
        # What all embeddings have in common is taken out, or all cosines would be alike.
        common = model.audio_projection(model.audio_model(features).pooler_output)[0]
        model.audio_projection.linear2.bias -= 0.95 * common
    model.save_pretrained(place)
    extractor.save_pretrained(place)
    alphabet = sorted(ByteLevel.alphabet())
    vocabulary = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *alphabet, "<mask>"])}
    transformers.RobertaTokenizer(vocab=vocabulary, merges=[]).save_pretrained(place)
    return place


def write_whisper(path: Path, words: int) -> None:
    """A tiny Whisper with random weights in the official format; large where what it hears decides what it says."""
    from whisper.model import ModelDimensions, Whisper

    dims = ModelDimensions(80, 1500, 32, 2, 1, words, 24, 32, 2, 1)
    model, random = Whisper(dims), torch.Generator().manual_seed(2)
    large = {
        "encoder.conv1.weight": 2.0,
        "encoder.conv2.weight": 2.0,
        "decoder.token_embedding.weight": 0.05,
        "decoder.positional_embedding": 1.0,
        "decoder.blocks.0.cross_attn.query.weight": 1.0,
        "decoder.blocks.0.cross_attn.out.weight": 4.0,
        "decoder.ln.weight": 5.0,
    }
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(torch.randn(value.shape, generator=random) * large.get(name, 0.5))
    torch.save({"dims": vars(dims), "model_state_dict": model.state_dict()}, path)


def shrink_aesthetics(patch: pytest.MonkeyPatch) -> None:
    """Have the library make its network with few and narrow layers."""
    from audiobox_aesthetics.model import aes

    for name, value in AES_SIZES.items():
        patch.setattr(aes.DEFAULT_AUDIO_CFG, name, value)


def write_aesthetics(folder: Path) -> Path:
    """A folder in the official format, with random weights, of the network that is made now -> the folder."""
    from audiobox_aesthetics.model import aes

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = aes.AesMultiOutput(**AES_CONFIG)
        for name, value in model.named_parameters():
            if "norm" not in name:
                torch.nn.init.normal_(value, std=0.3)
    save_file(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    # The published file has a key or two that the class does not know.
    (folder / "config.json").write_text(json.dumps({**AES_CONFIG, "freeze_encoder": True, "proj_layer": 1}))
    return folder


def install_every_model(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """A models folder with all verifiers' models in it, tiny, in force while the patch is -> the folder."""
    made = folder / "official"
    for name in ("wavlm", "clap", "aesthetics"):
        (made / name).mkdir(parents=True)
    shrink_aesthetics(patch)
    write_whisper(made / "base.en.pt", ENGLISH)
    sources = {
        "whisper": made / "base.en.pt",
        "wavlm-sv": write_wavlm(made / "wavlm"),
        "clap-general": write_clap(made / "clap", 0),
        "aesthetics": write_aesthetics(made / "aesthetics"),
        "sigmos": write_planes(made / "sigmos.onnx", np.ones((3, 7), np.float32)),
    }
    patch.setenv(store.VARIABLE, str(folder / "models"))
    for name, path in sources.items():
        install(VERIFIER_MODELS[name], path, "fp16", lambda line: None)
    return folder / "models"


def steady(seed: int, seconds: float = 1.5, rate: int = 16000, channels: int = 1) -> Tensor:
    """Something like a voice that never pauses, [channels, samples]."""
    noise = np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))
    sound = 0.1 * voice(seconds, rate, channels, seed) * (1 + 0.2 * seed) + 0.02 * noise
    return torch.from_numpy(np.ascontiguousarray(sound.T)).float()


def sound(seed: int, seconds: float = 1.5, rate: int = 48000, channels: int = 1) -> Tensor:
    """Something like a voice in a noise of its own colour, [channels, samples]."""
    noise = np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))
    coloured = np.cumsum(noise, axis=0) * 0.01 if seed % 2 else noise
    mixed = 0.1 * voice(seconds, rate, channels, seed) + 0.03 * coloured
    return torch.from_numpy(np.ascontiguousarray(mixed.T)).float()
