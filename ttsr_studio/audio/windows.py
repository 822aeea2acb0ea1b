"""Windows over a long file: cores that cross-fade, each rendered with context that is thrown away.

Unit: samples at the engine's rate. The windowing lesson is Apollo's: output near a window's edge is wrong for
about half a second, and a cross-fade alone blends the error in.
"""

from dataclasses import dataclass

import numpy as np

from ttsr_studio.errors import OptionError


@dataclass(frozen=True)
class Window:
    """One render: ``[start, stop)`` is kept, ``[render_start, render_stop)`` is what the engine gets.

    ``fade_in`` and ``fade_out`` are the samples at the two ends of the core that are shared with a neighbour.
    ``render_start`` may be negative and ``render_stop`` beyond the file: zeros stand for what is outside.
    """

    index: int
    start: int
    stop: int
    render_start: int
    render_stop: int
    fade_in: int
    fade_out: int

    @property
    def core(self) -> slice:
        """Where the core lies within the rendered samples."""
        return slice(self.start - self.render_start, self.stop - self.render_start)


def plan_windows(frames: int, core: int, context: int, fade: int, hop: int) -> list[Window]:
    """Cover ``frames`` samples with cores of ``core`` samples that overlap by ``fade``.

    Every render starts and ends on a multiple of ``hop`` and has at least ``context`` samples around its
    core; all have one length, so that they batch. The last core ends with the file and may be shorter.
    Raises OptionError for sizes that do not fit one another.
    """
    if frames < 1 or core < 1 or hop < 1 or context < 0 or not 0 <= 2 * fade <= core:
        raise OptionError(f"windows of {core} samples cannot have fades of {fade} and a context of {context}")
    stride = core - fade
    count = 1 + max(0, -(-(frames - core) // stride))
    starts = [index * stride for index in range(count)]
    aligned = [(start - context) // hop * hop for start in starts]
    longest = max(start + core + context - low for start, low in zip(starts, aligned, strict=True))
    length = -(-longest // hop) * hop
    return [
        Window(
            index=index,
            start=start,
            stop=min(start + core, frames),
            render_start=low,
            render_stop=low + length,
            fade_in=fade if index else 0,
            fade_out=fade if index < count - 1 else 0,
        )
        for index, (start, low) in enumerate(zip(starts, aligned, strict=True))
    ]


def even_core(frames: int, core: int, fade: int) -> int:
    """Return the core, at most ``core``, that covers ``frames`` with as few windows, all of nearly one length."""
    count = 1 + max(0, -(-(frames - core) // (core - fade)))
    return min(core, max(2 * fade, -(-(frames + (count - 1) * fade) // count)))


def fade_weights(window: Window) -> np.ndarray:
    """Return float32 weights ``[stop - start]`` for the core; over all windows they sum to 1 everywhere."""
    weights = np.ones(window.stop - window.start, np.float32)
    if window.fade_in:
        weights[: window.fade_in] = _rise(window.fade_in)
    if window.fade_out:
        weights[-window.fade_out :] = np.float32(1.0) - _rise(window.fade_out)
    return weights


def _rise(length: int) -> np.ndarray:
    phase = (np.arange(length) + 0.5) / length
    return np.square(np.sin(0.5 * np.pi * phase)).astype(np.float32)


class CrossFader:
    """Joins rendered cores, given in order, and hands on what is finished: `add`, then nothing is left over."""

    def __init__(self) -> None:
        self._tail: np.ndarray | None = None

    def add(self, window: Window, core: np.ndarray) -> np.ndarray:
        """core [channels, stop - start] -> the samples that no later window touches."""
        weighted = core * fade_weights(window)
        if self._tail is not None:
            weighted[:, : self._tail.shape[1]] += self._tail
        finished = weighted.shape[1] - window.fade_out
        self._tail = weighted[:, finished:]
        return weighted[:, :finished]
