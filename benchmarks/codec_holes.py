"""What --fill-holes gains: `python benchmarks/codec_holes.py --clips FOLDER --kind music`.

Clips of FOLDER (with a manifest.csv) are encoded and decoded by FFmpeg's libraries (PyAV) at so many kbit/s a stereo
pair, mono at half of that, and aligned. Holes are found in what was decoded, without the original, and filled.
By log-spectral distance to the original, over the bins of those cells (dB, floor -100 dB re white noise of RMS 1):
left empty, filled, and filled with noise at the level around, which is what can be had without an engine. Paired
differences of clips come with 95 % intervals (bootstrap over clips). `hit` is the share of found cells that the codec
did empty (15 dB under the original), `of all` the share of those that it emptied that are found; `changed elsewhere` is
the share of samples outside of the holes' time that differ, and the level that was added in other cells than those
found and their neighbours, re what was added in them.
"""

import argparse
import csv
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import av
import numpy as np
import soundfile
import torch

from ttsr_studio.audio.bandwidth.detector import BandwidthMeter
from ttsr_studio.audio.codec_holes import HOP, SIZE, UNDER_DB, HoleFinder, levels, per_bin, spectrum
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.level import active_rms
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.holes import filled
from ttsr_studio.rendering.inference.progress import Progress
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.windows import SearchInput
from ttsr_studio.rendering.request import RenderRequest, RunningRender

RATE = 48000
ENDINGS = {"libmp3lame": "mp3", "aac": "m4a", "libopus": "opus", "wmav2": "wma", "ac3": "ac3", "mp2": "mp2"}
PLANES = {"libopus": "flt", "mp2": "s16"}
"""Sample formats of encoders that do not take "fltp"."""

FLOOR_DB = -100.0
FEWEST = 20
"""Cells of a clip that count."""


def clips(folder: Path, kind: str, seconds: float) -> Iterator[tuple[str, np.ndarray]]:
    """(name, float32 [channels, samples]) of full-band clips."""
    with (folder / "manifest.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            full = min(float(row["band_edge_hz"]), float(row["floor_edge_hz"])) > 15500
            if row["kind"] == kind and full and not row["eval_only"]:
                audio, _ = soundfile.read(folder / row["file"], dtype="float32", always_2d=True)
                yield row["file"], np.ascontiguousarray(audio.T[:2, : int(seconds * RATE)])


def coded(audio: np.ndarray, codec: str, kbps: int) -> np.ndarray:
    """What a codec makes of audio [channels, samples] at so many kbit/s a pair, aligned with it."""
    layout = "mono" if len(audio) == 1 else "stereo"
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / f"a.{ENDINGS[codec]}")
        with av.open(path, "w") as out:
            stream = out.add_stream(codec, rate=RATE)
            stream.layout, stream.bit_rate = layout, 500 * kbps * len(audio)
            kind = PLANES.get(codec, "fltp")
            data = audio if kind == "fltp" else audio.T.reshape(1, -1)
            data = np.round(data * 32767).astype(np.int16) if kind == "s16" else data
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data), kind, layout)
            frame.rate, frame.pts = RATE, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                out.mux(packet)
        with av.open(path) as made:
            frames = [f.to_ndarray() if f.format.is_planar else f.to_ndarray().reshape(-1, len(audio)).T
                      for f in made.decode(audio=0)]  # fmt: skip
    whole = np.concatenate(frames, axis=1)
    whole = whole.astype(np.float32) / (32768 if whole.dtype == np.int16 else 1)
    return aligned(audio, whole)


def vorbis(audio: np.ndarray, quality: float) -> np.ndarray:
    """The same through libsndfile's Vorbis, whose quality is 0 to 1."""
    held = io.BytesIO()
    soundfile.write(held, audio.T, RATE, format="OGG", subtype="VORBIS", compression_level=1 - quality)
    held.seek(0)
    return aligned(audio, soundfile.read(held, dtype="float32", always_2d=True)[0].T)


def aligned(audio: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """What was decoded, in step with what was encoded and as long, [channels, samples] both."""
    size = 2 * (audio.shape[1] + 8192)
    match = np.fft.irfft(np.fft.rfft(whole.sum(0), size) * np.conj(np.fft.rfft(audio.sum(0), size)))
    lag = int(np.argmax(match))
    lag -= size if lag > size // 2 else 0
    whole = np.pad(whole, ((0, 0), (max(-lag, 0), audio.shape[1])))
    return np.ascontiguousarray(whole[:, max(lag, 0) :][:, : audio.shape[1]])


def distance(audio: np.ndarray, truth: np.ndarray, bins: torch.Tensor) -> float:
    """Log-spectral distance over bins, dB."""

    def level(x: np.ndarray) -> torch.Tensor:
        return 10 * torch.log10((spectrum(x).abs().square() / (0.375 * SIZE)).clamp_min(10 ** (FLOOR_DB / 10)))

    return float((level(audio) - level(truth))[bins].square().mean().sqrt())


def measure(session: Session, truth: np.ndarray, audio: np.ndarray) -> dict[str, float] | None:
    """What filling does to one clip [channels, samples]; None where a codec left no holes to speak of."""
    meter = BandwidthMeter(RATE)
    meter.update(audio)
    bandwidth = meter.result().map
    with ExitStack() as files:
        lr = files.enter_context(Scratch(len(audio)))
        lr.append(audio)
        finder = HoleFinder(lr, bandwidth, RATE)
        found = finder.find()
        if found.cells < FEWEST:
            return None
        run = RunningRender(session, RenderRequest(Path("a"), Path("b")), files, Progress(lambda event: None))
        search = SearchInput(lr, bandwidth, active_rms(audio, RATE))
        added = filled(run, search, found)[0].read(0, lr.frames)
        first, _ = finder.reach(0)
        cells, tops = finder.cells(0)
    inner = slice(-first // HOP, -first // HOP + audio.shape[1] // HOP + 1)
    emptied, around, tops = cells.emptied[..., inner], cells.around_db[..., inner], tops[..., inner]
    bins = per_bin(emptied.float()) > 0
    noise = spectrum(np.random.default_rng(0).standard_normal(audio.shape).astype(np.float32))
    gain = per_bin(emptied * 10 ** ((around - UNDER_DB) / 20))
    made = torch.istft(noise * gain, SIZE, HOP, window=torch.hann_window(SIZE), length=audio.shape[1]).numpy()
    original, decoded = levels(spectrum(truth)), levels(spectrum(audio))
    inside = (torch.arange(64)[None, :, None] < tops[:, None]) & (torch.arange(64)[None, :, None] >= 5)
    true = (original > -90) & (decoded < original - 15) & inside
    spans = torch.nn.functional.max_pool1d(emptied.any(1).float()[:, None], 5, 1, 2)[:, 0] > 0
    outside = ~np.repeat(spans.numpy(), HOP, axis=1)[:, HOP // 2 :][:, : audio.shape[1]]
    near = torch.nn.functional.max_pool2d(emptied.float()[None], (3, 7), 1, (1, 3))[0] > 0
    power = 10 ** (levels(spectrum(added)) / 10)
    return {
        "empty": distance(audio, truth, bins), "filled": distance(audio + added, truth, bins),
        "noise": distance(audio + made, truth, bins), "cells": float(found.cells),
        "share": float(emptied.sum() / inside.sum()), "hit": float((emptied & true).sum() / emptied.sum()),
        "of all": float((emptied & true).sum() / true.sum().clamp(min=1)),
        "samples changed elsewhere": float((added[:, : outside.shape[1]][outside] != 0).mean()),
        "db elsewhere": float(10 * torch.log10(power[~near].sum() / power[emptied].sum())),
    }  # fmt: skip


def interval(values: np.ndarray) -> list[float]:
    """Mean and 95 % interval, by bootstrap over clips."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (4000, len(values))).mean(axis=1)
    return [round(float(v), 3) for v in (values.mean(), *np.quantile(means, (0.025, 0.975)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--kind", default="music")
    parser.add_argument("--codec", default="libmp3lame", choices=ENDINGS)
    parser.add_argument("--kbps", type=int, nargs="+", default=[128])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--most", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    session = Session(RenderOptions(candidates=1, device="cpu"))
    for kbps in arguments.kbps:
        rows, count = [], 0
        for _, audio in list(clips(arguments.clips, arguments.kind, arguments.seconds))[: arguments.most]:
            count += 1
            row = measure(session, audio, coded(audio, arguments.codec, kbps))
            rows += [row] if row else []
        table = {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}
        result = {"codec": arguments.codec, "kbps": kbps, "clips": count, "with holes": len(rows)}
        result |= {name: interval(values) for name, values in table.items()}
        if rows:
            result["filled less empty"] = interval(table["filled"] - table["empty"])
            result["filled less noise"] = interval(table["filled"] - table["noise"])
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
