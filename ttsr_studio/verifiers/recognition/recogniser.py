"""Whisper by its authors' package or, where that is installed, by faster-whisper's engine CTranslate2: same weights.

30 s are heard at a time, each stretch on its own; decoding is greedy, at temperature 0, in fp32 and without timestamps,
as `whisper.transcribe` has it with `condition_on_previous_text=False`: a stretch that is said to be no speech (above
0.6), by words of a mean log-probability of -1 or below, has no words.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ttsr_studio.verifiers.pretrained.loading import ROWS
from ttsr_studio.verifiers.recognition.faster import FasterWhisper, Said, usable_on

NO_SPEECH, UNSURE = 0.6, -1.0


@dataclass(frozen=True)
class Transcript:
    """What the recogniser finds: the words, and their language as a code of two letters or so."""

    text: str
    language: str


class Network(Protocol):
    """Whisper's networks.

    Attributes:
        name: of what runs them, for people.
        rows: stretches that are heard at once.
    """

    name: str
    rows: int

    def language(self, mel: Tensor) -> str:
        """The language of a stretch [mels, 3000]."""
        ...

    def decode(self, mels: Tensor, language: str) -> list[Said]:
        """What is said in stretches [N, mels, 3000]."""
        ...


class Recogniser:
    """Transcribes recordings by a Whisper; see the module."""

    def __init__(self, model: Any, device: str) -> None:
        """`model` is a `whisper.model.Whisper` on the CPU, whose weights are taken."""
        self.multilingual: bool = model.is_multilingual
        self._languages, self._mels = model.num_languages, model.dims.n_mels
        quick = usable_on(device)
        self.network: Network = FasterWhisper(model, device) if quick else TorchWhisper(model.to(device), device)

    @torch.no_grad()
    def transcribe(self, rows: Tensor, language: str | None) -> list[Transcript]:
        """Transcribe recordings [N, samples] at 16 kHz, in the language of the first one's start when none is given."""
        from whisper.audio import N_FRAMES, N_SAMPLES, log_mel_spectrogram, pad_or_trim
        from whisper.tokenizer import get_tokenizer

        found: list[Transcript] = []
        for some in rows.split(self.network.rows):
            mels = torch.stack([log_mel_spectrogram(row, self._mels, padding=N_SAMPLES) for row in some])
            if language is None:
                language = self.network.language(pad_or_trim(mels[0], N_FRAMES)) if self.multilingual else "en"
            tokenizer = get_tokenizer(self.multilingual, num_languages=self._languages, language=language)
            texts: list[list[int]] = [[] for _ in some]
            content = mels.shape[-1] - N_FRAMES
            for start in range(0, content, N_FRAMES):
                part = pad_or_trim(mels[..., start : min(start + N_FRAMES, content)], N_FRAMES)
                for text, said in zip(texts, self.network.decode(part, language), strict=True):
                    if (said.no_speech <= NO_SPEECH or said.sure > UNSURE) and tokenizer.decode(said.tokens).strip():
                        text += said.tokens
            found += [Transcript(tokenizer.decode(text), language) for text in texts]
        return found


class TorchWhisper:
    """The networks by the package of their authors, in torch."""

    name = "whisper"

    def __init__(self, model: Any, device: str) -> None:
        self._model, self._device = model, torch.device(device)
        self.rows = 1 if self._device.type == "cpu" else ROWS

    def language(self, mel: Tensor) -> str:
        _, likely = self._model.detect_language(mel.to(self._device))
        return str(max(likely, key=likely.get))

    def decode(self, mels: Tensor, language: str) -> list[Said]:
        from whisper.decoding import DecodingOptions

        options = DecodingOptions(language=language, without_timestamps=True, fp16=False)
        results = self._model.decode(mels.to(self._device), options)
        return [Said(found.tokens, found.no_speech_prob, found.avg_logprob) for found in results]
