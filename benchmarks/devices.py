"""What a device is worth, unattended and in under nine minutes: `python benchmarks/devices.py --device cuda`
(with `PYTHONPATH=.:tests`, run from the root of a copy of the repository).

Every line of the output is JSON and is written as soon as it is known: the machine; `ttsr bench`'s programme by the
built-in engine on the device and on the CPU; whether a render is the same at every batch; AudioSR at its full size on
random weights, beside the package's own loop where that is there; bfloat16 and larger batches; where time goes by
torch's profiler. What fails says why, and the rest goes on; what there is no time for is named.

Needs of torch's companions only what a render in memory needs (numpy, scipy, soundfile with cffi and pycparser, soxr,
pyloudnorm, pydantic, platformdirs, psutil, safetensors, click), for AudioSR diffusers and transformers, and for the
package `audiosr` (installed without its dependencies) einops and librosa.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from ttsr_studio.batch.bench import BAND_HZ, RATE, programme, render_cost
from ttsr_studio.batch.renderer import Renderer
from ttsr_studio.engines.device import resolve_device
from ttsr_studio.weights import store

AUDIOSR = "audiosr-basic"
CLIP_SECONDS = 8.8
"""As much as one of AudioSR's windows of 10.24 seconds keeps."""
STEPS, GUIDANCE = 50, 3.5
BATCHES = (1, 8, 32)
PROFILED = 12
"""Entries of each of the profiler's tables."""

Figures = dict[str, Any]


@dataclass
class Utilisation:
    """How busy NVIDIA's card is while something runs, in per cent, ten times a second; nothing is known of others."""

    seen: list[tuple[float, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        asked = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=100"]
        try:
            watcher = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            yield
            return
        reader = threading.Thread(target=self._read, args=(watcher,), daemon=True)
        reader.start()
        try:
            yield
        finally:
            watcher.terminate()
            reader.join()

    def _read(self, watcher: "subprocess.Popen[str]") -> None:
        for line in watcher.stdout or ():
            with contextlib.suppress(ValueError):
                self.seen.append((time.monotonic(), float(line)))

    def since(self, moment: float) -> float | None:
        """Mean from a moment of `time.monotonic` on."""
        busy = [share for at, share in self.seen if at >= moment]
        return sum(busy) / len(busy) if busy else None


@dataclass(frozen=True)
class Bench:
    """What is measured where.

    Attributes:
        device: resolved. candidates: of the built-in engine. seconds: of the programme on the device; the CPU gets a
            sixth of them. steps, size: of AudioSR; a size below 1 is for trials of this script.
    """

    device: str
    candidates: int
    seconds: float
    steps: int = STEPS
    full_size: bool = True

    def machine(self) -> Figures:
        """What it runs on."""
        card: Figures = {}
        if self.device.startswith("cuda"):
            facts = torch.cuda.get_device_properties(self.device)
            card = {"card": facts.name, "memory_gb": facts.total_memory / 1e9, "capability": [facts.major, facts.minor]}
        names = ("torch", "numpy", "scipy", "diffusers", "transformers", "audiosr")
        return {
            "device": self.device,
            **card,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "versions": {name: version(name) for name in names},
        }

    def render(self, preset: str, seconds: float, device: str = "", **setting: Any) -> Figures:
        """The programme, rendered: what `ttsr bench --json` says, shares of time, and how busy the card was."""
        busy = Utilisation()
        with busy.watched():
            cost = render_cost(preset, seconds, device=device or self.device, **setting)
            ended = time.monotonic()
        shares = {stage: spent / cost.wall_s for stage, spent in cost.stages.items()}
        return {
            "setting": setting,
            **asdict(cost),
            "times_real_time": cost.times_real_time,
            "candidates_per_hour": cost.candidates_per_hour,
            "shares": shares,
            "utilisation": busy.since(ended - cost.wall_s),
        }

    def batches(self) -> Figures:
        """Whether a render is the same at every batch; if not, by how much, in dB of the loudest difference."""
        audio = {}
        for batch in BATCHES:
            with self._renderer("music", candidates=8, batch=batch) as renderer:
                audio[batch] = renderer.enhance(programme(6), RATE)
        first, _ = audio[BATCHES[0]]
        return {
            "sha256": {n: hashlib.sha256(samples.tobytes()).hexdigest()[:16] for n, (samples, _) in audio.items()},
            "apart_db": {n: apart_db(first, samples) for n, (samples, _) in audio.items()},
            "chosen": {n: [w.chosen for w in report.windows] for n, (_, report) in audio.items()},
        }

    def _renderer(self, preset: str, **setting: Any) -> Renderer:
        return Renderer(preset, cutoff=BAND_HZ, device=self.device, **setting)

    def audiosr(self, **setting: Any) -> Figures:
        """One window of AudioSR, guided; in bfloat16 where random weights leave the range of float16."""
        from audiosr_engine import CUTOFF_HZ, low, stem

        clip = low(stem(CLIP_SECONDS))
        options = {"solver": "euler", "schedule": "leading", "window": 10.24, "verifier": ["consensus", "continuity"]}
        options |= {"candidates": 8, "steps": self.steps, "guidance": GUIDANCE, **setting}
        busy = Utilisation()
        on_card = self.device.startswith("cuda")
        began = time.perf_counter()
        with Renderer(engine=AUDIOSR, cutoff=CUTOFF_HZ, device=self.device, **options) as renderer, busy.watched():
            loaded = time.perf_counter() - began
            if on_card:
                torch.cuda.reset_peak_memory_stats(self.device)
            walls = []
            for _ in range(2):  # the first with what a process makes once
                began = time.perf_counter()
                _, report = renderer.enhance(clip, RATE)
                walls.append(time.perf_counter() - began)
            ended = time.monotonic()
        return {
            "setting": setting,
            "load_s": loaded,
            "wall_s": walls,
            "candidates_per_hour": 3600 * options["candidates"] / walls[-1],
            "stages": report.timing.seconds,
            "peak_gib": torch.cuda.max_memory_allocated(self.device) / 2**30 if on_card else None,
            "reserved_gib": torch.cuda.max_memory_reserved(self.device) / 2**30 if on_card else None,
            "utilisation": busy.since(ended - walls[-1]),
        }

    def package(self, candidates: int = 2) -> Figures:
        """The package's own loop on the same clip, one candidate after another, after a first of two steps."""
        import audiosr_reference
        from audiosr_engine import low, package_candidate, stem

        from ttsr_studio.engines.audiosr.networks import AudioSRConfig

        if not audiosr_reference.available():
            return {"failed": "the package audiosr is not installed"}
        audiosr_reference.prepare()
        sizes = AudioSRConfig() if self.full_size else tiny()
        model = audiosr_reference.latent_diffusion(sizes.unet, sizes.head, sizes.vae, sizes.vocoder).to(self.device)
        model.device = torch.device(self.device)
        clip = low(stem(10.24))
        package_candidate(model, clip, 2, 0)
        walls = []
        for number in range(candidates):
            began = time.perf_counter()
            package_candidate(model, clip, self.steps, number)
            walls.append(time.perf_counter() - began)
        return {"wall_s": walls, "candidates_per_hour": 3600 * candidates / sum(walls)}

    def profile(self) -> Figures:
        """Where a render's time goes, by torch's profiler: kernels of the device, and operations of the host, in ms."""
        kinds = [torch.profiler.ProfilerActivity.CPU]
        if self.device.startswith("cuda"):
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
        with self._renderer("music", candidates=self.candidates) as renderer:
            renderer.enhance(programme(1.5), RATE)
            with torch.profiler.profile(activities=kinds) as seen:
                renderer.enhance(programme(6), RATE)
        rows = seen.key_averages()
        tables = {"device": "self_device_time_total", "host": "self_cpu_time_total"}
        return {name: costliest(rows, column) for name, column in tables.items()}


def costliest(rows: Any, column: str) -> list[tuple[str, float, int]]:
    """Name, milliseconds and calls of the entries of a profile that take most."""
    ranked = sorted(rows, key=lambda row: -float(getattr(row, column)))[:PROFILED]
    return [(row.key[:90], float(getattr(row, column)) / 1000, row.count) for row in ranked]


def apart_db(one: NDArray[np.float32], other: NDArray[np.float32]) -> float | None:
    """The loudest difference, relative to the loudest sample; None for none."""
    loudest = float(np.abs(one - other).max())
    return 20 * math.log10(loudest / float(np.abs(one).max())) if loudest else None


def version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def tiny() -> Any:
    from audiosr_dummy import TINY

    return TINY


def random_weights(device: str, full_size: bool) -> Figures:
    """Install AudioSR with random weights that keep the variance of what passes through."""
    from safetensors.torch import save_file

    from ttsr_studio.engines.audiosr.networks import PARTS, AudioSRConfig, shapes

    config = AudioSRConfig() if full_size else tiny()
    generator = torch.Generator(device).manual_seed(0)
    count = 0
    with store.installing(AUDIOSR) as place:
        for part in PARTS:
            weights = {}
            for name, shape in shapes(part, config):
                spread = 0.02 if name.endswith("bias") else 0.1 if len(shape) == 1 else math.prod(shape[1:]) ** -0.5
                middle = 1.0 if len(shape) == 1 and not name.endswith("bias") else 0.0
                value = middle + spread * torch.randn(shape, generator=generator, device=device)
                weights[name] = value.to("cpu", torch.float16).contiguous()
                count += value.numel()
            save_file(weights, place / f"{part}.safetensors")
        facts = {"sizes": config.to_json(), "precision": "fp16", "scale_factor": 0.7}
        store.seal(place, AUDIOSR, "none", "random", None, facts)
    return {"weights": count}


Step = tuple[str, float, Callable[[], Figures]]


def plan(bench: Bench) -> list[Step]:
    """What is measured, the most wanted first: its name, the seconds that it may take on a card, and itself."""
    few = {"candidates": bench.candidates}
    short = bench.seconds / 6

    def render(preset: str, **setting: Any) -> Callable[[], Figures]:
        return lambda: bench.render(preset, bench.seconds, **few, **setting)

    def on_cpu(preset: str) -> Callable[[], Figures]:
        return lambda: bench.render(preset, short, device="cpu", **few)

    return [
        ("machine", 1, bench.machine),
        ("built-in, music", 20, render("music")),
        ("AudioSR, random weights", 20, lambda: random_weights(bench.device, bench.full_size)),
        ("AudioSR", 20, bench.audiosr),
        ("AudioSR, the package's loop", 60, bench.package),
        *((f"built-in, music, batch {rows}", 15.0, render("music", batch=rows)) for rows in (8, 128, 512)),
        ("AudioSR, bf16", 20, lambda: bench.audiosr(precision="bf16")),
        ("batches", 15, bench.batches),
        ("built-in, general", 20, render("general")),
        ("AudioSR, --low-vram", 30, lambda: bench.audiosr(low_vram=True)),
        ("AudioSR, best one decoded", 15, lambda: bench.audiosr(decode_top=1)),
        ("profile", 15, bench.profile),
        ("built-in, music, bf16", 15, render("music", precision="bf16")),
        ("CPU, music", 20, on_cpu("music")),
        ("CPU, general", 20, on_cpu("general")),
    ]


def measured(name: str, step: Callable[[], Figures]) -> Figures:
    """One line: what came of a step, or why nothing did."""
    began = time.monotonic()
    try:
        found = step()
    except Exception as error:  # whatever a card, a driver or a package that is not there raises: the rest goes on
        found = {"failed": f"{type(error).__name__}: {error}"[:600]}
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {"step": name, **found, "took_s": round(time.monotonic() - began, 2)}


@click.command()
@click.option("--device", default="auto", show_default=True)
@click.option("--candidates", default=16, show_default=True, help="Of the built-in engine.")
@click.option("--seconds", default=60.0, show_default=True, help="Of the programme; the CPU gets a sixth.")
@click.option("--minutes", default=8.0, show_default=True, help="Nothing is begun that might not end within them.")
@click.option("--only", default="", help="Steps whose names hold this.")
@click.option("--steps", default=STEPS, show_default=True, help="Of AudioSR.")
@click.option("--small", is_flag=True, help="AudioSR with the tests' few channels, to try the script.")
def main(
    device: str, candidates: int, seconds: float, minutes: float, only: str, steps: int, small: bool
) -> None:  # fmt: skip
    """Print a line of JSON for every step."""
    began = time.monotonic()
    bench = Bench(resolve_device(device), candidates, seconds, steps, not small)
    with tempfile.TemporaryDirectory() as models:
        os.environ[store.VARIABLE] = models
        for name, most, step in plan(bench):
            left = 60 * minutes - (time.monotonic() - began)
            if only not in name:
                continue
            skipped = {"step": name, "failed": f"no time: {left:.0f} s left of the {most:.0f} that it may take"}
            click.echo(json.dumps(measured(name, step) if left >= most else skipped))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
