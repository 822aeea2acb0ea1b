"""The verifiers' models at full size with random weights: `python benchmarks/verifiers.py`.

Makes a checkpoint of every model's real class and size, installs it with the real command, and runs `ttsr models bench`
on it in a process of its own: milliseconds for a second of audio, and peak memory. Random weights say nothing about
sound. Needs 2 GB of disk and the extras `judges` and `dev`, and `pip install --no-deps audiobox_aesthetics`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import torch

from ttsr_studio.weights import store


def wavlm(place: Path) -> Path:
    import transformers

    config = transformers.WavLMConfig(
        tdnn_dim=[512, 512, 512, 512, 1500], xvector_output_dim=512, use_weighted_layer_sum=True
    )
    transformers.WavLMForXVector(config).save_pretrained(place)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(place)
    return place


def clap(place: Path) -> Path:
    import transformers
    from tokenizers.pre_tokenizers import ByteLevel

    transformers.ClapModel(transformers.ClapConfig()).save_pretrained(place)
    transformers.ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(place)
    alphabet = sorted(ByteLevel.alphabet())
    spare = [f"word{i}" for i in range(50265 - len(alphabet) - 5)]
    words = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *alphabet, "<mask>", *spare])}
    transformers.RobertaTokenizer(vocab=words, merges=[]).save_pretrained(place)
    return place


def whisper(place: Path) -> Path:
    from whisper.model import ModelDimensions, Whisper

    dims = ModelDimensions(80, 1500, 512, 8, 6, 51864, 448, 512, 8, 6)
    path = place / "base.en.pt"
    torch.save({"dims": vars(dims), "model_state_dict": Whisper(dims).state_dict()}, path)
    return path


def aesthetics(place: Path) -> Path:
    from audiobox_aesthetics.model.aes import AesMultiOutput
    from safetensors.torch import save_file

    scales = {scale: {"mean": 5.0, "std": 1.0} for scale in ("CE", "CU", "PC", "PQ")}
    config = {"proj_num_layer": 5, "proj_ln": True, "target_transform": scales}
    save_file(AesMultiOutput(**config).state_dict(), place / "model.safetensors", {"format": "pt"})
    (place / "config.json").write_text(json.dumps(config))
    return place


MODELS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "wavlm-sv": ("speaker", wavlm),
    "clap-general": ("clap", clap),
    "whisper": ("wer", whisper),
    "aesthetics": ("aesthetics", aesthetics),
}
PEAK = "import resource; print(f'peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB')"


@click.command()
@click.option("--seconds", default=5.12, show_default=True)
@click.option("--candidates", default=4, show_default=True)
def main(seconds: float, candidates: int) -> None:
    """Print what every model costs at full size."""
    torch.manual_seed(0)
    for name, (verifier, make) in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "official"
            place.mkdir()
            source = make(place)
            environment = os.environ | {store.VARIABLE: str(Path(folder) / "models"), "HF_HUB_OFFLINE": "1"}
            importing = [sys.executable, "-m", "ttsr_studio", "models", "import", name, str(source)]
            subprocess.run(importing, env=environment, check=True, capture_output=True)
            bench = (
                "from ttsr_studio.diagnostics.verifier_speed import bench_verifiers\n"
                f"for name, cost in bench_verifiers({seconds}, {candidates}, 'cpu', {verifier!r}):\n"
                "    print(name, cost if isinstance(cost, str) else f'{cost:.0f} ms for a second of audio', end=', ')\n"
                + PEAK
            )
            subprocess.run([sys.executable, "-c", bench], env=environment, check=True)


if __name__ == "__main__":
    main()
