"""What the user knows of a file: from flags, and from a sidecar `NAME.ttsr.toml` beside it, which wins.

transcript = "the words that are spoken"
caption = "a finger-picked guitar in a dry room"
captions = ["speech", "music"]        # what it may be, when there is no caption
speaker = ["other_take.wav"]          # recordings of the same speaker, relative to the sidecar
"""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ttsr_studio.audio.files import probe, read_blocks
from ttsr_studio.audio.stream import resample_blocks
from ttsr_studio.errors import InputError, TtsrError, unknown
from ttsr_studio.options import RenderOptions
from ttsr_studio.verifiers import Brief

KEYS = {"transcript": str, "caption": str, "captions": list, "speaker": list}


def sidecar(source: Path) -> Path:
    """Where a file's sidecar is, or would be."""
    return source.with_name(f"{source.stem}.ttsr.toml")


def read_brief(source: Path, options: RenderOptions, rate: int) -> Brief:
    """Everything known of a file, the speakers' recordings at `rate`.

    Raises InputError for a sidecar or a recording that cannot be read, or an unknown key.
    """
    path = sidecar(source)
    known: dict[str, Any] = read_sidecar(path) if path.is_file() else {}
    near = [path.parent / name for name in known.get("speaker", ())]
    return Brief(
        transcript=known.get("transcript", options.transcript),
        caption=known.get("caption", options.caption),
        captions=tuple(known.get("captions", options.captions)),
        speakers=tuple(read_mono(recording, rate) for recording in near or options.speakers),
        rate=rate,
    )


def read_sidecar(path: Path) -> dict[str, Any]:
    """A sidecar's values. Raises InputError for broken TOML, an unknown key or a value of another type."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a readable sidecar: {error}") from error
    for key, value in values.items():
        if key not in KEYS:
            raise InputError(f"{path}: {unknown('key', key, KEYS)}")
        kind = KEYS[key]
        if not isinstance(value, kind) or (kind is list and not all(isinstance(item, str) for item in value)):
            raise InputError(f"{path}: {key} must be {'a text' if kind is str else 'a list of texts'}")
    return values


def read_mono(path: Path, rate: int) -> torch.Tensor:
    """A recording as the mean of its channels, float32 [samples]. Raises InputError when it cannot be read."""
    try:
        info = probe(path)
        blocks = resample_blocks(read_blocks(info), info.rate, rate, info.channels, info.frames)
        return torch.from_numpy(np.concatenate([block.mean(axis=0) for block in blocks]).astype(np.float32))
    except TtsrError as error:
        raise InputError(f"recording of the speaker: {error}") from error
