"""A window's selection: one candidate, or several joined where their seams are least heard."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttsr_studio.analysis.spectra import bins_between, power_spectrogram
from ttsr_studio.audio.windows import even_fade
from ttsr_studio.rendering.inference.state import WindowCandidates
from ttsr_studio.search.viterbi import best_path
from ttsr_studio.verifiers.panel import Panel

FLOOR = 1e-8
"""Power under which a bin counts as silent, as in the log-spectral distance."""


@dataclass(frozen=True)
class Selection:
    """What a window's core is made of: edges [S + 1] in samples of the core, and the candidate of every segment."""

    edges: tuple[int, ...]
    numbers: tuple[int, ...]

    @classmethod
    def whole(cls, found: WindowCandidates, number: int) -> "Selection":
        return cls((0, found.window.stop - found.window.start), (number,))

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

    def mean(self, values: Sequence[float]) -> float:
        """Mean of candidates' values, by the time that each has in it."""
        lengths = np.diff(np.array(self.edges))
        return float(np.average([values[number] for number in self.numbers], weights=lengths))


@dataclass(frozen=True)
class Seams:
    """How segments are joined.

    Attributes:
        cutoff_hz: above which two sides of a seam are compared.
        rate: Hz, of the audio.
        fade: samples of every cross-fade.
        price: of a seam, standard deviations of the score for a log-spectral distance of 1 (10 dB) between the two
            sides over the cross-fade.
    """

    cutoff_hz: float
    rate: int
    fade: int
    price: float

    def prices(self, left: Tensor, right: Tensor) -> NDArray[np.float64]:
        """Of going from every one of I to every one of J, [I, C, n] and [J, C, n] -> [I, J]."""
        return self.price * distances(left, right, self.cutoff_hz, self.rate)


def choose_segments(
    found: WindowCandidates, panel: Panel, seams: Seams, before: NDArray[np.float32] | None
) -> Selection:
    """The best path through a window's candidates.

    Args:
        before: what the window before left for its cross-fade with this one, [channels, fade]; None at the start.
    """
    cores = found.audio
    decoded, count = list(cores), len(found.edges) - 1
    names = dict.fromkeys(name for number in decoded for name in found.candidates[number].segments)
    unknown = np.full(count, np.nan)
    columns = {
        name: np.stack([found.candidates[number].segments.get(name, unknown) for number in decoded]) for name in names
    }
    values = panel.combine_segments(columns) if columns else np.zeros((len(decoded), count))
    audio = torch.stack(list(cores.values()))
    parts = (audio[..., a:b] for a, b in (around(edge, seams.fade, audio.shape[-1]) for edge in found.edges[1:-1]))
    between = [seams.prices(part, part) for part in parts]
    first = None
    if before is not None and before.shape[1]:
        first = seams.prices(torch.from_numpy(before)[None], audio[..., : before.shape[1]])[0]
    stacked = np.stack(between) if between else np.zeros((0, len(decoded), len(decoded)))
    return Selection(found.edges, tuple(decoded[i] for i in best_path(values.T, stacked, first)))


def around(edge: int, fade: int, length: int) -> tuple[int, int]:
    """The stretch of `fade` samples that two candidates share at an edge."""
    start = min(max(0, edge - fade // 2), max(0, length - fade))
    return start, min(length, start + fade)


def distances(left: Tensor, right: Tensor, cutoff_hz: float, rate: int) -> NDArray[np.float64]:
    """Log-spectral distances above the cutoff of every pair, [I, C, n] and [J, C, n] -> float64 [I, J]."""
    bins = bins_between(min(cutoff_hz, rate / 2 - 100), None, rate)
    a, b = (power_spectrogram(x)[..., bins, :].clamp_min(FLOOR).log10().double() for x in (left, right))
    a, b = (x.permute(1, 3, 0, 2).flatten(0, 1) for x in (a, b))  # [C x frames, candidates, bins]
    apart = torch.cdist(a, b) / a.shape[-1] ** 0.5
    return np.asarray(apart.mean(dim=0).numpy(), np.float64)


def assemble(found: WindowCandidates, selection: Selection, fade: int) -> NDArray[np.float32]:
    """The core of a selection, [channels, samples]; only what renders add to their input is faded."""
    cores, lr = {number: audio.numpy() for number, audio in found.audio.items()}, found.lr.numpy()
    made: NDArray[np.float32] = cores[selection.numbers[0]]
    if not selection.spliced:
        return made
    made = made.copy()
    for edge, before, after in zip(selection.edges[1:-1], selection.numbers, selection.numbers[1:], strict=False):
        if before == after:
            continue
        start, stop = around(edge, fade, made.shape[1])
        fresh = cores[after]
        shared = slice(start, stop)
        low = lr[:, shared]
        made[:, shared] = low + even_fade(made[:, shared] - low, fresh[:, shared] - low)
        made[:, stop:] = fresh[:, stop:]
    return made
