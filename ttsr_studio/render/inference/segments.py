"""A window's take: one candidate, or several joined where their seams are least heard."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.analysis.spectra import bins_between, power_spectrogram
from ttsr_studio.audio.windows import even_fade
from ttsr_studio.render.inference.state import WindowCandidates
from ttsr_studio.search.viterbi import best_path

FLOOR = 1e-8
"""Power under which a bin counts as silent, as in the log-spectral distance."""


@dataclass(frozen=True)
class Take:
    """What a window's core is made of: edges [S + 1] in samples of the core, and the candidate of every segment."""

    edges: tuple[int, ...]
    numbers: tuple[int, ...]

    @classmethod
    def whole(cls, pool: WindowCandidates, number: int) -> "Take":
        return cls((0, pool.window.stop - pool.window.start), (number,))

    @property
    def main(self) -> int:
        """The candidate that most of it comes from; the first of equals."""
        lengths = dict.fromkeys(self.numbers, 0)
        for number, start, stop in zip(self.numbers, self.edges, self.edges[1:], strict=False):
            lengths[number] += stop - start
        return max(lengths, key=lambda number: lengths[number])

    @property
    def spliced(self) -> bool:
        return len(set(self.numbers)) > 1


def choose_segments(
    pool: WindowCandidates, cutoff_hz: float, rate: int, fade: int, price: float, before: np.ndarray | None
) -> Take:
    """The best path through a window's candidates.

    Args:
        fade: samples of every cross-fade.
        price: of a seam, standard deviations of the score for a log-spectral distance of 1 (10 dB) between the two
            sides, above the cutoff, over the cross-fade.
        before: what the window before left for its cross-fade with this one, [channels, fade]; None at the start.
    """
    heard = sorted(pool.audio)
    columns = {
        name: np.stack([parts.get(number, np.full(len(pool.edges) - 1, np.nan)) for number in heard])
        for name, parts in pool.segments.items()
    }
    values = pool.panel.combine_segments(columns) if columns else np.zeros((len(heard), len(pool.edges) - 1))
    audio = torch.stack([pool.audio[number] for number in heard])
    seams = [
        price * distances(part, part, cutoff_hz, rate)
        for part in (audio[..., a:b] for a, b in (around(edge, fade, audio.shape[-1]) for edge in pool.edges[1:-1]))
    ]
    first = None
    if before is not None and before.shape[1]:
        head = audio[..., : before.shape[1]]
        first = price * distances(torch.from_numpy(before)[None], head, cutoff_hz, rate)[0]
    stacked = np.stack(seams) if seams else np.zeros((0, len(heard), len(heard)))
    path = best_path(values.T, stacked, first)
    return Take(pool.edges, tuple(heard[i] for i in path))


def around(edge: int, fade: int, length: int) -> tuple[int, int]:
    """The stretch of `fade` samples that two takes share at an edge."""
    start = min(max(0, edge - fade // 2), max(0, length - fade))
    return start, min(length, start + fade)


def distances(left: Tensor, right: Tensor, cutoff_hz: float, rate: int) -> np.ndarray:
    """Log-spectral distances above the cutoff of every pair, [I, C, n] and [J, C, n] -> float64 [I, J]."""
    bins = bins_between(min(cutoff_hz, rate / 2 - 100), None, rate)
    a, b = (power_spectrogram(x)[..., bins, :].clamp_min(FLOOR).log10().double() for x in (left, right))
    a, b = (x.permute(1, 3, 0, 2).flatten(0, 1) for x in (a, b))  # [C x frames, candidates, bins]
    apart = torch.cdist(a, b) / a.shape[-1] ** 0.5
    return np.asarray(apart.mean(dim=0).numpy(), np.float64)


def assemble(pool: WindowCandidates, take: Take, fade: int) -> np.ndarray:
    """The core of a take, [channels, samples]; only what renders add to their input is faded."""
    if not take.spliced:
        return np.asarray(pool.audio[take.numbers[0]].numpy())
    lr = pool.lr.numpy()
    made = pool.audio[take.numbers[0]].numpy().copy()
    for edge, before, after in zip(take.edges[1:-1], take.numbers, take.numbers[1:], strict=False):
        if before == after:
            continue
        start, stop = around(edge, fade, made.shape[1])
        fresh = pool.audio[after].numpy()
        shared = slice(start, stop)
        low = lr[:, shared]
        made[:, shared] = low + even_fade(made[:, shared] - low, fresh[:, shared] - low)
        made[:, stop:] = fresh[:, stop:]
    return np.asarray(made)


def share(take: Take, values: Sequence[float]) -> float:
    """Mean of candidates' values over a take, by the time that each has in it."""
    lengths = np.diff(np.array(take.edges))
    return float(np.average([values[number] for number in take.numbers], weights=lengths))
