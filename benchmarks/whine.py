"""Whether a CRT's whine moves the programme's loudness: `python benchmarks/whine.py FOLDER --each 3`.

Of every folder within FOLDER some full-band clips at 48 kHz, 3 s of one channel, are low-passed at 6 kHz and rendered
(preset preview, loudness matched): as they are, with a tone of -29 dBFS at 15,734 Hz that is kept, and with one that
`--remove tones` takes out. Loudness is measured below 14 kHz.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile
from bandwidth import RATE, brick
from scipy import signal

import ttsr_studio as ttsr
from ttsr_studio.audio.loudness import LoudnessMeter

SECONDS, WHINE_HZ, AMPLITUDE = 3, 15734, 0.05


def programme(audio: np.ndarray) -> float:
    """LUFS of [channels, samples] below 14 kHz."""
    below = signal.sosfilt(signal.butter(12, 14000, fs=RATE, output="sos"), audio, axis=1)
    meter = LoudnessMeter(RATE, len(audio))
    meter.update(below.astype(np.float32))
    found = meter.result().lufs
    assert found is not None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=3, help="Clips of every folder.  [3]")
    given = parser.parse_args()
    moved = []
    with ttsr.Renderer("preview") as keeping, ttsr.Renderer("preview", remove="tones") as removing:
        for kind in sorted(path for path in given.folder.iterdir() if path.is_dir()):
            for path in sorted(kind.rglob("*.flac"))[: given.each]:
                audio, rate = soundfile.read(path, always_2d=True)
                assert rate == RATE, path
                sound = brick(audio[: SECONDS * RATE, 0], 6000)[None].astype(np.float32)
                tone = AMPLITUDE * np.sin(2 * np.pi * WHINE_HZ * np.arange(sound.shape[1]) / RATE)
                whining = sound + tone.astype(np.float32)
                plain = programme(keeping.enhance(sound, RATE)[0])
                with_tone = (programme(each.enhance(whining, RATE)[0]) for each in (keeping, removing))
                moved.append([abs(each - plain) for each in with_tone])
                print(f"{path.stem}: kept {moved[-1][0]:.3f} LU, removed {moved[-1][1]:.4f} LU", flush=True)
    most = np.max(moved, axis=0)
    print(f"{len(moved)} clips, at most: kept {most[0]:.3f} LU, removed {most[1]:.4f} LU")


if __name__ == "__main__":
    main()
