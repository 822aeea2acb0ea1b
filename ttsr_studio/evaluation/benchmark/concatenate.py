"""Clips joined into programmes: a choice by window is only another than one by clip where windows are several."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ttsr_studio.evaluation.benchmark.dataset import RATE, Clip, read_clip, write_float_wav

CLIP_FADE_SECONDS = 0.01


def join_clips(clips: Sequence[Clip], seconds: float, folder: Path) -> list[Clip]:
    """Clips of one kind end to end, as they come, in mono, each programme at least so long.

    Every clip fades in and out over 10 ms and brings its own level. A programme's band ends where the lowest of its
    clips' ends. What is too short at the end of a kind joins the programme before.

    Args:
        folder: where the programmes are written, 32-bit float WAV.

    Raises InputError for a clip that cannot be read.
    """
    programmes = []
    for kind in dict.fromkeys(clip.kind for clip in clips):
        for number, parts in enumerate(in_programmes([clip for clip in clips if clip.kind == kind], seconds)):
            path = folder / f"{kind}_{number:02d}.wav"
            write_float_wav(path, np.concatenate([faded(audio) for _, audio in parts])[None], RATE)
            edges = [clip.edge_hz for clip, _ in parts if clip.edge_hz is not None]
            programmes.append(Clip(path, path.name, kind, min(edges, default=None)))
    return programmes


def in_programmes(clips: Sequence[Clip], seconds: float) -> list[list[tuple[Clip, np.ndarray]]]:
    """Successive clips with their mono audio, in groups of at least so many seconds."""
    groups: list[list[tuple[Clip, np.ndarray]]] = [[]]
    for clip in clips:
        audio = read_clip(clip.path).mean(axis=0)
        if sum(len(part) for _, part in groups[-1]) >= seconds * RATE:
            groups.append([])
        groups[-1].append((clip, audio))
    if len(groups) > 1 and sum(len(part) for _, part in groups[-1]) < seconds * RATE:
        rest = groups.pop()
        groups[-1] += rest
    return groups


def faded(audio: np.ndarray) -> np.ndarray:
    """A clip [samples] without clicks at its ends."""
    length = min(round(CLIP_FADE_SECONDS * RATE), len(audio) // 2)
    rise = np.sin(0.5 * np.pi * (np.arange(length) + 0.5) / max(1, length)) ** 2
    audio = audio.copy()
    audio[:length] *= rise
    audio[len(audio) - length :] *= rise[::-1]
    return audio
