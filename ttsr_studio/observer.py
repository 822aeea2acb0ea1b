"""What the report shows of a render, gathered while it streams by."""

from collections.abc import Sequence

import numpy as np
import torch

from ttsr_studio.analysis.search_range import search_range
from ttsr_studio.analysis.spectra import SpectrogramMap
from ttsr_studio.analysis.uncertainty import UncertaintyMap
from ttsr_studio.audio.windows import Window
from ttsr_studio.candidates import WindowPool
from ttsr_studio.report.record import CandidateRecord, WindowRecord
from ttsr_studio.verifiers.ensemble import Rule


class Observer:
    """Spectrograms of input and output, the uncertainty map, and a record of every window.

    Args:
        rate, frames: of the audio at the engine's rate.
        cutoff_hz: where the input's band ends.
    """

    def __init__(self, rate: int, frames: int, cutoff_hz: float) -> None:
        self.rate, self.cutoff_hz = rate, cutoff_hz
        self.before, self.after = SpectrogramMap(rate, frames), SpectrogramMap(rate, frames)
        self.uncertainty = UncertaintyMap(rate, frames)
        self.windows: list[WindowRecord] = []
        self._ranges: list[float] = []

    def see(self, position: int, lr: np.ndarray, output: np.ndarray) -> None:
        """Take the next stretch of the file, [channels, samples] of input and output."""
        self.before.update(position, lr)
        self.after.update(position, output)

    def hear(self, window: Window, pool: WindowPool | None, chosen: int, rule: Rule, scale: float) -> None:
        """Take a window with its candidates; `scale` brings them to the file's own level."""
        start, stop = window.start / self.rate, window.stop / self.rate
        if pool is None:
            self.windows.append(WindowRecord(window.index, start, stop, [], None, "silence: passed through"))
            return
        candidates = torch.stack(list(pool.audio.values())) * scale
        self.uncertainty.update(window.start, candidates, self.cutoff_hz)
        if len(candidates) > 1:
            self._ranges.append(search_range(candidates))
        combined = pool.combined(rule, range(len(pool.keys)))
        records = [
            CandidateRecord(
                key.to_json(),
                {name: values[i] for name, values in pool.scores.items()},
                float(combined[i]),
            )
            for i, key in enumerate(pool.keys)
        ]
        why = reason(records, combined, chosen, rule)
        if len(pool.audio) < len(records):
            why += f"; of {len(records)}, the best {len(pool.audio)} by {', '.join(pool.looked)} were decoded"
        self.windows.append(WindowRecord(window.index, start, stop, records, chosen, why))

    def search_range(self) -> float | None:
        """Equation 4, mean over the windows that had two candidates or more."""
        return float(np.mean(self._ranges)) if self._ranges else None


def reason(records: Sequence[CandidateRecord], combined: np.ndarray, chosen: int, rule: Rule) -> str:
    """Why this candidate, in one line."""
    judges = list(records[chosen].scores)
    if len(records) == 1:
        return "the only candidate"
    by = judges[0] if len(judges) == 1 else f"{rule} of {', '.join(judges)}"
    place = int((combined > combined[chosen]).sum()) + 1
    return (
        f"best of {len(records)} by {by}"
        if place == 1
        else f"the search's last pivot, number {place} of {len(records)} by {by}"
    )
