"""Verifiers on any audio: scores of finished files, one by one, so that renders of other tools can be compared.

Higher is better in every column. A file is brought to the level that searches hold before it is scored.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.audio.bandwidth.detector import BandwidthMeter
from ttsr_studio.audio.decode import probe, read_blocks
from ttsr_studio.audio.level import active_rms
from ttsr_studio.audio.resample import resample_blocks
from ttsr_studio.config.annotations import read_annotations
from ttsr_studio.errors import InputError, MissingError, OptionError, shown, unknown
from ttsr_studio.evaluation.benchmark.dataset import RATE
from ttsr_studio.options import RenderOptions
from ttsr_studio.verifiers.protocol import Annotations, Context, Need, Verifier, score_columns
from ttsr_studio.verifiers.registry import ONLY_IN_A_SEARCH, VERIFIERS, load_verifiers

LEVEL = 0.1
"""RMS that the active parts of a file are brought to before it is scored, as searches hold it."""

INSTEAD_OF_INPUT = {"speaker": "--speaker", "clap": "--caption or --captions", "wer": "--transcript"}
"""Verifiers that fall back on the input, and what they can go by instead."""


@dataclass(frozen=True)
class FileScores:
    """A file and its scores by column."""

    path: Path
    seconds: float
    scores: dict[str, float]


def score_finished(
    verifiers: Sequence[Verifier],
    audio: Tensor,
    lr: Tensor,
    cutoff_hz: float,
    annotations: Annotations,
    reference: Tensor | None = None,
) -> dict[str, float]:
    """Scores of finished audio by column; audio, input and reference are [channels, samples] of one shape at 48 kHz."""
    level = active_rms(audio.numpy(), RATE)
    gain = LEVEL / level if level else 1.0
    truth = None if reference is None else reference * gain
    context = Context(RATE, cutoff_hz, lr * gain, reference=truth, annotations=annotations)
    rendered = audio[None] * gain
    scores: dict[str, float] = {}
    for verifier in verifiers:
        scores |= {name: values[0] for name, values in score_columns(verifier, rendered, context).items()}
    return scores


def read_finished(path: Path) -> Tensor:
    """A file at 48 kHz, float32 [channels, samples]. Raises InputError when it cannot be read."""
    info = probe(path)
    blocks = resample_blocks(read_blocks(info), info.rate, RATE, info.channels, info.frames)
    return torch.from_numpy(np.concatenate(list(blocks), axis=1).astype(np.float32))


def cutoff_of(path: Path) -> float:
    """Where a file's band ends, Hz."""
    info = probe(path)
    meter = BandwidthMeter(info.rate)
    for block in read_blocks(info):
        meter.update(block)
    return meter.result().cutoff_hz


class Scorer:
    """Verifiers, loaded as they are asked for, with what is known of the material.

    Args:
        lr: the band-limited input that the files were made from, or None.
        reference: ground truth, or None.
        cutoff_hz: where the input's band ends; None to detect it in the input.
    """

    def __init__(self, lr: Path | None, reference: Path | None, cutoff_hz: float | None, device: str = "cpu") -> None:
        self._device = device
        self._loaded: dict[str, Verifier] = {}
        self._lr = None if lr is None else read_finished(lr)
        self._reference = None if reference is None else read_finished(reference)
        self._cutoff = cutoff_hz or (RATE / 2 if lr is None else cutoff_of(lr))

    def load(self, name: str) -> Verifier:
        """A verifier, loaded once. Raises MissingError when its weights, input or reference is not there."""
        if name not in self._loaded:
            given: dict[Need, Tensor | None] = {"input": self._lr, "reference": self._reference}
            available = frozenset(need for need, audio in given.items() if audio is not None)
            (self._loaded[name],) = load_verifiers([name], available, self._device)
        return self._loaded[name]

    def verifiers(self, names: Sequence[str], known: Collection[str]) -> list[Verifier]:
        """Verifiers of these names; all that can score finished files here when none is named.

        Args:
            known: which of `INSTEAD_OF_INPUT` have something to go by.

        Raises OptionError for one that lives in a search, or that has neither input nor what it goes by, and
        MissingError as `load`.
        """
        for name in names:
            if name not in VERIFIERS:
                raise unknown("verifier", name, sorted(set(VERIFIERS) - ONLY_IN_A_SEARCH))
            if name in ONLY_IN_A_SEARCH:
                raise OptionError(
                    f"verifier {name!r} scores candidates during a search, not finished files; leave it out"
                )
            if not self._goes_by_something(name, known):
                raise OptionError(f"verifier {name!r} needs {INSTEAD_OF_INPUT[name]}, or --input FILE to fall back on")
        if names:
            return [self.load(name) for name in names]
        found = []
        for name in VERIFIERS:
            if name not in ONLY_IN_A_SEARCH and self._goes_by_something(name, known):
                with suppress(MissingError):
                    found.append(self.load(name))
        return found

    def _goes_by_something(self, name: str, known: Collection[str]) -> bool:
        return self._lr is not None or name not in INSTEAD_OF_INPUT or name in known

    def score(self, path: Path, annotations: Annotations, names: Sequence[str]) -> FileScores:
        """Score a file by verifiers of these names; all that can when there are none.

        Raises InputError when it cannot be read or does not fit the input or reference, OptionError and MissingError
        as `verifiers`.
        """
        given = {
            "speaker": annotations.speakers,
            "clap": annotations.caption or annotations.captions,
            "wer": annotations.transcript,
        }
        verifiers = self.verifiers(names, {name for name in INSTEAD_OF_INPUT if given[name]})
        if not verifiers:
            raise InputError(f"{shown(path)}: no verifier here can score it; pass --input, or see `ttsr doctor`")
        audio = read_finished(path)
        lr = self._fitting(self._lr, audio, path, "input")
        reference = self._fitting(self._reference, audio, path, "reference")
        known = replace(annotations, cache={})
        scores = score_finished(verifiers, audio, audio if lr is None else lr, self._cutoff, known, reference)
        return FileScores(path, audio.shape[1] / RATE, scores)

    def _fitting(self, other: Tensor | None, audio: Tensor, path: Path, what: str) -> Tensor | None:
        """The other file at the length of the audio, when they are the same but for a few samples."""
        if other is None:
            return None
        if other.shape[0] != audio.shape[0] or abs(other.shape[1] - audio.shape[1]) > RATE // 20:
            raise InputError(
                f"{shown(path)}: {audio.shape[0]} channels, {audio.shape[1] / RATE:.2f} s; the {what} has "
                f"{other.shape[0]}, {other.shape[1] / RATE:.2f} s"
            )
        fitted = torch.zeros_like(audio)
        kept = min(other.shape[1], audio.shape[1])
        fitted[:, :kept] = other[:, :kept]
        return fitted


def annotations_of(path: Path, options: RenderOptions) -> Annotations:
    """What is known of a file: its own sidecar, or the options."""
    return read_annotations(path, options, RATE)
