"""The benchmarks of peers and judges: what is at hand is measured, what is not is a line, and nothing is downloaded."""

import importlib
import json
import struct
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers import save, voice
from torch import Tensor

ROOT = Path(__file__).parent.parent


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return ROOT


class Doubling(torch.nn.Module):
    """Of the signature of a release of hifi-gan-bwe: [B, 1, samples] and a rate -> 48 kHz, and twice as loud."""

    def forward(self, x: Tensor, rate: int) -> Tensor:
        return 2 * x.repeat_interleave(48000 // rate, dim=2)


def test_peers_at_hand_are_measured_and_the_others_named(
    benchmark: Path, tmp_path: Path, no_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    peers = importlib.import_module("peers")
    for folder in (tmp_path / "clips" / "speech", tmp_path / "theirs"):
        folder.mkdir(parents=True)
        save(folder / "a.wav", voice(1.2))
    torch.jit.script(Doubling()).save(tmp_path / "release.pt")
    done = CliRunner().invoke(
        peers.main,
        [str(x) for x in (
            tmp_path / "clips", tmp_path / "out", "--cutoff", 12000, "--render", "one: candidates=1",
            "--finished", f"theirs={tmp_path / 'theirs'}", "--hifi-gan-bwe", tmp_path / "release.pt",
            "--speechsr", tmp_path / "nowhere",
        )],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = done.output
    assert "audiosr: not here; " in said
    assert "lavasr: not here; clone github.com/ysharma3501/LavaSR" in said
    assert "nowhere cannot be used (FileNotFoundError" in said
    table = json.loads((tmp_path / "out" / "peers.json").read_text())["estimates"]
    found = {(row["system"], row["metric"]): row["mean"] for row in table if row["kind"] == "speech"}
    assert {system for system, _ in found} == {"lr", "replication", "theirs", "one", "hifi-gan-bwe"}
    assert found["theirs", "lsd_hf"] < 0.01, "it is the truth itself"
    for metric in ("lsd_low", "lsd_hf"):  # it gives what it got, and its level is matched
        assert found["hifi-gan-bwe", metric] == pytest.approx(found["lr", metric], abs=0.02)
    assert found["lr", "lsd_hf"] > 1
    lines = (tmp_path / "out" / "peers.md").read_text().splitlines()
    assert any(line.startswith("| hifi-gan-bwe | 1 |") for line in lines)


def ct2(arrays: dict[str, np.ndarray]) -> bytes:
    """A file of CTranslate2, version 6."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", 6), text("WhisperSpec"), struct.pack("<II", 3, len(arrays))]
    for name, value in arrays.items():
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        parts += [text(name), shape, struct.pack("<BI", 4, value.nbytes), value.tobytes()]
    return b"".join(parts) + struct.pack("<I", 0)


def test_whisper_is_converted_weight_by_weight(benchmark: Path, tmp_path: Path) -> None:
    """The converted file is loaded by openai-whisper and has what CTranslate2's had, where it was."""
    whisper = pytest.importorskip("whisper")
    judges: ModuleType = importlib.import_module("judges")
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}

    def put(name: str, *shape: int) -> None:
        arrays[name] = rng.standard_normal(shape).astype(np.float16)

    for part, length in (("encoder", 1500), ("decoder", 448)):
        put(f"{part}/position_encodings/encodings", length, 64)
        layer = f"{part}/layer_0"
        norms = [f"{part}/layer_norm", f"{layer}/self_attention/layer_norm", f"{layer}/ffn/layer_norm"]
        sizes = {"self_attention/linear_0": (192, 64), "self_attention/linear_1": (64, 64)}
        if part == "decoder":
            norms.append(f"{layer}/attention/layer_norm")
            sizes |= {"attention/linear_0": (64, 64), "attention/linear_1": (128, 64), "attention/linear_2": (64, 64)}
        for name, shape in (sizes | {"ffn/linear_0": (256, 64), "ffn/linear_1": (64, 256)}).items():
            put(f"{layer}/{name}/weight", *shape)
            put(f"{layer}/{name}/bias", shape[0])
        for norm in norms:
            put(f"{norm}/gamma", 64)
            put(f"{norm}/beta", 64)
    for conv, width in (("conv1", 80), ("conv2", 64)):
        put(f"encoder/{conv}/weight", 64, width, 3)
        put(f"encoder/{conv}/bias", 64)
    put("decoder/embeddings/weight", 51864, 64)
    (tmp_path / "model.bin").write_bytes(ct2(arrays))
    done = CliRunner().invoke(judges.main, ["whisper", str(tmp_path / "model.bin"), str(tmp_path / "small.pt")])
    assert done.exit_code == 0, done.output
    model = whisper.load_model(str(tmp_path / "small.pt"), device="cpu")
    assert (model.dims.n_audio_layer, model.dims.n_text_head, model.is_multilingual) == (1, 1, False)
    value = arrays["decoder/layer_0/attention/linear_1/weight"][64:]
    assert np.array_equal(model.decoder.blocks[0].cross_attn.value.weight.detach().half().numpy(), value)
    (tmp_path / "other.bin").write_bytes(b"nothing of the kind")
    done = CliRunner().invoke(judges.main, ["whisper", str(tmp_path / "other.bin"), str(tmp_path / "x.pt")])
    assert done.exit_code == 1
    assert "not Whisper in CTranslate2's format" in done.output
