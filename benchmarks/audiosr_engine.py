"""The AudioSR engine beside the audiosr package, on random weights: `python benchmarks/audiosr_engine.py COMMAND`.

Needs the extras `audiosr` and `dev`, and for parity and speed the package itself: `pip install --no-deps audiosr`.
Random weights say nothing about sound: what is compared is arithmetic, memory and time.
"""

import contextlib
import importlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from torch import Tensor

from ttsr_studio.audio.crossover import Crossover
from ttsr_studio.diffusion.batch_limit import BatchLimit
from ttsr_studio.diffusion.denoiser import Meter, MeteredDenoiser
from ttsr_studio.diffusion.guidance import Guidance
from ttsr_studio.diffusion.model import Engine
from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.diffusion.samplers.registry import SAMPLERS
from ttsr_studio.diffusion.schedules import sigmas
from ttsr_studio.engines.registry import load_engine
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.pipeline import render
from ttsr_studio.rendering.request import RenderRequest
from ttsr_studio.weights import store

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

NAME = "audiosr-basic"
RATE = 48000
CUTOFF_HZ = 4000.0
GUIDANCE = 3.5


def stem(seconds: float) -> np.ndarray:
    """Noise in bursts and gliding tones, full-band, float32 [samples]."""
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * (k * 180 * t + k * 4 * np.sin(t))) / k for k in range(1, 80))
    noise = rng.standard_normal(t.size) * np.clip(np.sin(2 * np.pi * 1.7 * t), 0.02, 1)
    return (0.05 * (tones + noise)).astype(np.float32)


def low(audio: np.ndarray) -> np.ndarray:
    return Crossover(CUTOFF_HZ, RATE).low_pass(torch.from_numpy(audio)).numpy()


def apart(mine: Tensor, theirs: Tensor) -> float:
    """Relative error."""
    return float((mine - theirs).norm() / theirs.norm())


def official(path: Path) -> Any:
    """The package's model with a checkpoint of any size in it."""
    import audiosr_reference

    from ttsr_studio.engines.audiosr.checkpoint import infer_config, read_official

    audiosr_reference.prepare()
    weights = read_official(path)
    config = infer_config(path, weights)
    model = audiosr_reference.latent_diffusion(config.unet, config.head, config.vae, config.vocoder)
    model.load_state_dict(weights, strict=False)
    return model


@click.group()
def main() -> None:
    """Measure the AudioSR engine."""


@main.command("checkpoint")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--tiny", is_flag=True, help="The tests' few channels instead of the official 6.2 GB.")
def write(path: Path, tiny: bool) -> None:
    """Write a checkpoint in the official format with random weights."""
    from audiosr_dummy import TINY, write_checkpoint

    from ttsr_studio.engines.audiosr.networks import AudioSRConfig

    write_checkpoint(path, TINY if tiny else AudioSRConfig())
    click.echo(f"{path}: {path.stat().st_size / 1e9:.2f} GB")


@main.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.argument("models", type=click.Path(path_type=Path))
def imported(path: Path, models: Path) -> None:
    """Import PATH into the folder MODELS with the real command, then load it: seconds and peak memory of each."""
    environment = os.environ | {store.VARIABLE: str(models)}
    load = f"from ttsr_studio.engines.registry import load_engine; load_engine({NAME!r}, 'cpu')"
    commands = {
        "import": [sys.executable, "-m", "ttsr_studio", "models", "import", NAME, str(path)],
        "load": [sys.executable, "-c", load],
    }
    for what, command in commands.items():
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True)
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        click.echo(f"{what}: {seconds:.1f} s, peak memory {peak:.2f} GiB (of the commands so far)")
    size = sum(p.stat().st_size for p in (models / NAME).glob("*.safetensors"))
    click.echo(f"on disk: {size / 1e9:.2f} GB")


@main.command("parity")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--seconds", default=5.12, show_default=True)
@click.option("--steps", default=10, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@torch.no_grad()
def parity(path: Path, seconds: float, steps: int, as_json: bool) -> None:
    """Relative errors of every stage against the package, in fp32 on equal weights."""
    from ttsr_studio.engines.audiosr import mel as melody
    from ttsr_studio.engines.audiosr.checkpoint import convert
    from ttsr_studio.engines.audiosr.engine import load_folder
    from ttsr_studio.engines.audiosr.vocoder import vocode

    theirs = official(path)
    with tempfile.TemporaryDirectory() as folder:
        facts = convert(path, Path(folder), "fp32", lambda line: None)
        settings = replace(load_settings(), precision="fp32")
        engine = load_folder(NAME, Path(folder), facts, {}, torch.device("cpu"), settings)
    utils = importlib.import_module("audiosr.utils")
    ddim = importlib.import_module("audiosr.latent_diffusion.models.ddim")
    audio = torch.from_numpy(low(stem(seconds)))[None]
    found: dict[str, float] = {}
    mel = utils.mel_spectrogram_train(audio)[0].T[None]
    padded = F.pad(audio, (melody.EDGE, melody.EDGE), mode="reflect")
    found["mel"] = apart(melody.log_mel(padded, engine.config.mels), mel)
    encoded = theirs.cond_stage_models[0].vae.encode(mel[:, None]).mean
    found["VAE encode"] = apart(engine.networks["vae"].encode(mel[:, None]).latent_dist.mean, encoded)

    conditioning = engine.condition(
        F.pad(audio, (engine.lookaround, engine.lookaround))[None], torch.tensor([[CUTOFF_HZ]]), [NoiseKey(0)]
    )
    conditioning = replace(conditioning, tensors=replace(conditioning.tensors, condition=encoded * engine.scale_factor))
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(encoded.shape, generator=generator)
    now = 501
    sigma = float(engine.times.sigmas[now])
    v = theirs.apply_model(x, torch.tensor([now]), {"concat_lowpass_cond": encoded})
    expected = theirs.predict_start_from_z_and_v(x, torch.tensor([now]), v)
    stretched = x * (1 + sigma**2) ** 0.5
    found["UNet, x0"] = apart(engine.denoise(stretched, torch.tensor([sigma]), conditioning), expected)

    empty = theirs.cond_stage_models[0]
    empty(mel)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        sample, _ = ddim.DDIMSampler(theirs, device=torch.device("cpu")).sample(
            steps, 1, tuple(x.shape[1:]), {"concat_lowpass_cond": encoded}, eta=0.0, x_T=x, verbose=False,
            unconditional_guidance_scale=GUIDANCE,
            unconditional_conditioning={"concat_lowpass_cond": empty.get_unconditional_condition(1)},
        )  # fmt: skip
    levels = engine.times.schedule("leading", steps)
    levels[-1] = engine.times.sigmas[0]  # where the package stops
    denoiser = MeteredDenoiser(engine, conditioning, Meter(), guidance=Guidance(GUIDANCE), limit=BatchLimit(None))
    drawn = SAMPLERS["euler"](denoiser, x * (1 + float(levels[0]) ** 2) ** 0.5, levels)[0]
    found[f"DDIM {steps}, guided"] = apart(drawn / (1 + float(levels[-1]) ** 2) ** 0.5, sample)
    picture = theirs.decode_first_stage(sample)
    mine = engine.networks["vae"].decode(sample / engine.scale_factor).sample
    found["VAE decode"] = apart(mine, picture)
    spoken = theirs.first_stage_model.vocoder(picture[:, 0].transpose(1, 2))[:, 0]
    found["vocoder"] = apart(vocode(engine.networks["vocoder"], picture[:, 0]), spoken)
    if as_json:
        click.echo(json.dumps(found))
    else:
        for stage, error in found.items():
            click.echo(f"{stage:20} {error:.1e}")


def load_settings() -> Any:
    from ttsr_studio.engines.registry import EngineSettings

    return EngineSettings()


@main.command("speed")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.argument("models", type=click.Path(exists=True, path_type=Path))
@click.option("--steps", default=50, show_default=True)
@click.option("--candidates", default=8, show_default=True)
@click.option("--package-candidates", default=2, show_default=True, help="Its candidates cost the same one by one.")
@click.option("--decode-top", default=1, show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--alone", is_flag=True, help="Leave the package out.")
def speed(
    path: Path, models: Path, steps: int, candidates: int, package_candidates: int, decode_top: int, precision: str,
    device: str, alone: bool,
) -> None:  # fmt: skip
    """Candidates an hour of one 10.24 s window, against the package's own loop: same weights, steps and guidance."""
    os.environ[store.VARIABLE] = str(models)
    full = stem(10.24)
    rates: dict[str, float] = {}
    if not alone:
        theirs = official(path)
        if device != "cpu" and torch.cuda.is_available():
            theirs = theirs.to("cuda")
            theirs.device = torch.device("cuda")
        began = time.perf_counter()
        for number in range(package_candidates):
            package_candidate(theirs, low(full), steps, number)
        rates["package"] = 3600 * package_candidates / (time.perf_counter() - began)
        click.echo(f"package, one by one: {rates['package']:.1f} candidates an hour")
        del theirs
    with tempfile.TemporaryDirectory() as folder:
        # As much as one window of 10.24 s keeps.
        soundfile.write(Path(folder) / "stem.wav", low(full)[: round(8.8 * RATE)], RATE, subtype="FLOAT")
        options = RenderOptions(
            engine=NAME, window=10.24, candidates=candidates, steps=steps, solver="euler", schedule="leading",
            guidance=GUIDANCE, verifiers=("consensus", "continuity"), precision=precision, device=device,
            decode_top=decode_top if decode_top < candidates else None, cutoff=CUTOFF_HZ,
        )  # fmt: skip
        session = Session(options)
        began = time.perf_counter()
        done = render(session, RenderRequest(Path(folder) / "stem.wav", Path(folder) / "out.wav"))
        rates["ttsr"] = 3600 * candidates / (time.perf_counter() - began)
    stages = sorted(done.summary["stages"].items(), key=lambda item: -item[1])
    click.echo(f"ttsr, {candidates} at once, {decode_top} decoded: {rates['ttsr']:.1f} candidates an hour")
    click.echo("  " + ", ".join(f"{stage} {spent:.1f} s" for stage, spent in stages if spent > 0.5))
    if not alone:
        click.echo(f"ratio: {rates['ttsr'] / rates['package']:.2f}")


def package_candidate(model: Any, audio: np.ndarray, steps: int, seed: int) -> None:
    """One candidate as the package's `super_resolution` makes it, from samples instead of a file."""
    utils = importlib.import_module("audiosr.utils")
    torch.manual_seed(seed)
    np.random.seed(seed)
    waveform = audio[None]
    frames = audio.size // 480
    mel, stft = utils.wav_feature_extraction(waveform, frames)
    batch: dict[str, Any] = {
        "waveform": torch.from_numpy(waveform),
        "stft": stft,
        "log_mel_spec": mel,
        "sampling_rate": RATE,
    }
    batch |= utils.lowpass_filtering_prepare_inference(batch)
    batch["lowpass_mel"], _ = utils.wav_feature_extraction(batch["waveform_lowpass"], frames)
    batch = {key: value[None] if isinstance(value, Tensor) else value for key, value in batch.items()}
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model.generate_batch(batch, unconditional_guidance_scale=GUIDANCE, ddim_steps=steps, duration=audio.size / RATE)


Solve = Callable[[str, Tensor], Tensor]


@main.command("solvers")
@click.argument("models", type=click.Path(exists=True, path_type=Path))
@click.option("--engine", "name", default=NAME, show_default=True)
@click.option("--exact", default=500, show_default=True, help="Steps of the solution that counts as exact.")
@click.option("--guidance", default=GUIDANCE, show_default=True)
@click.option("--rows", default=2, show_default=True, help="Noises.")
@click.option("--spacing", "spacings", multiple=True, default=["leading", "trailing"], show_default=True)
@click.option("--solver", "names", multiple=True, default=["euler", "dpmpp-2m", "dpmpp-3m", "unipc"], show_default=True)
@click.option("--steps", "counts", multiple=True, type=int, default=[10, 15, 20, 25], show_default=True)
def solvers(
    models: Path, name: str, exact: int, guidance: float, rows: int, spacings: tuple[str, ...],
    names: tuple[str, ...], counts: tuple[int, ...],
) -> None:  # fmt: skip
    """Distance of cheap solvers to an exact solution, beside DDIM 50: RMS over the solution's spread.

    Random weights bound nothing about sound.
    """
    os.environ[store.VARIABLE] = str(models)
    engine = load_engine(name, "cpu")
    audio = torch.from_numpy(low(stem(5.12)))
    samples = round((engine.window_seconds or 5.12) * RATE) // engine.hop * engine.hop
    padded = F.pad(audio, (0, samples))[:samples] if samples > len(audio) else audio[:samples]
    padded = padded * (engine.input_rms / padded.square().mean().sqrt())
    conditioning = engine.condition(
        F.pad(padded[None, None], (engine.lookaround, engine.lookaround)), torch.tensor([[CUTOFF_HZ]]), [NoiseKey(0)]
    ).rows(torch.zeros(rows, dtype=torch.int64))
    noise = torch.randn(rows, *engine.noise_shape(samples), generator=torch.Generator().manual_seed(0))
    scale = guidance if engine.guided else 1.0

    def solve(solver: str, levels: Tensor) -> Tensor:
        denoiser = MeteredDenoiser(engine, conditioning, Meter(), guidance=Guidance(scale), limit=BatchLimit(None))
        return SAMPLERS[solver](denoiser, engine.start(noise, float(levels[0])), levels)[0]

    truth: dict[str, Tensor] = {}
    click.echo(f"{name}, guidance {scale:g}; distance to {exact} steps of dpmpp-2m of the same spacing")
    plan = [("euler", 50), *((solver, count) for solver in names for count in counts)]
    for spacing in spacings:
        truth[spacing] = solve("dpmpp-2m", spaced(engine, spacing, exact))
        spread = float(truth[spacing].std())
        for solver, count in plan:
            error = (solve(solver, spaced(engine, spacing, count)) - truth[spacing]).square().mean().sqrt()
            label = "DDIM" if solver == "euler" else solver
            click.echo(f"{spacing:9} {label:9} {count:3}  {float(error) / spread:.4f}")


def spaced(engine: Engine, spacing: str, steps: int) -> Tensor:
    """Noise levels on the engine's timesteps; on the cosine schedule, one end left out, where it has none."""
    if engine.times is not None:
        return engine.times.schedule(spacing, steps)
    lowest, highest = engine.sigma_range
    levels = sigmas("cosine", steps + 1, lowest, highest)
    return levels[1:] if spacing == "leading" else torch.cat([levels[:-2], levels[-1:]])


if __name__ == "__main__":
    main()
