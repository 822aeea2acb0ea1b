"""The AudioSR engine, on a tiny checkpoint in the official format: parity, addressed noise, windows, levels, memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from audiosr_fixtures import NAME, imported, models, official  # noqa: F401
from helpers import LONGEST, Ttsr, band, below, level_db, load, save, voice
from torch import Tensor, nn

from tests.pretend_device import pretend
from ttsr_studio.diffusion.batch_limit import BatchLimit
from ttsr_studio.diffusion.denoiser import Meter, MeteredDenoiser
from ttsr_studio.diffusion.guidance import Guidance
from ttsr_studio.diffusion.noise import NoiseKey, draw
from ttsr_studio.diffusion.samplers.registry import SAMPLERS
from ttsr_studio.diffusion.timesteps import TimeTable, cosine_alphas
from ttsr_studio.engines.registry import EngineSettings, load_engine
from ttsr_studio.errors import OptionError, TtsrError

if TYPE_CHECKING:  # they take seconds to import
    from ttsr_studio.engines.audiosr.engine import AudioSRConditioning, AudioSREngine

FEW = ("--engine", NAME, "--candidates", 2, "--steps", 2)
CHEAP = (*FEW, "--verifier", "continuity")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of a quarter of the length, at a quarter of the cost, where a test is not of their length."""
    monkeypatch.setattr("ttsr_studio.engines.audiosr.engine.WINDOWS", {1.28: 0.16})


def engine_with(device: str = "cpu", **settings: Any) -> "AudioSREngine":
    from ttsr_studio.engines.audiosr.engine import AudioSREngine

    engine = load_engine(NAME, device, EngineSettings(**settings))
    assert isinstance(engine, AudioSREngine)
    return engine


def conditioned(engine: "AudioSREngine", rows: int = 1, seconds: float = 2.56) -> "AudioSRConditioning":
    samples = round(seconds * 48000)
    audio = torch.from_numpy(below(voice(seconds, channels=rows), 4000).T.astype(np.float32))
    padded = F.pad(audio[:, :samples], (engine.lookaround, engine.lookaround))
    return engine.condition(padded[:, None], torch.full((rows, 1), 4000.0), [NoiseKey(3)] * rows)


def noises(engine: "AudioSREngine", count: int, seconds: float = 2.56) -> Tensor:
    shape = engine.noise_shape(round(seconds * 48000))
    return torch.stack([draw(NoiseKey(0).child("draw", i), shape) for i in range(count)])


@pytest.mark.timeout(6 * LONGEST)
def test_every_stage_is_the_packages_own(official: Path) -> None:  # noqa: F811
    """In a process of its own, since the package needs names that are not installed."""
    pytest.importorskip("audiosr_reference").available() or pytest.skip("pip install --no-deps audiosr")
    command = [
        sys.executable,
        ROOT / "benchmarks" / "audiosr_engine.py",
        "parity",
        official,
        "--seconds",
        2.56,
        "--json",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=5 * LONGEST)
    assert done.returncode == 0, done.stderr[-2000:]
    errors = json.loads(done.stdout.splitlines()[-1])
    assert set(errors) == {"mel", "VAE encode", "UNet, x0", "DDIM 10, guided", "VAE decode", "vocoder"}
    assert {stage: error for stage, error in errors.items() if not error <= 1e-4} == {}


@pytest.mark.usefixtures("short")
def test_a_stem_is_rendered_and_its_report_makes_it_again(ttsr: Ttsr, models: Path, tmp_path: Path) -> None:  # noqa: F811
    source = save(tmp_path / "stem.wav", below(voice(0.8, 44100, channels=2), 5000, 44100), 44100)
    done = ttsr("render", source, "-o", tmp_path / "out.wav", *CHEAP, "--rate", "source", "--loudness", "off")
    assert done.exit_code == 0, done.output
    before, after = load(source), load(tmp_path / "out.wav")
    assert before.shape == after.shape
    assert level_db(band(after - before, 50, 3500, 44100)) < level_db(before) - 60
    report = json.loads((tmp_path / "out.ttsr.json").read_text())
    assert report["tool"]["engine"] == NAME
    assert set(report["tool"]["weights"]) == {"unet.safetensors", "vae.safetensors", "vocoder.safetensors"}
    assert report["timing"]["nfe"] == 2 * 2 * 2 * 2, "two channels, two candidates, two steps, twice for guidance"
    again = ttsr("render", source, "-o", tmp_path / "b.wav", "--again", tmp_path / "out.ttsr.json")
    assert again.exit_code == 0, again.output
    assert "the same, bit for bit" in again.output


def test_silence_stays_silence_and_pauses_stay_quiet(ttsr: Ttsr, models: Path, tmp_path: Path) -> None:  # noqa: F811
    audio = below(voice(2.0), 5000)
    audio[48000:] = 0
    source = save(tmp_path / "pause.wav", audio, subtype="FLOAT")
    assert ttsr("render", source, "-o", tmp_path / "out.wav", *CHEAP).exit_code == 0
    after = load(tmp_path / "out.wav")
    assert level_db(band(after[:48000], 6000, 20000)) > -90, "nothing was added to the voice"
    assert level_db(after[-24000:]) < -110
    assert level_db(after[48000 + 1000 :]) < -110, "it rings on into a pause"
    silent = save(tmp_path / "silent.wav", np.zeros((24000, 1)))
    done = ttsr("render", silent, "-o", tmp_path / "s.wav", *CHEAP)
    assert done.exit_code == 0, done.output
    assert not load(tmp_path / "s.wav").any()


def test_long_files_take_windows_that_join(ttsr: Ttsr, models: Path, tmp_path: Path) -> None:  # noqa: F811
    source = save(tmp_path / "long.wav", below(voice(6.0), 5000))
    done = ttsr("render", source, "-o", tmp_path / "out.wav", *CHEAP, "--candidates", 1, "--steps", 1)
    assert done.exit_code == 0, done.output
    windows = json.loads((tmp_path / "out.ttsr.json").read_text())["windows"]
    assert len(windows) == 2
    assert len(load(tmp_path / "out.wav")) == 6 * 48000
    wide = ttsr(
        "render", source, "-o", tmp_path / "w.wav", *CHEAP, "--candidates", 1, "--steps", 1, "--window", "10.24"
    )
    assert wide.exit_code == 0, wide.output
    assert len(json.loads((tmp_path / "w.ttsr.json").read_text())["windows"]) == 1


def test_a_candidate_is_the_same_in_any_batch(models: Path) -> None:  # noqa: F811
    engine = engine_with(precision="fp32")
    conditioning, noise = conditioned(engine, seconds=1.28), noises(engine, 3, seconds=1.28)
    levels = engine.times.schedule("trailing", 3)

    def run(count: int, limit: int | None) -> Tensor:
        rows = conditioning.rows(torch.zeros(count, dtype=torch.int64))
        denoiser = MeteredDenoiser(engine, rows, Meter(), guidance=Guidance(3.5), limit=BatchLimit(limit))
        x0, _ = SAMPLERS["dpmpp-2m"](denoiser, engine.start(noise[:count], float(levels[0])), levels)
        return engine.decode(x0, rows)

    together = run(3, None)
    for apart in (run(1, None), run(3, 1), run(3, 2)):
        worst = (together[: len(apart)] - apart).square().mean().sqrt() / together.square().mean().sqrt()
        assert 20 * torch.log10(worst) < -90
    assert (together[0] - together[1]).square().mean() > 1e-6 * together[0].square().mean(), "candidates are alike"


def test_it_computes_the_same_on_other_devices(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Condition, a guided step and decoding on pretend ones, given what rounds alike: one row, one order of memory."""
    monkeypatch.setattr("ttsr_studio.engines.audiosr.engine.BatchLimit", lambda _: BatchLimit(1))
    monkeypatch.setattr("ttsr_studio.engines.audiosr.engine.channels_last", lambda network: None)

    def made(device: str) -> Tensor:
        engine = engine_with(device, precision="fp32")
        conditioning = conditioned(engine, rows=2, seconds=1.28)
        x = engine.start(noises(engine, 1, seconds=1.28).expand(2, -1, -1, -1), 5.0)
        denoiser = MeteredDenoiser(engine, conditioning, Meter(), guidance=Guidance(3.5), limit=BatchLimit(1))
        return engine.decode(denoiser(x, torch.full((2,), 5.0)), conditioning).cpu()

    expected = made("cpu")
    for device in ("cuda:0", "mps:0"):
        with pretend(device):
            there = made(device)
        assert torch.equal(there, expected)


def test_guidance_in_one_batch_is_guidance_in_two(models: Path) -> None:  # noqa: F811
    engine = engine_with(precision="fp32")
    conditioning = conditioned(engine)
    x, sigma = engine.start(noises(engine, 1), 5.0), torch.tensor([5.0])
    cond = engine.denoise(x, sigma, conditioning)
    uncond = engine.denoise(x, sigma, engine.unconditional(conditioning))
    assert (cond - uncond).abs().max() > 1e-4
    meter = Meter()
    guided = MeteredDenoiser(engine, conditioning, meter, guidance=Guidance(3.5))(x, sigma)
    torch.testing.assert_close(guided, uncond + 3.5 * (cond - uncond), atol=1e-4, rtol=1e-4)
    assert (meter.nfe, meter.calls) == (2, 1)
    MeteredDenoiser(engine, conditioning, meter, guidance=Guidance(3.5, (0.0, 1.0)))(x, sigma)
    assert (meter.nfe, meter.calls) == (3, 2)


@pytest.mark.usefixtures("short")
def test_guidance_options_reach_the_engine(ttsr: Ttsr, models: Path, tmp_path: Path) -> None:  # noqa: F811
    source = save(tmp_path / "stem.wav", below(voice(0.5), 5000))
    counts = {}
    for name, options in {"one": ("--guidance", 1), "part": ("--guidance-interval", 0, 1), "all": ()}.items():
        done = ttsr("render", source, "-o", tmp_path / f"{name}.wav", *CHEAP, "--candidates", 1, *options)
        assert done.exit_code == 0, done.output
        again = ("--again", tmp_path / f"{name}.ttsr.json")
        assert ttsr("render", source, "-o", tmp_path / f"{name}2.wav", *again).exit_code == 0
        counts[name] = json.loads((tmp_path / f"{name}.ttsr.json").read_text())["timing"]["nfe"]
    assert counts == {"one": 2, "part": 3, "all": 4}
    done = ttsr("render", source, "-o", tmp_path / "x.wav", *CHEAP, "--guidance", 1, "--guidance-rescale", 0.5)
    assert done.exit_code == 2
    assert "need guidance" in done.output


@pytest.mark.usefixtures("short")
def test_only_survivors_of_a_look_are_decoded(ttsr: Ttsr, models: Path, tmp_path: Path) -> None:  # noqa: F811
    source = save(tmp_path / "stem.wav", below(voice(0.5), 5000))
    judges = ("--verifier", "consensus", "--verifier", "continuity", "--candidates", 5)
    for look in ("latent", "mel"):
        out = tmp_path / f"{look}.wav"
        done = ttsr("render", source, "-o", out, *FEW, *judges, "--decode-top", 2, "--look", look)
        assert done.exit_code == 0, done.output
        window = json.loads(out.with_suffix(".ttsr.json").read_text())["windows"][0]
        scores = [candidate["scores"] for candidate in window["candidates"]]
        decoded = [i for i, score in enumerate(scores) if score["continuity"] is not None]
        order = sorted(range(5), key=lambda i: -scores[i]["consensus"])
        assert sorted(order[:2]) == decoded
        assert window["chosen"] in decoded
        assert "of 5, the best 2 by consensus were decoded" in window["reason"]
        assert [c["combined"] is None for c in window["candidates"]] == [i not in decoded for i in range(5)]
    # What is decoded is what it would have been without the look.
    key = window["candidates"][window["chosen"]]["key"]
    assert key["lineage"] == [["draw", window["chosen"]]]
    for message, options in {
        "add --verifier consensus": ("--decode-top", 2, "--verifier", "continuity"),
        "known: latent, mel": ("--decode-top", 2, *judges, "--look", "audio"),
        "pass that too": ("--look", "mel"),
        "at least 1": ("--decode-top", 0),
    }.items():
        done = ttsr("render", source, "-o", tmp_path / "x.wav", *FEW, *options)
        assert done.exit_code == 2
        assert message in done.output


def test_a_look_works_for_the_built_in_engine_and_zero_order_too(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "stem.wav", below(voice(0.5), 5000))
    options = ("--search", "zero-order", "--candidates", 6, "--decode-top", 1, "--verifier", "consensus")
    done = ttsr("render", source, "-o", tmp_path / "out.wav", *options)
    assert done.exit_code == 0, done.output
    window = json.loads((tmp_path / "out.ttsr.json").read_text())["windows"][0]
    scores = [candidate["scores"]["consensus"] for candidate in window["candidates"]]
    assert scores[window["chosen"]] == max(scores)


def test_precision_is_what_was_asked(models: Path) -> None:  # noqa: F811
    full, half = engine_with(precision="fp32"), engine_with(precision="bf16")
    assert half.dtype == torch.bfloat16
    x, sigma = full.start(noises(full, 1), 2.0), torch.tensor([2.0])
    one, other = (engine.denoise(x, sigma, conditioned(engine)) for engine in (full, half))
    error = float((one - other).norm() / one.norm())
    assert 1e-5 < error < 0.05


def test_what_overflows_is_an_error_and_not_a_render(models: Path) -> None:  # noqa: F811
    engine = engine_with(precision="fp32")
    conditioning = conditioned(engine)
    with pytest.raises(TtsrError, match="--precision bf16 or fp32"):
        engine.decode(torch.full((1, 16, 32, 32), float("inf")), conditioning)


def test_low_vram_moves_networks_out_of_one_anothers_way(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    plain, low = engine_with(precision="fp32"), engine_with(precision="fp32", low_vram=True)
    names = {id(network): part for part, network in low.networks.items()}
    moves = []
    move = nn.Module.to

    def watched(self: nn.Module, *arguments: Any, **options: Any) -> nn.Module:
        if id(self) in names:
            moves.append(names[id(self)])
        return move(self, *arguments, **options)

    monkeypatch.setattr(nn.Module, "to", watched)
    results = []
    for engine in (plain, low):
        conditioning = conditioned(engine)
        x0 = engine.denoise(engine.start(noises(engine, 1), 5.0), torch.tensor([5.0]), conditioning)
        results.append(engine.decode(x0, conditioning))
    assert list(dict.fromkeys(moves)) == ["vae", "unet", "vocoder"]
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-4)


def test_the_condition_is_the_mean_or_a_named_sample(models: Path) -> None:  # noqa: F811
    mean, sample = (conditioned(engine_with(precision="fp32", posterior=kind)) for kind in ("mean", "sample"))
    again = conditioned(engine_with(precision="fp32", posterior="sample"))
    assert torch.equal(sample.tensors.condition, again.tensors.condition)
    assert (sample.tensors.condition - mean.tensors.condition).abs().mean() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--window", 7), "takes 5.12, 10.24 seconds"),
        (("--schedule", "trailing", "--steps", 800), "takes 1 to 500 steps"),
        (("--guidance", -1), "from 0 to 20"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    ttsr: Ttsr,
    models: Path,  # noqa: F811
    tmp_path: Path,
    options: tuple[object, ...],
    message: str,
) -> None:
    source = save(tmp_path / "stem.wav", below(voice(0.3), 5000))
    done = ttsr("render", source, "-o", tmp_path / "out.wav", "--engine", NAME, *options)
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--guidance", 2), "cannot be guided"),
        (("--precision", "fp16"), "engine 'builtin' has no --precision fp16"),
        (("--window", 5.12), "engine 'builtin' has no --window"),
        (("--low-vram",), "engine 'builtin' has no --low-vram"),
        (("--schedule", "trailing"), "has no timesteps to space"),
        (("--decode-top", 2, "--verifier", "consensus", "--look", "mel"), "known: latent"),
    ],
)
def test_the_built_in_engine_refuses_what_it_does_not_have(
    ttsr: Ttsr, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    source = save(tmp_path / "stem.wav", below(voice(0.3), 5000))
    done = ttsr("render", source, "-o", tmp_path / "out.wav", *options)
    assert done.exit_code == 2
    assert message in done.output


def test_timesteps_and_levels_are_one_another() -> None:
    table = TimeTable(cosine_alphas())
    steps = torch.tensor([0, 1, 21, 500, 981, 998])
    torch.testing.assert_close(table.timesteps(table.sigmas[steps]), steps.double(), atol=1e-6, rtol=0)
    between = (table.sigmas[500] * table.sigmas[501]).sqrt()
    torch.testing.assert_close(table.timesteps(between[None]), torch.tensor([500.5], dtype=torch.float64))


@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_spacings_visit_the_timesteps_of_diffusers(spacing: str, steps: int) -> None:
    import diffusers

    table = TimeTable(cosine_alphas())
    alphas = cosine_alphas()
    betas = 1 - alphas / torch.cat([torch.ones(1, dtype=torch.float64), alphas[:-1]])
    scheduler = diffusers.DDIMScheduler(
        trained_betas=betas.numpy(), timestep_spacing=spacing, steps_offset=1, set_alpha_to_one=False
    )
    scheduler.set_timesteps(steps)
    visited = table.timesteps(table.schedule(spacing, steps)[:-1])
    expected = scheduler.timesteps.double().clamp(max=998)
    torch.testing.assert_close(visited, expected, atol=1e-6, rtol=0)


def test_tiles_of_the_vocoder_join_to_rounding(models: Path) -> None:  # noqa: F811
    from ttsr_studio.engines.audiosr import vocoder as vocoding

    vocoder = engine_with(precision="fp32").networks["vocoder"]
    mel = torch.randn(1, 300, 256, generator=torch.Generator().manual_seed(0)) - 4
    whole, tiled = (vocoding.vocode(vocoder, mel, tiled=kind) for kind in (False, True))
    assert whole.shape == tiled.shape == (1, 480 * 300 + 16)
    assert 20 * torch.log10((whole - tiled).norm() / whole.norm()) < -100


class LateVocoder(nn.Module):
    """A tone as loud as the mel's frames, so many samples late."""

    def __init__(self, late: int) -> None:
        super().__init__()
        self.late = nn.Parameter(torch.tensor(float(late)))

    def forward(self, mel: Tensor) -> Tensor:
        frames = mel.exp().square().sum(-1).sqrt()
        loud = F.interpolate(frames[:, None], scale_factor=480, mode="linear")[:, 0]
        tone = torch.sin(0.4 * torch.arange(loud.shape[1]))
        return F.pad(loud * tone, (int(self.late), 16))[:, : loud.shape[1] + 16]


@pytest.mark.parametrize("late", [0, 8, 60])
def test_the_vocoders_delay_is_measured(late: int) -> None:
    from ttsr_studio.engines.audiosr import vocoder as vocoding

    delay = vocoding.measure_delay(LateVocoder(late), 256)
    assert delay.measured
    assert abs(delay.samples - late) <= 24, "more than half a millisecond off"
    assert vocoding.GEOMETRIC_DELAY == 8


def test_what_real_weights_have_to_confirm_is_one_command(
    ttsr: Ttsr,
    models: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ttsr_studio.engines.audiosr.engine import AudioSREngine

    monkeypatch.setattr("ttsr_studio.diagnostics.engine_check.EXACT_STEPS", 4)
    monkeypatch.setattr("ttsr_studio.diagnostics.engine_check.FAST", ("dpmpp-2m", "trailing", 3))
    monkeypatch.setattr(AudioSREngine, "default_steps", 2)
    source = save(tmp_path / "full.wav", voice(5.3))
    done = ttsr("models", "verify", NAME, "--listen", source, "-o", tmp_path / "listen")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "listen" / NAME / "listen.json").read_text())
    assert found["lsd_input"] > 0
    assert found["solver_error_default"] > 0
    assert {p.name for p in (tmp_path / "listen" / NAME).glob("*.wav")} >= {"input.wav", "default.wav"}
    short = save(tmp_path / "short.wav", voice(1.0))
    done = ttsr("models", "verify", NAME, "--listen", short, "-o", tmp_path / "listen")
    assert done.exit_code == 1
    assert "short.wav: 1.0 s" in done.output


def test_another_window_is_refused_by_the_engine_itself(models: Path) -> None:  # noqa: F811
    with pytest.raises(OptionError, match=r"5\.12, 10\.24"):
        engine_with(window=3.0)
