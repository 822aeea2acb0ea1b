"""Was the band above the cutoff recorded or rendered? Log-odds by a small network of our own.

Trained to tell recordings from draws of the built-in engine, by level, tonal contrast and hits in cells of 750 Hz by
21 ms (`network`). It was never shown which draw is nearer to its truth, so it is a judge of another kind than `critic`
and `consensus`: one to hold out. It does not follow the truth, and takes replication for recorded: see MODEL_CARD.md.

Band: of the candidate from the cutoff to 22.5 kHz, of the input below it; channels are judged alone and averaged.
Needs: nothing.
Shape and rate: [N, channels, samples] at 48 kHz, best for a second or more; active parts at an RMS of about 0.1, as
searches hold it.
Unit, range, direction: natural log-odds that it was recorded, about -10 to 10; higher is better.
Silence: a number that means little and is the same for all candidates. A cutoff that leaves nothing to judge gives 0.
Weights and licence: probe.safetensors, CC-BY-SA-4.0, with the attributions in MODEL_CARD.md.
"""

from pathlib import Path

import torch
from torch import Tensor

from ttsr_studio.errors import OptionError
from ttsr_studio.verifiers.probe.network import band_masks, load_probe, measured_cells
from ttsr_studio.verifiers.protocol import Context, Need, Scope
from ttsr_studio.weights.checkpoint import verified

WEIGHTS = Path(__file__).parent / "probe.safetensors"
CHECKSUM = Path(__file__).parent / "probe.safetensors.sha256"


class Probe:
    """Log-odds that a candidate was recorded; see the module."""

    name = "probe"
    unit = "log-odds"
    scope: Scope = "window"
    needs: frozenset[Need] = frozenset()
    licence = "CC-BY-SA-4.0"
    differentiable = True

    def __init__(self, device: str = "cpu", weights: Path = WEIGHTS, expected: Path | None = CHECKSUM) -> None:
        """Load the network. Raises MissingError when its weights are missing or are not those that were shipped."""
        self.device = torch.device(device)
        self.network = load_probe(weights, self.device)
        self.weights = {weights.name: verified(weights, expected)}

    def score(self, audio: Tensor, context: Context) -> Tensor:
        """audio [N, channels, samples] -> log-odds [N], float64, higher is better.

        Raises OptionError for audio at another rate than the network's.
        """
        config = self.network.config
        if context.sample_rate != config.sample_rate:
            raise OptionError(f"verifier 'probe' takes {config.sample_rate} Hz, not {context.sample_rate} Hz")
        cutoff = torch.full((audio.shape[1],), context.cutoff_hz, device=self.device)
        known, decides = band_masks(cutoff, torch.full_like(cutoff, config.stop_hz), config)
        if not decides.any():
            return torch.zeros(len(audio), dtype=torch.float64)
        # One candidate at a time: a score must not depend on the others.
        odds = [self.network(measured_cells(x.to(self.device), config), known, decides).mean() for x in audio]
        return torch.stack(odds).cpu().double()
