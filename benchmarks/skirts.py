"""Whether skirts are found, and found alone: `python benchmarks/skirts.py --clips FOLDER [--clips FOLDER] PART`.

- dark: full-band clips of FOLDER, made dark as programme is dark: tilts, shelves, muffled by one pole, double bass by
  synthesis, and the darkest as they are; half of them of 16 bits. Nothing of them may be lifted.
- brick: the same through brick walls (soxr, FIR, polyphase, mp3). Nothing of them may be lifted.
- gentle: the same through six families of low-passes, several orders and knees. For what is lifted: the error of the
  curve, and the log-spectral distance (LSD) to the truth from the -3 dB point to the end of the lift, before and after.
- rendered: others of these, rendered with the skirt kept and with it lifted (preset preview, one seed), where one is
  found: LSD, level against the truth and Zimtohrli (1 to 5, of what is in that band alone), from the -3 dB point to
  the end of the lift.

But for the last part only estimation and lift are run, nothing is rendered. Shares come with 95 % intervals (Wilson),
means with bootstrap's.
"""

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy import signal

import ttsr_studio as ttsr
from ttsr_studio.audio.bandwidth.detector import Bandwidth, BandwidthMeter
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.skirt.curve import Skirt, SkirtMap
from ttsr_studio.audio.skirt.find import RATE_SHARE, find_skirts
from ttsr_studio.audio.skirt.lift import lifted
from ttsr_studio.engines.builtin.expectation import Expectation
from ttsr_studio.evaluation.benchmark.perceptual import load_zimtohrli

RATE = 48000
SECONDS = 3
Audio = np.ndarray
Case = tuple[str, Audio, Audio, np.ndarray | None]
"""Name, what is heard, the truth, and the filter's sections where there is one."""


def clips(folders: list[Path], count: int, seed: int) -> Iterator[tuple[str, Audio]]:
    """Full-band clips [samples] at 48 kHz: the loudest 3 s of files in random order, folder by folder."""
    rng = np.random.default_rng(seed)
    groups = [
        sorted(place.rglob("*.flac")) for folder in folders for place in sorted(folder.iterdir()) if place.is_dir()
    ]
    for group in groups:
        rng.shuffle(group)  # type: ignore[arg-type]
    found, turn = 0, 0
    while found < count and any(groups):
        group = groups[turn % len(groups)]
        turn += 1
        if not group:
            continue
        path = group.pop()
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if rate < 44100 or len(audio) < SECONDS * rate:
            continue
        size = SECONDS * rate
        power = np.add.reduceat(audio[:, 0] ** 2, np.arange(0, len(audio), rate))
        second = int(np.convolve(power[: len(audio) // rate], np.ones(SECONDS), "valid").argmax())
        clip = soxr.resample(audio[second * rate : second * rate + size, 0], rate, RATE)
        if heard_as(clip).limited or not np.abs(clip).max() > 0.01:
            continue
        found += 1
        yield path.stem, clip


def heard_as(audio: Audio) -> Bandwidth:
    meter = BandwidthMeter(RATE)
    meter.update(np.ascontiguousarray(audio[None], np.float32))
    return meter.result()


def in_16_bits(audio: Audio, rng: np.random.Generator) -> Audio:
    dither = rng.triangular(-1, 0, 1, len(audio))
    return (np.round(audio * 32768 + dither) / 32768).astype(np.float32)


def shaped(audio: Audio, gain_db: np.ndarray) -> Audio:
    """Through a gain [bins] of the whole clip's spectrum, dB; of the same peak."""
    out = np.fft.irfft(np.fft.rfft(audio) * 10 ** (gain_db / 20), len(audio))
    return np.asarray(out * (np.abs(audio).max() / np.abs(out).max()), np.float32)


def darkened(audio: Audio, way: int, rng: np.random.Generator) -> tuple[str, Audio]:
    """One of fifteen ways to be dark."""
    hertz = np.maximum(np.fft.rfftfreq(len(audio), 1 / RATE), 50.0)
    ratio = hertz / 1000
    if way < 6:
        tilt = (3, 4.5, 6, 8, 10, 12)[way]
        return f"tilt {tilt}", shaped(audio, -tilt * np.log2(np.maximum(ratio, 0.2)))
    if way < 10:
        knee, depth = ((2, 10), (3, 15), (4, 20), (6, 15))[way - 6]
        power = (1 + (ratio / knee) ** 2 * 10 ** (-depth / 10)) / (1 + (ratio / knee) ** 2)
        return f"shelf {knee} kHz {depth} dB", shaped(audio, 10 * np.log10(power))
    if way < 13:
        knee = (1.0, 2.0, 3.0)[way - 10]
        return f"muffled {knee:.0f} kHz", shaped(audio, -10 * np.log10(1 + (ratio / knee) ** 2))
    if way == 13:
        return "double bass", double_bass(len(audio), rng)
    return "as it is", audio


def double_bass(count: int, rng: np.random.Generator) -> Audio:
    """Plucked low notes, every half second another, with a body's noise and a room's hiss."""
    out = np.zeros(count)
    for start in range(0, count, RATE // 2):
        at = np.arange(count - start) / RATE
        pitch = 41.2 * 2 ** (rng.integers(0, 24) / 12)
        for k in range(1, int(9000 / pitch)):
            out[start:] += (
                k ** -rng.uniform(1.3, 1.8) * np.exp(-at * (1 + 0.4 * k)) * np.sin(2 * np.pi * k * pitch * at)
            )
        thump = rng.standard_normal(len(at)) * np.exp(-at * 60)
        out[start:] += 0.3 * signal.lfilter([0.1], [1, -0.9], thump)
    out *= 0.5 / np.abs(out).max()
    return (out + 10 ** (rng.uniform(-90, -65) / 20) * rng.standard_normal(count)).astype(np.float32)


def dark(folders: list[Path], count: int, seed: int) -> Iterator[Case]:
    """Five of the ways of every clip."""
    rng = np.random.default_rng(seed)
    for number, (name, clip) in enumerate(clips(folders, -(-count // 5), seed)):
        for way in range(number % 3, 15, 3):
            how, audio = darkened(clip, way, rng)
            yield f"{name}: {how}", in_16_bits(audio, rng) if (way + number) % 2 else audio, clip, None


def through_mp3(audio: Audio) -> Audio:
    held = io.BytesIO()
    soundfile.write(held, audio, RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=0.9)
    held.seek(0)
    return np.asarray(soundfile.read(held, dtype="float32")[0][: len(audio)])


def walled(audio: Audio, way: int, edge: float) -> tuple[str, Audio]:
    if way == 0:
        return "soxr", soxr.resample(soxr.resample(audio, RATE, 2 * edge), 2 * edge, RATE)
    if way == 1:
        return "FIR", signal.oaconvolve(audio, signal.firwin(511, edge, fs=RATE), mode="same").astype(np.float32)
    if way == 2:
        return "polyphase", signal.resample_poly(signal.resample_poly(audio, edge, RATE // 2), RATE // 2, edge)
    return "mp3", through_mp3(audio)


def brick(folders: list[Path], count: int, seed: int) -> Iterator[Case]:
    for number, (name, clip) in enumerate(clips(folders, count, seed)):
        edge = (3000, 4000, 6000, 8000, 12000)[number // 4 % 5]
        how, audio = walled(clip, number % 4, edge)
        yield f"{name}: {how} {edge}", np.asarray(audio, np.float32), clip, None


def gentle_filter(family: int, order: int, knee: float) -> tuple[str, np.ndarray]:
    """Sections of a low-pass whose knee is at a frequency, Hz."""
    match family:
        case 0:
            return "Butterworth", signal.butter(order, knee, fs=RATE, output="sos")
        case 1:
            return "Chebyshev I", signal.cheby1(order, 0.5, knee, fs=RATE, output="sos")
        case 2:
            return "Bessel", signal.bessel(order, knee, fs=RATE, output="sos", norm="mag")
        case 3:
            half = signal.butter(order // 2, knee, fs=RATE, output="sos")
            return "Linkwitz-Riley", np.concatenate((half, half))
        case 4:
            return "poles in a row", np.repeat(signal.butter(1, 1.5 * knee, fs=RATE, output="sos"), order, axis=0)
    return "Chebyshev II", signal.cheby2(order, 50, min(knee * (1 + 4 / order), 20000), fs=RATE, output="sos")


def gentle(folders: list[Path], count: int, seed: int) -> Iterator[Case]:
    rng = np.random.default_rng(seed)
    for number, (name, clip) in enumerate(clips(folders, count, seed)):
        order, knee = (4, 6, 8, 10)[number // 6 % 4], (2500, 3500, 5000, 7000, 9000)[number % 5]
        family, sos = gentle_filter(number % 6, order, knee)
        audio = signal.sosfilt(sos, clip).astype(np.float32)
        yield f"{name}: {family} {order} at {knee}", in_16_bits(audio, rng) if number % 2 else audio, clip, sos


def skirt_of(audio: Audio, expect: Expectation) -> tuple[Bandwidth, Skirt | None, Audio]:
    """How a clip is heard, its skirt, and the clip with it lifted."""
    band = heard_as(audio)
    if not band.limited:
        return band, None, audio
    with Scratch(1) as source:
        source.append(np.ascontiguousarray(audio[None]))
        found = find_skirts(source, RATE, band, RATE_SHARE * RATE / 2, expect)
        every = found.every()
        if not every:
            return band, None, audio
        return band, every[0][2], np.concatenate(list(lifted(source, SkirtMap(found.starts_s, found.rows), RATE)), 1)[0]


def distance(audio: Audio, truth: Audio, low: float, high: float) -> float:
    """Log-spectral distance, dB, of two clips between two frequencies, over frames that sound."""
    power = [np.abs(signal.stft(each, RATE, nperseg=2048, noverlap=1536)[2]) ** 2 for each in (audio, truth)]
    bins = slice(int(low / RATE * 2048), max(int(high / RATE * 2048), int(low / RATE * 2048) + 2))
    total = power[1].sum(axis=0)
    logs = [10 * np.log10(each[bins][:, total > total.max() * 1e-4] + 1e-12) for each in power]
    return float(np.sqrt(np.square(logs[0] - logs[1]).mean(axis=0)).mean())


def benefit(case: Case, skirt: Skirt, raised: Audio) -> dict[str, float]:
    """The curve's error and the distance before and after, from the -3 dB point to the end of the lift."""
    _, audio, truth, sos = case
    assert sos is not None
    hertz = np.geomspace(500, skirt.end_hz, 200)
    gain = signal.sosfreqz(sos, hertz, fs=RATE)[1]
    lost = np.maximum.accumulate(-20 * np.log10(np.abs(gain) + 1e-9))
    inside = lost > 3
    if not inside.any():
        return {}
    error = skirt.gain_db(hertz[inside]) - lost[inside]
    low = float(hertz[inside][0])

    return {
        "error_db": float(np.abs(error).mean()),
        "bias_db": float(error.mean()),
        "lost_db": float(lost[inside].mean()),
        "lsd_before": distance(audio, truth, low, skirt.end_hz),
        "lsd_after": distance(raised, truth, low, skirt.end_hz),
    }


def rendered_benefit(case: Case, skirt: Skirt) -> dict[str, float]:
    """The distance, and Zimtohrli's opinion, of the input and of renders with the skirt kept and lifted."""
    _, audio, truth, sos = case
    assert sos is not None
    hertz = np.geomspace(500, skirt.end_hz, 200)
    inside = np.abs(signal.sosfreqz(sos, hertz, fs=RATE)[1]) < 0.7
    if not inside.any():
        return {}
    low, found = float(hertz[inside][0]), {}
    outputs = {"input": audio}
    for name, lift in (("kept", False), ("lifted", True)):
        with ttsr.Renderer("preview", lift_skirt=lift, loudness="off") as renderer:
            outputs[name] = renderer.enhance(audio[None], RATE)[0][0]
    opinion = load_zimtohrli()
    for name, output in outputs.items():
        output = output if name == "input" else level_below(output, audio, low)
        found[f"lsd_{name}"] = distance(output, truth, low, skirt.end_hz)
        parts = [np.ascontiguousarray(between(each, low, skirt.end_hz)) for each in (truth, output)]
        found[f"zimtohrli_{name}"] = opinion(*parts)
        levels = [10 * np.log10(np.square(part).mean() + 1e-12) for part in parts]
        found[f"level_{name}"] = float(levels[1] - levels[0])
    return found


def level_below(output: Audio, audio: Audio, hertz: float) -> Audio:
    """An output with what lies well below a frequency as loud as in the input."""
    own, aim = (float(np.square(between(each, 100, 0.6 * hertz)).mean()) for each in (output, audio))
    return np.asarray(output * np.sqrt(aim / max(own, 1e-12)), np.float32)


def between(audio: Audio, low: float, high: float) -> Audio:
    spectrum, hertz = np.fft.rfft(audio), np.fft.rfftfreq(len(audio), 1 / RATE)
    return np.asarray(np.fft.irfft(np.where((hertz >= low) & (hertz < high), spectrum, 0), len(audio)), np.float32)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share, in percent."""
    share, z = hits / max(count, 1), 1.96
    middle, wide = share + z * z / 2 / count, z * np.sqrt(share * (1 - share) / count + z * z / 4 / count**2)
    return 100 * (middle - wide) / (1 + z * z / count), 100 * (middle + wide) / (1 + z * z / count)


def mean_with_interval(values: list[float]) -> str:
    rng = np.random.default_rng(1)
    draws = rng.choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return f"{np.mean(values):.1f} ({low:.1f} to {high:.1f})"


MEASURES = ("lost_db", "error_db", "bias_db", "lsd", "zimtohrli", "level")
PARTS = {"dark": (dark, 300, 11), "brick": (brick, 60, 12), "gentle": (gentle, 60, 13), "rendered": (gentle, 40, 15)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--clips", type=Path, action="append", required=True)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    cases, count, seed = PARTS[given.part]
    expect, rows = Expectation(), []
    for number, case in enumerate(cases(given.clips, given.count or count, given.seed or seed)):
        if number >= (given.count or count):
            break
        band, skirt, raised = skirt_of(case[1], expect)
        row: dict[str, object] = {"name": case[0], "limited": band.limited, "lifted": skirt is not None}
        if skirt:
            row |= {"evidence": skirt.evidence, "start": skirt.start_hz, "end": skirt.end_hz, "most": skirt.most_db}
            row |= benefit(case, skirt, raised) if given.part == "gentle" else {}
            row |= rendered_benefit(case, skirt) if given.part == "rendered" else {}
            print(row, flush=True)
        rows.append(row)
    hits = sum(bool(row["lifted"]) for row in rows)
    low, high = wilson(hits, len(rows))
    print(f"{given.part}: {len(rows)} files, {sum(bool(row['limited']) for row in rows)} heard as limited, "
          f"{hits} lifted ({low:.1f} to {high:.1f} %)")  # fmt: skip
    for row in rows:
        pairs = [(f"{measure}_lifted", f"{measure}_kept") for measure in ("lsd", "zimtohrli")]
        row |= {f"{a} - {b}": float(str(row[a])) - float(str(row[b])) for a, b in pairs if a in row}
    for key in sorted({key for row in rows for key in row if key.startswith(MEASURES)}):
        values = [float(str(row[key])) for row in rows if key in row]
        if values:
            print(f"  {key}: {mean_with_interval(values)} of {len(values)}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
