"""What a file holds, and what a render would do with it; nothing is written.

Of a file that is band-limited a gentle filter's skirt is looked for, for which the built-in engine is asked.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.audio.bandwidth.detector import Bandwidth, BandwidthMeter, Verdict
from ttsr_studio.audio.bandwidth.images import ImageMeter, Images
from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.bandwidth.origin import band_origin
from ttsr_studio.audio.bandwidth.tones import Tone, ToneMeter, unwanted
from ttsr_studio.audio.decode import SourceInfo, probe, read_blocks, read_stretches
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.resample import resample_blocks
from ttsr_studio.audio.skirt.curve import SkirtMap
from ttsr_studio.audio.skirt.find import RATE_SHARE, find_skirts
from ttsr_studio.engines.builtin.expectation import Expectation
from ttsr_studio.report.notices import input_notices
from ttsr_studio.report.record import Notice

BLOCK = 1 << 16
COLUMNS, ROWS = 64, 8
LONGEST_SECONDS, STRETCH_SECONDS = 1200.0, 120.0
"""Of files longer than that the head, the middle and the end are heard, so long each."""


@dataclass(frozen=True)
class Inspection:
    """A file as `ttsr inspect` tells of it.

    Attributes:
        info: format, rate, channels, length.
        band: where its band ends, and how that is known.
        heard: what of it was listened to, (start, stop) in seconds each; empty for all of it.
        codec: what seems to have coded it, in words; None where nothing says so.
        tones: steady tones that are none of the programme's.
        skirts: what a render would lift where it is asked to.
        images: of a lower rate, by naive upsampling.
    """

    info: SourceInfo
    band: Bandwidth
    heard: tuple[tuple[float, float], ...] = ()
    codec: str | None = None
    tones: tuple[Tone, ...] = ()
    skirts: SkirtMap = field(default_factory=SkirtMap.none)
    images: Images | None = None

    @property
    def seconds(self) -> float:
        return self.info.frames / self.info.rate

    @property
    def length(self) -> str:
        """Its length in words: seconds, or samples where that says more."""
        frames = self.info.frames
        short = f"{frames} sample{'s' if frames != 1 else ''}"
        return f"{self.seconds:.2f} s" if self.seconds >= 0.05 else short

    @property
    def plan(self) -> str:
        """What a render would do, in a few words."""
        match self.band.verdict:
            case Verdict.LIMITED:
                return f"would be rendered from {self.band.map.lowest() / 1000:.2f} kHz up, to 24 kHz"
            case Verdict.SILENT:
                return "would be passed through"
            case Verdict.FULL:
                return "would be skipped: nothing to add"
        return "would be skipped; pass --cutoff HZ where you know that it was limited"

    @property
    def notices(self) -> list[Notice]:
        """What somebody has to know of the file."""
        tones = [f"{tone.hz:.0f} Hz, {tone.level_db:.0f} dBFS" for tone in self.tones]
        found = [Notice("tones-kept", f"steady tones above the band: {', '.join(tones)}")] if tones else []
        return [*input_notices(self.info.warnings), *found]

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
            "silent_channels": [number + 1 for number in band.silent_channels],
            "heard_s": [list(stretch) for stretch in self.heard],
            "codec": self.codec,
            "images": self.images and asdict(self.images),
            "tones": [asdict(tone) for tone in self.tones],
            "skirts": [
                {"start_s": start, "channel": channel + 1, "hertz": list(skirt.hertz), "lift_db": list(skirt.lift_db)}
                for start, channel, skirt in self.skirts.every()
            ],
            "action": "render" if band.limited else "pass" if band.silent else "skip",
            "plan": self.plan,
            "warnings": list(info.warnings),
            "notices": [asdict(notice) for notice in self.notices],
        }


def inspect(path: Path, salvage: bool = False, stream: str | None = None) -> Inspection:
    """Decode a file once, or, where it is long, three parts of it. Raises InputError for what cannot be read."""
    info = probe(path, salvage, stream)
    meter, tones, images = BandwidthMeter(info.rate), ToneMeter(info.rate), ImageMeter(info.rate)
    parts = stretches_of(info)
    blocks = read_stretches(info, parts, BLOCK) if parts else read_blocks(info, BLOCK, salvage)

    def metered() -> Iterator[NDArray[np.float32]]:
        for block in blocks:
            meter.update(block)
            tones.update(block)
            images.update(block)
            yield block

    with Scratch(info.channels) as source:
        frames = sum(stop - start for start, stop in parts) or info.frames
        for block in resample_blocks(metered(), info.rate, Expectation.rate, info.channels, frames):
            source.append(block)
        band = meter.result()
        skirts = find_skirts(source, Expectation.rate, band, RATE_SHARE * info.rate / 2, Expectation())
    heard = tuple((start / info.rate, stop / info.rate) for start, stop in parts)
    band = replace(band, map=in_file_time(band.map, heard))
    codec = band_origin(info, band)
    skirts = replace(skirts, starts_s=band.map.starts_s) if skirts else skirts
    apart = unwanted(tones.result(), band.map) if band.limited else ()
    return Inspection(info, band, heard, codec, apart, skirts, images.result())


def stretches_of(info: SourceInfo) -> tuple[tuple[int, int], ...]:
    """The head, the middle and the end of a long file, [start, stop) in samples each; nothing for all of a file."""
    if info.media or info.frames <= LONGEST_SECONDS * info.rate:
        return ()
    size = round(STRETCH_SECONDS * info.rate)
    return tuple((start, start + size) for start in (0, (info.frames - size) // 2, info.frames - size))


def in_file_time(bandwidth: BandwidthMap, heard: tuple[tuple[float, float], ...]) -> BandwidthMap:
    """A map of parts that were heard one after the other, with the times that they have in the file."""
    if not heard or bandwidth.flat:
        return bandwidth
    length = heard[0][1] - heard[0][0]
    starts = [heard[min(int(start // length), len(heard) - 1)][0] + start % length for start in bandwidth.starts_s]
    return replace(bandwidth, starts_s=tuple(starts))


def picture(bandwidth: BandwidthMap, seconds: float, top_hz: float, channel: int, silent: bool = False) -> list[str]:
    """A channel's map as lines of text, the highest frequencies first: "█" where the file holds something."""
    times = (np.arange(COLUMNS) + 0.5) * seconds / COLUMNS
    edges = [0.0 if silent else bandwidth.at(time)[min(channel, len(bandwidth.edges_hz) - 1)] for time in times]
    rows = []
    for row in reversed(range(ROWS)):
        low, high = row * top_hz / ROWS, (row + 1) * top_hz / ROWS
        cells = ("█" if edge >= high else "▄" if edge > (low + high) / 2 else "·" for edge in edges)
        rows.append(f"{high / 1000:5.1f} kHz {''.join(cells)}")
    return rows
