"""The judges on any audio: scores of finished files, one by one, so that renders of other tools can be compared."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.audio.bandwidth import BandwidthMeter
from ttsr_studio.audio.decode import probe, read_blocks
from ttsr_studio.audio.level import active_rms
from ttsr_studio.audio.resample import resample_blocks
from ttsr_studio.config.annotations import read_annotations
from ttsr_studio.errors import InputError, MissingError, OptionError, unknown
from ttsr_studio.options import RenderOptions
from ttsr_studio.verifiers.protocol import Annotations, Context, Need, Verifier, score_columns
from ttsr_studio.verifiers.registry import VERIFIERS, load_verifiers

RATE = 48000
LEVEL = 0.1
"""RMS that the active parts of a file are brought to before it is judged, as searches hold it."""

ONLY_IN_A_SEARCH = {"consensus", "self_consistency"}
TELLING = {"speaker": "--speaker", "clap": "--caption or --captions", "wer": "--transcript"}
"""Verifiers that fall back on the input, and what they can go by instead."""


@dataclass(frozen=True)
class Scored:
    """A file and what was said of it, by column."""

    path: Path
    seconds: float
    scores: dict[str, float]


def choose_judges(names: Sequence[str], known: Collection[str], lr: Path | None, reference: Path | None) -> list[str]:
    """Names of the verifiers that can judge finished files here; all that can when none is named.

    Args:
        known: which of `TELLING` have something to go by.

    Raises OptionError for a verifier that lives in a search, or that has neither input nor what it goes by.
    """
    for name in names:
        if name not in VERIFIERS:
            raise unknown("verifier", name, sorted(set(VERIFIERS) - ONLY_IN_A_SEARCH))
        if name in ONLY_IN_A_SEARCH:
            raise OptionError(f"verifier {name!r} judges candidates during a search, not finished files; leave it out")
        if lr is None and name in TELLING and name not in known:
            raise OptionError(f"verifier {name!r} needs {TELLING[name]}, or --input FILE to fall back on")
    if names:
        return list(names)
    usable = [
        name for name in VERIFIERS if name not in ONLY_IN_A_SEARCH and (lr or name not in TELLING or name in known)
    ]
    return [name for name in usable if _can(name, lr, reference)]


def _can(name: str, lr: Path | None, reference: Path | None) -> bool:
    try:
        load_judges([name], lr, reference)
    except MissingError:
        return False
    return True


def load_judges(names: Sequence[str], lr: Path | None, reference: Path | None, device: str = "cpu") -> list[Verifier]:
    """Load verifiers. Raises MissingError for one whose weights, input or reference is not there."""
    available: set[Need] = set()
    available |= {"input"} if lr else set()
    available |= {"reference"} if reference else set()
    return load_verifiers(names, frozenset(available), device)


def read_audio(path: Path) -> Tensor:
    """A file at 48 kHz, float32 [channels, samples]. Raises InputError when it cannot be read."""
    info = probe(path)
    blocks = resample_blocks(read_blocks(info), info.rate, RATE, info.channels, info.frames)
    return torch.from_numpy(np.concatenate(list(blocks), axis=1).astype(np.float32))


def detect_cutoff(path: Path) -> float:
    """Where a file's band ends, Hz."""
    info = probe(path)
    meter = BandwidthMeter(info.rate)
    for block in read_blocks(info):
        meter.update(block)
    return meter.result().cutoff_hz


class Scorer:
    """Judges, loaded as they are asked for, with what is known of the material.

    Args:
        lr: the band-limited input that the files were made from, or None.
        reference: ground truth, or None.
        cutoff_hz: where the input's band ends; None to detect it in the input.
    """

    def __init__(self, lr: Path | None, reference: Path | None, cutoff_hz: float | None, device: str = "cpu") -> None:
        self._given, self._device = (lr, reference), device
        self._loaded: dict[str, Verifier] = {}
        self._lr = None if lr is None else read_audio(lr)
        self._reference = None if reference is None else read_audio(reference)
        self._cutoff = cutoff_hz or (RATE / 2 if lr is None else detect_cutoff(lr))

    def load(self, names: Sequence[str]) -> list[Verifier]:
        """Verifiers by name, each loaded once. Raises as `load_judges`."""
        for name in names:
            if name not in self._loaded:
                self._loaded |= {name: load_judges([name], *self._given, self._device)[0]}
        return [self._loaded[name] for name in names]

    def score(self, path: Path, annotations: Annotations, names: Sequence[str]) -> Scored:
        """Judge a file by verifiers of these names; all that can when there are none.

        Raises InputError when it cannot be read or does not fit the input or reference, OptionError and MissingError
        as `choose_judges` and `load_judges`.
        """
        given = {
            "speaker": annotations.speakers,
            "clap": annotations.caption or annotations.captions,
            "wer": annotations.transcript,
        }
        judges = self.load(choose_judges(names, {name for name in TELLING if given[name]}, *self._given))
        if not judges:
            raise InputError(f"{path}: no verifier here can judge it; pass --input, or see `ttsr doctor`")
        audio = read_audio(path)
        lr = self._fitting(self._lr, audio, path, "input")
        reference = self._fitting(self._reference, audio, path, "reference")
        level = active_rms(audio.numpy(), RATE)
        gain = LEVEL / level if level else 1.0
        context = Context(
            RATE,
            self._cutoff,
            (audio if lr is None else lr) * gain,
            reference=None if reference is None else reference * gain,
            annotations=replace(annotations, cache={}),
        )
        rendered = audio[None] * gain
        scores: dict[str, float] = {}
        for verifier in judges:
            scores |= {name: values[0] for name, values in score_columns(verifier, rendered, context).items()}
        return Scored(path, audio.shape[1] / RATE, scores)

    def _fitting(self, other: Tensor | None, audio: Tensor, path: Path, what: str) -> Tensor | None:
        """The other file at the length of the audio, when they are the same but for a few samples."""
        if other is None:
            return None
        if other.shape[0] != audio.shape[0] or abs(other.shape[1] - audio.shape[1]) > RATE // 20:
            raise InputError(
                f"{path}: {audio.shape[0]} channels, {audio.shape[1] / RATE:.2f} s; the {what} has {other.shape[0]}, "
                f"{other.shape[1] / RATE:.2f} s"
            )
        fitted = torch.zeros_like(audio)
        kept = min(other.shape[1], audio.shape[1])
        fitted[:, :kept] = other[:, :kept]
        return fitted


def annotations_of(path: Path, options: RenderOptions) -> Annotations:
    """What is known of a file: its own sidecar, or the options."""
    return read_annotations(path, options, RATE)
