"""Agreement of the engine's own output with the input below the cutoff, before the crossover.

An engine that missed its input in the band that is known has probably missed what follows from it. The score is the
signal-to-error ratio of STFT magnitudes (n_fft 2048, hop 512), so a delay of a few samples or a turned phase costs
little; a gain error costs what it is.

Band: 0 Hz to 0.9 of the cutoff, every channel; `context.raw` against `context.lr`, or the candidates themselves when
there is no raw output (then nearly all score the maximum, because the crossover restored their low band).
Needs: the input.
Shape and rate: [N, channels, samples] at any rate, for the whole window.
Unit, range, direction: dB, -20 to 60; higher is better.
Silence: 60 for silence from a silent input, -20 for sound from a silent input, 0 for silence from sound.
Weights and licence: none.
"""

import torch
from torch import Tensor

from ttsr_studio.analysis.spectra import N_FFT, bins_between, power_spectrogram, precise
from ttsr_studio.verifiers.protocol import Context, Need, Scope

BEST_DB = 60.0
WORST_DB = -20.0
# Energy of about one quantisation step at 24 bits: below it there is nothing to agree on.
SILENCE = 1e-9


class Lowband:
    """Signal-to-error ratio of the magnitudes below 0.9 of the cutoff, in dB."""

    name = "lowband"
    unit = "dB"
    scope: Scope = "window"
    instead_of_input = "nothing"
    needs: frozenset[Need] = frozenset({"input"})
    licence = "no weights"

    def __init__(self, device: str = "cpu") -> None:
        self.weights: dict[str, str] = {}

    def score(self, audio: Tensor, context: Context) -> Tensor:
        """audio [N, channels, samples] -> scores [N], float64, dB, higher is better."""
        made = audio if context.raw is None else context.raw
        # One bin at least, however low the cutoff.
        top_hz = max(0.9 * context.cutoff_hz, context.sample_rate / N_FFT)
        bins = bins_between(0.0, top_hz, context.sample_rate)
        known = precise(power_spectrogram(context.lr)[..., bins, :].sqrt())
        signal = known.square().sum()
        ratios = []
        for candidate in made:  # bounds memory
            magnitude = precise(power_spectrogram(candidate)[..., bins, :].sqrt())
            error = (magnitude - known).square().sum()
            ratios.append((signal + SILENCE) / (error + 1e-6 * SILENCE))
        return (10 * torch.stack(ratios).log10()).clamp(WORST_DB, BEST_DB)
