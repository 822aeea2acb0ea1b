"""The clips of an evaluation, and audio as arrays: float32 [channels, samples] at 48 kHz, full scale 1.0."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.io import wavfile

from ttsr_studio.audio.decode import probe, read_blocks
from ttsr_studio.audio.formats import SUFFIXES
from ttsr_studio.errors import InputError, OptionError, shown, unknown

RATE = 48000
LENGTH_TOLERANCE = 0.01
"""How far a system's output may be from the truth's length, relative."""
EXCERPT = "[excerpt of]"
"""Begins a transcript that is of more than the clip holds."""

Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """One full-band clip.

    Attributes:
        path: the file.
        name: its path below the manifest or folder.
        kind: content type, "all" where none is given.
        edge_hz: above this the clip itself holds nothing; None for full-band.
        transcript: the words that are spoken in it, all of them and no others; None when not known.
        caption: what is to be heard, in a sentence; None when not known.
        speaker: another recording of the same speaker; None when there is none.
    """

    path: Path
    name: str
    kind: str
    edge_hz: float | None
    transcript: str | None = None
    caption: str | None = None
    speaker: Path | None = None

    @property
    def stem(self) -> str:
        return self.path.stem


def load_corpus(source: Path, kinds: Sequence[str] = (), limit: int | None = None) -> list[Clip]:
    """List the clips of a manifest (CSV with column `file`, paths relative to it) or of a folder.

    In a folder, the first folder below it is the kind, and clips count as full-band. A manifest may also give `kind`,
    band edges, `transcript`, `caption` (or one of the two in `transcript_or_caption`: the first for kind speech) and
    `reference`, another recording of the speaker, relative to it; without that it is the speaker's next clip, by
    `speaker_or_class`.

    Args:
        kinds: only these; all when empty.
        limit: only the first so many of each kind.

    Raises OptionError for a manifest that cannot be used, an unknown kind, or no clips at all.
    """
    clips = _folder(source) if source.is_dir() else _manifest(source)
    known = list(dict.fromkeys(clip.kind for clip in clips))
    for kind in kinds:
        if kind not in known:
            raise unknown("kind", kind, known)
    chosen = [
        clip
        for kind in known
        if not kinds or kind in kinds
        for clip in [clip for clip in clips if clip.kind == kind][:limit]
    ]
    if not chosen:
        raise OptionError(f"{source}: no clips to evaluate")
    return chosen


def _folder(root: Path) -> list[Clip]:
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    names = [path.relative_to(root) for path in paths]
    return [
        Clip(path, name.as_posix(), name.parts[0] if len(name.parts) > 1 else "all", None)
        for path, name in zip(paths, names, strict=True)
    ]


def _manifest(path: Path) -> list[Clip]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OptionError(f"{shown(path)}: not a manifest: {error}") from error
    if not rows or not all(row.get("file") for row in rows):
        raise OptionError(f"{shown(path)}: a manifest is a CSV with a column 'file', filled in every row")
    return [
        Clip(
            path.parent / row["file"], row["file"], row.get("kind") or "all", _edge(path, row), *_texts(row),
            _speaker(path, row, rows),
        )
        for row in rows
    ]  # fmt: skip


def _texts(row: dict[str, str]) -> tuple[str | None, str | None]:
    """Transcript and caption of a manifest's row. That of an excerpt is of more than the clip holds: not known."""
    either, speech = row.get("transcript_or_caption"), row.get("kind") == "speech"
    transcript = row.get("transcript") or (either if speech else None)
    caption = row.get("caption") or (None if speech else either)
    return None if (transcript or "").startswith(EXCERPT) else transcript or None, caption or None


def _speaker(path: Path, row: dict[str, str], rows: Sequence[dict[str, str]]) -> Path | None:
    """Another recording of a row's speaker: the one that it names, or the speaker's next clip in the manifest."""
    if row.get("reference"):
        return path.parent / row["reference"]
    if row.get("kind") != "speech" or not row.get("speaker_or_class"):
        return None
    names = ("kind", "speaker_or_class")
    same = [other["file"] for other in rows if all(other.get(name) == row[name] for name in names)]
    following = same[(same.index(row["file"]) + 1) % len(same)]
    return None if following == row["file"] else path.parent / following


def _edge(path: Path, row: dict[str, str]) -> float | None:
    """The lower of the two band edges of a manifest's row, Hz; None when it gives neither."""
    given = [row[column] for column in ("band_edge_hz", "floor_edge_hz") if row.get(column)]
    try:
        edge = min((float(value) for value in given), default=math.inf)
    except ValueError:
        raise OptionError(f"{shown(path)}: {row['file']}: band edges are numbers in Hz, not {given}") from None
    return edge if edge < RATE / 2 else None


def read_clip(path: Path, seconds: float | None = None) -> Audio:
    """Read a file, or its first seconds, at 48 kHz. Raises InputError when it cannot be read."""
    info = probe(path)
    audio = np.concatenate(list(read_blocks(info)), axis=1)
    audio = audio if seconds is None else audio[:, : max(1, round(seconds * info.rate))]
    return resample(audio, info.rate, RATE)


def write_float_wav(path: Path, audio: Audio, rate: int) -> None:
    """Write 32-bit float WAV; the same audio gives the same bytes (libsndfile writes the time of day into it)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, np.ascontiguousarray(audio.T, np.float32))


def resample(audio: Audio, rate_in: int, rate_out: int) -> Audio:
    """Change the rate with soxr VHQ: flat to 0.91 of the lower half-rate, nothing above that half-rate."""
    if rate_in == rate_out:
        return audio
    changed = soxr.resample(np.ascontiguousarray(audio.T), rate_in, rate_out, quality="VHQ")
    return np.ascontiguousarray(changed.T)


def fit(audio: Audio, channels: int, frames: int, what: str) -> Audio:
    """Bring a system's output to the truth's shape: cut, or padded with zeros, at its end.

    A mono output of a clip with more channels is what it would play as, the same in each.

    Raises InputError when the length is more than 1 % away or the channels do not fit.
    """
    if abs(audio.shape[1] - frames) > LENGTH_TOLERANCE * frames:
        raise InputError(f"{what}: {audio.shape[1] / RATE:.3f} s against {frames / RATE:.3f} s of the truth")
    if audio.shape[0] not in (1, channels):
        raise InputError(f"{what}: {audio.shape[0]} channels against {channels} of the truth")
    audio = np.pad(audio, ((0, 0), (0, max(0, frames - audio.shape[1]))))[:, :frames]
    return np.repeat(audio, channels // audio.shape[0], axis=0)


def output_folder(folder: Path, cutoff_hz: float, cutoffs: int) -> Path:
    """Where another system's audio for one cutoff lies: DIR/4000, or DIR itself for a single cutoff."""
    inner = folder / f"{cutoff_hz:g}"
    if not inner.is_dir() and cutoffs > 1:
        raise OptionError(f"{shown(folder)}: holds no folder {cutoff_hz:g}; with several cutoffs each needs its own")
    return inner if inner.is_dir() else folder


def find_output(folder: Path, clip: Clip) -> Path:
    """The finished audio of a clip: same stem, and same folder below when several have that stem.

    Raises InputError when there is none, or more than one.
    """
    found = sorted(p for p in folder.rglob(f"{_literal(clip.stem)}.*") if p.suffix.lower() in SUFFIXES)
    if len(found) > 1:
        place = (folder / clip.name).parent
        found = [path for path in found if path.parent == place] or found
    if len(found) != 1:
        problem = "no audio" if not found else f"{len(found)} files"
        raise InputError(f"{shown(folder)}: {problem} with the stem {clip.stem}")
    return found[0]


def _literal(stem: str) -> str:
    """A stem whose brackets and stars mean themselves in a glob."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in stem)
