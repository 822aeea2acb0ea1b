"""What a render costs on this machine: the same programme, rendered once more, with a watch running."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import signal

from ttsr_studio.batch.renderer import Renderer
from ttsr_studio.diagnostics.memory import peak_rss_mb
from ttsr_studio.engines.device import resolve_device

RATE = 48000
BAND_HZ = 5000.0
WARM_UP_SECONDS = 1.5
"""Of the programme, rendered before the watch runs: what is made once a process is not counted."""


@dataclass(frozen=True)
class RenderCost:
    """What one render took.

    Attributes:
        device: torch's name of it. card: its model, empty for a CPU. threads: of torch.
        engine, preset: that rendered. candidates: of a window.
        audio_s: length of the programme. wall_s, cpu_s: seconds that the render took, by the clock and of all cores.
        stages: seconds by stage, the longest first.
        memory_mb: largest resident memory of the process. card_mb: largest allocation on the card; None for a CPU.
    """

    device: str
    card: str
    threads: int
    engine: str
    preset: str
    candidates: int
    audio_s: float
    wall_s: float
    cpu_s: float
    stages: dict[str, float]
    memory_mb: float
    card_mb: float | None

    @property
    def times_real_time(self) -> float:
        """Seconds of audio in a second."""
        return self.audio_s / self.wall_s

    @property
    def candidates_per_hour(self) -> float:
        """Candidates of a minute of audio that an hour makes and judges."""
        return self.candidates * self.audio_s / 60 * 3600 / self.wall_s


def programme(seconds: float) -> NDArray[np.float32]:
    """Two channels of notes, a little apart, and hits, up to 5 kHz; float32 [2, samples], the same every time."""
    rng, t = np.random.default_rng(0), np.arange(round(seconds * RATE)) / RATE
    apart = np.array([[1.0], [1.002]])
    notes = sum(np.sin(2 * np.pi * hz * apart * t) for hz in (220, 330, 441, 880, 1320, 2210))
    hits = rng.standard_normal((2, t.size)) * np.exp(-(t % 0.5) / 0.05)
    steep = signal.butter(10, BAND_HZ, fs=RATE, output="sos")
    return np.asarray(signal.sosfiltfilt(steep, 0.05 * (notes + hits)), np.float32)


def render_cost(preset: str, seconds: float, **options: Any) -> RenderCost:
    """Render the programme and say what it took. `options` as of `Renderer`; raises what that raises."""
    with Renderer(preset, cutoff=BAND_HZ, **options) as renderer:
        device = resolve_device(renderer.options.device)
        renderer.enhance(programme(WARM_UP_SECONDS), RATE)
        on_card = device.startswith("cuda")
        if on_card:
            torch.cuda.reset_peak_memory_stats(device)
        began, worked = time.perf_counter(), time.process_time()
        _, report = renderer.enhance(programme(seconds), RATE)
        wall, cpu = time.perf_counter() - began, time.process_time() - worked
        stages = sorted(report.timing.seconds.items(), key=lambda stage: -stage[1])
        return RenderCost(
            device,
            torch.cuda.get_device_name(device) if on_card else "",
            torch.get_num_threads(),
            renderer.options.engine,
            preset,
            max((len(window.candidates) for window in report.windows), default=0),
            seconds,
            wall,
            cpu,
            dict(stages),
            peak_rss_mb(),
            torch.cuda.max_memory_allocated(device) / 1e6 if on_card else None,
        )
