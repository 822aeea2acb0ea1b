"""Skirts of a whole file: for every stretch of its map and for channels that agree, from a few excerpts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.audio.bandwidth.detector import Bandwidth
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.skirt.curve import Skirt, SkirtMap
from ttsr_studio.audio.skirt.estimate import Expect, find_skirt

RATE_SHARE = 0.9
"""Of half a file's rate: above it the filters of converters and resamplers begin."""

LEAST_EDGE_DB = 50.0
"""Evidence of the band's end: of dark programme that is heard as limited there was up to 47, of filters 41 to 114."""

_LOUD_SECONDS, _QUIET_SECONDS, _SHORTEST_SECONDS = 5.12, 1.28, 0.5
_LOUD_PARTS = 3
_STEP_SECONDS = 0.64


def find_skirts(source: Scratch, rate: int, band: Bandwidth, top_hz: float, expect: Expect) -> SkirtMap:
    """What was turned down below the edges of a file, at a rate; nothing unless it is sure to be band-limited.

    Args:
        top_hz: above this the file holds nothing, whatever was filtered.

    Channels of one edge get one curve, so that the image stays.
    """
    if not (band.limited and band.sure and band.evidence_db is not None and band.evidence_db >= LEAST_EDGE_DB):
        return SkirtMap.none()
    bandwidth = band.map
    stops = [*bandwidth.starts_s[1:], source.frames / rate]
    columns: list[list[Skirt | None]] = []
    for start, stop, edges in zip(bandwidth.starts_s, stops, zip(*bandwidth.edges_hz, strict=True), strict=True):
        own: dict[float, Skirt | None] = {}
        for edge in edges:
            if edge not in own:
                alike = [channel for channel, other in enumerate(edges) if other == edge] if len(edges) > 1 else None
                parts = excerpts(source, rate, (start, stop), alike) if edge < rate / 2 else []
                own[edge] = find_skirt(parts, rate, edge, top_hz, expect) if parts else None
        columns.append([own[edge] for edge in edges])
    return SkirtMap(bandwidth.starts_s, tuple(zip(*columns, strict=True)))


def excerpts(
    source: Scratch, rate: int, span_s: tuple[float, float], channels: Sequence[int] | None
) -> list[NDArray[np.float32]]:
    """The loudest parts of every third of a stretch, and its quietest one, of the loudest channel there."""
    first, last = (round(at * rate) for at in span_s)
    last = min(last, source.frames)
    if last - first < _SHORTEST_SECONDS * rate:
        return []
    step, loud, quiet = (round(s * rate) for s in (_STEP_SECONDS, _LOUD_SECONDS, _QUIET_SECONDS))
    wanted = list(range(source.channels)) if channels is None else list(channels)
    if last - first <= loud:
        return [_loudest(source.read(first, last)[wanted])]
    energies = np.stack(
        [np.square(source.read(at, min(at + step, last))[wanted]).sum(axis=1) for at in range(first, last, step)], 1
    )
    total = np.convolve(energies.sum(axis=0), np.ones(loud // step), "valid")
    places = [int(part[0] + np.argmax(total[part])) for part in np.array_split(np.arange(len(total)), _LOUD_PARTS)
              if len(part)]  # fmt: skip
    chosen: list[int] = []
    for place in places:
        if all(abs(place - other) >= loud // step for other in chosen):
            chosen.append(place)
    found = [_loudest(source.read(first + at * step, min(first + at * step + loud, last))[wanted]) for at in chosen]
    sounding = np.convolve(energies.sum(axis=0), np.ones(quiet // step), "valid")
    sounding[sounding <= 0] = np.inf
    at = first + int(sounding.argmin()) * step
    return [*found, _loudest(source.read(at, min(at + quiet, last))[wanted])]


def _loudest(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """The loudest channel, [samples]."""
    return np.asarray(audio[int(np.square(audio).sum(axis=1).argmax())])
