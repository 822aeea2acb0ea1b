"""What an audition page lets one hear and see: the same stretch of every track as FLAC, and its spectrograms.

Tracks are float32 [channels, samples], the input first, the choice second. What goes into the page is base64.
"""

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from matplotlib import colormaps
from PIL import Image

from ttsr_studio.analysis.spectrogram_map import SpectrogramMap
from ttsr_studio.audio.decode import SourceInfo, probe, read_blocks
from ttsr_studio.audio.resample import resample_blocks
from ttsr_studio.errors import InputError, shown

MOST_RATE, MOST_CHANNELS = 48000, 2
MOST_AUDIO_BYTES, LEAST_SECONDS = 11_500_000, 10
"""Excerpts are shortened to so many bytes of a page, but not below so many seconds."""

COLUMNS, ROWS, SHADES, RANGE_DB, LOWEST_HZ = 900, 256, 64, 100.0, 50.0
SILENT_DB = -300.0  # so far below every scale that it is black on all of them
TINT, TINTS, DENSEST = (80, 230, 255), 32, 175
SOUNDS = 1e-4
"""Energy of a second, relative to the loudest, from which on it sounds."""

Pictures = dict[str, str]


@dataclass(frozen=True)
class Excerpt:
    """The stretch from whole second `start` on, taken for an uncertain region; all tracks are of one length."""

    rate: int
    start: int
    tracks: list[np.ndarray]
    region: Mapping[str, Any] | None = None

    @property
    def seconds(self) -> float:
        return float(self.tracks[0].shape[1] / self.rate)

    def first(self, seconds: int) -> "Excerpt":
        """Its first whole seconds."""
        return replace(self, tracks=[track[:, : seconds * self.rate] for track in self.tracks])


def cut(report: Mapping[str, Any], source: Path, renders: Sequence[Path], seconds: float) -> Excerpt:
    """The most telling stretch of the input and of all renders. Raises InputError."""
    output = report["output"]
    rate, salvage = min(output["rate"], MOST_RATE), bool(report["tool"]["options"].get("salvage", False))
    stream = report["tool"]["options"].get("stream")
    found = [probe(source, salvage, stream), *map(probe, renders)]
    for info in found:
        frames = -(-info.frames * output["rate"] // info.rate)
        if frames != output["frames"]:
            wrong = f"lasts {frames} samples at {output['rate']} Hz, where its report has {output['frames']}"
            raise InputError(f"{shown(info.path)}: {wrong}; render again")
    length = max(1, int(seconds))
    start, region = 0, None
    if output["frames"] > length * output["rate"]:
        sounds = sounding(energy(found[1]))
        region = most_uncertain(report, sounds)
        start = telling(report, sounds, length, region)
    tracks = [stretch(info, start, start + length, rate, salvage) for info in found]
    shortest = min(track.shape[1] for track in tracks)
    return Excerpt(rate, start, [track[:, :shortest] for track in tracks], region)


def energy(info: SourceInfo) -> np.ndarray:
    """Energy by second."""
    found, done = np.zeros(math.ceil(info.frames / info.rate)), 0
    for block in read_blocks(info):
        second = np.arange(done, done + block.shape[1]) // info.rate
        np.add.at(found, second, np.square(block, dtype=np.float64).mean(0))
        done += block.shape[1]
    return found


def sounding(energies: np.ndarray) -> np.ndarray:
    """Which seconds sound."""
    loud_enough: np.ndarray = energies > SOUNDS * energies.max()
    return loud_enough


def most_uncertain(report: Mapping[str, Any], sounds: np.ndarray) -> Mapping[str, Any] | None:
    """The least certain of the regions in the report that sound throughout; None where there is none."""
    regions = report["uncertainty"]["regions"]
    audible = [region for region in regions if sounds[int(region["start_s"]) : math.ceil(region["stop_s"])].all()]
    return max(audible, key=lambda region: float(region["mean_db"]), default=None)


def telling(report: Mapping[str, Any], sounds: np.ndarray, length: int, region: Mapping[str, Any] | None = None) -> int:
    """The second from which on `length` seconds tell most: they sound, candidates differ, and choices change.

    With a region, of those that have all of it, or nothing else for `LEAST_SECONDS`, however much they are shortened.
    """
    worth = np.full(len(sounds), 0.1)
    spread = [value or 0.0 for value in report["uncertainty"]["per_second_db"][: len(worth)]]
    worth[: len(spread)] += spread
    before = None
    for window in report["windows"]:
        whole = {"start_s": window["start_s"], "candidate": window["chosen"]}
        for part in window["segments"] or [whole]:
            worth[min(int(part["start_s"]), len(worth) - 1)] += part["candidate"] != before
            before = part["candidate"]
    totals = np.convolve(worth * sounds, np.ones(length), "valid")
    if region is None:
        return int(totals.argmax())
    edges = int(region["start_s"]), math.ceil(region["stop_s"]) - min(length, LEAST_SECONDS)
    first, last = np.clip(sorted(edges), 0, len(totals) - 1)
    return int(first + totals[first : last + 1].argmax())


def stretch(info: SourceInfo, start: int, stop: int, rate: int, salvage: bool) -> np.ndarray:
    """Seconds `start` to `stop` of a file, sample for sample as they are in the whole file at that rate."""
    lead = min(start, 1)  # of a second, and one after: what the resampler needs around them
    first, last = (start - lead) * info.rate, min((stop + 1) * info.rate, info.frames)
    channels = min(info.channels, MOST_CHANNELS)
    blocks = between(read_blocks(info, salvage=salvage), first, last, channels)
    audio = np.concatenate([*resample_blocks(blocks, info.rate, rate, channels, last - first)], axis=1)
    return audio[:, lead * rate : (lead + stop - start) * rate]


def between(blocks: Iterator[np.ndarray], first: int, last: int, channels: int) -> Iterator[np.ndarray]:
    """Samples `first` to `last` of the first channels."""
    done = 0
    for block in blocks:
        part = block[:channels, max(0, first - done) : max(0, last - done)]
        done += block.shape[1]
        if part.size:
            yield part
        if done >= last:
            return


def encode(excerpt: Excerpt, levels_db: Sequence[float]) -> tuple[Excerpt, list[str], float]:
    """The excerpt, shorter where it would be too large, its tracks as FLAC, and the gain in dB that all were given.

    That gain is 0 unless something would clip at its matched level.
    """
    peaks = [float(np.abs(track).max(initial=0.0)) for track in excerpt.tracks]
    loudest = max(peak * max(1.0, 10 ** (db / 20)) for peak, db in zip(peaks, levels_db, strict=True))
    gain = 1 / max(1.0, loudest)
    while True:
        audio = [flac(track * np.float32(gain), excerpt.rate) for track in excerpt.tracks]
        share = MOST_AUDIO_BYTES / sum(map(len, audio))
        if share >= 1 or excerpt.seconds <= LEAST_SECONDS:
            return excerpt, audio, 20 * math.log10(gain)
        fewer = min(int(excerpt.seconds * share), math.ceil(excerpt.seconds) - 1)
        excerpt = excerpt.first(max(LEAST_SECONDS, fewer))


def flac(audio: np.ndarray, rate: int) -> str:
    """16 bits a sample, no dither, so that differences of tracks stay what they are.

    They are marked as 24 bits, which costs nothing: Chromium decodes a FLAC of 16 on two scales, one a sign.
    """
    buffer = BytesIO()
    samples = np.clip(np.round(audio.T * 32768.0), -32768, 32767).astype(np.int32) << 16
    soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_24", compression_level=1.0)
    return base64.b64encode(buffer.getvalue()).decode()


def draw_pictures(excerpt: Excerpt, levels_db: Sequence[float]) -> tuple[list[Pictures], dict[str, Any]]:
    """Spectrograms of all tracks, level-matched and on one scale, and that scale, by which differences are drawn."""
    maps = []
    for track, level in zip(excerpt.tracks, levels_db, strict=True):
        spectrogram = SpectrogramMap(excerpt.rate, track.shape[1], columns=COLUMNS, rows=MOST_RATE)
        spectrogram.update(0, track)
        maps.append(spectrogram.decibels(SILENT_DB) + np.float32(level))
    bins, columns = maps[0].shape
    nyquist = excerpt.rate / 2
    rows = {"linear": np.linspace(0, nyquist, ROWS + 1), "log": np.geomspace(LOWEST_HZ, nyquist, ROWS + 1)}
    top = max(-RANGE_DB, *(float(found.max()) for found in maps))
    colours = (colormaps["magma"](np.linspace(0, 1, SHADES))[:, :3] * 255).round().astype(np.uint8).tobytes()
    pictures = []
    for found in maps:
        shades = np.clip((found - top) / RANGE_DB + 1, 0, 1) * (SHADES - 1)
        pictures.append({name: png(by_row(shades, edges, nyquist / bins), colours) for name, edges in rows.items()})
    scale = {"top_db": top, "range_db": RANGE_DB, "bins": bins, "columns": columns, "colours": colours.hex()}
    return pictures, scale | {"rows": {name: edges.round(3).tolist() for name, edges in rows.items()}}


def by_row(values: np.ndarray, edges_hz: np.ndarray, bin_hz: float) -> np.ndarray:
    """[bins, columns] on another frequency axis, lowest row first: the largest bin of a row, or what is between two."""
    edges = np.clip(edges_hz / bin_hz - 1, 0, len(values) - 1)
    rows = []
    for low, high in pairwise(edges):
        part, under = math.modf((low + high) / 2)
        here, next_one = values[int(under)], values[min(int(under) + 1, len(values) - 1)]
        rows.append(np.maximum.reduce([here + part * (next_one - here), *values[math.ceil(low) : math.ceil(high)]]))
    return np.array(rows)


def png(indices: np.ndarray, colours: bytes, alpha: bytes | None = None) -> str:
    """A picture of palette indices, the lowest row at the bottom."""
    image = Image.fromarray(indices[::-1].round().astype(np.uint8))
    image.putpalette(colours)
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True, **({} if alpha is None else {"transparency": alpha}))
    return base64.b64encode(buffer.getvalue()).decode()


def overlay(arrays: Mapping[str, np.ndarray], excerpt: Excerpt, rows: Mapping[str, list[float]]) -> Pictures | None:
    """The uncertainty map of the excerpt, clear where candidates agree; None where nothing is uncertain."""
    values, hz = np.asarray(arrays["uncertainty"], np.float32), arrays["frequencies_hz"]
    above = values[min(int(np.searchsorted(hz, arrays["cutoff_hz"])), len(values) - 1) :]
    ceiling = float(np.percentile(above, 90)) or float(values.max())
    if not ceiling > 0:
        return None
    wanted = excerpt.start + (np.arange(COLUMNS) + 0.5) / COLUMNS * excerpt.seconds
    columns = np.abs(arrays["times_s"][:, None] - wanted).argmin(0)
    tints = np.minimum(values[:, columns] / ceiling, 1) * (TINTS - 1)
    alpha = bytes(round(DENSEST * i / (TINTS - 1)) for i in range(TINTS))
    return {
        name: png(by_row(tints, np.array(edges), 2 * hz[0]), bytes(TINT) * TINTS, alpha) for name, edges in rows.items()
    }
