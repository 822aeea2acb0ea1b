"""What a file holds, and what a render would do with it; nothing is written and no engine is loaded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ttsr_studio.audio.bandwidth.detector import Bandwidth, BandwidthMeter, Verdict
from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.decode import SourceInfo, probe, read_blocks

BLOCK = 1 << 16
COLUMNS, ROWS = 64, 8


@dataclass(frozen=True)
class Inspection:
    """A file as `ttsr inspect` tells of it.

    Attributes:
        info: format, rate, channels, length.
        band: where its band ends, and how that is known.
    """

    info: SourceInfo
    band: Bandwidth

    @property
    def seconds(self) -> float:
        return self.info.frames / self.info.rate

    @property
    def plan(self) -> str:
        """What a render would do, in a few words."""
        match self.band.verdict:
            case Verdict.LIMITED:
                return f"would be rendered from {self.band.map.lowest() / 1000:.2f} kHz up"
            case Verdict.SILENT:
                return "would be passed through"
            case Verdict.FULL:
                return "would be skipped: nothing to add"
        return "would be skipped; pass --cutoff HZ where you know that it was limited"

    def to_json(self) -> dict[str, object]:
        """Plain data; frequencies in Hz, times in seconds."""
        info, band = self.info, self.band
        return {
            "input": str(info.path),
            "format": info.format,
            "rate": info.rate,
            "channels": info.channels,
            "seconds": self.seconds,
            "verdict": band.verdict.value,
            "cutoff_hz": band.cutoff_hz if band.limited else None,
            "reason": band.reason,
            "evidence_db": band.evidence_db,
            "sure": band.sure,
            "bandwidth": [{"start_s": start, "edges_hz": list(edges)} for start, edges in band.map.rows()],
            "plan": self.plan,
            "warnings": list(info.warnings),
        }


def inspect(path: Path, salvage: bool = False, stream: str | None = None) -> Inspection:
    """Decode a file once. Raises InputError for what cannot be read."""
    info = probe(path, salvage, stream)
    meter = BandwidthMeter(info.rate)
    for block in read_blocks(info, BLOCK, salvage):
        meter.update(block)
    return Inspection(info, meter.result())


def picture(bandwidth: BandwidthMap, seconds: float, top_hz: float, channel: int) -> list[str]:
    """A channel's map as lines of text, the highest frequencies first: "█" where the file holds something."""
    times = (np.arange(COLUMNS) + 0.5) * seconds / COLUMNS
    edges = [bandwidth.at(time)[min(channel, len(bandwidth.edges_hz) - 1)] for time in times]
    rows = []
    for row in reversed(range(ROWS)):
        low, high = row * top_hz / ROWS, (row + 1) * top_hz / ROWS
        cells = ("█" if edge >= high else "▄" if edge > (low + high) / 2 else "·" for edge in edges)
        rows.append(f"{high / 1000:5.1f} kHz {''.join(cells)}")
    return rows
