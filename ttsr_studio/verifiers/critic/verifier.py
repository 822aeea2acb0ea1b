"""How far is a candidate from what the truth is expected to be, above the cutoff? Trained for this; reference-free.

A network reads the input and predicts mean and variance of three views of the truth: level in 60 bands every 21 ms,
energy in 32 bands every 5.3 ms, which tells where hits are, and tonal contrast in 22 bands, which tells whether there
are partials. The score is minus the weighted sum of the distances to be expected between the candidate and the truth
(`network.CriticNetwork.expected_distances`). It was trained on recordings against their own band-limited copies; see
MODEL_CARD.md.

Band: of the candidate from the cutoff to 23 kHz, of the input below it; channels are scored alone and averaged.
Needs: the input.
Shape and rate: [N, channels, samples] at 48 kHz, best for a second or more; active parts at an RMS of about 0.1, as
searches hold it (within 12 dB).
Unit, range, direction: minus weighted distance in units of log10 power, about -12 to -3; higher is better. Comparable
within a window.
Silence: a number that means little and is the same for all candidates. A cutoff that leaves nothing to score gives 0.
Weights and licence: critic.safetensors, CC-BY-SA-4.0, with the attributions in MODEL_CARD.md.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from ttsr_studio.errors import OptionError
from ttsr_studio.verifiers.critic.network import load_critic
from ttsr_studio.verifiers.protocol import Context, Need, Scope
from ttsr_studio.weights.checkpoint import verified

WEIGHTS = Path(__file__).parent / "critic.safetensors"
CHECKSUM = Path(__file__).parent / "critic.safetensors.sha256"


class Critic:
    """Minus the expected distance to the truth; see the module."""

    name = "critic"
    unit = "-distance"
    scope: Scope = "window"
    needs: frozenset[Need] = frozenset({"input"})
    licence = "CC-BY-SA-4.0"
    differentiable = True

    def __init__(self, device: str = "cpu", weights: Path = WEIGHTS, expected: Path | None = CHECKSUM) -> None:
        """Load the network. Raises MissingError when its weights are missing or are not those that were shipped."""
        self.device = torch.device(device)
        self.network = load_critic(weights, self.device)
        self.weights = {weights.name: verified(weights, expected)}

    def score(self, audio: Tensor, context: Context) -> Tensor:
        """audio [N, channels, samples] -> scores [N], float64, higher is better.

        Raises OptionError for audio at another rate than the network's.
        """
        return -self._distances(audio, context).mean(dim=-1)

    def score_segments(self, audio: Tensor, context: Context, edges: Sequence[int]) -> Tensor:
        """The same of every segment, [N, S], from one reading of the whole input."""
        distances = self._distances(audio, context)
        hop, last = self.network.config.hop, distances.shape[-1] - 1
        parts = []
        for start, stop in pairwise(edges):
            # Frames whose centres lie in the segment.
            first = min(last, -(-start // hop))
            parts.append(-distances[:, first : max(first + 1, -(-stop // hop))].mean(dim=-1))
        return torch.stack(parts, dim=1)

    def _distances(self, audio: Tensor, context: Context) -> Tensor:
        """Expected distances of candidates by frame, mean over channels, [N, T], float64; 0 where there is none."""
        config = self.network.config
        if context.sample_rate != config.sample_rate:
            raise OptionError(f"verifier 'critic' takes {config.sample_rate} Hz, not {context.sample_rate} Hz")
        cutoff = torch.full((audio.shape[1],), context.cutoff_hz, device=self.device)
        mask = self.network.band_mask(cutoff, torch.full_like(cutoff, config.stop_hz))
        if not mask.any():
            return torch.zeros(len(audio), audio.shape[-1] // config.hop + 1, dtype=torch.float64)
        known = context.cache.get("critic")
        if known is None:
            with torch.no_grad():  # candidates alone may have a gradient
                known = context.cache["critic"] = self.network(context.lr.to(self.device), cutoff)
        mean, variance = known
        # One candidate at a time: a spectrogram takes twice the memory of its audio.
        views = (self.network.views(x.to(self.device)) for x in audio)
        distances = [self.network.expected_distances(view, mean, variance, mask).mean(dim=0) for view in views]
        return torch.stack(distances).cpu().double()
