"""Training pairs: clips augmented and band-limited in many ways, on the device that trains.

Every batch is a function of (seed, step) alone on one kind of device, so that a resumed run sees what an unbroken one
would have seen.
"""

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ttsr_studio.audio.level import active_rms
from ttsr_studio.errors import InputError
from ttsr_studio.training.filters import GRID_FROM, GRID_TO, KERNEL_GRID, filter_bank, with_holes

RATE = 48000
Made = TypeVar("Made")
KINDS = {"speech": 0.4, "music": 0.35, "sfx": 0.25}
MARGIN = 2048
"""Samples on both sides that take up the circular wrap of the filters."""

SPEEDS = (8 / 9, 9 / 8)
"""Clips are also given slower and faster, with their pitch, at these factors."""

SPEED_SHARE = 0.25
"""Of excerpts, for each of `SPEEDS`."""

MUSIC_MIX, OTHER_MIX = 0.4, 0.12
"""Share of excerpts to which others are added: of music, and of other kinds."""

FILL_SHARE = 0.7
"""Of excerpts longer than their clip, another clip follows it."""

SPLICE_SHARE, HOLES_SHARE = 0.06, 0.08
"""Rows whose cutoff changes on the way, and rows with a codec's spectral holes."""

USUAL_HZ = (4000, 5500, 8000, 11025, 12000, 16000)
"""Half rates and codec shelves that inputs have most."""


@dataclass(frozen=True)
class TrainingClip:
    """One channel of a clip: int16 [samples], its kind and group, the edge of its real content (Hz), its RMS."""

    audio: Tensor
    kind: str
    group: str
    edge_hz: float
    rms: float


@dataclass(frozen=True)
class Batch:
    """hr, lr [B, samples] at the engine's input level; cutoff_hz [B, T] by frame of 512; edge_hz [B]; kind names."""

    hr: Tensor
    lr: Tensor
    cutoff_hz: Tensor
    edge_hz: Tensor
    kinds: tuple[str, ...]


def held_out(group: str) -> bool:
    """Whether a speaker, instrument or author belongs to the validation part (salted for 4 to 11 % of each kind)."""
    return hashlib.blake2b(f"55{group}".encode(), digest_size=4).digest()[0] % 12 == 0


def channels(audio: np.ndarray) -> Iterator[np.ndarray]:
    """The channels of a clip [samples, channels] that differ from the first by more than 20 dB below its level."""
    yield audio[:, 0]
    for other in audio.T[1:]:
        difference = np.square(other.astype(np.float32) - audio[:, 0]).mean()
        if difference > 0.01 * np.square(audio[:, 0].astype(np.float32)).mean():
            yield other


def manifest(folder: Path) -> Iterator[tuple[Path, dict[str, str], float]]:
    """File, row and edge (Hz) of every clip of `folder/manifest.csv`.

    Raises InputError when there is no manifest, or when it asks to keep a clip out of training.
    """
    path = folder / "manifest.csv"
    if not path.exists():
        raise InputError(f"{folder}: no manifest.csv in it; training reads folders of clips with one, or shards")
    with path.open(newline="") as lines:
        for row in csv.DictReader(lines):
            if row["eval_only"]:
                raise InputError(f"{folder / row['file']}: licensed for evaluation only, not for training")
            yield folder / row["file"], row, min(float(row["band_edge_hz"]), float(row["floor_edge_hz"]))


def load_clips(folder: Path, validation: bool) -> list[TrainingClip]:
    """Read the clips of `folder/manifest.csv` that belong to the training or the validation part.

    Raises InputError when a clip is missing or is not at 48 kHz, or when the manifest asks to keep it out of training.
    """
    import soundfile  # A machine that trains on shards needs no codecs.

    clips = []
    for path, row, edge in manifest(folder):
        if held_out(row["speaker_or_class"]) != validation:
            continue
        audio, rate = soundfile.read(path, dtype="int16", always_2d=True)
        if rate != RATE:
            raise InputError(f"{path}: {rate} Hz; training clips are at 48 kHz")
        for channel in channels(audio):
            rms = active_rms(channel[None] / 32768.0, rate)
            clips.append(
                TrainingClip(torch.from_numpy(channel.copy()), row["kind"], row["speaker_or_class"], edge, rms)
            )
    if not clips:
        raise InputError(f"{folder}: the manifest names no clips for this part")
    return clips


def at_speed(audio: Tensor, speed: float) -> Tensor:
    """int16 [samples] played at another speed, by a Fourier transform of the whole clip."""
    step = 7200
    size = -(-audio.numel() // step) * step
    spectrum = torch.fft.rfft(F.pad(audio.float(), (0, size - audio.numel())))
    target = round(size / speed)
    bins = target // 2 + 1
    spectrum = spectrum[:bins] if bins <= spectrum.numel() else F.pad(spectrum, (0, bins - spectrum.numel()))
    made = torch.fft.irfft(spectrum, target) * (target / size)
    samples: Tensor = made[: round(audio.numel() / speed)].round().clamp(-32768, 32767).to(torch.int16)
    return samples


class Corpus:
    """Clips in one tensor on the device that trains, also at other speeds.

    Attributes:
        audio: int16, all clips one after the other.
        start, length, rms, edge_hz: of every clip, numpy. kinds: clips' numbers and their summed chances.
        seconds: of every kind, at its own speed.
    """

    def __init__(self, clips: Iterable[TrainingClip], device: torch.device, speeds: Sequence[float] = SPEEDS) -> None:
        clips = list(clips)
        if not clips:
            raise InputError(
                "no clips for the training or for the validation part: one in twelve groups (speaker_or_class) is held "
                "out, so give clips of more groups"
            )
        rows = [(clip, speed) for clip in clips for speed in (1.0, *speeds)]
        self.length = np.array([round(clip.audio.numel() / speed) for clip, speed in rows])
        self.start = np.cumsum(self.length) - self.length
        self.audio = torch.empty(int(self.length.sum()), dtype=torch.int16, device=device)
        for (clip, speed), start, length in zip(rows, self.start, self.length, strict=True):
            audio = clip.audio.to(device)
            self.audio[start : start + length] = audio if speed == 1.0 else at_speed(audio, speed)
        self.device = device
        self.rms = np.array([clip.rms for clip, _ in rows])
        self.edge_hz = np.array([min(clip.edge_hz * speed, RATE / 2) for clip, speed in rows])
        self.seconds: dict[str, float] = {}
        for clip in clips:
            self.seconds[clip.kind] = self.seconds.get(clip.kind, 0.0) + clip.audio.numel() / RATE
        own = 1 - SPEED_SHARE * len(speeds)
        chance = [(own if speed == 1.0 else SPEED_SHARE) * clip.audio.numel() ** 0.5 for clip, speed in rows]
        kinds = [clip.kind for clip, _ in rows]
        kind, weight = np.array(kinds), np.array(chance)
        self.kinds = {}
        for name in KINDS:
            numbers = np.flatnonzero(kind == name)
            if numbers.size:
                self.kinds[name] = (numbers, np.cumsum(weight[numbers]) / weight[numbers].sum())

    def pick(self, rng: np.random.Generator, kind: str, lowest_edge: float = 0.0) -> int:
        """A clip of a kind, whose content reaches an edge if one is found in a few tries."""
        numbers, chances = self.kinds[kind]
        for _ in range(8):
            place = int(np.searchsorted(chances, rng.random()))
            number = int(numbers[min(place, numbers.size - 1)])
            if self.edge_hz[number] >= lowest_edge:
                break
        return number


@dataclass
class _Plan:
    """What a row is made of: (clip, position of its first sample, gain) of every source; the rest are draws."""

    sources: list[tuple[int, int, float]]
    edge_hz: float
    rms: float
    cutoffs: tuple[float, float]
    filters: tuple[tuple[int, float, bool], tuple[int, float, bool]]
    switch: int
    tilt_db: float
    floor_db: float
    slope_db: float
    gain_db: float
    noise_db: float
    holes_db: float


def made_ahead(make: Callable[[int], Made], start: int, stop: int) -> Iterator[Made]:
    """What is made of steps [start, stop), each one ahead in a thread."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, start)
        for step in range(start, stop):
            ready = ahead.result()
            ahead = pool.submit(make, step + 1)
            yield ready


def cutoff_below(rng: np.random.Generator, edge_hz: float) -> float:
    """Where an input ends, Hz: usual places or any, 1.5 kHz under its content's edge at the most."""
    highest = min(20000.0, max(edge_hz - 1500, 2000.0))
    if rng.random() < 0.4:
        return min(float(rng.choice(USUAL_HZ)) * rng.uniform(0.88, 1.0), highest)
    return float(np.exp(rng.uniform(np.log(1500), np.log(highest))))


class Pairs:
    """Makes batches; `batch(step)` is deterministic.

    Args:
        size, samples: rows of a batch and their length, a multiple of 512.
        splices: share of rows whose cutoff changes on the way.
    """

    def __init__(self, corpus: Corpus, size: int, samples: int, seed: int, splices: float = SPLICE_SHARE) -> None:
        self.corpus, self.size, self.samples, self.seed, self.splices = corpus, size, samples, seed, splices
        self.bank = filter_bank().to(corpus.device)

    def stream(self, start: int, stop: int) -> Iterator[Batch]:
        """Batches of steps [start, stop); made one ahead in a thread where the CPU trains."""
        if self.corpus.device.type != "cpu":
            yield from (self.batch(step) for step in range(start, stop))
            return
        yield from made_ahead(self.batch, start, stop)

    def _plan(self, rng: np.random.Generator, kind: str) -> _Plan:
        corpus, total = self.corpus, self.samples + 2 * MARGIN
        first = corpus.pick(rng, kind)
        length = int(corpus.length[first])
        spare = total - length
        start = int(rng.integers(0, spare + 1) if spare > 0 else -rng.integers(0, -spare + 1))
        sources, edge, rms = [(first, start, 1.0)], float(corpus.edge_hz[first]), float(corpus.rms[first])
        mixed = rng.random() < (MUSIC_MIX if kind == "music" else OTHER_MIX)
        if not mixed and spare > 0 and rng.random() < FILL_SHARE:
            start = int(rng.integers(-length // 4, 4800))
            sources = [(first, start, 1.0)]
            while (at := start + length + int(rng.integers(480, 14400))) < total and len(sources) < 5:
                other = corpus.pick(rng, kind, min(edge, 15000))
                level = rms / max(float(corpus.rms[other]), 1e-4) * 10 ** (rng.uniform(-8, 3) / 20)
                sources.append((other, at, level))
                edge = min(edge, float(corpus.edge_hz[other]))
                start, length = at, int(corpus.length[other])
        if mixed:
            for _ in range(int(rng.integers(1, 4)) if kind == "music" else 1):
                name = kind if kind == "music" or rng.random() < 0.4 else str(rng.choice(list(corpus.kinds)))
                other = corpus.pick(rng, name, 15000)
                spare = total - int(corpus.length[other])
                at = int(rng.integers(min(spare, 0), max(spare, 0) + 1))
                level = rms / max(float(corpus.rms[other]), 1e-4) * 10 ** (rng.uniform(-12, 3) / 20)
                sources.append((other, at, level))
                edge = min(edge, float(corpus.edge_hz[other]))
        cutoff = cutoff_below(rng, edge)
        splice = rng.random() < self.splices
        cutoffs = (cutoff, cutoff_below(rng, edge) if splice else cutoff)
        filters = self._filter(rng), self._filter(rng)
        frames = self.samples // 512
        switch = int(rng.integers(frames // 4, 3 * frames // 4 + 1)) if splice else frames + 1
        return _Plan(
            sources, edge, rms, cutoffs, filters, switch,
            tilt_db=rng.uniform(-3, 3) if rng.random() < 0.5 else 0.0,
            floor_db=-rng.uniform(30, 80) if rng.random() < 0.5 else -300.0,
            slope_db=rng.uniform(0, 8), gain_db=rng.uniform(-10, 6), noise_db=rng.uniform(-105, -65),
            holes_db=rng.uniform(12, 30) if rng.random() < HOLES_SHARE else 0.0,
        )  # fmt: skip

    @staticmethod
    def _filter(rng: np.random.Generator) -> tuple[int, float, bool]:
        """Number in the bank (-1: brick wall), dB it has fallen at the cutoff, whether a brick wall follows it there.

        Gentle filters are placed so that the cutoff is where they have fallen by 1 to 60 dB, since that is where a
        band-edge detector would put it.
        """
        number = -1 if rng.random() < 0.4 else int(rng.integers(240))
        return number, float(rng.uniform(1, 60)), bool(rng.random() < 0.5)

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        rng = np.random.default_rng((self.seed, step))
        names = list(self.corpus.kinds)
        share = np.array([KINDS[name] for name in names])
        kinds = tuple(str(kind) for kind in rng.choice(names, size=self.size, p=share / share.sum()))
        plans = [self._plan(rng, kind) for kind in kinds]
        generator = torch.Generator(self.corpus.device).manual_seed(int(rng.integers(2**62)))
        full = torch.fft.rfft(self._gathered(plans)) * self._tilt(plans)
        size = self.samples + 2 * MARGIN
        full = full + self._floor(plans, size, generator)
        hr = torch.fft.irfft(full, size)
        lr = torch.fft.irfft(full * self._response(plans, 0, size), size)
        hr, lr = hr[:, MARGIN:-MARGIN], lr[:, MARGIN:-MARGIN].clone()
        frames = self.samples // 512 + 1
        cutoff = self._column([plan.cutoffs[0] for plan in plans]).expand(-1, frames).clone()
        for i, plan in enumerate(plans):
            if plan.switch < frames:
                other = torch.fft.irfft(full[i : i + 1] * self._response([plan], 1, size), size)[0, MARGIN:-MARGIN]
                lr[i, plan.switch * 512 :] = other[plan.switch * 512 :]
                cutoff[i, plan.switch :] = plan.cutoffs[1]
            if plan.holes_db:
                lr[i] = with_holes(lr[i], plan.holes_db)
        kept = (lr.square().mean(1) / hr.square().mean(1).clamp(min=1e-12)).sqrt()
        level = self._column([plan.rms for plan in plans])[:, 0] * kept
        gain = (0.1 / level.clamp(min=1e-4) * 10 ** (self._column([p.gain_db for p in plans])[:, 0] / 20))[:, None]
        hiss = torch.randn(lr.shape, device=lr.device, generator=generator)
        hiss = hiss * 0.1 * 10 ** (self._column([plan.noise_db for plan in plans]) / 20)
        edge = self._column([plan.edge_hz for plan in plans])[:, 0]
        return Batch(hr * gain, lr * gain + hiss, cutoff, edge, kinds)

    def _column(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).to(self.corpus.device)[:, None]

    def _gathered(self, plans: Sequence[_Plan]) -> Tensor:
        """Sum of every row's sources, [B, samples + 2 MARGIN]."""
        corpus, total = self.corpus, self.samples + 2 * MARGIN
        mixed = torch.zeros(len(plans), total, device=corpus.device)
        for i, plan in enumerate(plans):
            for number, at, gain in plan.sources:
                begin, length = int(corpus.start[number]), int(corpus.length[number])
                first, last = max(at, 0), min(at + length, total)
                if last > first:
                    part = corpus.audio[begin + first - at : begin + last - at]
                    mixed[i, first:last] += part.float() * (gain / 32768.0)
        return mixed

    def _hz(self, size: int) -> Tensor:
        return torch.linspace(0, RATE / 2, size // 2 + 1, device=self.corpus.device)

    def _tilt(self, plans: Sequence[_Plan]) -> Tensor:
        octaves = (self._hz(self.samples + 2 * MARGIN).clamp(min=50) / 1000).log2()
        return 10 ** ((self._column([plan.tilt_db for plan in plans]) * octaves).clamp(-12, 12) / 20)

    def _floor(self, plans: Sequence[_Plan], size: int, generator: torch.Generator) -> Tensor:
        """Spectrum of a stationary noise floor, 30 to 80 dB under the clip, falling by 0 to 8 dB an octave.

        Recordings have floors that go on above any cutoff; clips that went through a codec have lost theirs.
        """
        hz = self._hz(size)
        octaves = (hz.clamp(min=100) / 1000).log2()
        shape = 10 ** (-self._column([plan.slope_db for plan in plans]) * octaves / 20)
        shape = shape / shape.square().mean(1, keepdim=True).sqrt()
        level = self._column([plan.rms for plan in plans]) * 10 ** (
            self._column([plan.floor_db for plan in plans]) / 20
        )
        drawn = torch.randn((len(plans), hz.numel(), 2), device=hz.device, generator=generator)
        noise: Tensor = torch.view_as_complex(drawn) * (size / 2) ** 0.5 * shape * level
        return noise

    def _response(self, plans: Sequence[_Plan], which: int, size: int) -> Tensor:
        """Zero-phase magnitude responses of the rows' low-passes, [B, bins]."""
        hz = self._hz(size)
        filters = [plan.filters[which] for plan in plans]
        cutoff = self._column([plan.cutoffs[which] for plan in plans])
        level = self.bank[torch.tensor([max(number, 0) for number, _, _ in filters]).to(hz.device)]
        reached = (level <= -self._column([fallen for _, fallen, _ in filters])).float().argmax(1, keepdim=True)
        scale = (KERNEL_GRID - 1) / np.log(GRID_TO / GRID_FROM)
        place = ((hz.clamp(min=1) / cutoff).log() * scale + reached).clamp(0, KERNEL_GRID - 1.001)
        low = place.long()
        curve = 10 ** (torch.lerp(level.gather(1, low), level.gather(1, low + 1), place - low) / 20)
        wall = (hz <= cutoff).float()
        bricks = self._column([float(number < 0) for number, _, _ in filters])
        walls = self._column([float(walled or number < 0) for number, _, walled in filters])
        return torch.lerp(curve, torch.ones_like(curve), bricks) * torch.lerp(torch.ones_like(wall), wall, walls)
