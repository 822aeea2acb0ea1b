"""Train the level network of the built-in engine: `python -m ttsr_studio.training.levels RUN DATA…`.

It learns from mean powers every 107 ms alone, 6 kB of a second of audio. Mixes, tilts, pitch, noise floors and filters
are sums and shifts of such powers, so a step costs a hundredth of what it takes with audio, and two cores hear a
hundred hours in half an hour. The loss is what levels are for: how far log energy is off after a mean over half a
second, and over the whole excerpt. What comes out is the engine's weights file with this network in it.
"""

import math
import time
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ttsr_studio.engines.builtin.levels import (
    LEVEL_BINS,
    TOLD,
    BandLevels,
    LevelNetwork,
    band_means,
    heard_levels,
    slow_course,
)
from ttsr_studio.engines.builtin.spectral import (
    BAND_HZ,
    BANDS,
    FAST_FFT,
    RATE,
    band_centres,
)
from ttsr_studio.errors import InputError
from ttsr_studio.training.builtin import audibility, bands_inside
from ttsr_studio.training.command import command, existing, new_folder, one_line
from ttsr_studio.training.data import MUSIC_MIX, OTHER_MIX, TrainingClip, cutoff_below, made_ahead
from ttsr_studio.training.loop import TrainingRun, learning_rate, recent_mean
from ttsr_studio.training.parts import add_part_options, export_part
from ttsr_studio.training.shards import load_shards

KINDS = {"speech": 0.34, "music": 0.4, "sfx": 0.26}
FRAMES = 48
"""Level frames of an excerpt, 5.1 s."""

INPUT_POWER = 0.01
"""Mean power of an input where it sounds, as the engine gets it."""

FULL_EDGE_HZ, LOSSY_CHANCE, LOSSY_MARGIN_HZ = 18000, 0.3, 1500
"""Clips that end below the first came through a codec, which thins out what lies under its edge as well: they are heard
at so small a chance, and so much under their edge does not count."""

SILENT = -21.0
"""Log power where nothing sounds."""

PITCH = 0.17
"""Pitches are shifted by up to this, natural log, half of the time."""

NEP = math.log(10) / 10
"""Natural log of a power, of 1 dB."""

CLIP_WEIGHT = 0.5
"""Of errors after a mean over the whole excerpt, against those over half a second."""

CELL_WEIGHT = 0.3
"""Of errors of single level frames."""

PARTS = ("slow_off", "clip_off")
"""What is logged, in nats: log energy off after a mean over half a second, and over the excerpt."""

HZ = (np.arange(LEVEL_BINS) + 1) * (RATE / FAST_FFT)
OCTAVES = np.log2(HZ / 1000)


@dataclass(frozen=True)
class LevelClip:
    """One channel: log power [256, N] and gap [64, N] in half precision, kind, and up to where it counts (Hz)."""

    power: Tensor
    gap: Tensor
    kind: str
    edge_hz: float

    @classmethod
    def of(cls, clip: TrainingClip) -> "LevelClip | None":
        """Measured at the engine's input level; None for silence."""
        audio = clip.audio.float()[None] / 32768
        loud = float(audio.square().mean())
        if loud < 1e-8:
            return None
        found = heard_levels(audio * math.sqrt(INPUT_POWER / loud))
        edge = clip.edge_hz if clip.edge_hz >= FULL_EDGE_HZ else clip.edge_hz - LOSSY_MARGIN_HZ
        return cls(found.power[0].half(), found.gap[0].half(), clip.kind, edge)


class LevelCorpus:
    """Clips by kind, with their chances.

    Raises InputError where there are none.
    """

    def __init__(self, clips: Iterable[TrainingClip]) -> None:
        self.kinds: dict[str, tuple[list[LevelClip], np.ndarray]] = {}
        found = [made for clip in clips if (made := LevelClip.of(clip)) is not None]
        for kind in KINDS:
            own = [clip for clip in found if clip.kind == kind]
            if own:
                lossy = np.where([clip.edge_hz < FULL_EDGE_HZ for clip in own], LOSSY_CHANCE, 1)
                weight = lossy * np.array([clip.power.shape[1] ** 0.5 for clip in own])
                self.kinds[kind] = own, np.cumsum(weight) / weight.sum()
        if not self.kinds:
            raise InputError("no clips for the training or for the validation part: give clips of more groups")
        self.names = list(self.kinds)
        share = np.array([KINDS[name] for name in self.names])
        self.share = share / share.sum()

    def pick(self, rng: np.random.Generator, kind: str, lowest_edge: float = 0.0) -> LevelClip:
        """A clip of a kind, whose content reaches an edge if one is found in a few tries."""
        clips, chances = self.kinds[kind]
        for _ in range(8):
            clip = clips[min(int(np.searchsorted(chances, rng.random())), len(clips) - 1)]
            if clip.edge_hz >= lowest_edge:
                break
        return clip


@dataclass(frozen=True)
class Sounding:
    """What is heard: log power [256, N], gap [64, N], and the edge of its content, Hz."""

    power: Tensor
    gap: Tensor
    edge_hz: float

    def at_pitch(self, factor: float) -> "Sounding":
        """Frequencies times a factor."""
        place = (np.arange(LEVEL_BINS) + 1) / factor - 1
        inside = torch.from_numpy(np.clip(place, 0, LEVEL_BINS - 1.001)).float()
        low = inside.long()
        power = torch.lerp(self.power[low], self.power[low + 1], (inside - low)[:, None])
        power = torch.where(torch.from_numpy(place > LEVEL_BINS - 1)[:, None], SILENT, power)
        bands = np.clip((np.arange(BANDS) + 0.5) / factor, 0, BANDS - 1).astype(int)
        return Sounding(power, self.gap[bands], min(self.edge_hz * factor, RATE / 2))

    def louder(self, db: float | np.ndarray) -> "Sounding":
        """By so many dB, [256] of them or one."""
        gain = torch.as_tensor(np.broadcast_to(db, LEVEL_BINS) * NEP, dtype=torch.float32)
        return replace(self, power=self.power + gain[:, None])

    def mixed(self, other: "Sounding") -> "Sounding":
        """Both at once; the gap is that of what is loudest in each band."""
        own, its = band_means(self.power.exp()[None])[0], band_means(other.power.exp()[None])[0]
        gap = torch.lerp(other.gap, self.gap, own / (own + its + 1e-12))
        return Sounding(torch.logaddexp(self.power, other.power), gap, min(self.edge_hz, other.edge_hz))

    def then(self, other: "Sounding") -> "Sounding":
        """One after the other."""
        power, gap = torch.cat([self.power, other.power], 1), torch.cat([self.gap, other.gap], 1)
        return Sounding(power, gap, min(self.edge_hz, other.edge_hz))

    def cut(self, start: int) -> "Sounding":
        """An excerpt; where it is longer than what there is, silence stands around."""
        length = self.power.shape[1]
        before, after = max(-start, 0), max(start + FRAMES - length, 0)
        part = slice(max(start, 0), min(start + FRAMES, length))
        power = F.pad(self.power[:, part], (before, after), value=SILENT)
        return Sounding(power, F.pad(self.gap[:, part], (before, after)), self.edge_hz)


@dataclass(frozen=True)
class LevelBatch:
    """Truth, what is heard of it (under the cutoff alone), cutoff and edge of content [B], Hz."""

    truth: BandLevels
    heard: BandLevels
    cutoff_hz: Tensor
    edge_hz: Tensor


class LevelPairs:
    """Makes batches; `batch(step)` is a function of (seed, step)."""

    def __init__(self, corpus: LevelCorpus, size: int, seed: int) -> None:
        self.corpus, self.size, self.seed = corpus, size, seed

    def stream(self, start: int, stop: int) -> Iterator[LevelBatch]:
        """Batches of steps [start, stop), made one ahead in a thread."""
        yield from made_ahead(self.batch, start, stop)

    def batch(self, step: int) -> LevelBatch:
        """The batch of a step."""
        rng = np.random.default_rng((self.seed, step))
        rows = [self._row(rng) for _ in range(self.size)]
        truth = BandLevels(*(torch.stack([getattr(row[0], name) for row in rows]) for name in ("power", "gap")))
        cutoff = torch.tensor([row[1] for row in rows], dtype=torch.float32)
        heard = torch.stack([row[2] for row in rows])[:, :, None] + truth.power
        # At the engine's input level, by what is under the cutoff and sounds, give or take.
        low = (heard.exp() * (torch.from_numpy(HZ) <= cutoff[:, None]).float()[:, :, None]).sum(1) / LEVEL_BINS
        sounds = (low > 1e-4 * low.amax(1, keepdim=True)).float()
        level = (low * sounds).sum(1) / sounds.sum(1).clamp(min=1)
        off = torch.from_numpy(rng.normal(0, 0.7, self.size)).float()
        gain = (math.log(INPUT_POWER) - level.clamp(min=1e-12).log() + off)[:, None, None]
        edge = torch.tensor([row[0].edge_hz for row in rows], dtype=torch.float32)
        heard = torch.logaddexp(heard + gain, torch.full((), SILENT - 1))
        return LevelBatch(truth._replace(power=truth.power + gain), truth._replace(power=heard), cutoff, edge)

    def _row(self, rng: np.random.Generator) -> tuple[Sounding, float, Tensor]:
        """What sounds, the cutoff, and by how much the input falls towards it (natural log of power, [256])."""
        corpus = self.corpus
        kind = str(rng.choice(corpus.names, p=corpus.share))
        sound = self._excerpt(rng, kind)
        if rng.random() < (MUSIC_MIX if kind == "music" else OTHER_MIX):
            for _ in range(int(rng.integers(1, 4)) if kind == "music" else 1):
                other = kind if kind == "music" or rng.random() < 0.4 else str(rng.choice(corpus.names))
                sound = sound.mixed(self._excerpt(rng, other, 15000).louder(rng.uniform(-12, 3)))
        sound = with_floor(sound.louder(colour(rng)), rng)
        cutoff = cutoff_below(rng, sound.edge_hz)
        return sound, cutoff, falling(rng, cutoff)

    def _excerpt(self, rng: np.random.Generator, kind: str, lowest_edge: float = 0.0) -> Sounding:
        clip = self.corpus.pick(rng, kind, lowest_edge)
        sound = Sounding(clip.power.float(), clip.gap.float(), clip.edge_hz)
        if rng.random() < 0.5:
            sound = sound.at_pitch(math.exp(rng.uniform(-PITCH, PITCH)))
        while sound.power.shape[1] < FRAMES and not lowest_edge and rng.random() < 0.8:
            other = self.corpus.pick(rng, kind, min(sound.edge_hz, 15000))
            following = Sounding(other.power.float(), other.gap.float(), other.edge_hz)
            sound = sound.then(following.louder(rng.uniform(-8, 3)))
        spare = sound.power.shape[1] - FRAMES
        return sound.cut(int(rng.integers(min(spare, 0), max(spare, 0) + 1)))


def colour(rng: np.random.Generator) -> np.ndarray:
    """An equaliser's curve, [256] dB: half of the time a tilt, more often a few wide waves over the octaves."""
    curve = np.zeros(LEVEL_BINS)
    if rng.random() < 0.5:
        curve += np.clip(rng.uniform(-3, 3) * OCTAVES, -12, 12)
    if rng.random() < 0.6:
        for waves in range(1, 5):
            phase = rng.uniform(0, 2 * np.pi)
            curve += rng.normal(0, 2 / waves**0.5) * np.cos(np.pi * waves * (OCTAVES + 3.5) / 8 + phase)
    return curve


def with_floor(sound: Sounding, rng: np.random.Generator) -> Sounding:
    """Half of the time with a steady noise 30 to 80 dB under it that falls by up to 8 dB an octave."""
    if rng.random() < 0.5:
        return sound
    shape = 10 ** (-rng.uniform(0, 8) * OCTAVES / 10)
    level = np.log(INPUT_POWER * 10 ** (-rng.uniform(30, 80) / 10) * shape / shape.mean())
    power = torch.from_numpy(level).float()[:, None].expand_as(sound.power)
    return sound.mixed(Sounding(power, torch.full_like(sound.gap, -0.13), RATE / 2))


def falling(rng: np.random.Generator, cutoff_hz: float) -> Tensor:
    """A third of inputs fall by up to 30 dB towards their cutoff: natural log of power, [256]."""
    fall = np.zeros(LEVEL_BINS)
    if rng.random() < 0.35:
        start = cutoff_hz * rng.uniform(0.85, 0.99)
        fall = -rng.uniform(1, 30) * (np.log(HZ / start) / np.log(cutoff_hz / start)).clip(0)
    return torch.from_numpy(fall.clip(-80) * NEP).float()


def level_loss(net: LevelNetwork, batch: LevelBatch, kept: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss, and its `PARTS`; cells that are audible in the truth or in the prediction count in full."""
    frames = batch.truth.power.shape[-1]
    wanted = batch.truth.energy()
    found = net(batch.heard, batch.cutoff_hz[:, None].expand(-1, frames), kept)
    above = (band_centres() + BAND_HZ / 2 > batch.cutoff_hz[:, None]).float()
    weight = audibility(torch.maximum(wanted, found.detach())) * (above * bands_inside(batch.edge_hz))[:, :, None]
    total, off = weight.sum().clamp(min=1), wanted - found
    slow = slow_course(off * weight) / slow_course(weight).clamp(min=1e-3)
    by_band = weight.sum(2).clamp(min=1e-3)
    whole = (off * weight).sum(2) / by_band
    parts = {"slow_off": (weight * slow.abs()).sum() / total, "clip_off": (by_band * whole.abs()).sum() / total}
    cells = (weight * off.abs()).sum() / total
    return parts["slow_off"] + CLIP_WEIGHT * parts["clip_off"] + CELL_WEIGHT * cells, parts


class LevelRun(TrainingRun[LevelNetwork]):
    """Trains the level network alone."""

    def __init__(self, folder: Path, width: int, seed: int) -> None:
        torch.manual_seed(seed)
        super().__init__(folder, LevelNetwork(width), LevelNetwork(width), torch.device("cpu"))

    def new_optimizer(self) -> torch.optim.Optimizer:
        self.net.train()
        return torch.optim.AdamW(self.net.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=0.05)


@dataclass(frozen=True)
class LevelSchedule:
    """How long and how fast.

    Attributes:
        steps: in all. stop: the step at which this call ends, None for the last one.
        peak: learning rate. every: steps between checkpoints.
        withheld: share of what a frame is told that it is not told.
    """

    steps: int
    peak: float
    every: int
    withheld: float
    stop: int | None = None


def train_levels(run: LevelRun, pairs: LevelPairs, held: LevelPairs, schedule: LevelSchedule) -> bool:
    """Run the remaining steps, as many as the schedule allows at most. True when the run is at its end."""
    stop = min(schedule.stop or schedule.steps, schedule.steps)
    kept = [held.batch(i) for i in range(6)]
    began, first, recent = time.perf_counter(), run.step, []
    for batch in pairs.stream(run.step, stop):
        generator = torch.Generator().manual_seed(run.step)
        shown = torch.rand((len(batch.edge_hz), 1, TOLD), generator=generator) >= schedule.withheld
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, _ = level_loss(run.net, batch, shown)
        run.update(loss, learning_rate(run.step, schedule.steps, schedule.peak), slowest=0.995)
        recent.append(loss.detach())
        if run.step % schedule.every == 0 or run.step >= stop:
            with torch.no_grad():
                found = [level_loss(run.average, one)[1] for one in kept]
            parts = {name: round(float(torch.stack([part[name] for part in found]).mean()), 4) for name in PARTS}
            speed = round((time.perf_counter() - began) / (run.step - first), 4)
            run.log(step=run.step, of=schedule.steps, loss=round(recent_mean(recent), 4), **parts, s_per_step=speed)
            recent.clear()
            run.save()
    return run.step >= schedule.steps


def parser() -> ArgumentParser:
    """The command line."""
    made = command("levels", "Train the level network on the clips of DATA, keeping state, log and weights in FOLDER.")
    made.add_argument("folder", type=new_folder)
    made.add_argument("data", nargs="+", type=existing, help="folders with manifest.csv, or shards")
    made.add_argument("--steps", type=int, default=4000, help="in all")
    made.add_argument("--batch", type=int, default=64, help="excerpts of a step, 5 s each")
    made.add_argument("--width", type=int, default=288, help="of the network")
    made.add_argument("--withheld", type=float, default=0.1, help="share of what a frame is told that it is not told")
    add_part_options(made)
    return made


@one_line()
def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and export the engine's weights with the new levels when the last step is done."""
    given = parser().parse_intermixed_args(arguments)
    corpus, held = (LevelCorpus(load_shards(given.data, validation=part)) for part in (False, True))
    pairs, kept = LevelPairs(corpus, given.batch, given.seed), LevelPairs(held, given.batch, given.seed + 1)
    run = LevelRun(given.folder, given.width, given.seed)
    schedule = LevelSchedule(given.steps, given.peak, given.every, given.withheld, given.stop_at)
    if not train_levels(run, pairs, kept, schedule):
        return
    export_part("levels", run.average, FRAMES, given)


if __name__ == "__main__":
    main()
