"""What an engine's real weights have to confirm, on one file that has its full band: `ttsr models verify --listen`.

Parity with the model's own code is tested on random weights. Only the real ones can say how it sounds: whether encoder
and vocoder give a clip back, how late the vocoder is, what a render gains on its input, whether a faster solver is as
near to the exact solution as the default, what guidance does, and how far candidates lie apart.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.analysis.search_range import search_range
from ttsr_studio.analysis.spectra import lsd
from ttsr_studio.audio.crossover import Crossover
from ttsr_studio.audio.decode import probe, read_blocks
from ttsr_studio.audio.encode import Encoding, write_audio
from ttsr_studio.audio.level import active_rms
from ttsr_studio.audio.resample import resample_blocks
from ttsr_studio.diffusion.batch_limit import BatchLimit
from ttsr_studio.diffusion.denoiser import Meter, MeteredDenoiser
from ttsr_studio.diffusion.guidance import Guidance
from ttsr_studio.diffusion.model import Engine
from ttsr_studio.diffusion.noise import NoiseKey, draw
from ttsr_studio.diffusion.samplers.registry import get_sampler
from ttsr_studio.engines.device import resolve_device
from ttsr_studio.engines.registry import load_engine
from ttsr_studio.errors import InputError, shown
from ttsr_studio.weights.store import Tell

CUTOFF_HZ = 4000.0
CANDIDATES = 3
FAST = ("dpmpp-2m", "trailing", 20)
EXACT_STEPS = 200
TOP_HZ = 20000.0
GRAIN = 12
"""Samples; 0.25 ms."""


@dataclass(frozen=True)
class Setting:
    """One way to render: solver, schedule, steps and scale of guidance."""

    solver: str
    schedule: str
    steps: int
    guidance: float


def listen_to(name: str, file: Path, folder: Path, tell: Tell) -> Iterator[str]:
    """Try an installed engine on a full-band file and write `listen.json` and WAVs into a folder.

    Yields what was found, a line each. Raises InputError for a file that is shorter than a window.
    """
    engine = load_engine(name, resolve_device("auto"))
    truth = clip(engine, file)
    folder.mkdir(parents=True, exist_ok=True)
    found = measure_engine(Bench(engine, truth), folder, lambda line: tell(f"{name}: {line}"))
    checks = as_expected(found)
    written = {"engine": name, "file": file.name, **found, "as_expected": checks}
    (folder / "listen.json").write_text(json.dumps(written, indent=2) + "\n")
    yield f"LSD from {CUTOFF_HZ / 1000:g} to 20 kHz: input {found['lsd_input']:.2f}, render {found['lsd_default']:.2f}"
    yield f"without guidance {found['lsd_unguided']:.2f}; in 20 steps {found['lsd_fast']:.2f}"
    yield (
        f"distance to DDIM {EXACT_STEPS}: default {found['solver_error_default']:.3f}, "
        f"20 steps {found['solver_error_fast']:.3f} (of the latent's spread)"
    )
    yield f"candidates lie {found['search_range']:.2f} apart (search range, equation 4 of the paper)"
    yield f"level just above the cutoff against the truth: {found['level_at_cutoff_db']:+.1f} dB"
    yield f"the engine's own low band is {found['lag_samples']:+.0f} samples late"
    for what, ok in checks.items():
        yield f"{'as expected' if ok else 'NOT AS EXPECTED'}: {what}"
    yield f"report and WAVs in {shown(folder)}"


def measure_engine(bench: "Bench", folder: Path, tell: Tell) -> dict[str, float]:
    """Render in several ways, write what comes out, and measure it."""
    engine = bench.engine
    found: dict[str, float] = {"lsd_input": bench.distance(bench.lr)}
    write(folder / "input.wav", bench.lr, engine.sample_rate)
    default = Setting(engine.default_solver, engine.default_schedule, engine.default_steps, engine.default_guidance)
    settings = {
        "default": default,
        "fast": Setting(*FAST, engine.default_guidance),
        "exact": Setting("euler", "leading", EXACT_STEPS, engine.default_guidance),
        "unguided": replace(default, guidance=1.0),
    }
    solved = {}
    for label, setting in settings.items():
        tell(f"{label}: {setting.solver}, {setting.steps} steps, guidance {setting.guidance:g}")
        solved[label] = bench.solve(setting, 0)
        audio = bench.merged(solved[label])
        write(folder / f"{label}.wav", audio, engine.sample_rate)
        found[f"lsd_{label}"] = bench.distance(audio)
    scale = float(solved["exact"].std())
    for label in ("default", "fast"):
        found[f"solver_error_{label}"] = float((solved[label] - solved["exact"]).square().mean().sqrt()) / scale
    tell(f"{CANDIDATES} candidates")
    candidates = [bench.merged(bench.solve(default, i)) for i in range(CANDIDATES)]
    found["search_range"] = search_range(torch.stack(candidates), lo_hz=CUTOFF_HZ)
    found["level_at_cutoff_db"] = bench.step(candidates[0])
    found["lag_samples"] = bench.lag(bench.raw(solved["default"]))
    return found


def as_expected(found: Mapping[str, float]) -> dict[str, bool]:
    """What is expected of an engine whose weights are right, and whether it was found."""
    return {
        "a render is nearer to the truth than its input": found["lsd_default"] < found["lsd_input"],
        "20 steps of DPM-Solver++ 2M, trailing, are as near to the exact solution as the default": (
            found["solver_error_fast"] <= 1.1 * found["solver_error_default"]
        ),
        "candidates differ": found["search_range"] > 0.05,
        "the level just above the cutoff is within 6 dB of the truth": abs(found["level_at_cutoff_db"]) <= 6,
        "the engine's own low band is within 24 samples of the input": abs(found["lag_samples"]) <= 24,
    }


def clip(engine: Engine, file: Path) -> Tensor:
    """The first channel of the loudest window of a file, [samples] at the engine's rate and input level."""
    info = probe(file)
    rate = engine.sample_rate
    audio = np.concatenate(
        list(resample_blocks(read_blocks(info), info.rate, rate, info.channels, info.frames)), axis=1
    )
    seconds = engine.window_seconds or engine.core_seconds
    samples = round(seconds * rate) // engine.hop * engine.hop
    if audio.shape[1] < samples:
        raise InputError(
            f"{file}: {audio.shape[1] / rate:.1f} s; --listen needs a full-band file of {seconds:g} s or more"
        )
    starts = range(0, audio.shape[1] - samples + 1, samples)
    loudest = max(starts, key=lambda start: float((audio[0, start : start + samples] ** 2).sum()))
    part = audio[:1, loudest : loudest + samples]
    level = active_rms(part, rate)
    if not level:
        raise InputError(f"{file}: silence; give a file with sound")
    return torch.from_numpy(part[0].astype(np.float32)) * (engine.input_rms / level)


class Bench:
    """One window of an engine, its input and its truth, both [samples]."""

    def __init__(self, engine: Engine, truth: Tensor) -> None:
        self.engine, self.truth = engine, truth
        self.crossover = Crossover(CUTOFF_HZ, engine.sample_rate)
        self.lr = self.crossover.low_pass(truth)
        padded = torch.nn.functional.pad(self.lr[None], (engine.lookaround, engine.lookaround))
        self.key = NoiseKey(0)
        self.conditioning = engine.condition(padded[:, None], torch.tensor([[CUTOFF_HZ]]), [self.key])

    def solve(self, setting: Setting, number: int) -> Tensor:
        """x0 [1, ...] of the noise of that number."""
        engine = self.engine
        assert engine.times is not None
        levels = engine.times.schedule(setting.schedule, setting.steps)
        noise = draw(self.key.child("draw", number), engine.noise_shape(len(self.truth)))
        denoiser = MeteredDenoiser(
            engine, self.conditioning, Meter(), guidance=Guidance(setting.guidance), limit=BatchLimit(None)
        )
        x0, _ = get_sampler(setting.solver)(denoiser, engine.start(noise[None], float(levels[0])), levels)
        return x0

    def raw(self, x0: Tensor) -> Tensor:
        """What the engine makes of it by itself, [samples]."""
        return self.engine.decode(x0, self.conditioning)[0].cpu()

    def merged(self, x0: Tensor) -> Tensor:
        """[1, samples], with the input's own low band."""
        return self.crossover.merge(self.lr[None], self.raw(x0)[None])

    def distance(self, audio: Tensor) -> float:
        """LSD to the truth above the cutoff."""
        return float(lsd(audio.reshape(1, -1), self.truth[None], lo_hz=CUTOFF_HZ, hi_hz=TOP_HZ).mean())

    def step(self, audio: Tensor) -> float:
        """Level of the kilohertz above the cutoff against the truth's, dB."""
        hz = torch.fft.rfftfreq(len(self.truth), 1 / self.engine.sample_rate)
        band = (hz > CUTOFF_HZ) & (hz < CUTOFF_HZ + 1000)
        drawn, true = (torch.fft.rfft(x.reshape(-1))[band].abs().square().sum() for x in (audio, self.truth))
        return float(10 * torch.log10(drawn.clamp(min=1e-20) / true.clamp(min=1e-20)))

    def lag(self, raw: Tensor, reach: int = 40) -> float:
        """Samples by which the engine's own low band comes after the input's: where their envelopes agree best."""
        low = self.crossover.low_pass(raw)
        own, known = (_envelope(audio) for audio in (low, self.lr))
        size = 2 * len(own)
        both = torch.fft.rfft(own, size) * torch.fft.rfft(known, size).conj()
        products = torch.fft.irfft(both, size)
        around = torch.cat([products[-reach:], products[: reach + 1]])
        return float(GRAIN * (around.argmax() - reach))


def _envelope(audio: Tensor) -> Tensor:
    """RMS of every `GRAIN` samples, without its mean."""
    kept = len(audio) // GRAIN * GRAIN
    level = audio[:kept].unflatten(0, (-1, GRAIN)).square().mean(1).sqrt()
    deviation: Tensor = level - level.mean()
    return deviation


def write(path: Path, audio: Tensor, rate: int) -> None:
    block = audio.reshape(1, -1).numpy()
    write_audio(path, lambda: iter([block]), Encoding(rate, 1, "WAV", "FLOAT"))
