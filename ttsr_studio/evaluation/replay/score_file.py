"""Reading a score file (see `ttsr_studio.rendering.score_log`) as arrays that policies are replayed on.

Every score is higher is better; NaN where a verifier has none. Draws of a window are independent noises, each run to
its end: what a search pruned or derived from other candidates says nothing about other policies, and is refused.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.errors import InputError, OptionError, shown, unknown
from ttsr_studio.rendering.score_log import SCHEMA
from ttsr_studio.search.protocol import SamplingPlan

Array = NDArray[np.float64]
Columns = dict[str, Array]
T = TypeVar("T")

SCHEMA_1 = "ttsr-rewards-1"
"""Of older files, which are read too: there `plan` was called course, and `previews` looks."""


@dataclass(frozen=True)
class Draws:
    """The M draws of one window, and their scores.

    Attributes:
        scores: of the finished renders by column, [M].
        previews: of x0-predictions by step and column, [M].
        segments: of the finished renders by column, [M, S].
        shares: of the window's time that its segments take, [S].
    """

    scores: Columns
    previews: dict[int, Columns]
    segments: Columns
    shares: Array

    @property
    def count(self) -> int:
        return len(next(iter(self.scores.values())))


@dataclass(frozen=True)
class Recording:
    """A clip at a cutoff: the draws of every window that is not silent."""

    clip: str
    kind: str
    cutoff_hz: float
    windows: tuple[Draws, ...]

    @property
    def count(self) -> int:
        """Draws that every window has."""
        return min(window.count for window in self.windows)

    @property
    def label(self) -> str:
        return f"{self.clip}, {self.cutoff_hz:g} Hz"


@dataclass(frozen=True)
class ScoreFile:
    """What a file holds.

    Attributes:
        plan: of every draw, for what evaluations cost; its noise levels are not known.
        columns: that every window has, of finished renders.
        segments: those that every window of several segments has of its segments.
        previews: by step, those that every window has of x0-predictions.
    """

    recordings: tuple[Recording, ...]
    plan: SamplingPlan
    columns: tuple[str, ...]
    segments: tuple[str, ...]
    previews: dict[int, tuple[str, ...]]

    @classmethod
    def of(cls, recordings: Sequence[Recording], plan: SamplingPlan) -> "ScoreFile":
        windows = [window for recording in recordings for window in recording.windows]
        return cls(
            tuple(recordings),
            plan,
            in_all(window.scores for window in windows),
            in_all(window.segments for window in windows if len(window.shares) > 1),
            {
                step: in_all(window.previews.get(step, {}) for window in windows)
                for step in in_all(window.previews for window in windows)
            },
        )

    def resolve(self, verifiers: Iterable[str], what: str = "verifier") -> tuple[str, ...]:
        """Columns of verifiers by name; "aesthetics" is all its scales, "aesthetics/CE" one of them.

        Raises OptionError for a name that no column has.
        """
        return tuple(column for name in verifiers for column in columns_named(name, self.columns, what))


def columns_named(name: str, columns: Collection[str], what: str = "verifier") -> list[str]:
    """The columns that a name stands for. Raises OptionError when there are none."""
    found = [column for column in columns if name in (column, column.split("/")[0])]
    if not found:
        raise unknown(what, name, columns)
    return found


def in_all(every: Iterable[Iterable[T]]) -> tuple[T, ...]:
    """What all have, in the order of the first."""
    first, *others = [list(one) for one in every] or [[]]
    return tuple(item for item in first if all(item in other for other in others))


def read_score_file(path: Path) -> ScoreFile:
    """Read a file; a clip that was drawn again later in the file counts as it was drawn last.

    Raises InputError that names the line for anything that is not scores of independent, finished draws.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{shown(path)}: {getattr(error, 'strerror', None) or error}") from error
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(parse_line(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, OptionError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{shown(path)}, line {number}: not a line of scores: {reason}") from error
        if rows[-1]["plan"] != rows[0]["plan"]:
            raise InputError(
                f"{shown(path)}, line {number}: another sampling plan than line 1; what is compared must cost the same"
            )
    if not rows:
        raise InputError(f"{shown(path)}: holds no scores")
    return gather(rows)


def gather(rows: Sequence[dict[str, Any]]) -> ScoreFile:
    """Parsed lines of one sampling plan, at least one."""
    return ScoreFile.of(list(recordings(rows)), rows[0]["plan"])


def recordings(rows: Iterable[dict[str, Any]]) -> Iterator[Recording]:
    """Windows by clip and cutoff; a window that is not after the one before begins a new run of the clip."""
    runs: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for row in rows:
        run = runs.setdefault((row["clip"], row["kind"], row["cutoff_hz"]), [])
        if run and (row["window"] <= run[-1]["window"] or row["first"]):
            run.clear()
        run.append(row)
    for (clip, kind, cutoff_hz), run in runs.items():
        yield Recording(clip, kind, cutoff_hz, tuple(row["draws"] for row in run))


def parse_line(data: dict[str, Any]) -> dict[str, Any]:
    """A line's place and draws. Raises ValueError, KeyError or TypeError for what is not one."""
    if data["schema"] not in (SCHEMA, SCHEMA_1):
        raise ValueError(f"schema {data['schema']!r} is not {SCHEMA!r}")
    old = data["schema"] == SCHEMA_1
    plan, candidates = data["course" if old else "plan"], data["candidates"]
    if old:
        candidates = [each | {"previews": each["looks"]} for each in candidates]
    levels = tuple(map(float, range(int(plan["steps"]), -1, -1)))
    return {
        "clip": str(data["clip"]),
        "kind": str(data["kind"] or "all"),
        "cutoff_hz": float(data["cutoff_hz"]),
        "window": int(data["window"]),
        "first": data.get("part", [None])[0] == 0,
        "plan": SamplingPlan(levels, int(plan["evaluations"]), int(plan["each"])),
        "draws": draws_of(candidates, data["edges_s"], int(plan["steps"])),
    }


def draws_of(candidates: Sequence[dict[str, Any]], edges: Sequence[float], steps: int) -> Draws:
    """Candidates of a line as arrays. Raises ValueError for any that is not an independent draw run to its end."""
    if not candidates:
        raise ValueError("no candidates")
    for number, candidate in enumerate(candidates):
        lineage = candidate["key"]["lineage"]
        if len(lineage) != 1 or lineage[0][0] != "draw" or int(candidate["step"]) != steps:
            raise ValueError(
                f"candidate {number} is not an independent draw run to its end; draw with --search census or random"
            )
    names = in_all(candidate["scores"] for candidate in candidates)
    if not names:
        raise ValueError("no verifier scored all candidates")
    parts = len(edges) - 1
    previewed = [{int(each["step"]): each["scores"] for each in candidate["previews"]} for candidate in candidates]
    return Draws(
        {name: score_array([candidate["scores"][name] for candidate in candidates]) for name in names},
        {
            step: {
                name: score_array([previews[step][name] for previews in previewed])
                for name in in_all(previews[step] for previews in previewed)
            }
            for step in in_all(previewed)
        },
        {
            name: score_array([candidate["segments"][name] for candidate in candidates], parts)
            for name in in_all(candidate["segments"] for candidate in candidates)
        },
        np.diff(np.array(edges, np.float64)) / (edges[-1] - edges[0]) if parts > 0 else np.ones(1),
    )


def score_array(values: Sequence[Any], parts: int = 0) -> Array:
    """Numbers or Nones, [M] or [M, parts], as float64 with NaN for None. Raises ValueError for other shapes."""
    found = np.array(values, np.float64)
    if found.shape != ((len(values), parts) if parts else (len(values),)):
        raise ValueError(f"scores of shape {found.shape}")
    return found
