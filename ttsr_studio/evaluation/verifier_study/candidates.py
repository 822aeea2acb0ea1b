"""The candidates of every window of a clip, drawn and scored as a render does it, with the truth beside them.

What verifiers, uncertainty and sampler settings are studied on: the engine is told the cutoff, nothing is joined.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttsr_studio.analysis.search_range import search_range
from ttsr_studio.analysis.spectra import bins_between, log_distance, power_spectrogram
from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.level import active_rms
from ttsr_studio.errors import OptionError
from ttsr_studio.evaluation.benchmark.dataset import RATE
from ttsr_studio.evaluation.benchmark.degradation import Item
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.state import WindowCandidates
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.rendering.inference.windows import SearchInput, SearchRun, search_windows


@dataclass(frozen=True)
class DrawnWindow:
    """The candidates of a window, at the clip's own level.

    Attributes:
        candidates: what they are, and their scores.
        renders: [N, channels, samples], in the order of their numbers.
        truth: [channels, samples].
    """

    candidates: WindowCandidates
    renders: Tensor
    truth: Tensor

    def distances(self, item: Item, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """LSD of every candidate to the truth from the cutoff to the clip's edge, [N], of a stretch of the window."""
        bins = bins_between(item.cutoff_hz, item.clip.edge_hz, RATE)
        truth = power_spectrogram(self.truth[:, start:stop])[:, bins]
        powers = (power_spectrogram(render)[:, bins] for render in self.renders[..., start:stop])
        return np.array([float(log_distance(power, truth).mean()) for power in powers])


@dataclass(frozen=True)
class WindowScores:
    """What verifiers and the truth say of a window's candidates.

    Attributes:
        distances: to the truth, [N].
        scores: by column, [N] each; higher is better.
        search_range: equation 4 of the paper.
    """

    distances: NDArray[np.float64]
    scores: dict[str, NDArray[np.float64]]
    search_range: float


def drawn_windows(session: Session, item: Item) -> Iterator[DrawnWindow]:
    """Draw and score the candidates of every window of a clip that is not silent.

    Raises OptionError when nothing lies between the cutoff and the clip's edge, or the engine is not at 48 kHz.
    """
    engine, audio = session.engine, item.lr_wide()
    if engine.sample_rate != RATE:
        raise OptionError(f"--judge scores engines at {RATE} Hz; {engine.name} is at {engine.sample_rate} Hz")
    level = active_rms(audio, RATE)
    with Scratch(audio.shape[0]) as lr:
        lr.append(audio)
        source = SearchInput(lr, BandwidthMap.constant(item.kept_hz), level)
        for step in search_windows(session, source, SearchRun(Stages(), lambda event: None)):
            window, found = step.window, step.candidates
            if found is None:
                continue
            truth = torch.from_numpy(item.truth[:, window.start : window.stop])
            renders = torch.stack(list(found.audio.values())) * (level / engine.input_rms)
            yield DrawnWindow(found, renders, truth)


def scored_windows(session: Session, item: Item) -> Iterator[WindowScores]:
    """What verifiers and the truth say of the candidates of every window; see `drawn_windows`."""
    for window in drawn_windows(session, item):
        scores = {name: np.array(values) for name, values in window.candidates.scores.items()}
        yield WindowScores(window.distances(item), scores, search_range(window.renders))
