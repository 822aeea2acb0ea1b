"""A small ONNX graph, written by hand: means of a spectrogram's planes, times a matrix. As protocol buffers have it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number: int, value: int | str | bytes) -> bytes:
    """A field of a message: whole numbers as they are, all else with its length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def value_info(name: str, shape: tuple[int | str, ...]) -> bytes:
    """A tensor of floats; a name in place of a size leaves it open."""
    sizes = b"".join(field(1, field(1, size) if isinstance(size, int) else field(2, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, sizes)))


def write_planes(path: Path, matrix: NDArray[np.float32], name: str = "features") -> Path:
    """A model [1, planes, frames, bins] -> [1, opinions] by a matrix [planes, opinions]."""
    planes, opinions = matrix.shape
    axes = field(1, "axes") + field(8, 2) + field(8, 3) + field(20, 7)
    keep = field(1, "keepdims") + field(3, 0) + field(20, 2)
    mean = field(1, name) + field(2, "means") + field(4, "ReduceMean") + field(5, axes) + field(5, keep)
    times = field(1, "means") + field(1, "matrix") + field(2, "opinions") + field(4, "MatMul")
    stored = field(1, planes) + field(1, opinions) + field(2, 1) + field(8, "matrix") + field(9, matrix.tobytes())
    graph = field(1, mean) + field(1, times) + field(2, "planes") + field(5, stored)
    graph += field(11, value_info(name, (1, planes, "frames", "bins"))) + field(
        12, value_info("opinions", (1, opinions))
    )
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13)))
    return path
