"""What the user knows of a file: from flags, and from a sidecar `NAME.ttsr.toml` beside it, which wins.

transcript = "the words that are spoken"
caption = "a finger-picked guitar in a dry room"
captions = ["speech", "music"]        # what it may be, when there is no caption
speaker = ["other_take.wav"]          # recordings of the same speaker, relative to the sidecar
reference = "truth.wav"               # ground truth, for the oracle lsd
preset = "speech"                     # and any option of `ttsr render`, as in a preset
candidates = 16
"""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ttsr_studio.audio.files import probe, read_blocks
from ttsr_studio.audio.stream import resample_blocks
from ttsr_studio.audio.write import fit_name
from ttsr_studio.errors import InputError, TtsrError, shown, unknown
from ttsr_studio.options import PRESET_KEYS, RenderOptions
from ttsr_studio.verifiers import Brief

KEYS = {"transcript": str, "caption": str, "captions": list, "speaker": list}
"""What is known of a file."""

OWN = {"preset": str, "reference": str}
"""What goes before options besides, and is no option of a preset."""


def sidecar(source: Path) -> Path:
    """Where a file's sidecar is, or would be."""
    return source.with_name(fit_name(f"{source.stem}.ttsr.toml"))


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
    """A sidecar's values by key; those of options are as they stand there.

    Raises InputError for broken TOML, an unknown key, or a value of another type than what is known of a file has.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{shown(path)}: not a readable sidecar: {error}") from error
    for key, value in values.items():
        if key not in (*KEYS, *OWN, *PRESET_KEYS):
            raise InputError(f"{shown(path)}: {unknown('key', key, {*KEYS, *OWN, *PRESET_KEYS})}")
        refuse_kind(path, key, value)
    return values


def refuse_kind(path: Path, key: str, value: Any) -> None:
    """Raise InputError for a value of another type than what is known of a file has."""
    kind = (KEYS | OWN).get(key)
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if (kind is str and not isinstance(value, str)) or (kind is list and not texts):
        raise InputError(f"{shown(path)}: {key} must be {'a text' if kind is str else 'a list of texts'}")


def read_mono(path: Path, rate: int) -> torch.Tensor:
    """A recording as the mean of its channels, float32 [samples]. Raises InputError when it cannot be read."""
    try:
        info = probe(path)
        blocks = resample_blocks(read_blocks(info), info.rate, rate, info.channels, info.frames)
        return torch.from_numpy(np.concatenate([block.mean(axis=0) for block in blocks]).astype(np.float32))
    except TtsrError as error:
        raise InputError(f"recording of the speaker: {error}") from error
