"""Train the image network of the built-in engine: `python -m ttsr_studio.training.image RUN DATA…`.

It learns from stereo clips' powers and in-phase products by band, every 107 ms: how alike two channels are above a
cutoff, given how alike they are below it. Pairs are swapped, turned upside down, put out of balance and made wider and
narrower, all of which are sums of such products, so it takes minutes. What comes out is the engine's weights file with
this network in it.
"""

import math
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from ttsr_studio.engines.builtin.image import MOST_ALIKE, NEAR_REACH, ImageNetwork, PairPowers, pair_powers, wider
from ttsr_studio.engines.builtin.levels import LEVEL_FRAMES
from ttsr_studio.engines.builtin.spectral import BAND_HZ, FAST_HOP, RATE, band_centres
from ttsr_studio.errors import InputError
from ttsr_studio.training.builtin import audibility, bands_inside
from ttsr_studio.training.command import command, existing, new_folder, one_line
from ttsr_studio.training.data import held_out, made_ahead, manifest
from ttsr_studio.training.loop import TrainingRun, learning_rate, recent_mean
from ttsr_studio.training.parts import add_part_options, export_part

FRAMES = 32
"""Level frames of an excerpt, 3.4 s."""

INPUT_POWER = 0.01
"""Mean power of a clip, as the engine gets it."""

LEAST_APART = 1e-4
"""Clips whose channels differ by less power than this part of their own are mono."""

LEAST_EDGE_HZ = 18000
"""Clips that end below this came through a codec, and codecs make channels alike in the treble to save bits. For the
same reason bands in which channels are alike to the last bit count for nothing."""

LOWEST_HZ, HIGHEST_HZ, LEAST_OPEN_HZ = 2500.0, 12000.0, 2000.0
"""Cutoffs lie between the first two, and so far under the edge of a clip."""


@dataclass(frozen=True)
class StereoClip:
    """Powers of two channels, [1, 64, N] each, whose clip it is, and the edge of its content, Hz."""

    powers: PairPowers
    group: str
    edge_hz: float


def stereo_clips(folders: Sequence[Path], validation: bool) -> Iterator[StereoClip]:
    """Clips of two channels that differ, of the training or of the validation part.

    Raises InputError as `ttsr_studio.training.data.manifest`, and where a clip is not at 48 kHz.
    """
    least = FRAMES // 4 * LEVEL_FRAMES * FAST_HOP
    for folder in folders:
        for path, row, edge in manifest(folder):
            if edge < LEAST_EDGE_HZ or held_out(row["speaker_or_class"]) != validation:
                continue
            if soundfile.info(path).channels != 2:
                continue
            audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
            if rate != RATE:
                raise InputError(f"{path}: {rate} Hz; training clips are at 48 kHz")
            pair = torch.from_numpy(audio.T.copy())
            power = float(pair.square().mean())
            apart = float((pair[0] - pair[1]).square().mean())
            if len(audio) >= least and power > 1e-8 and apart > LEAST_APART * power:
                pair *= math.sqrt(INPUT_POWER / power)
                yield StereoClip(pair_powers(pair[:1], pair[1:]), row["speaker_or_class"], edge)


@dataclass(frozen=True)
class ImageBatch:
    """Powers of pairs [B, 64, N], cutoff and edge of content [B], Hz."""

    powers: PairPowers
    cutoff_hz: Tensor
    edge_hz: Tensor


class ImagePairs:
    """Makes batches; `batch(step)` is a function of (seed, step). Groups count by the root of their clips.

    Raises InputError where there are no clips.
    """

    def __init__(self, clips: Iterator[StereoClip], size: int, seed: int) -> None:
        by_group: dict[str, list[StereoClip]] = {}
        for clip in clips:
            by_group.setdefault(clip.group, []).append(clip)
        if not by_group:
            raise InputError(
                "no stereo clips for the training part, or none for validation, which is one in twelve groups: "
                f"give folders with two dozen groups or more of clips at {RATE} Hz whose two channels differ and reach "
                f"{LEAST_EDGE_HZ} Hz"
            )
        self.groups, self.size, self.seed = list(by_group.values()), size, seed
        chance = np.array([len(group) ** 0.5 for group in self.groups])
        self.chance = chance / chance.sum()

    def stream(self, start: int, stop: int) -> Iterator[ImageBatch]:
        """Batches of steps [start, stop), made one ahead in a thread."""
        yield from made_ahead(self.batch, start, stop)

    def batch(self, step: int) -> ImageBatch:
        """The batch of a step."""
        rng = np.random.default_rng((self.seed, step))
        rows = [self._row(rng) for _ in range(self.size)]
        powers = PairPowers(*(torch.cat(parts) for parts in zip(*(row[0] for row in rows), strict=True)))
        cutoff, edge = (torch.tensor([row[i] for row in rows], dtype=torch.float32) for i in (1, 2))
        return ImageBatch(powers, cutoff, edge)

    def _row(self, rng: np.random.Generator) -> tuple[PairPowers, float, float]:
        group = self.groups[int(rng.choice(len(self.groups), p=self.chance))]
        clip = group[int(rng.integers(len(group)))]
        start = int(rng.integers(max(clip.powers.cross.shape[-1] - FRAMES, 0) + 1))
        powers = changed_pair(PairPowers(*(excerpt(x, start) for x in clip.powers)), rng)
        highest = max(min(HIGHEST_HZ, clip.edge_hz - LEAST_OPEN_HZ), 1.2 * LOWEST_HZ)
        return powers, math.exp(rng.uniform(math.log(LOWEST_HZ), math.log(highest))), clip.edge_hz


def excerpt(x: Tensor, start: int) -> Tensor:
    """`FRAMES` of a clip [1, 64, N]; a shorter one goes on as it ends."""
    part = x[..., start : start + FRAMES]
    return torch.cat([part, part[..., -1:].expand(-1, -1, FRAMES - part.shape[-1])], dim=-1)


def changed_pair(powers: PairPowers, rng: np.random.Generator) -> PairPowers:
    """Channels swapped or one of them upside down, out of balance, wider or narrower."""
    first, second, cross = powers
    if rng.random() < 0.5:
        first, second = second, first
    if rng.random() < 0.5:
        cross = -cross
    if rng.random() < 0.3:
        gain = 10 ** (rng.uniform(-12, 12) / 20)
        second, cross = gain**2 * second, gain * cross
    made = PairPowers(first, second, cross)
    return widened(made, 10 ** (rng.uniform(-9, 6) / 20)) if rng.random() < 0.3 else made


def widened(powers: PairPowers, gain: float) -> PairPowers:
    """As if half the difference of the channels were so many times as large."""
    first, second, cross = powers
    middle, side = (first + second) / 4 + cross / 2, gain**2 * ((first + second) / 4 - cross / 2)
    lean = gain * (first - second) / 2
    return PairPowers((middle + side + lean).clamp(min=0), (middle + side - lean).clamp(min=0), middle - side)


def image_loss(net: ImageNetwork, batch: ImageBatch) -> tuple[Tensor, Tensor]:
    """How far correlations above the cutoff are off, mean; and how far those of the band next to it are."""
    around = batch.powers.around(NEAR_REACH)
    wanted = around.correlation()
    cutoff = batch.cutoff_hz[:, None]
    octaves = (cutoff / band_centres()).log2()[..., None]
    tops = ((torch.arange(wanted.shape[1]) + 1) * BAND_HZ)[None, :, None]
    beside = ((octaves >= 0) & (octaves < 0.5) & (tops <= cutoff[..., None])).float()
    near = PairPowers(*((x * beside).sum(1, keepdim=True) for x in around)).correlation()
    found = wider(near, net(batch.powers, cutoff.expand(-1, wanted.shape[-1])))
    open_ = (tops[..., 0] - BAND_HZ >= cutoff).float() * bands_inside(batch.edge_hz)
    weight = audibility(((around.first + around.second) / 2).clamp(min=1e-12).log()) * open_[..., None]
    weight = weight * (wanted.abs() < MOST_ALIKE)
    off, before = ((weight * (x - wanted).abs()).sum() / weight.sum().clamp(min=1) for x in (found, near))
    return off, before


class ImageRun(TrainingRun[ImageNetwork]):
    """Trains the image network alone."""

    def __init__(self, folder: Path, width: int, seed: int) -> None:
        torch.manual_seed(seed)
        super().__init__(folder, ImageNetwork(width), ImageNetwork(width), torch.device("cpu"))

    def new_optimizer(self) -> torch.optim.Optimizer:
        self.net.train()
        return torch.optim.AdamW(self.net.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=0.05)


@dataclass(frozen=True)
class ImageSchedule:
    """Steps in all, learning rate, steps between checkpoints, and the step at which this call ends, if any."""

    steps: int
    peak: float
    every: int
    stop: int | None = None


def train_image(run: ImageRun, pairs: ImagePairs, held: ImagePairs, schedule: ImageSchedule) -> bool:
    """Run the remaining steps, as many as the schedule allows at most. True when the run is at its end."""
    stop = min(schedule.stop or schedule.steps, schedule.steps)
    kept = [held.batch(i) for i in range(8)]
    began, first, recent = time.perf_counter(), run.step, []
    for batch in pairs.stream(run.step, stop):
        loss, _ = image_loss(run.net, batch)
        run.update(loss, learning_rate(run.step, schedule.steps, schedule.peak), slowest=0.99)
        recent.append(loss.detach())
        if run.step % schedule.every == 0 or run.step >= stop:
            with torch.no_grad():
                off, before = (
                    recent_mean(values) for values in zip(*(image_loss(run.average, one) for one in kept), strict=True)
                )
            speed = round((time.perf_counter() - began) / (run.step - first), 4)
            entry = {"off": round(off, 4), "off_without": round(before, 4), "s_per_step": speed}
            run.log(step=run.step, of=schedule.steps, loss=round(recent_mean(recent), 4), **entry)
            recent.clear()
            run.save()
    return run.step >= schedule.steps


def parser() -> ArgumentParser:
    """The command line."""
    made = command("image", "Train the image network on the stereo clips of DATA, keeping state and log in FOLDER.")
    made.add_argument("folder", type=new_folder)
    made.add_argument("data", nargs="+", type=existing, help="folders with manifest.csv; shards have single channels")
    made.add_argument("--steps", type=int, default=2000, help="in all")
    made.add_argument("--batch", type=int, default=32, help="excerpts of a step, 3.4 s each")
    made.add_argument("--width", type=int, default=128, help="of the network")
    add_part_options(made)
    return made


@one_line()
def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and export the engine's weights with the new image when the last step is done."""
    given = parser().parse_intermixed_args(arguments)
    pairs = ImagePairs(stereo_clips(given.data, validation=False), given.batch, given.seed)
    held = ImagePairs(stereo_clips(given.data, validation=True), given.batch, given.seed + 1)
    run = ImageRun(given.folder, given.width, given.seed)
    if not train_image(run, pairs, held, ImageSchedule(given.steps, given.peak, given.every, given.stop_at)):
        return
    export_part("image", run.average, FRAMES, given)


if __name__ == "__main__":
    main()
