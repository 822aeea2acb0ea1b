"""Run systems over clips and cutoffs, and keep every result: one line of JSON each, found again by content."""

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttsr_studio import __version__
from ttsr_studio.errors import OutputError, TtsrError
from ttsr_studio.evaluation.benchmark.dataset import RATE, Clip, write_audio
from ttsr_studio.evaluation.benchmark.degradation import LowPass
from ttsr_studio.evaluation.benchmark.metrics import METRICS, measure
from ttsr_studio.evaluation.benchmark.perceptual import perceived, versions
from ttsr_studio.evaluation.benchmark.systems import INPUT, Item, Made, System

if TYPE_CHECKING:
    from ttsr_studio.evaluation.benchmark.pictures import Pictures

MEASURES = 3
"""Raised whenever a metric or a built-in system changes, so that old results are not mixed with new ones."""

Row = dict[str, Any]


class UnreadableError(TtsrError):
    """A clip that no system can be measured on."""


@dataclass(frozen=True)
class Conditions:
    """What holds for all systems: cutoffs in Hz, the low-pass, and the length of clips heard (None: all)."""

    cutoffs: tuple[float, ...]
    low_pass: LowPass
    seconds: float | None


class Results:
    """The results file. A last line that was cut short by a crash is dropped.

    Raises OutputError when the file cannot be read or written, or is not a results file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        self.computed = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
            if lines and not lines[-1].endswith("\n"):
                path.write_text("".join(lines[:-1]), encoding="utf-8")
                del lines[-1]
            for line in lines:
                row = json.loads(line)
                self.rows[row["key"]] = row
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{path}: not a results file of ttsr evaluate; choose another --out") from error

    def add(self, row: Row) -> None:
        """Append a row and push it to the file."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, allow_nan=False) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path}: {error.strerror or error}") from error
        self.rows[row["key"]] = row
        self.computed += 1


Progress = Callable[[str, str], None]
"""Told of every system and clip before it is worked on."""


def evaluate(
    systems: Sequence[System],
    clips: Sequence[Clip],
    conditions: Conditions,
    results: Results,
    *,
    recompute: bool = False,
    pictures: "Pictures | None" = None,
    progress: Progress = lambda system, clip: None,
    failed: Callable[[str], None] = lambda reason: None,
) -> list[Row]:
    """Measure every system on every clip at every cutoff; what failed is told to `failed`, and left out.

    A clip that cannot be read is told once.

    System by system and cutoff by cutoff, so that one session at a time is in memory, and is loaded once.

    Args:
        recompute: measure again what the results file already holds.
        pictures: is given what it lacks, for which a system has to answer again where its row is there already.

    Returns:
        The rows of this run, found or computed, in order.
    """
    rows: list[Row] = []
    digests: dict[Path, str] = {}
    broken: set[Path] = set()
    for system in systems:
        for cutoff in conditions.cutoffs:
            for clip in clips:
                progress(system.name, clip.name)
                if clip.path in broken:
                    continue
                try:
                    if clip.path not in digests:
                        digests[clip.path] = clip.digest()
                    digest = digests[clip.path]
                    key = row_key(digest, clip, system, cutoff, conditions)
                    panels = panel_keys(digest, clip, cutoff, conditions)
                    shown = {} if system.name == INPUT else {system.name: key}
                    lacking = pictures is not None and pictures.lacks(*panels, *shown.values())
                    if recompute or key not in results.rows or lacking:
                        item, made = answer(system, clip, cutoff, conditions)
                        if recompute or key not in results.rows:
                            results.add(measured_row(key, system, item, made))
                        if pictures:
                            audio = [item.lr_wide(), item.truth, made.audio]
                            pictures.keep(dict(zip([*panels, *shown.values()], audio, strict=False)))
                    if pictures:
                        pictures.show(clip, cutoff, *panels, shown)
                    rows.append(results.rows[key])
                except OutputError:
                    raise
                except UnreadableError as error:
                    broken.add(clip.path)
                    failed(f"{clip.name}: {error}")
                except (TtsrError, OSError) as error:
                    failed(f"{system.name}, {clip.name}, {cutoff:g} Hz: {error}")
    return rows


def row_key(digest: str, clip: Clip, system: System, cutoff_hz: float, conditions: Conditions) -> str:
    """The key of a system's row. What was measured without a perceptual package is measured again with it."""
    measures = {"measures": MEASURES, "perceptual": versions()}
    own = {"system": system.name, "identity": system.identity(clip, cutoff_hz), **measures}
    return key_of(digest, clip, cutoff_hz, conditions, **own)


def key_of(digest: str, clip: Clip, cutoff_hz: float, conditions: Conditions, **own: Any) -> str:
    """sha256 of all that a row about a clip depends on: what every row does, and its own."""
    depends = {
        "clip": digest,
        "edge_hz": clip.edge_hz,
        "seconds": conditions.seconds,
        "cutoff_hz": cutoff_hz,
        "low_pass": conditions.low_pass,
        "version": __version__,
        **own,
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def panel_keys(digest: str, clip: Clip, cutoff_hz: float, conditions: Conditions) -> tuple[str, str]:
    """The keys of the pictures of a clip's input and of itself."""
    given, truth = (key_of(digest, clip, cutoff_hz, conditions, panel=name) for name in ("input", "truth"))
    return given, truth


def answer(system: System, clip: Clip, cutoff_hz: float, conditions: Conditions) -> tuple[Item, Made]:
    """A clip at a cutoff, answered by a system; the item's files are gone. Raises UnreadableError without a clip."""
    with tempfile.TemporaryDirectory(prefix="ttsr-evaluate-") as folder:
        try:
            item = Item.make(clip, cutoff_hz, conditions.low_pass, conditions.seconds, Path(folder))
        except (TtsrError, OSError) as error:
            raise UnreadableError(str(error)) from error
        return item, system.make(item)


def measured_row(key: str, system: System, item: Item, made: Made) -> Row:
    """One row: what a system made of an item, measured."""
    clip, seconds = item.clip, item.truth.shape[1] / RATE
    values = measure(item.truth, made.audio, item.cutoff_hz, clip.edge_hz) | perceived(item.truth, made.audio)
    values |= {
        "held_out": made.held_out,
        "nfe": made.nfe,
        "x_real_time": seconds / made.seconds if made.seconds else math.nan,
        "peak_rss_mb": made.peak_rss_mb,
    }
    return {
        "key": key,
        "clip": clip.name,
        "kind": clip.kind,
        "cutoff_hz": item.cutoff_hz,
        "low_pass": item.low_pass,
        "edge_hz": clip.edge_hz,
        "system": system.name,
        "settings": system.settings,
        "seconds": round(seconds, 3),
        "detected_cutoff_hz": made.detected_cutoff_hz,
        **{metric.key: finite(values[metric.key]) for metric in METRICS},
        "version": __version__,
    }


def finite(value: float) -> float | None:
    """None for NaN, which JSON has not."""
    return float(value) if math.isfinite(value) else None


def write_inputs(folder: Path, clips: Sequence[Clip], conditions: Conditions) -> Iterator[tuple[Clip, str | None]]:
    """Write the simulated inputs for other systems, as FOLDER/CUTOFF/CLIP.wav: every clip, and what failed or None."""
    for clip in clips:
        try:
            for cutoff in conditions.cutoffs:
                item = Item.make(clip, cutoff, conditions.low_pass, conditions.seconds, folder)
                write_audio((folder / f"{cutoff:g}" / clip.name).with_suffix(".wav"), item.lr, item.lr_rate)
        except (TtsrError, OSError) as error:
            yield clip, f"{clip.name}: {error}"
        else:
            yield clip, None
