"""Audio of a file's length, on disk instead of in memory."""

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np

from ttsr_studio.errors import OutputError, shown


class Scratch:
    """A temporary float32 file that windows are read from, by any thread; nameless, so nothing is left if we die."""

    def __init__(self, channels: int, directory: Path | None = None) -> None:
        self.channels = channels
        self.frames = 0
        self._turn = threading.Lock()  # the place in the file is one for all threads
        self._where = Path(directory or tempfile.gettempdir())
        try:
            self._file = tempfile.TemporaryFile(dir=self._where, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> OutputError:
        problem = f"no room for temporary audio ({error.strerror})"
        return OutputError(f"{shown(self._where)}: {problem}; free space or set TMPDIR")

    def append(self, block: np.ndarray) -> None:
        """Add ``[channels, samples]`` at the end; raise OutputError when the disk is full."""
        if not block.size:
            return
        data = np.ascontiguousarray(block.T, dtype="<f4").data.cast("B")
        try:
            with self._turn:
                self._file.seek(0, os.SEEK_END)
                while data:
                    data = data[self._file.write(data) :]
        except OSError as error:
            raise self._full(error) from error
        self.frames += block.shape[1]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return float32 ``[channels, stop - start]``, zeros outside the file; ``start`` may be negative."""
        out = np.zeros((self.channels, max(stop - start, 0)), np.float32)
        first, last = max(start, 0), min(stop, self.frames)
        if first < last:
            data = np.empty((last - first, self.channels), "<f4")
            view = data.data.cast("B")
            with self._turn:
                self._file.seek(first * self.channels * 4)
                while view:
                    view = view[self._file.readinto(view) :]
            out[:, first - start : last - start] = data.T
        return out

    def read_going_on(self, start: int, stop: int) -> np.ndarray:
        """The same, with the file's mirror image beyond its end, as if it went on: a file that is cut is no fade."""
        last = min(stop, self.frames)
        inside = self.read(start, last)
        return np.pad(inside, ((0, 0), (0, stop - last)), mode="reflect") if start < last else self.read(start, stop)

    def blocks(self, frames: int = 65536) -> Iterator[np.ndarray]:
        """Yield everything as ``[channels, <= frames]``; may be called again."""
        for start in range(0, self.frames, frames):
            yield self.read(start, min(start + frames, self.frames))

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Sum:
    """Two of them, sample by sample, as one to read from; as long as the first."""

    def __init__(self, first: Scratch, second: Scratch) -> None:
        self.first, self.second = first, second
        self.channels, self.frames = first.channels, first.frames

    def read(self, start: int, stop: int) -> np.ndarray:
        """As `Scratch.read`."""
        both: np.ndarray = self.first.read(start, stop) + self.second.read(start, stop)
        return both

    def blocks(self, frames: int = 65536) -> Iterator[np.ndarray]:
        """As `Scratch.blocks`."""
        for start in range(0, self.frames, frames):
            yield self.read(start, min(start + frames, self.frames))
