"""Only what a session plays of a file is rendered: stretches are cut out, and their renders joined with the rest."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.audio.decode import Blocks, SourceInfo, probe, read_blocks, read_stretches
from ttsr_studio.audio.encode import Encoding, write_audio
from ttsr_studio.audio.formats import output_format
from ttsr_studio.audio.metadata.conversion import Change
from ttsr_studio.audio.metadata.transfer import carry, read_metadata
from ttsr_studio.audio.resample import resample_blocks
from ttsr_studio.sessions.media import Medium

HANDLE_S = 1.0
"""Seconds that are rendered before and after what is played, for fades and for moving a clip's ends."""
FADE_S = 0.5
"""Of them, from the middle of a handle, the seconds over which render and source are mixed."""
NEARLY_ALL = 0.9
"""The share of a file from which on all of it is rendered."""
FULL_SCALE = 1.0


@dataclass(frozen=True)
class PlayedStretch:
    """A part of a file, in samples of it: from `start` up to `stop`."""

    start: int
    stop: int


def played_stretches(medium: Medium, tracks: frozenset[str], info: SourceInfo, rate: int) -> list[PlayedStretch]:
    """What is to be rendered of a file, with handles; one stretch of everything where that is nearly all of it.

    Args:
        tracks: that are meant; empty for all. rate: Hz, of the renders; stretches begin where both have a sample.
    """
    whole, length = [PlayedStretch(0, info.frames)], info.frames / info.rate
    step = info.rate // math.gcd(info.rate, rate)
    found = list[PlayedStretch]()
    for use in sorted(medium.uses, key=lambda use: use.start_s):
        if tracks and use.track not in tracks:
            continue
        if use.stop_s is None or use.stop_s > length + HANDLE_S:  # beyond its end it may begin again
            return whole
        start = max(0, int((use.start_s - HANDLE_S) * info.rate) // step * step)
        stop = min(info.frames, math.ceil((use.stop_s + HANDLE_S) * info.rate))
        if found and start <= found[-1].stop:
            found[-1] = PlayedStretch(found[-1].start, max(stop, found[-1].stop))
        elif stop > start:
            found.append(PlayedStretch(start, stop))
    return found if sum(each.stop - each.start for each in found) < NEARLY_ALL * info.frames else whole


def cut_out(info: SourceInfo, stretch: PlayedStretch, target: Path) -> None:
    """Write a part of a file as 32-bit floating point, exactly as it is. Raises InputError, OutputError."""

    def blocks() -> Iterator[NDArray[np.float32]]:
        at = 0
        for block in read_blocks(info):
            low, high = max(stretch.start - at, 0), min(stretch.stop - at, block.shape[1])
            if low < high:
                yield block[:, low:high]
            at += block.shape[1]
            if at >= stretch.stop:
                return

    write_audio(target, blocks, Encoding(info.rate, info.channels, "WAV", "FLOAT"))


@dataclass(frozen=True)
class RenderedStretch:
    """A rendered stretch: where it begins and ends, in samples of the output, and the render."""

    start: int
    stop: int
    render: Path


def join_pieces(
    info: SourceInfo, parts: Sequence[tuple[PlayedStretch, Path]], target: Path, depth: str, replace: bool
) -> float:
    """Write a file as long as its source, with the renders where they belong; the gain in dB that it took.

    Args:
        parts: stretches and their renders, which have one rate. depth: as the option says.

    Raises InputError, OutputError.
    """
    rate = probe(parts[0][1]).rate
    pieces = []
    for stretch, path in parts:
        start = stretch.start * rate // info.rate
        pieces.append(RenderedStretch(start, start + probe(path).frames, path))
    frames = -(-info.frames * rate // info.rate)
    container, subtype, _ = output_format(info, depth, target.suffix)

    def mixed() -> Blocks:
        at = 0
        for block in resample_blocks(read_blocks(info), info.rate, rate, info.channels, info.frames):
            for piece in pieces:
                block = with_piece(block, at, piece, rate, frames)
            at += block.shape[1]
            yield block

    peak = max(float(np.abs(block).max(initial=0.0)) for block in mixed())
    gain = 1.0 if subtype in ("FLOAT", "DOUBLE") or peak <= FULL_SCALE else FULL_SCALE / peak
    change = Change(container, info.subtype, subtype, info.rate, rate, info.frames, frames, info.channels)
    insert = carry(read_metadata(info), change).insert
    encoding = Encoding(rate, info.channels, container, subtype)
    write_audio(target, lambda: (block * np.float32(gain) for block in mixed()), encoding, insert, replace)
    return 20 * math.log10(gain)


def with_piece(
    block: NDArray[np.float32], at: int, piece: RenderedStretch, rate: int, frames: int
) -> NDArray[np.float32]:
    """A block of the source that begins at a sample, with a render mixed in where it lies."""
    low, high = max(piece.start, at), min(piece.stop, at + block.shape[1])
    if low >= high:
        return block
    wanted = [(low - piece.start, high - piece.start)]
    found = np.concatenate(list(read_stretches(probe(piece.render), wanted)), axis=1)
    weight = share_of_render(np.arange(low, high), piece, rate, frames)
    mixed = block.copy()
    inside = slice(low - at, high - at)
    mixed[:, inside] = (1 - weight) * block[:, inside] + weight * found
    return mixed


def share_of_render(samples: NDArray[np.int64], piece: RenderedStretch, rate: int, frames: int) -> NDArray[np.float32]:
    """How much of the render there is: all where it is played, nothing at the ends of its handles."""
    edge, fade = (HANDLE_S - FADE_S) / 2 * rate, FADE_S * rate
    rise = np.ones(len(samples)) if piece.start == 0 else (samples - piece.start - edge) / fade
    fall = np.ones(len(samples)) if piece.stop >= frames else (piece.stop - samples - edge) / fade
    return np.clip(np.minimum(rise, fall), 0.0, 1.0).astype(np.float32)
