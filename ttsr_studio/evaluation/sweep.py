"""The sweep over clips and cutoffs that every room makes: rows are found among the results, or measured now.

What for: nothing is measured twice, a run that was stopped goes on where it was, and one bad clip stops no other.
In: a study (a system, a line of the paper's table, a sampler's setting, verifiers), cases (clips at cutoffs), a run.
Out: rows in the order of the cases, and a file of them, one line of JSON each, found again by what they depend on.
"""

import contextlib
import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ttsr_studio import __version__
from ttsr_studio.errors import OutputError, TtsrError, shown
from ttsr_studio.evaluation.benchmark.dataset import Clip
from ttsr_studio.evaluation.benchmark.degradation import Conditions, Item
from ttsr_studio.rendering.tasks import Workplace
from ttsr_studio.storage.checksum import sha256

Row = dict[str, Any]

Case = tuple[Clip, float]
"""A clip at a cutoff, Hz."""

LEAST_BAND_HZ = 500
"""A clip that ends nearer above the cutoff than this leaves nothing to score."""


class UnreadableError(TtsrError):
    """A clip that nothing can be measured on."""


class Reporter:
    """Where a run reports how far it is; this one only keeps what failed.

    Attributes:
        failures: reasons, one line each.
    """

    def __init__(self) -> None:
        self.failures: list[str] = []

    def expect(self, cases: int) -> None:
        """So many cases are to come."""

    def step(self, study: str, clip: str) -> None:
        """A case begins."""

    def elsewhere(self, study: str, clip: str) -> None:
        """A case was measured on another machine; its turn comes."""

    def failed(self, reason: str) -> None:
        """A case, or a clip with all its cases, could not be measured."""
        self.failures.append(reason)


class Results:
    """A file of rows. A last line that was cut short by a crash is dropped.

    Raises OutputError when the file cannot be read or written, or is not a results file.

    Attributes:
        rows: by key, those of earlier runs as well.
        computed: how many were added in this run.
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
            raise OutputError(f"{shown(path)}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{shown(path)}: not a results file of ttsr evaluate; choose another --out") from error

    def find(self, keys: Sequence[str]) -> list[Row] | None:
        """The rows of some keys; None unless all are there."""
        return [self.rows[key] for key in keys] if all(key in self.rows for key in keys) else None

    def add(self, row: Row) -> None:
        """Append a row and push it to the file."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, allow_nan=False) + "\n")
        except OSError as error:
            raise OutputError(f"{shown(self.path)}: {error.strerror or error}") from error
        self.rows[row["key"]] = row
        self.computed += 1


class Unkept(Results):
    """Rows where a case is measured for somebody else, who keeps them."""

    def __init__(self) -> None:
        self.path, self.rows, self.computed = Path(), {}, 0


CaseSpread = Callable[[Sequence["CaseWork"]], Iterator[tuple[int, Any]]]
"""Measures cases on other machines: their numbers, as they are done, with rows, or the TtsrError of each."""


@dataclass(frozen=True)
class EvaluationRun:
    """What holds for all sweeps of a run.

    Attributes:
        recompute: measure again what the results hold.
        checksums: of files that were asked for, so that each is read once.
        unreadable: clips that have been reported, and are left out from then on.
        spread: measures what can be measured on other machines there; None for here.
        elsewhere: studies, clips and cutoffs that were.
    """

    conditions: Conditions
    results: Results
    reporter: Reporter = field(default_factory=Reporter)
    recompute: bool = False
    checksums: dict[Path, str] = field(default_factory=dict)
    unreadable: set[Path] = field(default_factory=set)
    spread: CaseSpread | None = None
    elsewhere: set[tuple[int, Path, float]] = field(default_factory=set)

    def keeping(self, name: str) -> "EvaluationRun":
        """The same run with its rows in another file beside the results. Raises OutputError."""
        return replace(self, results=Results(self.results.path.with_name(name)))

    def checksum(self, path: Path) -> str:
        """sha256 of a clip's file. Raises UnreadableError when it cannot be read."""
        if path not in self.checksums:
            try:
                self.checksums[path] = sha256(path)
            except OSError as error:
                raise UnreadableError(f"{error.filename}: {error.strerror}") from error
        return self.checksums[path]

    def row_key(self, clip: Clip, cutoff_hz: float, /, **own: Any) -> str:
        """sha256 of all that a row about a clip depends on: what every row does, and its own.

        Args:
            own: with `files`, checksums, where it is more than the clip's that counts.
        """
        depends = {
            "edge_hz": clip.edge_hz,
            "seconds": self.conditions.seconds,
            "cutoff_hz": cutoff_hz,
            "low_pass": self.conditions.low_pass,
            "version": __version__,
            **({} if "files" in own else {"clip": self.checksum(clip.path)}),
            **own,
        }
        return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


class Study(Protocol):
    """Something that is measured case by case; one that pickles may be measured on other machines."""

    @property
    def name(self) -> str: ...

    def find(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> list[Row] | None:
        """The rows of a case where the results hold all that is wanted of it; None where it has to be measured."""
        ...

    def measure(self, item: Item, run: EvaluationRun) -> Iterable[Row]:
        """Measure a case: its rows with their keys. Raises TtsrError or OSError."""
        ...


def all_cases(clips: Sequence[Clip], cutoffs: Sequence[float]) -> list[Case]:
    """Every clip at every cutoff, cutoff by cutoff."""
    return [(clip, cutoff) for cutoff in cutoffs for clip in clips]


def leaves_a_band(clip: Clip, cutoff_hz: float) -> bool:
    """Whether a clip holds enough above a cutoff for a score."""
    return clip.edge_hz is None or clip.edge_hz - cutoff_hz >= LEAST_BAND_HZ


def cases_with_band(clips: Sequence[Clip], cutoffs: Sequence[float]) -> list[Case]:
    """Every clip at every cutoff that leaves something to score."""
    return [case for case in all_cases(clips, cutoffs) if leaves_a_band(*case)]


@dataclass(frozen=True)
class CaseWork:
    """A case of a study, to be measured wherever this is called; it pickles where its study does.

    Attributes:
        checksum: of the clip's file.
    """

    study: Study
    clip: Clip
    cutoff_hz: float
    conditions: Conditions
    checksum: str

    @property
    def source(self) -> Path:
        return self.clip.path

    def __call__(self, place: Workplace) -> list[Row]:
        """Its rows. Raises InputError where the clip is not what it was, and what the study does."""
        place.report("reading", 0, 1)
        if not self.clip.path.is_file() or sha256(self.clip.path) != self.checksum:
            raise UnreadableError(f"{shown(self.clip.path)}: not there, or another file; put clips on a share")
        run = EvaluationRun(self.conditions, Unkept(), checksums={self.clip.path: self.checksum})
        place.report("searching", 0, 1)
        return list(measured_case(self.study, self.clip, self.cutoff_hz, run))


def sweep(study: Study, cases: Iterable[Case], run: EvaluationRun) -> Iterator[Row]:
    """Rows of a study on all cases; what fails is reported and left out, a clip that cannot be read once.

    Raises OutputError when the results cannot be written.
    """
    if run.spread and getattr(study, "portable", False):
        cases = list(cases)
        measure_elsewhere(study, cases, run)
    for clip, cutoff_hz in cases:
        run.reporter.step(study.name, clip.name)
        if clip.path in run.unreadable:
            continue
        try:
            rows = _found_or_measured(study, clip, cutoff_hz, run)
        except OutputError:
            raise
        except UnreadableError as error:
            run.unreadable.add(clip.path)
            run.reporter.failed(f"{clip.name}: {error}")
        except (TtsrError, OSError) as error:
            run.reporter.failed(f"{study.name}, {clip.name}, {cutoff_hz:g} Hz: {error}")
        else:
            yield from rows


def _found_or_measured(study: Study, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> list[Row]:
    found = study.find(clip, cutoff_hz, run)
    if found is not None and (not run.recompute or (id(study), clip.path, cutoff_hz) in run.elsewhere):
        return found
    rows = list(measured_case(study, clip, cutoff_hz, run))
    for row in rows:
        if run.recompute or row["key"] not in run.results.rows:
            run.results.add(row)
    return [run.results.rows[row["key"]] for row in rows]


def measured_case(study: Study, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> Iterator[Row]:
    """Measure a case now. Raises UnreadableError for a clip that cannot be read, and what the study does."""
    conditions = run.conditions
    with tempfile.TemporaryDirectory(prefix="ttsr-evaluate-") as folder:
        try:
            item = Item.make(clip, cutoff_hz, conditions.low_pass, conditions.seconds, Path(folder))
        except (TtsrError, OSError) as error:
            raise UnreadableError(str(error)) from error
        yield from study.measure(item, run)


def measure_elsewhere(study: Study, cases: Sequence[Case], run: EvaluationRun) -> None:
    """Have the cases that are not known yet measured on other machines, and keep their rows.

    What fails there is measured here afterwards, which says why.
    """
    assert run.spread is not None
    works = []
    for clip, cutoff_hz in cases:
        with contextlib.suppress(TtsrError, OSError):  # it is said when its turn comes
            if run.recompute or study.find(clip, cutoff_hz, run) is None:
                works.append(CaseWork(study, clip, cutoff_hz, run.conditions, run.checksum(clip.path)))
    for number, answer in run.spread(works):
        if isinstance(answer, list):
            work = works[number]
            run.reporter.elsewhere(study.name, work.clip.name)
            run.elsewhere.add((id(study), work.clip.path, work.cutoff_hz))
            for row in answer:
                run.results.add(row)


def finite(value: float) -> float | None:
    """None for NaN, which JSON has not."""
    return float(value) if math.isfinite(value) else None
