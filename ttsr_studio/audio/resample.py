"""Audio on its way: temporary files that windows are read from, and rates changed block by block.

Arrays are float32 ``[channels, samples]``.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr
import torch

from ttsr_studio.audio.decode import Blocks, probe, read_blocks
from ttsr_studio.errors import InputError, TtsrError


def resample_blocks(blocks: Blocks, rate_in: int, rate_out: int, channels: int, frames_in: int) -> Iterator[np.ndarray]:
    """Yield ``blocks`` at the new rate, without delay: ``ceil(frames_in * rate_out / rate_in)`` in all."""
    if rate_in == rate_out:
        yield from blocks
        return
    total = -(-frames_in * rate_out // rate_in)
    stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="VHQ")
    done = 0
    # soxr rounds the length down: more silence makes it give the last sample too
    silence = np.zeros((channels, 2 * rate_in // rate_out + 2), np.float32)
    for block, last in _and_last(blocks, silence):
        out = stream.resample_chunk(np.ascontiguousarray(block.T), last=last)[: total - done]
        done += len(out)
        if len(out):
            yield np.ascontiguousarray(out.T)
    if done < total:
        yield np.zeros((channels, total - done), np.float32)


def _and_last(blocks: Blocks, last: np.ndarray) -> Iterator[tuple[np.ndarray, bool]]:
    for block in blocks:
        yield block, False
    yield last, True


def read_mono(path: Path, rate: int) -> torch.Tensor:
    """A recording as the mean of its channels, float32 [samples]. Raises InputError when it cannot be read."""
    try:
        info = probe(path)
        blocks = resample_blocks(read_blocks(info), info.rate, rate, info.channels, info.frames)
        return torch.from_numpy(np.concatenate([block.mean(axis=0) for block in blocks]).astype(np.float32))
    except TtsrError as error:
        raise InputError(f"recording of the speaker: {error}") from error
