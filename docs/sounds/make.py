"""The sound pairs of the README and their picture: `python docs/sounds/make.py` renders `examples/` anew.

Every render is one of the preset named here, nothing is picked by ear. Inputs and renders are CC0.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile

import ttsr_studio as ttsr

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PICTURE = HERE.parent / "pictures" / "before-after.png"
PAIRS = (
    ("voice_7k_band", "speech", "a voice, recorded through a low-pass"),
    ("percussion_5k_band", "drums", "percussion, nothing above 5 kHz"),
    ("sitar_6k_band", "music", "a sitar, nothing above 6 kHz"),
)


def spectrogram(path: Path) -> np.ndarray:
    """Level in dB of the first channel, [1025, frames], at 48 kHz."""
    audio, rate = soundfile.read(path, always_2d=True)
    assert rate == 48000
    frames = np.lib.stride_tricks.sliding_window_view(audio[:, 0], 2048)[::512] * np.hanning(2048)
    return 20 * np.log10(np.abs(np.fft.rfft(frames, axis=1)).T + 1e-5)


def main() -> None:
    """Render the pairs and draw them: above what went in, below what came out."""
    figure, axes = plt.subplots(2, len(PAIRS), figsize=(11, 4.6), sharex="col", sharey=True, layout="constrained")
    for column, (name, preset, words) in enumerate(PAIRS):
        source, out = ROOT / "examples" / f"{name}.flac", HERE / f"{name}_ttsr.flac"
        print(ttsr.render(source, out, preset=preset, report=False, overwrite=True).line)
        for row, path in enumerate((source, out)):
            picture = spectrogram(path)
            axis = axes[row, column]
            seconds = picture.shape[1] * 512 / 48000
            axis.imshow(
                picture, origin="lower", aspect="auto", cmap="magma", vmin=-70, vmax=30, extent=(0, seconds, 0, 24)
            )
            axis.set_title(words if row == 0 else "rendered", fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("kHz")
    for axis in axes[1]:
        axis.set_xlabel("seconds")
    figure.savefig(PICTURE, dpi=90)


if __name__ == "__main__":
    main()
