"""Is a candidate like the others of its window? Minimum Bayes risk by the candidates themselves, for any kind of audio.

As far as the engine can tell the truth is one more of its draws, so the candidate that is nearest to all others on
average has the least expected distance to it (Kumar and Byrne, "Minimum Bayes-risk decoding", NAACL 2004). `consensus`
asks the same of the engine's mean, which is no sound that anybody would hear; here every reference is one. `medoid`
measures by cells as wide as the ear's bands, 11 ms long (`analysis.difference`): it costs about a
spectrogram a candidate. `medoid_zimtohrli` measures by Zimtohrli, 30 ms of computing for a second of audio, a channel
and a pair; so that this grows with N and not with its square, a candidate is compared with at most 8 others, the four
before it and the four behind in the order of the draws, all with all up to N = 9: with 16 candidates 64 pairs, 2 s for
each second of mono.

Band: `medoid` from the cutoff up, channels together; `medoid_zimtohrli` the whole band, channels alone.
Needs: the other candidates of the window. Whenever more are decoded all are scored anew, so that what a score is like
depends on who was drawn and not on the batches. It says nothing of predictions on the way, of finished files or of one
candidate alone (0). `medoid_zimtohrli` needs the package `zimtohrli` and takes 48 kHz.
Shape and rate: [N, channels, samples] at any rate.
Unit, range, direction: minus mean distance to the others, dB (`medoid`, about -15 to 0) or Zimtohrli's own (about
-0.05 to 0); higher is better. Comparable within a window.
Silence: 0. A tenth of a second or less is none of Zimtohrli's: 0.
Weights and licence: none of its own; the package `zimtohrli` is Apache-2.0.
"""

from collections.abc import Callable
from hashlib import sha1
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.analysis.difference import band_cells, cell_distances
from ttsr_studio.errors import MissingError, OptionError, pip_install
from ttsr_studio.verifiers.protocol import Context, Need, Scope, where_finite

NEIGHBOURS = 4
"""On either side, with which a candidate is compared by Zimtohrli."""

SHORTEST_S = 0.1
"""Below that Zimtohrli's package reads past its memory."""

RATE = 48000


class Medoid:
    """Minus the mean distance to the other candidates; see the module."""

    name = "medoid"
    unit = "-dB"
    scope: Scope = "window"
    needs: frozenset[Need] = frozenset({"others"})
    licence = "no weights"

    def __init__(self, device: str = "cpu") -> None:
        self.weights: dict[str, str] = {}

    def score(self, audio: Tensor, context: Context) -> Tensor:
        """audio [N, channels, samples] -> scores [N], float64, higher is better; NaN for audio that is not finite."""

        def closeness(given: Tensor) -> Tensor:
            apart = self._distances(given, context)
            count = apart.isfinite().sum(1) - 1  # but itself
            return 0 - apart.nansum(1) / count.clamp(min=1)

        return where_finite(audio, closeness)

    def _distances(self, audio: Tensor, context: Context) -> Tensor:
        """Of candidates [N, channels, samples] from each other, [N, N], 0 on the diagonal, NaN where not compared."""
        if context.cutoff_hz >= context.sample_rate / 2 - 100 or not len(audio):
            return torch.zeros(len(audio), len(audio), dtype=torch.float64)
        known: dict[bytes, Tensor] = context.cache.setdefault(self.name, {})
        for digest, sound in zip(digests := fingerprints(audio), audio, strict=True):
            if digest not in known:
                known[digest] = band_cells(sound, context.cutoff_hz, context.sample_rate).cpu()
        return torch.from_numpy(cell_distances(torch.stack([known[digest] for digest in digests])))


class MedoidZimtohrli(Medoid):
    """The same by Zimtohrli's distance; see the module."""

    name = "medoid_zimtohrli"
    unit = "-Zimtohrli"
    licence = "no weights (zimtohrli, Apache-2.0)"

    def __init__(self, device: str = "cpu") -> None:
        """Raises MissingError where the package is not installed, or cannot be loaded."""
        super().__init__(device)
        try:
            from zimtohrli import Pyohrli
        except (ImportError, OSError) as error:
            raise MissingError(
                f"verifier 'medoid_zimtohrli' needs the package 'zimtohrli': {pip_install('ttsr-studio[evaluate]')}"
            ) from error
        self._distance: Callable[[Any, Any], float] = Pyohrli().distance

    def _distances(self, audio: Tensor, context: Context) -> Tensor:
        """As `Medoid`; pairs that were compared before are looked up. Raises OptionError for another rate."""
        if context.sample_rate != RATE:
            raise OptionError(f"verifier 'medoid_zimtohrli' takes {RATE} Hz, not {context.sample_rate} Hz")
        count = len(audio)
        apart = torch.full((count, count), torch.nan, dtype=torch.float64).fill_diagonal_(0.0)
        if audio.shape[-1] <= SHORTEST_S * RATE:
            return torch.zeros_like(apart)
        sounds, digests = audio.detach().float().cpu().numpy(), fingerprints(audio)
        known: dict[frozenset[bytes], float] = context.cache.setdefault(self.name, {})
        for i in range(count):
            for step in range(1, min(NEIGHBOURS, count // 2) + 1):
                j = (i + step) % count
                pair = frozenset((digests[i], digests[j]))
                if pair not in known:
                    channels = zip(sounds[i], sounds[j], strict=True)
                    known[pair] = float(np.mean([self._distance(a, b) for a, b in channels])) if len(pair) > 1 else 0.0
                apart[i, j] = apart[j, i] = known[pair]
        return apart


def fingerprints(audio: Tensor) -> list[bytes]:
    """What tells candidates [N, channels, samples] apart, so that each is looked at once."""
    return [sha1(sound.numpy().tobytes(), usedforsecurity=False).digest() for sound in audio.detach().cpu()]
