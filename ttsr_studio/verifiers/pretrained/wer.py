"""Word and character errors: does a speech recogniser still find the words?

Compares Whisper's transcript of a candidate with the words that were spoken (Radford et al. 2023), both through
Whisper's own text normaliser, so that casing, punctuation, fillers ("um"), contractions and the spelling of numbers do
not count: the English one for English, the basic one for all other languages. Of a model that knows several languages,
that of the input is taken.

Band: speech up to 8 kHz (it resamples to 16 kHz), the mean of the channels; nothing of the band above.
Needs: nothing. Without a transcript in the annotations, what the same recogniser finds in the input is the reference
(`WER.note` says which); that measures what a render changed, so words that the input had lost already do not count. A
transcript is the whole clip's: for windows of a clip it counts all other words as lost, which ranks candidates but
makes a poor number.
Shape and rate: [N, channels, samples] at any rate; it takes 30 s at a time, each stretch on its own, and shorter audio
is padded with silence. Words at the seams may be lost, in all candidates alike. Decoding is greedy, at temperature 0,
in fp32, of one candidate at a time on a CPU, where a score is the same in every run, whatever else is in the batch, and
of 16 at once on a GPU. Where faster-whisper is installed its engine runs the same weights.
Unit, range, direction: scales "WER" and "CER", minus the errors per word and per character (spaces count) of the
reference, 0 to -1 and below (insertions have no limit); higher is better. In a language written without spaces only CER
means something.
Silence: whatever Whisper makes up, if anything. Where neither text has a word, both scales are 0. Where only the
reference has none, every word found is an insertion, counted against one word: minus the number of words, and of
characters. Where only the candidate has none, both are -1.
Weights and licence: whisper.pt (Whisper base.en, 145 MB) by `ttsr models fetch whisper`, MIT (OpenAI).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ttsr_studio.errors import MissingError, pip_install
from ttsr_studio.verifiers.protocol import Context, Need, Scope, resampled
from ttsr_studio.verifiers.recognition.recogniser import Recogniser, Transcript
from ttsr_studio.weights import store

RATE = 16000
NOTE_LENGTH = 80

Normaliser = Callable[[str], str]


class WER:
    """Minus the word and the character error rate of Whisper's transcript; see the module."""

    name = "wer"
    unit = "-WER"
    scope: Scope = "clip"
    instead_of_input = "transcript"
    needs: frozenset[Need] = frozenset()

    def __init__(self, device: str = "cpu") -> None:
        """Load the recogniser. Raises MissingError when a package or the weights are not installed, or do not fit."""
        try:
            import jiwer  # noqa: F401
            import whisper
            from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer
        except ImportError as error:
            raise MissingError(
                f"verifier 'wer' needs the package {error.name!r}: {pip_install('ttsr-studio[judges]')}"
            ) from error
        folder, manifest = store.require("whisper")
        try:
            model = whisper.load_model(str(folder / "whisper.pt"), device="cpu")
        except (RuntimeError, TypeError) as error:
            raise MissingError(f"whisper: its weights do not fit the model; {store.remedy('whisper')}") from error
        if model.alignment_heads.is_sparse:  # Apple's GPUs have no sparse tensors; only times of words need it so
            model.register_buffer("alignment_heads", model.alignment_heads.to_dense(), persistent=False)
        self._recogniser = Recogniser(model, device)
        self.weights = manifest.checksums()
        self.licence = manifest.licence
        self._english: Normaliser = EnglishTextNormalizer()
        self._basic: Normaliser = BasicTextNormalizer()

    def score(self, audio: Tensor, context: Context) -> dict[str, Tensor]:
        """Score candidates [N, channels, samples] by the transcript that is known, or by what is found in the input.

        Returns {"WER", "CER"}: minus errors per word and per character, [N] each, float64, higher is better; NaN for
        audio that is not finite, and for all when the input was to be transcribed and is not finite.
        """
        expected = self._expected(context)
        mono = context.mono(audio, RATE)
        errors = torch.full((len(mono), 2), torch.nan, dtype=torch.float64)
        usable = mono.isfinite().all(1)
        if expected is not None and usable.any():
            found = self._recogniser.transcribe(mono[usable], expected.language)
            errors[usable] = torch.tensor([self._errors(one.text, expected) for one in found], dtype=torch.float64)
        return {"WER": 0 - errors[:, 0], "CER": 0 - errors[:, 1]}

    def note(self, context: Context) -> str:
        """Say in a line where the reference is from, for reports."""
        if context.annotations.transcript is not None:
            return "transcript: given"
        found = self._in_input(context)
        text = " ".join(found.text.split()) if found else ""
        if not text:
            return f"transcript: no words found in the input by {self._recogniser.network.name}"
        shown = text if len(text) <= NOTE_LENGTH else text[: NOTE_LENGTH - 1].rstrip() + "…"
        return f"transcript: found in the input by {self._recogniser.network.name}: '{shown}'"

    def _expected(self, context: Context) -> Transcript | None:
        """The reference and its language, None when they cannot be known."""
        given = context.annotations.transcript
        if given is not None and not self._recogniser.multilingual:
            return Transcript(given, "en")
        found = self._in_input(context)
        return found if given is None or found is None else Transcript(given, found.language)

    def _in_input(self, context: Context) -> Transcript | None:
        """The transcript of the input, once per stretch."""
        if "wer" not in context.cache:
            mono = resampled(context.lr.mean(0), context.sample_rate, RATE)
            known = bool(mono.isfinite().all())
            context.cache["wer"] = self._recogniser.transcribe(mono[None], None)[0] if known else None
        found: Transcript | None = context.cache["wer"]
        return found

    def _errors(self, text: str, expected: Transcript) -> tuple[float, float]:
        """Errors per word and per character of what was found in a candidate."""
        normaliser = self._english if expected.language == "en" else self._basic
        return word_and_character_errors(expected.text, text, normaliser)


def word_and_character_errors(reference: str, hypothesis: str, normaliser: Normaliser) -> tuple[float, float]:
    """Substitutions, deletions and insertions after normalisation, per word and per character of the reference.

    Fractions, 0 or more; 0 when neither text has a word, and the number of words and of characters of the hypothesis
    when only the reference has none.
    """
    import jiwer

    reference, hypothesis = (" ".join(normaliser(text).split()) for text in (reference, hypothesis))
    if not reference:
        return float(len(hypothesis.split())), float(len(hypothesis))
    return float(jiwer.wer(reference, hypothesis)), float(jiwer.cer(reference, hypothesis))
