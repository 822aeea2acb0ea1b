"""Clips as compact bytes, by an MDCT that is quantised at a constant ratio of signal to noise; see `shards`."""

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.errors import InputError, shown
from ttsr_studio.training.data import RATE, channels

HOP = 256
BAND = 8
"""Coefficients that share a scale."""

STEP_DB = 3.0
LOWEST_DB = -105.0
"""Scales: root mean square of a band's coefficients in steps of 3 dB; what is below the lowest is silence."""

LARGEST = 12
"""Of a quantised coefficient, in units of its band's scale."""


def basis() -> Tensor:
    """MDCT basis with its sine window, [256, 512], orthonormal under overlap-add."""
    n = torch.arange(2 * HOP, dtype=torch.float64)
    k = torch.arange(HOP, dtype=torch.float64)
    window = torch.sin(torch.pi / (2 * HOP) * (n + 0.5))
    cosine = torch.cos(torch.pi / HOP * (n[None] + 0.5 + HOP / 2) * (k[:, None] + 0.5))
    basis: Tensor = (cosine * window * (2 / HOP) ** 0.5).float()
    return basis


def forward(audio: Tensor) -> Tensor:
    """Audio [samples] -> coefficients [samples / 256 rounded up + 1, 256]."""
    frames = -(-audio.shape[-1] // HOP) + 1
    padded = torch.nn.functional.pad(audio, (HOP, (frames - 1) * HOP + HOP - audio.shape[-1]))
    return padded.unfold(0, 2 * HOP, HOP) @ basis().T


def inverse(coefficients: Tensor) -> Tensor:
    """Coefficients [frames, 256] -> audio [(frames - 1) * 256]."""
    parts = coefficients @ basis().to(coefficients.device)
    return (parts[1:, :HOP] + parts[:-1, HOP:]).reshape(-1)


def pack(audio: Tensor) -> bytes:
    """Audio [samples] of full scale 1 -> bytes."""
    bands = forward(audio).unflatten(1, (-1, BAND))
    level = 10 * (bands.square().mean(2) + 1e-30).log10()
    scale = ((level - LOWEST_DB) / STEP_DB).round().clamp(0, 50)
    size = 10 ** ((scale * STEP_DB + LOWEST_DB) / 20)
    steps = (bands / size[..., None]).round().clamp(-LARGEST, LARGEST) * (scale > 0)[..., None]
    scales = np.diff(scale.numpy().astype(np.int8), axis=0, prepend=np.int8(0))
    whole = np.concatenate([scales.T.reshape(-1), steps.numpy().astype(np.int8).reshape(-1)])
    packer = zlib.compressobj(6, strategy=zlib.Z_HUFFMAN_ONLY)
    # Two streams: what is rare in one is common in the other.
    first = packer.compress(whole[: scales.size].tobytes()) + packer.flush()
    packer = zlib.compressobj(6, strategy=zlib.Z_HUFFMAN_ONLY)
    second = packer.compress(whole[scales.size :].tobytes()) + packer.flush()
    return len(first).to_bytes(4, "little") + first + second


def unpack(data: bytes, frames: int, device: torch.device) -> Tensor:
    """What `pack` made -> audio [(frames - 1) * 256], float32 on the device."""
    count = int.from_bytes(data[:4], "little")
    deltas = np.frombuffer(zlib.decompress(data[4 : 4 + count]), np.int8).reshape(HOP // BAND, frames)
    steps = np.frombuffer(zlib.decompress(data[4 + count :]), np.int8).reshape(frames, HOP // BAND, BAND)
    scale = torch.from_numpy(deltas.astype(np.int16).cumsum(1, dtype=np.int16).T.copy()).to(device).float()
    size = 10 ** ((scale * STEP_DB + LOWEST_DB) / 20)
    return inverse((torch.from_numpy(steps.copy()).to(device).float() * size[..., None]).flatten(1))


@dataclass(frozen=True)
class PackClip:
    """The packing of a clip, which goes where it is done as the bytes of its file."""

    source: Path
    file: bytes

    @classmethod
    def of(cls, source: Path) -> "PackClip":
        """Raises InputError for a file that cannot be read."""
        try:
            return cls(source, source.read_bytes())
        except OSError as error:
            raise InputError(f"{shown(source)}: {error.strerror or error}") from error

    def __call__(self, place: Any = None) -> list[tuple[int, bytes]]:
        """Frames and bytes of every channel that is worth keeping. Raises InputError for another rate, or no audio."""
        import soundfile  # A machine that trains on shards needs no codecs.

        try:
            audio, rate = soundfile.read(io.BytesIO(self.file), dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise InputError(f"{shown(self.source)}: is not audio that can be read") from error
        if rate != RATE:
            raise InputError(f"{shown(self.source)}: {rate} Hz; training clips are at 48 kHz")
        peak = float(np.abs(audio).max())
        # At one level, so that the lowest scale means the same for all.
        level = np.float32(0.9 / max(peak, 1e-4))
        return [(-(-each.size // HOP) + 1, pack(torch.from_numpy(each * level))) for each in channels(audio)]
