"""Whether a render loses any partial of its source: `python benchmarks/partials.py FOLDER... --synthetic 200`.

Every audio file of the folders, and so many tonal sounds by synthesis, is rendered with the cheapest preset. What is
skipped keeps all there is. Of the rest, peaks of long spectra (.34 s, every .17 s) of the source are looked up in the
output: at least 15 dB over what lies beside them and above -70 dBFS, up to 96 % of the band that both can hold. One is
lost where it is lower by more than 1 dB, at the level of its file: a change that all partials of a moment share is the
loudness match, and told apart. Those that last, with a peak at their place in the frame before or behind, too, are
counted apart as well: within one frame a burst has peaks, too.

By synthesis: notes of `benchmarks/bandwidth.py`, every second one beneath a low-passed programme, so that there is an
edge and the note's own partials lie above it. `--low-pass HZ` takes all above that out of the folders' files first.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from bandwidth import RATE, brick, noise, share, tonal

import ttsr_studio as ttsr
from ttsr_studio.audio.formats import SUFFIXES
from ttsr_studio.errors import NothingToAddError, TtsrError

SIZE = 16384
FAINTEST_DB, OVER_DB, LOST_DB = -70.0, 15.0, 1.0
Audio = np.ndarray


def peaks(level: Audio) -> Audio:
    """Where partials stand in levels [frames, bins] of full-scale sines, dB: [frames, bins], bool."""
    found = (level > FAINTEST_DB) & (level >= np.roll(level, 1, axis=1)) & (level >= np.roll(level, -1, axis=1))
    for side in (-1, 1):
        beside = np.median(np.stack([np.roll(level, side * k, axis=1) for k in range(6, 40, 3)]), axis=0)
        found &= level > beside + OVER_DB
    found[:, :45] = found[:, -45:] = False
    return found


def levels(audio: Audio) -> Audio:
    """Levels [frames, bins] of full-scale sines, dB, of [samples]."""
    padded = np.pad(audio, (0, max(0, SIZE - len(audio))))
    window = np.hanning(SIZE)
    frames = np.lib.stride_tricks.sliding_window_view(padded, SIZE)[:: SIZE // 2]
    return 20 * np.log10(np.abs(np.fft.rfft(frames * window)) * 2 / window.sum() + 1e-10)


def lower(source: Audio, render: Audio) -> list[tuple[float, float, float, float, bool]]:
    """(seconds, Hz, dBFS, dB lower in the render, whether it lasts) of every partial of a source [samples]."""
    before, after = levels(source), levels(render)
    frames = min(len(before), len(after))
    before, after = before[:frames], after[:frames]
    near = np.maximum(np.maximum(np.roll(after, 1, axis=1), np.roll(after, -1, axis=1)), after)
    peak = peaks(before)
    wide = np.pad(peak | np.roll(peak, 1, axis=1) | np.roll(peak, -1, axis=1), ((1, 1), (0, 0)))
    lasts = wide[:-2] | wide[2:]
    found = []
    for frame, place in np.argwhere(peak):
        found.append((frame * SIZE / 2 / RATE, place * RATE / SIZE, before[frame, place],
                      before[frame, place] - near[frame, place], bool(lasts[frame, place])))  # fmt: skip
    return found


def at_rate(path: Path) -> Audio:
    """[channels, samples] at 48 kHz."""
    audio, rate = soundfile.read(path, always_2d=True)
    return soxr.resample(audio, rate, RATE).T


def synthetic(count: int, folder: Path) -> Iterator[Path]:
    for number, note in enumerate(tonal(count)):
        if number % 2:
            rng = np.random.default_rng([4, number])
            dull = brick(noise(len(note), rng, -6), float(2 ** rng.uniform(11, 13.3)))
            note = 0.5 * note + dull / np.abs(dull).max() * 10 ** (rng.uniform(-40, -6) / 20)
        path = folder / f"synthetic {number}.wav"
        soundfile.write(path, note / max(1.0, np.abs(note).max() / 0.95), RATE, "FLOAT")
        yield path


def files(folder: Path, given: argparse.Namespace, scratch: Path) -> Iterator[Path]:
    """Files of a folder, their first seconds, low-passed where that is asked for."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    for number in np.random.default_rng(5).permutation(len(paths))[: given.each or None]:
        try:
            audio, rate = soundfile.read(paths[number], always_2d=True)
        except soundfile.LibsndfileError as error:
            print(f"{paths[number].name}: left out: {error}")
            continue
        audio = audio[: int(given.seconds * rate)]
        if given.low_pass:
            audio = brick(soxr.resample(audio, rate, RATE).T, given.low_pass).T
            rate = RATE
        path = scratch / f"{paths[number].stem}.wav"
        soundfile.write(path, audio, rate, "FLOAT")
        yield path


def measured(paths: Iterator[Path], renderer: ttsr.Renderer) -> dict[str, object]:
    kept: list[float] = []
    lasting: list[float] = []
    counts = {"rendered": 0, "skipped": 0, "failed": 0}
    worst: list[tuple[float, str]] = []
    losing = 0
    for path in paths:
        target = path.with_name("out.wav")
        try:
            renderer.render(path, target, report=False, overwrite=True)
        except NothingToAddError:
            counts["skipped"] += 1
            continue
        except TtsrError as error:
            counts["failed"] += 1
            worst.append((99.0, str(error)))
            continue
        counts["rendered"] += 1
        rows = [row for pair in zip(at_rate(path), at_rate(target), strict=True) for row in lower(*pair)]
        if not rows:
            continue
        gain = float(np.median([row[3] for row in rows]))
        kept += [row[3] - gain for row in rows]
        lasting += [row[3] - gain for row in rows if row[4]]
        at, hertz, level, down, _ = max(rows, key=lambda row: row[3])
        losing += bool(down - gain > LOST_DB)
        worst.append(
            (down - gain, f"{path.stem}: {hertz:.0f} Hz at {at:.1f} s, {level:.0f} dBFS; match {-gain:+.1f} dB")
        )
    lost, lost_lasting = (int((np.array(each) > LOST_DB).sum()) for each in (kept, lasting))
    return {
        **counts,
        "partials": len(kept),
        "lost, %": share(lost, len(kept)),
        "partials that last": len(lasting),
        "of these lost, %": share(lost_lasting, len(lasting)),
        "files that lose any": losing,
        "lowest": [f"{down:.1f} dB {what}" for down, what in sorted(worst, reverse=True)[:8]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--synthetic", type=int, default=200, help="How many sounds by synthesis.  [200]")
    parser.add_argument("--each", type=int, default=0, help="How many files of a folder; 0 for all.  [0]")
    parser.add_argument("--seconds", type=float, default=6.0, help="How much of a file.  [6]")
    parser.add_argument("--low-pass", type=float, default=0.0, metavar="HZ")
    parser.add_argument("--preset", default="preview")
    given = parser.parse_args()
    found = {}
    with ttsr.Renderer(given.preset) as renderer, tempfile.TemporaryDirectory() as folder:
        if given.synthetic:
            found["synthetic"] = measured(synthetic(given.synthetic, Path(folder)), renderer)
        for each in given.folders:
            found[each.name] = measured(files(each, given, Path(folder)), renderer)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
