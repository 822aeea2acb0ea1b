"""What is known of a filter's skirt: by how much each frequency was turned down, and up to where that can be undone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.audio.bandwidth.map import BandwidthMap

LEAST_DB = 0.5
"""What is turned down by less is left alone."""

MOST_DB = 40.0
"""The most that anything is lifted by."""

_FADE_OCTAVES = 0.25
_POINTS = 33


@dataclass(frozen=True)
class Skirt:
    """A skirt as it is lifted.

    Attributes:
        hertz: ascending, Hz, even steps on a log scale, from the start of the skirt to the end of what is lifted.
        lift_db: [points of hertz], dB, from 0 up.
        evidence: how much likelier a filter is than none, natural-log units.
    """

    hertz: tuple[float, ...]
    lift_db: tuple[float, ...]
    evidence: float

    @classmethod
    def sampled(
        cls, hertz: NDArray[np.float64], loss_db: NDArray[np.float64], end_hz: float, evidence: float
    ) -> "Skirt":
        """From what was lost at frequencies, dB, 0 and more, rising; lifted up to `end_hz`."""
        start = float(np.interp(LEAST_DB, loss_db, hertz))
        points = np.geomspace(min(start, end_hz / 1.01), end_hz, _POINTS)
        loss = np.interp(np.log(points), np.log(hertz), loss_db)
        lift = np.clip(loss - LEAST_DB, 0.0, MOST_DB)
        return cls(tuple(np.round(points, 1).tolist()), tuple(np.round(lift, 2).tolist()), round(evidence, 2))

    @property
    def start_hz(self) -> float:
        """Below this nothing changes."""
        return self.hertz[0]

    @property
    def end_hz(self) -> float:
        """Above this what is there is too near to the noise floor, or was turned down too far."""
        return self.hertz[-1]

    @property
    def most_db(self) -> float:
        """The most that it is lifted by."""
        return max(self.lift_db)

    def up_to(self, end_hz: float) -> "Skirt | None":
        """The part of it below a frequency; None where that is nothing."""
        if end_hz >= self.end_hz:
            return self
        if end_hz <= 1.05 * self.start_hz:
            return None
        inside = [(hz, db) for hz, db in zip(self.hertz, self.lift_db, strict=True) if hz < end_hz]
        last = float(np.interp(end_hz, self.hertz, self.lift_db))
        pairs = [*inside, (end_hz, last)]
        return replace(self, hertz=tuple(hz for hz, _ in pairs), lift_db=tuple(db for _, db in pairs))

    def gain_db(self, hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        """The gain at frequencies, dB: 0 below the start, back to 0 within a quarter of an octave above the end."""
        octaves = np.log2(np.maximum(hertz, 1.0))
        rising = np.interp(octaves, np.log2(self.hertz), self.lift_db, left=0.0)
        over = np.clip((octaves - np.log2(self.end_hz)) / _FADE_OCTAVES, 0.0, 1.0)
        return np.asarray(rising * 0.5 * (1 + np.cos(np.pi * over)), np.float64)


@dataclass(frozen=True)
class SkirtMap:
    """Skirts by time and channel.

    Attributes:
        starts_s: [S], seconds, ascending, the first one 0.
        rows: [channels][S], None where there is no skirt.
    """

    starts_s: tuple[float, ...]
    rows: tuple[tuple[Skirt | None, ...], ...]

    @classmethod
    def none(cls) -> "SkirtMap":
        """Nothing to lift."""
        return cls((0.0,), ())

    def __bool__(self) -> bool:
        return any(skirt is not None for row in self.rows for skirt in row)

    def every(self) -> list[tuple[float, int, Skirt]]:
        """(start in seconds, channel, skirt) of all that there are."""
        return [
            (start, channel, skirt)
            for channel, row in enumerate(self.rows)
            for start, skirt in zip(self.starts_s, row, strict=True)
            if skirt is not None
        ]

    def up_to(self, ends_hz: Sequence[float]) -> "SkirtMap":
        """The same with nothing lifted above frequencies: one for all channels, or one for each."""
        ends = list(ends_hz) * (len(self.rows) if len(ends_hz) == 1 else 1)
        rows = tuple(tuple(s and s.up_to(end) for s in row) for row, end in zip(self.rows, ends, strict=True))
        return replace(self, rows=rows)

    def within(self, bandwidth: BandwidthMap) -> BandwidthMap:
        """A map with the same stretches, which knows up to where they are lifted; it ends where that ends, at most."""
        edges, ends = (
            tuple(
                tuple(of(edge, skirt.end_hz) if skirt else edge for edge, skirt in zip(edges, row, strict=True))
                for edges, row in zip(bandwidth.edges_hz, self.rows, strict=True)
            )
            for of in (min, max)
        )
        return replace(bandwidth, edges_hz=edges, lifted_hz=ends)
