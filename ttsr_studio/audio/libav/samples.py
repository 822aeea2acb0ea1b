"""Samples as decoders give them -> float32, full scale 1.0."""

import numpy as np
from numpy.typing import NDArray

_TYPES = {"u8": "u1", "s16": "<i2", "s32": "<i4", "s64": "<i8", "flt": "<f4", "dbl": "<f8"}


def as_float(data: bytes, form: str, channels: int) -> NDArray[np.float32]:
    """One frame, in a format as FFmpeg names it ("s16", "fltp") -> [channels, samples]. Raises ValueError."""
    name = form.removesuffix("p")
    if name not in _TYPES:
        raise ValueError(f"samples of the format {form} are not known")
    values = np.frombuffer(data, _TYPES[name])
    audio = values.reshape(channels, -1) if form != name else values.reshape(-1, channels).T
    if name in ("flt", "dbl"):
        return np.ascontiguousarray(audio, np.float32)
    if name == "u8":
        return np.ascontiguousarray((audio.astype(np.float32) - 128) / 128)
    return np.ascontiguousarray(audio * np.float32(2.0 ** (1 - 8 * values.itemsize)), np.float32)
