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
    ``render_start`` may be negative: zeros stand for what is before the file. ``render_stop`` may be beyond the file,
    where its mirror image stands.
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


def plan_windows(frames: int, core: int, context: int, fade: int, hop: int, length: int = 0) -> list[Window]:
    """Cover ``frames`` samples with cores of ``core`` samples that overlap by ``fade``.

    Every render starts and ends on a multiple of ``hop`` and has at least ``context`` samples around its
    core; all have one length, at least ``length``, so that they batch. The last core ends with the file and may
    be shorter.
    Raises OptionError for sizes that do not fit one another.
    """
    if frames < 1 or core < 1 or hop < 1 or context < 0 or not 0 <= 2 * fade <= core:
        raise OptionError(f"windows of {core} samples cannot have fades of {fade} and a context of {context}")
    stride = core - fade
    count = 1 + max(0, -(-(frames - core) // stride))
    starts = [index * stride for index in range(count)]
    aligned = [(start - context) // hop * hop for start in starts]
    longest = max(start + core + context - low for start, low in zip(starts, aligned, strict=True))
    length = -(-max(longest, length) // hop) * hop
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


def even_fade(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Cross-fade two takes of one stretch, [channels, n] each, without a dip in level.

    Equal gain where they agree, equal power where they have nothing in common, and in between as their correlation
    says: what two weights a and b leave of two signals of equal power is a² + b² + 2 a b times their correlation.
    """
    rise = np.square(np.sin(0.5 * np.pi * (np.arange(before.shape[1]) + 0.5) / before.shape[1]))
    left, right = before.astype(np.float64), after.astype(np.float64)
    power = float(np.sqrt((left**2).sum() * (right**2).sum()))
    alike = min(1.0, max(0.0, float((left * right).sum()) / power)) if power else 0.0
    kept = (1 - rise) ** 2 + rise**2 + 2 * alike * rise * (1 - rise)
    return np.asarray(((1 - rise) * left + rise * right) / np.sqrt(kept), np.float32)


class CrossFader:
    """Joins rendered cores, given in order, and hands on what is finished: `add`, then nothing is left over.

    Only what a render adds to its input is faded; the input itself runs through.
    """

    def __init__(self) -> None:
        self._tail: np.ndarray | None = None

    def add(self, window: Window, core: np.ndarray, lr: np.ndarray) -> np.ndarray:
        """core and its input, float32 [channels, stop - start] -> the samples that no later window touches."""
        joined = core.copy()
        if self._tail is not None:
            shared = slice(0, self._tail.shape[1])
            joined[:, shared] = lr[:, shared] + even_fade(self._tail, core[:, shared] - lr[:, shared])
        finished = joined.shape[1] - window.fade_out
        self._tail = core[:, finished:] - lr[:, finished:] if window.fade_out else None
        return joined[:, :finished]
