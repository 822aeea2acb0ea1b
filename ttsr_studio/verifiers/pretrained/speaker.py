"""WavLM x-vectors: is it still the same speaker?

Band: speech up to 8 kHz (it resamples to 16 kHz), the mean of the channels; nothing of the band above. Only what is
voiced: 20 ms frames within 40 dB of the input's loudest, the same ones in all candidates, joined.
Needs: nothing. It compares with the recordings of the speaker in the annotations, averaged; without any, with the input
itself.
Shape and rate: [N, channels, samples] at any rate; cut into equal parts of at most 10 s (attention costs the square of
the time), of all candidates at once on a GPU, whose embeddings are averaged.
Unit, range, direction: cosine, -1 to 1; higher is better. Of candidates of one input most are close to 1: it is their
order that tells.
Silence: NaN for all when the input is silent, not finite or shorter than 0.5 s. A silent candidate of an input that is
not silent gets a number that means little.
Weights and licence: wavlm-sv (WavLM base plus with an x-vector head, Chen et al. 2022), MIT;
`ttsr models fetch wavlm-sv`.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ttsr_studio.errors import InputError, MissingError
from ttsr_studio.verifiers.pretrained.loading import by_rows, loading
from ttsr_studio.verifiers.protocol import Annotations, Context, Need, Scope, resampled
from ttsr_studio.weights import store

MODEL = "wavlm-sv"
RATE = 16000
FRAME = 320
SHORTEST = 25
"""Frames that are kept at the least: 0.5 s."""
LONGEST = 10 * RATE
SILENCE = 1e-8
"""Power of the loudest frame at and below which nothing is voiced: -80 dB."""
VOICED = 1e-4
"""Power of a voiced frame, relative to the loudest: -40 dB."""
HEAD = ("projector.", "tdnn.", "feature_extractor.")


class Speaker:
    """Cosine between x-vectors of a candidate and of the speaker; see the module."""

    name = "speaker"
    unit = "cos"
    scope: Scope = "window"
    instead_of_input = "speakers"
    needs: frozenset[Need] = frozenset()

    def __init__(self, device: str = "cpu") -> None:
        """Load the model. Raises MissingError when transformers or the weights are not installed."""
        with loading("speaker", MODEL) as (place, manifest):
            from transformers import Wav2Vec2FeatureExtractor, WavLMForXVector

            self._extractor = Wav2Vec2FeatureExtractor.from_pretrained(place, local_files_only=True)
            loaded: Any = WavLMForXVector.from_pretrained(place, local_files_only=True, output_loading_info=True)
        model, told = loaded
        # Weights that are missing are drawn at random, with no more than a warning.
        if any(key.startswith(HEAD) for key in told["missing_keys"]):
            raise MissingError(f"{place}: has no weights for x-vectors; {store.remedy(MODEL)}")
        self._model = model.float().eval().to(device)
        self._device = device
        self.weights = manifest.checksums()
        self.licence = manifest.licence

    @torch.no_grad()
    def score(self, audio: Tensor, context: Context) -> Tensor:
        """audio [N, channels, samples] -> cosines [N], float64, higher is better; NaN where it cannot say.

        Raises InputError when a recording of the speaker is silent, not finite or shorter than 0.5 s.
        """
        scores = torch.full((len(audio),), torch.nan, dtype=torch.float64)
        frames = self._voiced_frames(context)
        mono = context.mono(audio, RATE)
        usable = mono.isfinite().all(1)
        if frames is not None and usable.any():
            wanted = self._speaker(context, frames)
            scores[usable] = self._embed(_only(mono[usable], frames)) @ wanted
        return scores

    def _voiced_frames(self, context: Context) -> Tensor | None:
        """Which frames of the input are voiced, [frames], once per stretch; None when none is."""
        if "speaker/voiced" not in context.cache:
            context.cache["speaker/voiced"] = _voiced(_input(context))
        frames: Tensor | None = context.cache["speaker/voiced"]
        return frames

    def _speaker(self, context: Context, frames: Tensor) -> Tensor:
        """Embedding to compare with, [size]: of the speaker's recordings, once per file, or of the input."""
        annotations = context.annotations
        cache = annotations.cache if annotations.speakers else context.cache
        if "speaker" not in cache:
            cache["speaker"] = (
                self._recordings(annotations)
                if annotations.speakers
                else self._embed(_only(_input(context)[None], frames))[0]
            )
        known: Tensor = cache["speaker"]
        return known

    def _recordings(self, annotations: Annotations) -> Tensor:
        embeddings = []
        for number, recording in enumerate(annotations.speakers, 1):
            mono = resampled(recording, annotations.rate, RATE)
            frames = _voiced(mono)
            if frames is None:
                raise InputError(
                    f"recording {number} of the speaker is silent, not finite or shorter than 0.5 s; leave it out"
                )
            embeddings.append(self._embed(_only(mono[None], frames))[0])
        return normalize(torch.stack(embeddings).mean(0), dim=0)

    def _embed(self, mono: Tensor) -> Tensor:
        """[N, samples] at 16 kHz, half a second or more -> embeddings of length 1, [N, size], float64."""
        parts = mono.tensor_split(math.ceil(mono.shape[1] / LONGEST), dim=1)
        embeddings = [by_rows(part, self._device, self._vectors) for part in parts]
        return normalize(torch.stack(embeddings).mean(0), dim=1)

    def _vectors(self, mono: Tensor) -> Tensor:
        values = self._extractor(list(mono.numpy()), sampling_rate=RATE, return_tensors="pt")["input_values"]
        # Equal lengths need no mask.
        return normalize(self._model(values.to(self._device)).embeddings.cpu().double(), dim=1)


def _input(context: Context) -> Tensor:
    return resampled(context.lr.mean(0), context.sample_rate, RATE)


def _voiced(mono: Tensor) -> Tensor | None:
    """Which 20 ms frames of [samples] at 16 kHz are voiced, [frames], 25 or more; None when none is."""
    if len(mono) < SHORTEST * FRAME:
        return None
    power = mono[: len(mono) // FRAME * FRAME].reshape(-1, FRAME).double().square().mean(1)
    loudest = power.max().item()
    if not SILENCE < loudest < math.inf:
        return None
    frames = power >= VOICED * loudest
    frames[power.topk(SHORTEST).indices] = True
    return frames


def _only(mono: Tensor, frames: Tensor) -> Tensor:
    """The frames that are wanted of [N, samples], joined."""
    return mono[:, : len(frames) * FRAME].reshape(len(mono), -1, FRAME)[:, frames].flatten(1)
