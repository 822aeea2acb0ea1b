"""Training pairs: clips from a manifest, augmented, band-limited in many ways.

Every batch is a function of (seed, step) alone, so that a resumed run sees what an unbroken one would have seen.
"""

import csv
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile
import soxr
import torch
from torch import Tensor

from ttsr_studio.errors import InputError
from ttsr_studio.levels import active_rms

KINDS = {"speech": 0.4, "music": 0.35, "sfx": 0.25}
MARGIN = 2048
"""Samples on both sides that take up the circular wrap of the filters."""


@dataclass(frozen=True)
class Clip:
    """One clip of the manifest: int16 [channels, samples], its kind, the edge of its real content (Hz), its RMS."""

    audio: np.ndarray
    kind: str
    edge_hz: float
    rms: float


@dataclass(frozen=True)
class Batch:
    """hr, lr [B, samples] at the engine's input level; cutoff_hz, edge_hz [B]; kind names."""

    hr: Tensor
    lr: Tensor
    cutoff_hz: Tensor
    edge_hz: Tensor
    kinds: tuple[str, ...]


def held_out(group: str) -> bool:
    """Whether a speaker, instrument or author belongs to the validation part (salted for 4 to 11 % of each kind)."""
    return hashlib.blake2b(f"55{group}".encode(), digest_size=4).digest()[0] % 12 == 0


def load_clips(folder: Path, validation: bool) -> list[Clip]:
    """Read the clips of `folder/manifest.csv` that belong to the training or the validation part.

    Raises InputError when a clip is missing or is not at 48 kHz, or when the manifest asks to keep it out of training.
    """
    clips = []
    with (folder / "manifest.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            if held_out(row["speaker_or_class"]) != validation:
                continue
            if row["eval_only"]:
                raise InputError(f"{folder / row['file']}: licensed for evaluation only, not for training")
            audio, rate = soundfile.read(folder / row["file"], dtype="int16", always_2d=True)
            if rate != 48000:
                raise InputError(f"{folder / row['file']}: {rate} Hz; training clips are at 48 kHz")
            edge = min(float(row["band_edge_hz"]), float(row["floor_edge_hz"]))
            clips.append(Clip(audio.T.copy(), row["kind"], edge, active_rms(audio.T / 32768.0, rate)))
    if not clips:
        raise InputError(f"{folder}: the manifest names no clips for this part")
    return clips


def filter_response(rng: np.random.Generator, cutoff_hz: float, size: int, rate: int) -> np.ndarray:
    """Zero-phase magnitude response [size // 2 + 1] of a random low-pass whose usable band ends at the cutoff.

    Families and orders follow AudioSR and NU-Wave 2; gentle filters are placed so that the cutoff is where they have
    fallen by 1 to 60 dB, since that is where a band-edge detector would put it.
    """
    hz = np.linspace(0, rate / 2, size // 2 + 1)
    family = rng.choice(["brick", "butter", "cheby1", "ellip", "bessel"], p=[0.4, 0.2, 0.15, 0.15, 0.1])
    if family == "brick":
        return (hz <= cutoff_hz).astype(np.float64)
    order = int(rng.integers(4, 11))
    ripple = float(rng.uniform(0.05, 1.0))
    designs = {
        "butter": lambda: scipy.signal.butter(order, 1.0, analog=True, output="zpk"),
        "cheby1": lambda: scipy.signal.cheby1(order, ripple, 1.0, analog=True, output="zpk"),
        "ellip": lambda: scipy.signal.ellip(order, ripple, 70, 1.0, analog=True, output="zpk"),
        "bessel": lambda: scipy.signal.bessel(order, 1.0, analog=True, output="zpk", norm="mag"),
    }
    grid = np.geomspace(1e-2, 64, 2048)
    _, response = scipy.signal.freqs_zpk(*designs[family](), worN=grid)
    level = 20 * np.log10(np.abs(response) + 1e-9)
    reached = grid[np.argmax(level <= -rng.uniform(1, 60))]
    magnitude = 10 ** (np.interp(hz / cutoff_hz * reached, grid, level) / 20)
    return magnitude * (hz <= cutoff_hz) if rng.random() < 0.5 else magnitude


def room_noise(rng: np.random.Generator, rms: float, size: int, hz: np.ndarray) -> np.ndarray:
    """Spectrum of a stationary noise floor, 30 to 80 dB under the clip, falling by 0 to 8 dB an octave.

    Recordings have floors that go on above any cutoff; clips that went through a codec have lost theirs.
    """
    slope_db = -rng.uniform(0, 8) * np.log2(np.maximum(hz, 100) / 1000)
    shape = 10 ** (slope_db / 20)
    noise = np.fft.rfft(rng.standard_normal(size)) * shape / np.sqrt((shape**2).mean())
    return noise * rms * 10 ** (-rng.uniform(30, 80) / 20)


def grouped(clips: list[Clip]) -> dict[str, list[Clip]]:
    """Clips by kind, without kinds that have none."""
    groups = {kind: [c for c in clips if c.kind == kind] for kind in KINDS}
    return {kind: group for kind, group in groups.items() if group}


class Pairs:
    """Makes batches; `batch(step)` is deterministic.

    Args:
        size, samples: rows of a batch and their length.
        extra: further clips; excerpts of a kind that they have come from them with probability `extra_share`.
    """

    def __init__(
        self,
        clips: list[Clip],
        size: int,
        samples: int,
        seed: int,
        rate: int = 48000,
        extra: list[Clip] | None = None,
        extra_share: float = 0.0,
    ) -> None:
        self.size, self.samples, self.seed, self.rate = size, samples, seed, rate
        self.by_kind, self.extra = grouped(clips), grouped(extra or [])
        self.extra_share = extra_share

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        names = list(self.by_kind)
        share = np.array([KINDS[name] for name in names])
        kinds = tuple(rng.choice(names, size=self.size, p=share / share.sum()))
        rows = [self._pair(rng, kind) for kind in kinds]
        hr, lr = (torch.from_numpy(np.stack([row[i] for row in rows]).astype(np.float32)) for i in (0, 1))
        cutoff, edge = (torch.tensor([row[i] for row in rows], dtype=torch.float32) for i in (2, 3))
        return Batch(hr, lr, cutoff, edge, kinds)

    def stream(self, start: int, stop: int) -> Iterator[Batch]:
        """Batches of steps [start, stop), made one ahead in a thread."""
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self.batch, start)
            for step in range(start, stop):
                ready = ahead.result()
                ahead = pool.submit(self.batch, step + 1)
                yield ready

    def _excerpt(self, rng: np.random.Generator, kind: str, lowest_edge: float) -> tuple[np.ndarray, float, float]:
        pool = self.by_kind[kind]
        if kind in self.extra and rng.random() < self.extra_share:
            pool = self.extra[kind]
        group = [c for c in pool if c.edge_hz >= lowest_edge] or pool
        weights = np.sqrt([c.audio.shape[1] for c in group])
        clip = group[rng.choice(len(group), p=weights / weights.sum())]
        factor = float(rng.uniform(0.85, 1.18)) if rng.random() < 0.4 else 1.0
        length = self.samples + 2 * MARGIN
        wanted = round(length * factor)
        channel = clip.audio[rng.integers(clip.audio.shape[0])]
        spare = channel.size - wanted
        start = int(rng.integers(min(spare, 0), max(spare, 0) + 1))
        part = channel[max(start, 0) : max(start, 0) + wanted] / 32768.0
        part = np.pad(part, (max(-start, 0), 0))[:wanted]
        part = np.pad(part, (0, wanted - part.size))
        if factor != 1.0:
            part = soxr.resample(part, wanted, length, quality="HQ")[:length]
            part = np.pad(part, (0, length - part.size))
        return part, min(clip.edge_hz * factor, self.rate / 2), clip.rms

    def _pair(self, rng: np.random.Generator, kind: str) -> tuple[np.ndarray, np.ndarray, float, float]:
        audio, edge, rms = self._excerpt(rng, kind, 0)
        if rng.random() < (0.4 if kind == "music" else 0.1):
            for _ in range(int(rng.integers(1, 4)) if kind == "music" else 1):
                other, other_edge, other_rms = self._excerpt(rng, kind, 15000)
                audio = audio + other * (rms / max(other_rms, 1e-4)) * 10 ** (rng.uniform(-12, 3) / 20)
                edge = min(edge, other_edge)
        cutoff = float(np.exp(rng.uniform(np.log(1500), np.log(min(20000, max(edge - 1500, 2000))))))
        size = audio.size
        hz = np.linspace(0, self.rate / 2, size // 2 + 1)
        tilt_db = rng.uniform(-3, 3) * np.log2(np.maximum(hz, 50) / 1000) if rng.random() < 0.5 else np.zeros_like(hz)
        full = np.fft.rfft(audio) * 10 ** (np.clip(tilt_db, -12, 12) / 20)
        if rng.random() < 0.5:
            full = full + room_noise(rng, rms, size, hz)
        hr = np.fft.irfft(full, size)
        lr = np.fft.irfft(full * filter_response(rng, cutoff, size, self.rate), size)
        hr, lr = hr[MARGIN:-MARGIN], lr[MARGIN:-MARGIN]
        kept = np.sqrt((lr**2).mean() / max((hr**2).mean(), 1e-12))
        gain = 0.1 / max(rms * kept, 1e-4) * 10 ** (rng.uniform(-10, 6) / 20)
        noise = rng.standard_normal(lr.size) * 0.1 * 10 ** (rng.uniform(-105, -65) / 20)
        return hr * gain, lr * gain + noise, cutoff, edge
