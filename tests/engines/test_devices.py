"""Renders on a pretend GPU are those of the CPU, and what would fail on one fails here."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from tests.pretend_device import MixedDevicesError, pretend
from ttsr_studio.batch.bench import programme
from ttsr_studio.batch.renderer import Renderer
from ttsr_studio.cli.main import main
from ttsr_studio.diffusion import device_memory
from ttsr_studio.diffusion.denoiser import MeteredDenoiser
from ttsr_studio.engines.builtin import engine
from ttsr_studio.engines.builtin.engine import load_file
from ttsr_studio.engines.registry import load_engine
from ttsr_studio.rendering.inference.sampling import CandidateSampler
from ttsr_studio.search.registry import BUILT_IN
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.weights import layers

DEVICES = ("cuda:0", "mps:0")
JUDGES = ("critic", "consensus", "continuity", "lowband", "self_consistency")


@pytest.fixture(scope="module")
def stem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second and a half of two channels, a note and hits, up to 5 kHz."""
    path = tmp_path_factory.mktemp("devices") / "stem.wav"
    rng, t = np.random.default_rng(0), np.arange(72000) / 48000
    hits = rng.standard_normal((len(t), 2)) * np.exp(-(t % 0.4) / 0.05)[:, None]
    audio = 0.05 * hits + 0.1 * np.sin(2 * np.pi * 440 * t)[:, None]
    spectrum = np.fft.rfft(audio, axis=0)
    spectrum[np.fft.rfftfreq(len(t), 1 / 48000) > 5000] = 0
    soundfile.write(path, np.fft.irfft(spectrum, len(t), axis=0), 48000, subtype="PCM_24")
    return path


def rendered(stem: Path, device: str, *options: str) -> str:
    """The sha256 of a render."""
    out = stem.with_name(f"{device.replace(':', '')}.wav")
    command = [
        "render",
        str(stem),
        "-o",
        str(out),
        "--overwrite",
        "--no-report",
        "--candidates",
        "3",
        "--device",
        device,
    ]
    result = CliRunner().invoke(main, [*command, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return sha256(out)


@pytest.fixture
def rounded_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU computes as a device does, which has no quick way of its own and takes many rows at once."""
    monkeypatch.setattr(engine, "ROWS", 1)
    monkeypatch.setattr(layers, "FUSED", False)


def test_a_render_is_the_same_there(stem: Path, rounded_alike: None) -> None:
    options = "--choice", "segment", *(word for name in JUDGES for word in ("--verifier", name))
    expected = rendered(stem, "cpu", *options)
    for device in DEVICES:
        with pretend(device):
            assert rendered(stem, device, *options) == expected


def found(device: str, **options: Any) -> tuple[str, list[int]]:
    """The sha256 of a render in memory, and which candidates were chosen."""
    audio = programme(0.15)
    with Renderer("music", device=device, cutoff=5000.0, lift_skirt=False, **options) as renderer:
        render, report = renderer.enhance(audio, 48000)
    return hashlib.sha256(render.tobytes()).hexdigest(), [window.chosen for window in report.windows]


@pytest.mark.parametrize("search", BUILT_IN)
def test_every_search_is_the_same_there(search: str, rounded_alike: None) -> None:
    options = {"search": search, "candidates": 5 if search == "gradient" else 3, "steps": 3, "verifier": ["critic"]}
    options |= {"choice": "clip"} if search == "paths" else {}
    expected = found("cpu", **options)
    for device in DEVICES:
        with pretend(device):
            assert found(device, **options) == expected


def test_a_render_is_the_same_on_two_threads(stem: Path) -> None:
    """Of one channel: a lone row is what MKL would share out."""
    mono, before = stem.with_name("mono.wav"), torch.get_num_threads()
    soundfile.write(mono, soundfile.read(stem)[0][:, 0], 48000, subtype="PCM_24")
    found = {}
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found[threads] = [rendered(path, "cpu", "--batch", str(8 * threads)) for path in (stem, mono)]
    finally:
        torch.set_num_threads(before)
    assert found[1] == found[2]


def test_no_product_is_rounded_to_tf32() -> None:
    torch.backends.cudnn.allow_tf32 = True
    load_engine("builtin", "cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


STEPPING = ("--solver", "unipc", "--temperature", "0.9")


def test_nobody_waits_for_the_device_between_steps(stem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descend, inside = CandidateSampler._descend, []

    with pretend("cuda:0") as machine:

        def watched(*given: Any) -> Any:
            inside.append(given[2])
            with machine.steps():
                return descend(*given)

        monkeypatch.setattr(CandidateSampler, "_descend", watched)
        rendered(stem, "cuda:0", *STEPPING)
        assert inside
        guided = MeteredDenoiser.__call__
        monkeypatch.setattr(MeteredDenoiser, "__call__", lambda self, x, sigma: guided(self, x + x.sum().item(), sigma))
        with pytest.raises(AssertionError, match="item waits for cuda:0"):
            rendered(stem, "cuda:0", *STEPPING)


@pytest.mark.parametrize("option", [("--batch", "1"), ("--batch", "8")], ids=lambda option: option[1])
def test_a_render_is_the_same_at_every_batch(stem: Path, option: tuple[str, str]) -> None:
    assert rendered(stem, "cpu", *option) == rendered(stem, "cpu", "--batch", "32")


def batches_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every batch that the network is given."""
    seen: list[int] = []
    run = MeteredDenoiser._run
    monkeypatch.setattr(MeteredDenoiser, "_run", lambda self, x, *rest: (seen.append(len(x)), run(self, x, *rest))[1])
    return seen


FEW = ("--verifier", "lowband", "--choice", "window", "--candidates")


def test_a_batch_is_what_a_cards_memory_holds(stem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_memory, "FIRST", 2)
    largest = {}
    for megabytes in (110, 1000):
        monkeypatch.setattr(device_memory, "FOUND", {})
        seen = batches_seen(monkeypatch)
        with pretend("cuda:0", megabytes * 1e6) as machine:
            rendered(stem, "cuda:0", *FEW, "6")
            assert machine.allocated < machine.peak < megabytes * 1e6
        largest[megabytes] = max(seen)
    assert 2 <= largest[110] < largest[1000] == 12


def test_a_batch_is_halved_where_memory_runs_out(stem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = batches_seen(monkeypatch)
    with pretend("cuda:0", 60e6) as machine:
        rendered(stem, "cuda:0", *FEW, "6", "--batch", "12")
        assert machine.emptied
    assert seen[0] == 12


def test_mistakes_are_found() -> None:
    for device in DEVICES:
        with pretend(device):
            there = torch.ones(3, device=device)
            with pytest.raises(MixedDevicesError):
                there + torch.ones(3)
            with pytest.raises(MixedDevicesError):
                there.numpy()
    with pretend("mps:0"), pytest.raises(MixedDevicesError, match="float64"):
        torch.ones(3, device="mps:0").double()


def test_a_card_that_is_not_there_is_refused(stem: Path) -> None:
    with pretend("cuda:0"):
        result = CliRunner().invoke(main, ["render", str(stem), "--device", "cuda:9"])
    assert result.exit_code == 2
    assert "cuda:9" in result.output
    assert "cuda:0" in result.output


def test_half_precision_is_asked_for_and_noted(stem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a CPU has none it is refused; where it has, its noise is far below what a candidate differs by."""
    out = stem.with_name("half.wav")
    command = ["render", str(stem), "-o", str(out), "--overwrite", "--candidates", "1", "--precision", "bf16"]
    if engine.has_bfloat16(torch.device("cpu")):
        plain = rendered(stem, "cpu", "--candidates", "1")
        assert CliRunner().invoke(main, command).exit_code == 0
        assert json.loads(out.with_suffix(".ttsr.json").read_text())["tool"]["options"]["precision"] == "bf16"
        assert sha256(out) != plain
        half, full = (soundfile.read(path)[0] for path in (out, stem.with_name("cpu.wav")))
        assert np.abs(half - full).max() < 0.1 * np.abs(full - soundfile.read(stem)[0]).max()
    monkeypatch.setattr(layers, "FUSED", False)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "--precision bf16: cpu does not compute in it" in result.output


def test_layers_of_a_cpu_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = load_file("cpu").network.denoiser
    frames = 80
    given = (
        torch.randn(1, 144, frames), torch.tensor([1.3]), torch.randn(1, 64, 2 * frames, 12).permute(0, 3, 1, 2),
        torch.randn(1, frames, 288), torch.ones(1, 144, frames),
    )  # fmt: skip
    with torch.no_grad():
        quick = network(*given)
        monkeypatch.setattr(layers, "FUSED", False)
        plain = network(*given)
    assert layers.FUSED is False
    assert not torch.equal(quick, plain) or not torch.backends.mkldnn.is_available()
    assert (quick - plain).norm() < 1e-6 * plain.norm()
