"""Did the engine know early where this candidate would end? Reference-free, from the trajectory itself.

The self-supervised verifier of Ma et al. (2025): the similarity of the x0-prediction at sigma 0.4 and the final x0, in
the engine's own latent space. A trajectory that was still changing its mind late is less trusted. A schedule that has
no level near 0.4 gives the prediction at the nearest one but the last, whose prediction is the result; two steps or
more are needed.

Band: none; it compares latents, so it can score before decoding.
Needs: `early`, the trajectory, which a search has at hand: no network evaluation more.
Shape and rate: any; the latents of all channels of a candidate count together.
Unit, range, direction: cosine, -1 to 1; higher is better. Comparable within a window.
Silence: as anything else.
Weights and licence: none of its own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ttsr_studio.analysis.spectra import precise
from ttsr_studio.errors import MissingError
from ttsr_studio.verifiers.protocol import Context, Need, Preview, Scope


class SelfConsistency:
    """Similarity of an early prediction and the result; see the module."""

    name = "self_consistency"
    unit = "cos"
    scope: Scope = "window"
    needs: frozenset[Need] = frozenset({"early"})
    licence = "no weights"

    def __init__(self, device: str = "cpu") -> None:
        self.weights: dict[str, str] = {}

    def score(self, audio: Tensor, context: Context) -> Tensor:
        """Score candidates [N, channels, samples]. Raises MissingError without `context.early`."""
        if context.early is None:
            raise MissingError("verifier 'self_consistency' needs the trajectory of a render")
        return self._alike(*context.early)

    def score_preview(self, preview: Preview) -> Tensor:
        """The same before decoding. Raises MissingError without the early prediction."""
        if preview.early is None:
            raise MissingError("verifier 'self_consistency' needs the trajectory of a render")
        return self._alike(*preview.early)

    def _alike(self, early: Tensor, final: Tensor) -> Tensor:
        """Two stacks [N, ...] -> cosine [N], float64."""
        alike: Tensor = F.cosine_similarity(precise(early).flatten(1), precise(final).flatten(1), dim=1)
        return torch.as_tensor(alike.cpu())
