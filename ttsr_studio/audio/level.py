"""The level of the active parts of a signal, the same for training clips and for rendered files."""

import numpy as np

FRAME_SECONDS = 0.05
ACTIVE = 1e-6
"""Frames within 60 dB of the loudest count as active."""


class ActiveLevel:
    """RMS over the active 50 ms frames of a stream.

    Feed blocks [channels, samples] of any length; memory is one number per frame.
    """

    def __init__(self, rate: int) -> None:
        self._frame = max(1, round(rate * FRAME_SECONDS))
        self._powers: list[np.ndarray] = []
        self._rest = np.zeros(0)

    def update(self, block: np.ndarray) -> None:
        power = np.concatenate([self._rest, (block.astype(np.float64) ** 2).mean(axis=0)])
        whole = power.size // self._frame * self._frame
        self._powers.append(power[:whole].reshape(-1, self._frame).mean(axis=1))
        self._rest = power[whole:]

    def rms(self) -> float:
        """Linear RMS, 0 for silence. A signal shorter than a frame counts whole."""
        powers = np.concatenate(self._powers) if self._powers else np.zeros(0)
        if powers.size == 0:
            powers = self._rest.mean(keepdims=True) if self._rest.size else np.zeros(1)
        loud = powers[powers > ACTIVE * powers.max()]
        return float(np.sqrt(loud.mean())) if loud.size else 0.0


def active_rms(audio: np.ndarray, rate: int) -> float:
    """RMS over the active frames of a whole signal [channels, samples]."""
    level = ActiveLevel(rate)
    level.update(audio)
    return level.rms()
