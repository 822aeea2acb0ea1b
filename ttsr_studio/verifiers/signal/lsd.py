"""Log-spectral distance to the ground truth: the oracle.

It needs the answer, so it shows a search's ceiling and must never guide a render for use.

Band: all of it, every channel, mean over channels.
Needs: `reference`, the truth of the same length; mono serves any channel count.
Shape and rate: [N, channels, samples] at any rate, for the whole window.
Unit, range, direction: minus LSD in units of log10 power (1.0 is 10 dB), from about -10 to 0; higher is better.
Silence: 0 against silence, about -5 against music.
Weights and licence: none.
"""

import torch
from torch import Tensor

from ttsr_studio.analysis.spectra import log_distance, power_spectrogram
from ttsr_studio.errors import InputError, MissingError
from ttsr_studio.verifiers.protocol import Context, Need, Scope


class LSD:
    """Minus the log-spectral distance (n_fft 2048, hop 512) to the reference."""

    name = "lsd"
    unit = "-LSD"
    scope: Scope = "window"
    needs: frozenset[Need] = frozenset({"reference"})
    licence = "no weights"
    differentiable = True

    def __init__(self, device: str = "cpu") -> None:
        self.weights: dict[str, str] = {}

    def score(self, audio: Tensor, context: Context) -> Tensor:
        """audio [N, channels, samples] -> scores [N], float64, higher is better.

        Raises MissingError without a reference, InputError when its length or channel count does not fit.
        """
        reference = context.reference
        if reference is None:
            raise MissingError("verifier 'lsd' needs a reference; pass --reference FILE or leave it out")
        if reference.shape[-1] != audio.shape[-1] or reference.shape[0] not in (1, audio.shape[1]):
            raise InputError(
                f"reference of {tuple(reference.shape)} does not fit audio of {tuple(audio.shape[1:])} "
                "(channels, samples); give the full-band original of this very file"
            )
        truth = power_spectrogram(reference)
        return torch.stack([-log_distance(power, truth).mean() for power in context.power(audio)])
