"""CLAP: does it sound like what its caption says?

Band: any sound up to 14 kHz (it resamples to 48 kHz), the mean of the channels.
Needs: nothing. It compares with the caption in the annotations; without one, with that of their captions which fits the
input best, chosen on the first stretch that is not silent, for the whole file; without those, with the input.
Shape and rate: [N, channels, samples] at any rate; 10 s at a time, of all candidates at once on a GPU, whose embeddings
are averaged by length. A piece that is shorter is repeated until it fills 10 s, as its authors do.
Unit, range, direction: cosine, -1 to 1; higher is better. Comparable within a file.
Silence: a number that means little.
Weights and licence: clap-music where it is installed, otherwise clap-general (Wu et al. 2023), Apache-2.0;
`ttsr models fetch clap-general`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ttsr_studio.errors import MissingError
from ttsr_studio.verifiers.pretrained.loading import by_rows, loading
from ttsr_studio.verifiers.protocol import Annotations, Context, Need, Scope, resampled
from ttsr_studio.weights import store

MODELS = ("clap-music", "clap-general")
RATE = 48000
SILENCE = 1e-4
"""Peak at and below which an input is silent: -80 dB."""


class CLAP:
    """Cosine between embeddings of a candidate and of a caption or the input; see the module."""

    name = "clap"
    unit = "cos"
    scope: Scope = "window"
    instead_of_input = "captions"
    needs: frozenset[Need] = frozenset()

    def __init__(self, device: str = "cpu") -> None:
        """Load the model. Raises MissingError when transformers or the weights are not installed."""
        name = next((name for name in MODELS if store.installed(name)), MODELS[-1])
        with loading("clap", name) as (place, manifest):
            from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

            self._extractor = ClapFeatureExtractor.from_pretrained(place, local_files_only=True)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(place, local_files_only=True)
            loaded: Any = ClapModel.from_pretrained(place, local_files_only=True, output_loading_info=True)
        model, told = loaded
        # Weights that are missing are drawn at random, words become a list of five, with no more than a warning.
        if told["missing_keys"]:
            raise MissingError(f"{place}: weights of CLAP are missing; {store.remedy(name)}")
        words = model.config.text_config
        if len(self._tokenizer) < words.vocab_size / 2:
            raise MissingError(
                f"{place}: {len(self._tokenizer)} words in its vocabulary, not {words.vocab_size}; {store.remedy(name)}"
            )
        self._longest_text = words.max_position_embeddings - 2  # Roberta counts positions from 2
        self._model = model.float().eval().to(device)
        self._device = device
        self.weights = manifest.checksums()
        self.licence = manifest.licence

    @torch.no_grad()
    def score(self, audio: Tensor, context: Context) -> Tensor:
        """audio [N, channels, samples] -> cosines [N], float64, higher is better; NaN for audio that is not finite."""
        scores = torch.full((len(audio),), torch.nan, dtype=torch.float64)
        mono = context.mono(audio, RATE)
        usable = mono.isfinite().all(1)
        if usable.any() and mono.shape[1]:
            annotations = context.annotations
            wanted = self._caption(context) if annotations.caption or annotations.captions else self._input(context)
            scores[usable] = self._embed(mono[usable]) @ wanted
        return scores

    def _caption(self, context: Context) -> Tensor:
        """Embedding of the caption, [size], read once per file."""
        annotations = context.annotations
        captions = _captions(annotations)
        if "clap/text" not in annotations.cache:
            annotations.cache["clap/text"] = self._read(captions)
        texts: Tensor = annotations.cache["clap/text"]
        if annotations.caption:
            return texts[0]
        chosen = annotations.cache.get("clap/caption")
        if chosen is None:
            chosen = captions[int((texts @ self._input(context)).argmax())]
            if context.lr.abs().max() > SILENCE:
                annotations.cache["clap/caption"] = chosen
        return texts[captions.index(chosen)]

    def _input(self, context: Context) -> Tensor:
        """Embedding of the input, [size], once per stretch."""
        if "clap" not in context.cache:
            mono = resampled(context.lr.mean(0), context.sample_rate, RATE)
            context.cache["clap"] = self._embed(mono[None])[0]
        known: Tensor = context.cache["clap"]
        return known

    def _embed(self, mono: Tensor) -> Tensor:
        """[N, samples] at 48 kHz -> embeddings of length 1, [N, size], float64."""
        # No longer than what the extractor takes whole: of more it would draw a part at random.
        parts = mono.split(self._extractor.nb_max_samples, dim=1)
        embeddings = [len(part[0]) * by_rows(part, self._device, self._vectors) for part in parts]
        return normalize(torch.stack(embeddings).sum(0), dim=1)

    def _vectors(self, mono: Tensor) -> Tensor:
        features = self._extractor(list(mono.numpy()), sampling_rate=RATE, return_tensors="pt")["input_features"]
        longer = torch.zeros(len(mono), 1, dtype=torch.bool, device=self._device)
        given = features.float().to(self._device)
        return _embeddings(self._model.get_audio_features(input_features=given, is_longer=longer))

    def _read(self, captions: tuple[str, ...]) -> Tensor:
        """Captions -> embeddings of length 1, [captions, size], float64."""
        tokens = self._tokenizer(
            list(captions), padding=True, truncation=True, max_length=self._longest_text, return_tensors="pt"
        ).to(self._device)
        return _embeddings(
            self._model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        )


def _captions(annotations: Annotations) -> tuple[str, ...]:
    return (annotations.caption,) if annotations.caption else annotations.captions


def _embeddings(output: Any) -> Tensor:
    """What transformers returns, before version 5 the embeddings themselves, as rows of length 1."""
    rows: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return normalize(rows.cpu().double(), dim=1)
