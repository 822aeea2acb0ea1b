"""What the built-in engine's parts are worth: `python benchmarks/engine_parts.py CLIPS [CLIPS] --each 2`.

Every clip of the manifests (CLIPS/manifest.csv; full-band, 48 kHz) is cut at --cutoff by a brick wall and filled again
in several ways that share one draw, one window and one noise:

- as shipped, and without one part each: the level network (and with its levels alone), its spreading over time, the
  shares of what is drawn (all of it, none of it), the copies of the low band (noise alone), noise (copies alone), the
  evening of carriers;
- with the truth's energies on the engine's carriers; and with the truth's energies after a mean over 59 ms, 507 ms, or
  the whole clip, the rest as drawn. So much is lost by levels that are off for so long.

ViSQOL and Zimtohrli (1 to 5), log-spectral distance and level from the cutoff to 15 kHz, contrasts off, with 95 %
bootstrap intervals. Nothing here is a search, and the first channel alone is heard.
"""

import argparse
import csv
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile
import torch
from bandwidth import brick
from torch import Tensor
from torch.nn import functional as F

from ttsr_studio.analysis.spectra import POWER_FLOOR, power_spectrogram
from ttsr_studio.audio.crossover import Crossover
from ttsr_studio.diffusion.noise import NoiseKey, draw
from ttsr_studio.diffusion.samplers.registry import get_sampler
from ttsr_studio.diffusion.schedules import sigmas
from ttsr_studio.engines.builtin import engine as builtin
from ttsr_studio.engines.builtin import networks
from ttsr_studio.engines.builtin.carriers import moving_mean
from ttsr_studio.engines.builtin.spectral import HOP, RATE, log_energy
from ttsr_studio.evaluation.benchmark.perceptual import load_visqol, load_zimtohrli
from ttsr_studio.evaluation.benchmark.texture import textures
from ttsr_studio.evaluation.reporting.bootstrap import bootstrap

TOP_HZ, BAND_HZ = 15000, 1000
SECONDS = 5
LEVELS = "LEVEL_SHARE"
COLUMNS = ("visqol", "zimtohrli", "lsd", "level_db", "onset_off", "tonal_off")
Energies = Callable[[Tensor, Tensor], Tensor]
"""What is drawn and the truth, log energy [1, 64, frames] -> what is rendered."""


class Filled:
    """One clip, its draw and the conditioning of its one window, with a share of the level network's levels."""

    def __init__(self, engine: builtin.BuiltinEngine, truth: np.ndarray, cutoff_hz: float, levels: float) -> None:
        lr = brick(truth[None], cutoff_hz)[0].astype(np.float32)
        gain = np.float32(engine.input_rms / max(float(np.sqrt(np.mean(lr**2))), 1e-5))
        self.engine, self.cutoff_hz, self.lr, self.truth = engine, cutoff_hz, lr * gain, truth * gain
        padded = F.pad(torch.from_numpy(self.lr), (engine.lookaround, engine.lookaround))[None, None]
        key = NoiseKey(1)
        with mock.patch.object(networks, "LEVEL_SHARE", levels):
            given = engine.condition(padded, torch.tensor([[cutoff_hz]]), [key])
        self.tensors, self.rows = given.tensors, given.index
        low, high = engine.sigma_range
        levels = sigmas(engine.default_schedule, engine.default_steps, low, high, **engine.schedule_options)
        noise = draw(key.child("draw", 0), engine.noise_shape(truth.size))[None]

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return engine.denoise(x, sigma.reshape(-1).expand(len(x)), given)

        with torch.no_grad():
            self.x0, _ = get_sampler(engine.default_solver)(denoise, engine.start(noise, float(levels[0])), levels)
        self.true_energy = log_energy(torch.from_numpy(self.truth)[None])[..., :-1]

    def audio(self, energies: Energies, spread: bool) -> np.ndarray:
        """Rendered [samples]: what is drawn, as `energies` changes it; spread over time before."""
        energy, tonality = builtin.drawn(self.x0, self.rows, self.tensors)
        if spread:
            energy = builtin.spread_over_time(energy, self.tensors.sounding)
        made = builtin.carried(energies(energy, self.true_energy), tonality, self.rows, self.tensors)
        merged: np.ndarray = Crossover(self.cutoff_hz, RATE).merge(self.lr[None], made.numpy())[0]
        return merged


def as_drawn(energy: Tensor, true: Tensor) -> Tensor:
    return energy


def level_of_truth(frames: int) -> Energies:
    """The truth's course over so many fast frames (0 for the whole clip), the rest as drawn."""

    def course(x: Tensor) -> Tensor:
        return moving_mean(x, frames, 2) if frames else x.mean(2, keepdim=True)

    return lambda energy, true: energy + course(true) - course(energy)


def variants() -> dict[str, tuple[Energies, bool, dict[str, float]]]:
    """Name -> energies, whether they are spread over time, and constants of the engine that are changed."""
    return {
        "as shipped": (as_drawn, True, {}),
        "without the level network": (as_drawn, True, {LEVELS: 0.0}),
        "the level network's levels alone": (as_drawn, True, {LEVELS: 1.0}),
        "not spread over time": (as_drawn, False, {}),
        "all that is drawn": (as_drawn, True, {"DRAWN_SLOW": 1.0, "DRAWN_FAST": 1.0}),
        "nothing that is drawn": (as_drawn, True, {"DRAWN_SLOW": 0.0, "DRAWN_FAST": 0.0}),
        "prediction alone (neither)": (as_drawn, False, {"DRAWN_SLOW": 0.0, "DRAWN_FAST": 0.0}),
        "noise alone": (as_drawn, True, {"TONAL_MOST": 0.0}),
        "copies alone": (as_drawn, True, {"TONAL_FROM": -9.0}),
        "carrier not evened": (as_drawn, True, {"EVEN": 0.0}),
        "truth's level over 59 ms": (level_of_truth(11), True, {}),
        "truth's level over 507 ms": (level_of_truth(95), True, {}),
        "truth's level over the clip": (level_of_truth(0), True, {}),
        "truth's energies": (lambda energy, true: true, False, {}),
    }


def columns_of(truth: np.ndarray, made: np.ndarray, cutoff_hz: float) -> tuple[float, ...]:
    """Values of `COLUMNS`."""
    true_power, made_power = (power_spectrogram(torch.from_numpy(x)[None].float()) for x in (truth, made))
    per_hz = 2 * (true_power.shape[1] - 1) / RATE
    edges = [round(hz * per_hz) for hz in range(int(cutoff_hz), TOP_HZ + 1, BAND_HZ)]
    true, out = textures(true_power, made_power, [slice(*pair) for pair in pairwise(edges)])
    inside = slice(edges[0], edges[-1])
    logs = [power[:, inside].clamp_min(POWER_FLOOR).log10() for power in (made_power, true_power)]
    level = 10 * (made_power[:, inside].sum() / true_power[:, inside].sum()).log10()
    return (
        load_visqol()(truth, made),
        load_zimtohrli()(truth, made),
        float((logs[0] - logs[1]).square().mean(1).sqrt().mean()),
        float(level),
        abs(out.onset_contrast - true.onset_contrast),
        abs(out.tonal_contrast - true.tonal_contrast),
    )


def clips(folders: list[Path], each: int) -> Iterator[tuple[str, np.ndarray]]:
    """Kind and first channel of every n-th clip, at most `SECONDS`, whole frames."""
    rows = [(folder, row) for folder in folders for row in csv.DictReader((folder / "manifest.csv").open(newline=""))]
    for folder, row in rows[::each]:
        audio, rate = soundfile.read(folder / row["file"], dtype="float32", always_2d=True, frames=SECONDS * RATE)
        if rate == RATE and len(audio) >= RATE:
            yield row["kind"], np.ascontiguousarray(audio[: len(audio) // HOP * HOP, 0])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="CLIPS")
    parser.add_argument("--each", type=int, default=1, help="take every n-th clip")
    parser.add_argument("--cutoff", type=float, default=4000.0, help="Hz")
    parser.add_argument("--engine-weights", type=Path, help="other weights than the shipped ones")
    parser.add_argument("--only", action="append", default=[], help="ways by name, several times")
    parser.add_argument("--out", type=Path, help="write every clip's values as JSON lines")
    given = parser.parse_args()
    torch.set_num_threads(1)
    engine = builtin.load_file("cpu", given.engine_weights, None) if given.engine_weights else builtin.load_file("cpu")
    ways = {name: way for name, way in variants().items() if not given.only or name in given.only}
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in ways}
    lines = given.out.open("w") if given.out else None
    for kind, truth in clips(given.folders, given.each):
        filled: dict[float, Filled] = {}
        for name, (energies, spread, constants) in ways.items():
            levels = constants.get(LEVELS, networks.LEVEL_SHARE)
            if levels not in filled:
                filled[levels] = Filled(engine, truth, given.cutoff, levels)
            others = {name: value for name, value in constants.items() if name != LEVELS}
            with mock.patch.multiple(builtin, **others, HOP=HOP):
                made = filled[levels].audio(energies, spread)
            values = columns_of(filled[levels].truth, made, given.cutoff)
            found[name].append(values)
            if lines:
                print(json.dumps({"way": name, "kind": kind, **dict(zip(COLUMNS, values, strict=True))}), file=lines)
    print(f"| way (n = {len(next(iter(found.values())))}) | " + " | ".join(COLUMNS) + " |\n|" + "---|" * 7)
    for name, rows in found.items():
        print(f"| {name} | " + " | ".join(cell([row[i] for row in rows]) for i in range(len(COLUMNS))) + " |")


def cell(values: list[float]) -> str:
    """Mean and its interval."""
    found = bootstrap(np.array(values), seed=0)
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


if __name__ == "__main__":
    main()
