"""What the user knows of a file: from flags, and from its sidecar, which wins."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ttsr_studio.audio.resample import read_mono
from ttsr_studio.config.sidecar import read_sidecar, sidecar
from ttsr_studio.options import RenderOptions
from ttsr_studio.storage.home import from_home
from ttsr_studio.verifiers.protocol import Annotations


def read_annotations(source: Path, options: RenderOptions, rate: int) -> Annotations:
    """Everything known of a file, the speakers' recordings at `rate`.

    Raises InputError for a sidecar or a recording that cannot be read, or an unknown key.
    """
    path = sidecar(source)
    return stated_annotations(options, rate, path, read_sidecar(path) if path.is_file() else {})


def stated_annotations(
    options: RenderOptions, rate: int, path: Path = Path(), known: Mapping[str, Any] = MappingProxyType({})
) -> Annotations:
    """What options say of a file, then what its sidecar at `path` holds. Raises what `read_annotations` does."""
    near = [path.parent / from_home(name) for name in known.get("speaker", ())]
    return Annotations(
        transcript=known.get("transcript", options.transcript),
        caption=known.get("caption", options.caption),
        captions=tuple(known.get("captions", options.captions)),
        speakers=tuple(read_mono(recording, rate) for recording in near or options.speakers),
        rate=rate,
    )
