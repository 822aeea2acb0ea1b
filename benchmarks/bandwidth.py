"""How well the detector of a file's band tells limits from sounds: `python benchmarks/bandwidth.py --clips FOLDER`.

- tonal: notes, bells, sweeps, chords and hits by synthesis, full-band, over four floors. None of them is band-limited.
- limited: full-band clips of FOLDER through twelve families of low-passes at eight edges, over three floors.
  The edge that counts is the filter's own -6 dB point; above 18 kHz it is as good as none, and left out.
- spliced, channels: two edges in one file, one after the other (parts of 1 and 2 s) and side by side, by six families.
- coded: the clips through real encoders (MP3, AAC, Opus, WMA, AC-3, MP2 by PyAV; Vorbis by libsndfile). The edge that
  of what was decoded stays 10 dB under the original's for good; above 18 kHz it is as good as none.

Each is given to the detector and to the fall of the long-term spectrum alone (`edge.find_edge`), which decided before.
Shares come with 95 % intervals (Wilson).
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy import signal

from ttsr_studio.audio.bandwidth.detector import Bandwidth, BandwidthMeter

RATE = 48000
Audio = np.ndarray
EDGES = (2000, 3000, 4000, 5500, 8000, 11000, 13000, 16000)
NEAR = 0.2
ENCODERS = {"libmp3lame": (64, 96, 128, 192), "aac": (64, 128), "libopus": (32, 64, 128), "wmav2": (64, 96, 128),
            "ac3": (96, 192), "mp2": (96, 192)}  # fmt: skip
"""kbit/s of a pair, by encoder."""


def additive(pitch: float, level: Callable[[int], float], seconds: float = 2.0, decay: float = 0.0) -> Audio:
    """Partials k of a pitch at `level(k)`, each fading the faster the higher it is."""
    at = np.arange(int(seconds * RATE)) / RATE
    out = np.zeros(len(at))
    for k in range(1, int(21000 / pitch) + 1):
        if level(k) >= 1e-6:
            out += level(k) * np.exp(-decay * k**0.7 * at) * np.sin(2 * np.pi * pitch * k * at + k * k)
    return out * np.minimum(1, at / 0.01) * np.minimum(1, (seconds - at) / 0.05)


def noise(count: int, rng: np.random.Generator, tilt: float = 0.0) -> Audio:
    """Noise of RMS 1 with a tilt, dB an octave."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    audio = np.fft.irfft(spectrum * 10 ** (tilt * np.log2(np.maximum(hertz, 50) / 1000) / 20), count)
    return np.asarray(audio / audio.std())


def together(
    pitch: float, parts: Sequence[tuple[float, float]], level: Callable[[int], float], decay: float = 0.0
) -> Audio:
    """Several sounds at ratios of a pitch, (ratio, level) each."""
    return np.sum([a * additive(pitch * ratio, level, decay=decay) for ratio, a in parts], axis=0)


def pluck(pitch: float, rng: np.random.Generator) -> Audio:
    period = int(RATE / pitch)
    start = np.r_[rng.standard_normal(period), np.zeros(2 * RATE)]
    return np.asarray(signal.lfilter([1], np.r_[1, np.zeros(period - 1), -0.498, -0.498], start))


def kick(pitch: float, _rng: np.random.Generator) -> Audio:
    at = np.arange(2 * RATE) / RATE
    return np.sin(2 * np.pi * np.cumsum(45 + pitch / 4 * np.exp(-30 * at)) / RATE) * np.exp(-6 * at)


def only_first(k: int) -> float:
    return float(k == 1)


def whistle(k: int) -> float:
    return (1.0, 0.01, 0.003)[k - 1] if k <= 3 else 0.0


def flute(k: int) -> float:
    return (1.0, 0.3, 0.15, 0.02, 0.01, 0.004)[k - 1] if k <= 6 else 0.0


TIMBRES: dict[str, Callable[[float, np.random.Generator], Audio]] = {
    "piano": lambda f, _: additive(f, lambda k: 10 ** (-(k - 1) * 0.9 * (f / 523) ** 0.5), decay=0.8),
    "bright piano": lambda f, _: additive(f, lambda k: k**-1.5, decay=0.7),
    "square": lambda f, _: additive(f, lambda k: (k % 2) / k),
    "saw": lambda f, _: additive(f, lambda k: 1 / k),
    "triangle": lambda f, _: additive(f, lambda k: (k % 2) / k**2),
    "flute": lambda f, rng: additive(f, flute) + 1e-3 * noise(2 * RATE, rng, -6),
    "dry flute": lambda f, _: additive(f, flute),
    "organ": lambda f, _: together(f, ((1, 1), (2, 0.5), (4, 0.3)), lambda k: k**-3.0),
    "sine": lambda f, _: additive(f, only_first),
    "two sines": lambda f, _: together(f, ((1, 1), (min(6.3, 9000 / f), 0.5)), only_first),
    "sweep": lambda f, _: signal.chirp(np.arange(2 * RATE) / RATE, f, 2, min(20 * f, 15000), "log"),
    "sweep to 6 kHz": lambda f, _: signal.chirp(np.arange(2 * RATE) / RATE, min(f, 500), 2, 6000, "log"),
    "bell": lambda f, _: together(f, ((1, 1), (1.19, 0.8), (2.74, 0.4), (4.07, 0.2)), only_first, 1.5),
    "marimba": lambda f, _: together(f, ((1, 1), (3.9, 0.3), (9.2, 0.1)), only_first, 6.0),
    "pluck": pluck,
    "bass": lambda f, _: additive(f / 8, lambda k: k**-2.5, decay=1.0),
    "strings": lambda f, _: together(f, ((0.997, 1), (1, 1), (1.004, 1)), lambda k: k**-1.3),
    "chord": lambda f, _: together(f, ((1, 1), (1.26, 1), (1.5, 1), (2, 1)), lambda k: 10 ** (-(k - 1) * 0.6), 0.7),
    "whistle": lambda f, rng: additive(max(f, 900), whistle) + 5e-4 * noise(2 * RATE, rng, -3),
    "kick": kick,
}  # fmt: skip
FLOORS = {"none": None, "16-bit dither": -98.0, "hum and hiss": -80.0, "room": -70.0}


def low_pass(design: Callable[[float], np.ndarray]) -> Callable[[Audio, float], Audio]:
    return lambda audio, edge: np.asarray(signal.sosfilt(design(edge), audio))


def brick(audio: Audio, edge: float) -> Audio:
    spectrum = np.fft.rfft(audio)
    spectrum[..., np.fft.rfftfreq(audio.shape[-1], 1 / RATE) > edge] = 0
    return np.asarray(np.fft.irfft(spectrum, audio.shape[-1]))


def window_fir(audio: Audio, edge: float) -> Audio:
    return np.asarray(signal.fftconvolve(audio, signal.firwin(int(200 * RATE / edge) | 1, edge, fs=RATE), "same"))


def resampled(quality: str) -> Callable[[Audio, float], Audio]:
    return lambda audio, edge: soxr.resample(soxr.resample(audio, RATE, 2 * edge, quality), 2 * edge, RATE, quality)


FILTERS: dict[str, Callable[[Audio, float], Audio]] = {
    "brick": brick,
    "windowed FIR": window_fir,
    "soxr HQ": resampled("HQ"),
    "soxr LQ": resampled("LQ"),
    "polyphase": lambda x, f: signal.resample_poly(signal.resample_poly(x, int(f / 50), 480), 480, int(f / 50))[
        : len(x)
    ],
    "Butterworth 4": low_pass(lambda f: signal.butter(4, f, fs=RATE, output="sos")),
    "Butterworth 6": low_pass(lambda f: signal.butter(6, f, fs=RATE, output="sos")),
    "Butterworth 10": low_pass(lambda f: signal.butter(10, f, fs=RATE, output="sos")),
    "Butterworth 4, twice": lambda x, f: signal.sosfiltfilt(signal.butter(4, f, fs=RATE, output="sos"), x),
    "Chebyshev 8": low_pass(lambda f: signal.cheby1(8, 0.5, f, fs=RATE, output="sos")),
    "elliptic 8": low_pass(lambda f: signal.ellip(8, 0.5, 60, f, fs=RATE, output="sos")),
    "Bessel 8": low_pass(lambda f: signal.bessel(8, f, fs=RATE, output="sos", norm="mag")),
}


def detect(audio: Audio) -> tuple[Bandwidth, float | None]:
    """What the detector says of [channels, samples], and the edge by the long-term spectrum alone."""
    meter = BandwidthMeter(RATE)
    meter.update(np.atleast_2d(audio).astype(np.float32))
    return meter.result(), meter.fall_hz()


def tonal(count: int) -> Iterator[Audio]:
    names, floors = list(TIMBRES), list(FLOORS.values())
    for number in range(count):
        rng = np.random.default_rng([1, number])
        audio = np.asarray(TIMBRES[names[number % len(names)]](float(2 ** rng.uniform(6, 11)), rng))
        audio = audio / np.abs(audio).max() * 10 ** (rng.uniform(-20, -1) / 20)
        floor = floors[number // len(names) % len(floors)]
        yield audio if floor is None else audio + noise(len(audio), rng, -3) * 10 ** (floor / 20)


def clips(folder: Path, count: int, seconds: float = 4.0) -> Iterator[Audio]:
    """Full-band clips, mono at 48 kHz."""
    rng = np.random.default_rng(2)
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac"))
    for number in rng.permutation(len(paths)):
        audio, rate = soundfile.read(paths[number], always_2d=True)
        mono = soxr.resample(audio.mean(axis=1), rate, RATE)[: int(seconds * RATE)]
        if count and len(mono) > RATE and np.abs(mono).max() > 1e-3 and detect(mono)[0].cutoff_hz > 18000:
            count -= 1
            yield mono


def share(hits: int, count: int) -> str:
    """A share in per cent with its interval."""
    if not count:
        return "-"
    z, p = 1.96, hits / count
    middle, half = p + z * z / 2 / count, z * np.sqrt(p * (1 - p) / count + z * z / 4 / count**2)
    low, high = (100 * (middle + side * half) / (1 + z * z / count) for side in (-1, 1))
    return f"{100 * p:.1f} ({max(0.0, low):.1f} to {high:.1f})"


def measure_tonal(count: int) -> dict[str, object]:
    found = [detect(audio) for audio in tonal(count)]
    return {
        "n": count,
        "called limited, %": share(sum(now.limited for now, _ in found), count),
        "by the fall alone, %": share(sum(before is not None and before < 20000 for _, before in found), count),
    }


def true_edge(family: str, edge: float) -> float:
    """Where a filter falls by 6 dB, Hz."""
    impulse = np.zeros(RATE)
    impulse[RATE // 2] = 1.0
    spectrum = np.abs(np.fft.rfft(FILTERS[family](impulse, edge)))
    passed = np.flatnonzero(spectrum > 0.5 * spectrum[100:500].mean())
    return float(passed[-1]) * RATE / 2 / (len(spectrum) - 1)


def measure_limited(material: list[Audio]) -> dict[str, object]:
    families, rng = list(FILTERS), np.random.default_rng(3)
    off, before_off, full, unsure, count, number = [], [], 0, 0, 0, -1
    for clip in material:
        for nominal in EDGES:
            number += 1
            family = families[number % len(families)]
            edge = true_edge(family, float(nominal))
            if edge > 18000:
                continue
            audio = FILTERS[family](clip, float(nominal))
            floor = (None, -98.0, -80.0)[number // len(families) % 3]
            audio = audio if floor is None else audio + noise(len(audio), rng) * 10 ** (floor / 20)
            now, before = detect(audio)
            count += 1
            full += now.verdict.value == "full band"
            unsure += now.verdict.value == "no sign of a limit"
            if now.limited:
                off.append(abs(np.log2(now.cutoff_hz / edge)))
            if before is not None:
                before_off.append(abs(np.log2(before / edge)))
    return {
        "n": count,
        "called full, %": share(full, count),
        "left alone as unsure, %": share(unsure, count),
        "edge off, octaves, median and 90 %": [round(float(np.quantile(off, q)), 3) for q in (0.5, 0.9)],
        "by the fall alone": [round(float(np.quantile(before_off, q)), 3) for q in (0.5, 0.9)],
    }


def measure_two_edges(material: list[Audio]) -> dict[str, object]:
    pairs = ((3400, 16000), (4000, 11000), (8000, 24000), (11000, 5500), (24000, 6000), (7000, 12000))
    families = ("brick", "soxr HQ", "Butterworth 6", "Butterworth 10", "Chebyshev 8", "elliptic 8")
    spliced, beside, count = {1: 0, 2: 0}, 0, {1: 0, 2: 0}
    for number, clip in enumerate(material):
        edges, family = pairs[number % 6], families[(number // 6 + number) % 6]
        own, seconds = detect(clip)[0].cutoff_hz, 1 + number % 2
        parts = [clip if edge == 24000 else FILTERS[family](clip, float(edge)) for edge in edges]
        wanted = [own if edge == 24000 else min(own, true_edge(family, float(edge))) for edge in edges]
        half = min(seconds * RATE, len(clip) // 2)
        one = detect(np.concatenate((parts[0][:half], parts[1][half : 2 * half])))[0].map
        two = detect(np.stack([part[: min(map(len, parts))] for part in parts]))[0].map.at(0.7)
        times = (0.5 * half / RATE, 1.5 * half / RATE)
        spliced[seconds] += all(is_near(one.at(at)[0], edge) for at, edge in zip(times, wanted, strict=True))
        beside += all(is_near(found, edge) for found, edge in zip(two, wanted, strict=True))
        count[seconds] += 1
    return {
        "n": len(material),
        "splice of parts of 1 s followed, %": share(spliced[1], count[1]),
        "of 2 s": share(spliced[2], count[2]),
        "channels apart, %": share(beside, len(material)),
    }


def coded_edge(before: Audio, behind: Audio) -> float:
    """Up to which frequency a codec left something, by bands of 200 Hz, Hz."""
    spectra = [signal.welch(each, RATE, nperseg=4096)[1] for each in (before, behind)]
    width = round(200 * 4096 / RATE)
    lost = [np.add.reduceat(each, np.arange(0, len(each), width)) for each in spectra]
    kept = np.flatnonzero(lost[1] > 0.1 * lost[0])
    return float((kept[-1] + 1) * width * RATE / 4096)


def measure_coded(material: list[Audio]) -> dict[str, object]:
    from codec_holes import coded, vorbis

    rows: dict[str, object] = {}
    for codec, rates in ENCODERS.items():
        for kbps in rates:
            row = of_encoder(material, lambda clip, codec=codec, kbps=kbps: coded(clip, codec, kbps))
            rows[f"{codec} {kbps} kbit/s a pair"] = row
    for quality in (0.0, 0.2, 0.4):
        rows[f"vorbis, quality {quality:g}"] = of_encoder(material, lambda clip, q=quality: vorbis(clip, q))
    return rows


def of_encoder(material: list[Audio], encode: Callable[[Audio], Audio]) -> dict[str, object]:
    off, full, unsure, low, count = [], 0, 0, 0, 0
    for clip in material:
        behind = encode(clip[None].astype(np.float32))[0]
        edge = coded_edge(clip[: len(behind)], behind)
        if edge > 18000:
            continue
        now, _ = detect(behind)
        count += 1
        full += now.verdict.value == "full band"
        unsure += now.verdict.value == "no sign of a limit"
        if now.limited:
            off.append(abs(np.log2(now.cutoff_hz / edge)))
            low += now.map.lowest() < 0.8 * edge
    return {
        "n": count,
        "called full, %": share(full, count),
        "left alone as unsure, %": share(unsure, count),
        "edge too low by over a third of an octave anywhere, %": share(low, count),
        "edge off, octaves, median and 90 %": [round(float(np.quantile(off, q)), 3) for q in (0.5, 0.9)]
        if off
        else None,
    }


def is_near(found: float, wanted: float) -> bool:
    """Whether an edge is within a fifth of an octave of another, or both are as good as open."""
    return bool(abs(np.log2(found / wanted)) < NEAR) or min(found, wanted) > 18000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="Folder of full-band audio.")
    parser.add_argument("--tonal", type=int, default=1000, help="How many synthetic sounds.  [1000]")
    parser.add_argument("--count", type=int, default=36, help="How many clips.  [36]")
    parser.add_argument("--coded", type=int, default=24, help="How many of them through encoders.  [24]")
    given = parser.parse_args()
    material = list(clips(given.clips, given.count))
    found = {
        "tonal": measure_tonal(given.tonal),
        "limited": measure_limited(material),
        "two edges": measure_two_edges(material),
        "coded": measure_coded(material[: given.coded]),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
