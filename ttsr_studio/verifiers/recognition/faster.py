"""Whisper's networks by CTranslate2, the engine of faster-whisper, made of the weights of Whisper's own package."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.verifiers.pretrained.loading import ROWS


@dataclass(frozen=True)
class Said:
    """Of one stretch: tokens, the probability that it is no speech, and the mean log-probability of a token."""

    tokens: Sequence[int]
    no_speech: float
    sure: float


def usable_on(device: str) -> bool:
    """Whether faster-whisper is here, and its engine computes on the device: a CPU, or a card that it finds."""
    if not all(find_spec(package) for package in ("faster_whisper", "ctranslate2")):
        return False
    if not device.startswith("cuda"):
        return device == "cpu"
    import ctranslate2

    return bool(ctranslate2.get_cuda_device_count())


class FasterWhisper:
    """The networks by CTranslate2, on a CPU or an NVIDIA card; made of the same weights."""

    name = "faster-whisper"

    def __init__(self, model: Any, device: str) -> None:
        from ctranslate2.models import Whisper

        kind, _, index = device.partition(":")
        on_card = kind == "cuda"
        self.rows = ROWS if on_card else 1
        self._multilingual, self._languages = model.is_multilingual, model.num_languages
        self._longest = model.dims.n_text_ctx
        with tempfile.TemporaryDirectory(prefix="ttsr-whisper-") as folder:
            converted(model).save(folder)
            self._model = Whisper(
                folder,
                device="cuda" if on_card else "cpu",
                device_index=int(index or 0) if on_card else 0,
                compute_type="float32",
                intra_threads=torch.get_num_threads(),
            )

    def language(self, mel: Tensor) -> str:
        (likely,) = self._model.detect_language(storage(mel[None]))
        return str(likely[0][0]).strip("<|>")

    def decode(self, mels: Tensor, language: str) -> list[Said]:
        from whisper.tokenizer import get_tokenizer

        words = get_tokenizer(self._multilingual, num_languages=self._languages, language=language, task="transcribe")
        prompt = list(words.sot_sequence_including_notimestamps)
        kept_back = {words.transcribe, words.translate, words.sot, words.sot_prev, words.sot_lm, words.no_speech}
        results = self._model.generate(
            storage(mels),
            [prompt] * len(mels),
            beam_size=1,
            max_length=self._longest,  # of prompt and words; of words alone it is half
            suppress_blank=True,
            suppress_tokens=sorted(kept_back | set(words.non_speech_tokens)),
            return_scores=True,
            return_no_speech_prob=True,
        )
        found = []
        for result in results:
            tokens = result.sequences_ids[0]
            found.append(Said(tokens, result.no_speech_prob, result.scores[0] * len(tokens) / (len(tokens) + 1)))
        return found


def storage(mels: Tensor) -> Any:
    """[N, mels, frames] as CTranslate2 has arrays."""
    from ctranslate2 import StorageView

    return StorageView.from_array(np.ascontiguousarray(mels.float().numpy()))


def converted(model: Any) -> Any:
    """A `whisper.model.Whisper` on the CPU -> the `ctranslate2.specs.WhisperSpec` of its weights."""
    from ctranslate2.specs import WhisperSpec
    from whisper.tokenizer import get_tokenizer

    dims = model.dims
    spec = WhisperSpec(dims.n_audio_layer, dims.n_audio_head, dims.n_text_layer, dims.n_text_head)
    weights = {name: value.float().numpy() for name, value in model.state_dict().items()}
    for own, name in ((spec.encoder, "encoder"), (spec.decoder, "decoder")):
        own.position_encodings.encodings = weights[f"{name}.positional_embedding"]
        for number, layer in enumerate(own.layer):
            _set_layer(weights, layer, f"{name}.blocks.{number}")
    for number, convolution in enumerate((spec.encoder.conv1, spec.encoder.conv2), 1):
        _set(weights, convolution, f"encoder.conv{number}")
    _set(weights, spec.encoder.layer_norm, "encoder.ln_post")
    _set(weights, spec.decoder.layer_norm, "decoder.ln")
    spec.decoder.embeddings.weight = spec.decoder.projection.weight = weights["decoder.token_embedding.weight"]
    words = get_tokenizer(model.is_multilingual, num_languages=model.num_languages)
    named = {token: word for word, token in words.special_tokens.items()}
    if model.is_multilingual:
        named[words.eot - 1] = ""  # by that CTranslate2 knows one of several languages
    spec.register_vocabulary([named.get(token, f"word {token}") for token in range(dims.n_vocab)])
    spec.config.suppress_ids_begin = [*words.encode(" "), words.eot]
    spec.config.lang_ids = sorted(words.all_language_tokens) if model.is_multilingual else []
    spec.validate()
    spec.optimize()
    return spec


def _set_layer(weights: dict[str, np.ndarray], layer: Any, name: str) -> None:
    """A block: attention to itself, in the decoder also to what was heard, and its two products."""
    _set(weights, layer.self_attention.layer_norm, f"{name}.attn_ln")
    _join(weights, layer.self_attention.linear[0], f"{name}.attn", ("query", "key", "value"))
    _set(weights, layer.self_attention.linear[1], f"{name}.attn.out")
    if f"{name}.cross_attn_ln.weight" in weights:
        _set(weights, layer.attention.layer_norm, f"{name}.cross_attn_ln")
        _set(weights, layer.attention.linear[0], f"{name}.cross_attn.query")
        _join(weights, layer.attention.linear[1], f"{name}.cross_attn", ("key", "value"))
        _set(weights, layer.attention.linear[2], f"{name}.cross_attn.out")
    _set(weights, layer.ffn.layer_norm, f"{name}.mlp_ln")
    _set(weights, layer.ffn.linear_0, f"{name}.mlp.0")
    _set(weights, layer.ffn.linear_1, f"{name}.mlp.2")


def _set(weights: dict[str, np.ndarray], part: Any, name: str) -> None:
    """A layer's weight and bias, of a norm called gamma and beta."""
    keys = ("gamma", "beta") if hasattr(part, "gamma") else ("weight", "bias")
    for key, own in zip(keys, ("weight", "bias"), strict=True):
        setattr(part, key, weights[f"{name}.{own}"])


def _join(weights: dict[str, np.ndarray], part: Any, name: str, projections: Sequence[str]) -> None:
    """Several projections as one product; that to keys has no bias."""
    given = [weights[f"{name}.{projection}.weight"] for projection in projections]
    part.weight = np.concatenate(given)
    part.bias = np.concatenate(
        [
            weights.get(f"{name}.{one}.bias", np.zeros(len(w), w.dtype))
            for one, w in zip(projections, given, strict=True)
        ]
    )
