"""Is a candidate like the others? Its distance from the distribution that the candidates of its window themselves show.

A search keeps extremes, and what no other draw is like is more often an error that verifiers do not see than a find.
The score says nothing of quality, so it is made for `--ensemble pessimism`, which takes from a candidate's sum what it
is less typical than the middle one (arXiv 2604.04648), or to be held out.

A candidate is described by the mean level of bands as wide as the ear's (Glasberg and Moore 1990), its tone and its
hits, as `analysis.difference` has them. Distance is Mahalanobis': from the median, in units of 1.4826 times the median
absolute deviation, by correlations of which F / (F + N) is taken back for F features and N candidates, over the root of
F: about 1 is usual.

Band: from the cutoff to half the rate; levels are means over channels and time.
Needs: the other candidates; three are the fewest that tell, and fewer score 0. All are scored anew as more are decoded.
Shape and rate: [N, channels, samples] at any rate.
Unit, range, direction: minus robust standard deviations, at most 0; higher is better, more typical.
Silence: 0, like all where candidates do not differ.
Weights and licence: none of its own.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttsr_studio.analysis.difference import band_description
from ttsr_studio.analysis.spectra import power_spectrogram
from ttsr_studio.verifiers.protocol import Context, Need, Scope, where_finite
from ttsr_studio.verifiers.rules import MAD

LEAST = 3
"""Candidates of which one can be untypical."""


class Typical:
    """Closeness to what the other candidates are like; see the module."""

    name = "typical"
    unit = "sd"
    scope: Scope = "window"
    needs: frozenset[Need] = frozenset({"others"})
    licence = "no weights"

    def __init__(self, device: str = "cpu") -> None:
        self.weights: dict[str, str] = {}

    def score(self, audio: Tensor, context: Context) -> Tensor:
        """Score candidates [N, channels, samples] beside one another; NaN for audio that is not finite."""

        def closeness(given: Tensor) -> Tensor:
            rows = [band_description(power_spectrogram(x), context.cutoff_hz, context.sample_rate) for x in given]
            return torch.from_numpy(typicality(np.stack(rows)) if rows else np.zeros(0))

        return where_finite(audio, closeness)


def typicality(described: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores [N] of candidates that are described so, [N, F]; see the module."""
    count, features = described.shape
    if count < LEAST:
        return np.zeros(count)
    apart = described - np.median(described, axis=0)
    spread = MAD * np.median(np.abs(apart), axis=0)
    z = np.where(spread > 1e-9, apart / np.where(spread > 1e-9, spread, 1.0), 0.0)
    size = np.sqrt(np.square(z).mean(axis=0))
    unit = z / np.where(size > 0, size, 1.0)
    taken_back = features / (features + count)
    shape = (1 - taken_back) * unit.T @ unit / count + taken_back * np.eye(features)
    squared = (z * np.linalg.solve(shape, z.T).T).sum(axis=1) / features
    return np.asarray(0 - np.sqrt(np.maximum(0.0, squared)))
