"""What the user knows of a file: from flags, and from its sidecar, which wins."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ttsr_studio.audio.files import probe, read_blocks
from ttsr_studio.audio.stream import resample_blocks
from ttsr_studio.errors import InputError, TtsrError
from ttsr_studio.options import RenderOptions
from ttsr_studio.sidecars import read_sidecar, sidecar
from ttsr_studio.verifiers import Brief


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


def read_mono(path: Path, rate: int) -> torch.Tensor:
    """A recording as the mean of its channels, float32 [samples]. Raises InputError when it cannot be read."""
    try:
        info = probe(path)
        blocks = resample_blocks(read_blocks(info), info.rate, rate, info.channels, info.frames)
        return torch.from_numpy(np.concatenate([block.mean(axis=0) for block in blocks]).astype(np.float32))
    except TtsrError as error:
        raise InputError(f"recording of the speaker: {error}") from error
