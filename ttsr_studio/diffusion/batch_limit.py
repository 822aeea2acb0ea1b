"""Batches that a device can take: as large as asked, halved when memory runs out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from ttsr_studio.errors import OptionError, TtsrError

Part = TypeVar("Part")


@dataclass
class BatchLimit:
    """The most rows a device takes at once; halved when memory runs out. Share one per device and kind of work.

    Raises OptionError for a limit below 1; None is no limit so far.
    """

    rows: int | None = None

    def __post_init__(self) -> None:
        if self.rows is not None and self.rows < 1:
            raise OptionError(f"the largest batch must be at least 1, not {self.rows}")


def in_batches(count: int, limit: BatchLimit, run: Callable[[int, int], Part], what: str) -> list[Part]:
    """Return `run(start, stop)` of consecutive rows that cover `count`, in batches within the limit.

    Args:
        run: does the work on rows start to stop; must not keep anything when it fails.
        what: name of the work and its device, for the error.

    Raises TtsrError when one row alone runs out of memory.
    """
    parts: list[Part] = []
    start = 0
    while start < count:
        stop = min(count, start + (limit.rows or count))
        done = False
        try:
            parts.append(run(start, stop))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if stop - start == 1:
                raise TtsrError(
                    f"{what} runs out of memory with a single window; free memory or use another device"
                ) from error
        else:
            done = True
        # Outside the handler: what failed is only given back when its traceback is gone.
        if done:
            start = stop
        else:
            limit.rows = (stop - start) // 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if torch.backends.mps.is_available():
                torch.mps.empty_cache()
    return parts


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of torch says that memory ran out, on CUDA, MPS or the CPU."""
    text = str(error).lower()
    return (
        isinstance(error, torch.cuda.OutOfMemoryError)
        or "out of memory" in text
        or "defaultcpuallocator: can't allocate" in text
    )
