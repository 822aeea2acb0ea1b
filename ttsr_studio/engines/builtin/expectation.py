"""What the built-in engine's conditioner expects above a frequency, for estimating a filter's skirt."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ttsr_studio.audio.skirt.estimate import Expected
from ttsr_studio.engines.builtin.engine import BuiltinEngine, load
from ttsr_studio.engines.builtin.spectral import HOP, RATE, band_centres, features, log_energy
from ttsr_studio.engines.registry import EngineSettings

_DB = 10 / np.log(10)

Excerpts = Sequence[NDArray[np.float32]]


class Expectation:
    """Levels of the cells of excerpts at 48 kHz, and what they would be by what lies below a frequency alone.

    Args:
        engine: the built-in one where it is loaded, which is asked where it is; otherwise it is loaded for the CPU when
            it is needed. On the CPU the same excerpts give the same levels.
    """

    rate = RATE

    def __init__(self, engine: object = None) -> None:
        self._engine = engine if isinstance(engine, BuiltinEngine) else None

    @torch.no_grad()
    def __call__(self, excerpts: Excerpts, looked_hz: float) -> Expected:
        if self._engine is None:
            self._engine = load("builtin", "cpu", EngineSettings(precision="fp32"))
        engine = self._engine
        observed: list[NDArray[np.float64]] = []
        expected: list[NDArray[np.float64]] = []
        for excerpt in excerpts:
            audio = excerpt[: len(excerpt) // HOP * HOP]
            gain = engine.input_rms / max(float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))), 1e-9)
            row = torch.from_numpy(audio * np.float32(gain))[None].to(engine.device)
            seen = engine.network.conditioner(features(row, torch.tensor([looked_hz], device=engine.device))).location
            held = log_energy(row)
            frames = min(held.shape[-1], seen.shape[-1])
            for levels, found in ((held, observed), (seen, expected)):
                found.append(_DB * levels[0, :, :frames].cpu().double().numpy() - 20 * np.log10(gain))
        levels_of = [np.concatenate(found, axis=1) for found in (observed, expected)]
        return Expected(band_centres().double().numpy(), *levels_of)
