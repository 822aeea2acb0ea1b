"""What a verifier is: it gives every candidate a score, higher is better.

Adding one is one file, whose docstring is its contract, and one line in `registry.VERIFIERS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import soxr
import torch
from torch import Tensor

from ttsr_studio.analysis.spectra import power_spectrogram

Need = Literal["reference", "expected", "early", "others", "input"]
Scope = Literal["window", "clip"]


@dataclass(frozen=True)
class Annotations:
    """What the user knows of a file, from flags, sidecar and preset; the same for all its windows.

    Attributes:
        transcript: the words that are spoken; None when not known.
        caption: what it sounds like, in a sentence; None when not known.
        captions: what it may be, for a zero-shot guess when there is no caption.
        speakers: recordings of the same speaker, [samples] each at `rate`, mono.
        rate: Hz, of the speakers.
        cache: for what verifiers compute once per file, each under a key of its own.
    """

    transcript: str | None = None
    caption: str | None = None
    captions: tuple[str, ...] = ()
    speakers: tuple[Tensor, ...] = ()
    rate: int = 48000
    cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Context:
    """What a verifier may know of the stretch (a window, or a clip) besides the candidates.

    Attributes:
        sample_rate: Hz, of all audio here.
        cutoff_hz: where the input's band ends.
        lr: the input, [channels, samples], aligned with the candidates.
        raw: the engine's own output before the crossover, [N, channels, samples]; None when there is none.
        expected: the engine's own mean render, [channels, samples]; None unless a verifier needs it.
        reference: ground truth, [channels, samples]; None unless the user gave one.
        early: the engine's x0-prediction at sigma 0.4 and its final x0, [N, ...] each; None unless a verifier needs it.
        annotations: what the user knows of the file.
        cache: for what verifiers compute once per stretch, each under a key of its own.
    """

    sample_rate: int
    cutoff_hz: float
    lr: Tensor
    raw: Tensor | None = None
    expected: Tensor | None = None
    reference: Tensor | None = None
    early: tuple[Tensor, Tensor] | None = None
    annotations: Annotations = field(default_factory=Annotations)
    cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    _mono: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, compare=False, repr=False)
    _powers: list[tuple[Tensor, Tensor]] = field(default_factory=list, compare=False, repr=False)

    def on(self, device: torch.device) -> "Context":
        """The same, its audio on a device."""

        def moved(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device)

        expected, reference = moved(self.expected), moved(self.reference)
        return replace(self, lr=self.lr.to(device), raw=moved(self.raw), expected=expected, reference=reference)

    def power(self, audio: Tensor) -> Tensor:
        """Power spectrograms of candidates [N, channels, samples], [N, channels, 1025, frames], on their device.

        Made once for all that ask for those of the same audio (`analysis.spectra.power_spectrogram`).
        """
        if not self._powers or self._powers[0][0] is not audio:
            # One by one on a CPU, where what is worked on then stays in the caches.
            rows = audio.split(1 if audio.device.type == "cpu" else len(audio))
            self._powers[:] = [(audio, torch.cat([power_spectrogram(row) for row in rows]))]
        return self._powers[0][1]

    def mono(self, audio: Tensor, rate: int) -> Tensor:
        """Candidates [N, channels, samples] as the mean of their channels at another rate, float32 [N, samples] on CPU.

        Resampled once (soxr, HQ) for all verifiers that ask for the same audio at the same rate.
        """
        known = self._mono.get(rate)
        if known is None or known[0] is not audio:
            self._mono[rate] = known = (audio, resampled(audio.mean(1), self.sample_rate, rate))
        return known[1]


def resampled(audio: Tensor, rate: int, to: int) -> Tensor:
    """[..., samples] at one rate -> float32 at another, on the CPU (soxr, HQ)."""
    if rate == to:
        return audio.float().cpu()
    rows = audio.float().cpu().reshape(-1, audio.shape[-1]).numpy()
    out = np.stack([soxr.resample(row, rate, to) for row in rows]) if len(rows) else rows
    return torch.from_numpy(out).reshape(*audio.shape[:-1], -1)


class Verifier(Protocol):
    """Scores candidates.

    Attributes:
        name: registry name.
        unit: native unit of the score ("dB", "MOS", ...).
        scope: "window" scores a window's candidates, "clip" needs the whole and scores the n best assembled renders.
        needs: parts of the context it cannot work without; "others" for one that compares a window's candidates, which
            is given all that are decoded whenever there are more.
        weights: {file name: sha256} of the weights in use, empty when there are none.
        licence: licence of those weights, or of the method.

    One whose `score` carries a graph back to the audio says `differentiable = True`: searches may climb by it.

    One that goes by the input when nothing better is known says what that would be: `instead_of_input` is "transcript",
    "speakers", "captions" or "nothing".
    """

    name: str
    unit: str
    scope: Scope
    needs: frozenset[Need]
    weights: dict[str, str]
    licence: str

    def score(self, audio: Tensor, context: Context) -> Tensor | dict[str, Tensor]:
        """audio [N, channels, samples] -> scores [N], float64, higher is better; NaN where it cannot say.

        One of several scales gives each by name; their ranks are averaged before it votes (`ensemble.combine`).
        """
        ...


def differentiable(verifier: Verifier) -> bool:
    """Whether a verifier's scores have a gradient."""
    return bool(getattr(verifier, "differentiable", False))


def where_finite(audio: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Scores [N] of the candidates [N, channels, samples] that are finite, given together; NaN for the others."""
    scores = torch.full((len(audio),), torch.nan, dtype=torch.float64)
    usable = audio.flatten(1).isfinite().all(1).cpu()
    if usable.any():
        scores[usable] = score(audio[usable])
    return scores


def score_columns(verifier: Verifier, audio: Tensor, context: Context) -> dict[str, list[float]]:
    """A verifier's scores by column name: its own, or "name/scale" for every scale of it."""
    scores = verifier.score(audio, context)
    if isinstance(scores, Tensor):
        return {verifier.name: scores.tolist()}
    return {f"{verifier.name}/{scale}": values.tolist() for scale, values in scores.items()}


@runtime_checkable
class Segmental(Protocol):
    """A verifier that can score parts of a stretch from one reading of it, with what is around them."""

    name: str

    def score_segments(self, audio: Tensor, context: Context, edges: Sequence[int]) -> Tensor:
        """audio [N, channels, samples], edges [S + 1] in samples -> scores [N, S], float64, higher is better."""
        ...


def segment_scores(verifier: Verifier, audio: Tensor, context: Context, edges: Sequence[int]) -> dict[str, np.ndarray]:
    """A verifier's scores of every segment, [N, S] by column name.

    One that cannot tell segments apart scores them one by one; its score of a trajectory holds for all of them.
    """
    if isinstance(verifier, Segmental):
        return {verifier.name: verifier.score_segments(audio, context, edges).cpu().numpy()}
    if "early" in verifier.needs:
        return {
            name: np.repeat(np.array(scores)[:, None], len(edges) - 1, axis=1)
            for name, scores in score_columns(verifier, audio, context).items()
        }
    columns: dict[str, list[list[float]]] = {}
    for start, stop in pairwise(edges):
        part = slice(start, stop)
        own = replace(
            context,
            lr=context.lr[:, part],
            raw=None if context.raw is None else context.raw[..., part],
            expected=None if context.expected is None else context.expected[:, part],
            reference=None if context.reference is None else context.reference[:, part],
            cache={},
            _mono={},
            _powers=[],
        )
        for name, scores in score_columns(verifier, audio[..., part], own).items():
            columns.setdefault(name, []).append(scores)
    return {name: np.array(scores).T for name, scores in columns.items()}


@dataclass(frozen=True)
class Preview:
    """Candidates before they are decoded, in an engine's own units.

    Attributes:
        pictures: at the level that was asked for, "latent" or "mel" (`--look`), [N, channels, ...].
        expected: the engine's mean prediction at that level, [channels, ...].
        early: the x0-prediction at sigma 0.4 and the final x0, [N, ...] each; None unless a verifier needs it.
    """

    pictures: Tensor
    expected: Tensor
    early: tuple[Tensor, Tensor] | None = None


def goes_by_input(verifier: Verifier, annotations: Annotations) -> bool:
    """Whether a verifier compares with the input itself, knowing nothing better: then the input is no baseline."""
    known = {
        "transcript": annotations.transcript,
        "speakers": annotations.speakers,
        "captions": annotations.caption or annotations.captions,
        "nothing": None,
    }
    instead = getattr(verifier, "instead_of_input", None)
    return instead is not None and not known[instead]


@runtime_checkable
class Previewing(Protocol):
    """A verifier that can also score a candidate before it is decoded."""

    name: str

    def score_preview(self, preview: Preview) -> Tensor:
        """Compare N candidates -> scores [N], float64, higher is better."""
        ...
