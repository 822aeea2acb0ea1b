"""Is a candidate near what the engine expects on average? Reference-free, for any kind of audio.

The engine's x0-prediction at the highest noise level is the mean of everything it could draw for this window. The truth
is one more draw as far as the engine can tell, so the candidate nearest to the mean has the least expected distance to
it (minimum Bayes risk). It is the self-supervised verifier of Ma et al. (2025), which compares the final sample with
the prediction at sigma 0.4, moved to where the prediction does not yet know the sample. It can only be as right as the
engine, and it prefers smooth envelopes: pair it with a verifier of another family. Before decoding it can compare what
the engine has drawn, latents or mel pictures, with the mean prediction.

Band: from the cutoff to 23 kHz, log-spectral distance to the mean render (`analysis.spectra`); mean over channels.
Needs: `expected`, the mean render; two network evaluations a window and channel, which every render counts.
Shape and rate: [N, channels, samples] at any rate.
Unit, range, direction: minus LSD in units of log10 power, at most 0; higher is better.
Silence: 0 when both are silent. A cutoff that leaves nothing to compare scores 0.
Weights and licence: none of its own.
"""

import torch
from torch import Tensor

from ttsr_studio.analysis.spectra import bins_between, distance_of_logs, log_power, power_spectrogram, precise
from ttsr_studio.errors import MissingError
from ttsr_studio.verifiers.protocol import Context, Need, Preview, Scope

TOP_HZ = 23000.0


class Consensus:
    """Closeness to the engine's mean render; see the module."""

    name = "consensus"
    unit = "-LSD"
    scope: Scope = "window"
    needs: frozenset[Need] = frozenset({"expected"})
    licence = "no weights"
    differentiable = True

    def __init__(self, device: str = "cpu") -> None:
        self.weights: dict[str, str] = {}

    def score(self, audio: Tensor, context: Context) -> Tensor:
        """Score candidates [N, channels, samples]. Raises MissingError without `context.expected`."""
        if context.expected is None:
            raise MissingError("verifier 'consensus' needs the engine's mean render")
        low, high = context.cutoff_hz, min(TOP_HZ, context.sample_rate / 2)
        if low >= high - 100:
            return torch.zeros(len(audio), dtype=torch.float64)
        bins = bins_between(low, high, context.sample_rate)
        place = f"consensus on {audio.device}"
        if place not in context.cache:
            context.cache[place] = log_power(power_spectrogram(context.expected)[..., bins, :])
        expected = context.cache[place]
        powers = context.power(audio)
        distances = [distance_of_logs(log_power(power[..., bins, :]), expected).mean(-1) for power in powers]
        return -torch.stack(distances)

    def score_preview(self, preview: Preview) -> Tensor:
        """The same before decoding: minus the RMS distance to the mean prediction, in the engine's own units."""
        apart: Tensor = precise(preview.pictures - preview.expected[None]).flatten(1).square().mean(dim=1)
        return -apart.sqrt()
