"""A corpus's score file: every score of many draws of every window, kept for `ttsr replay` and `--scaling`.

A line of OUT/rewards.jsonl is a window as `render.score_log` has it, drawn by traced random search and told the cutoff,
with the oracle among the scores: `lsd`, minus the log-spectral distance to the truth from the cutoff to the clip's own
band edge, of every candidate and every segment.

Every clip has noises of its own: with the same ones in all of them, draws would be good or bad in all clips at once (on
12 clips of three kinds, cut at 4 kHz, `consensus` ranked the draws of two kinds with a correlation of .89, `critic` of
.66), and clips could not be taken for independent. A line besides has

- key: sha256 of what the line depends on; part: [its number among the clip's windows, how many these are].
- search_range: of the candidates (equation 4 of the paper).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from ttsr_studio import __version__
from ttsr_studio.analysis.search_range import search_range
from ttsr_studio.evaluation.benchmark.dataset import Clip
from ttsr_studio.evaluation.benchmark.degradation import Item
from ttsr_studio.evaluation.benchmark.systems import weights_of
from ttsr_studio.evaluation.sweep import EvaluationRun, Row, cases_with_band, finite, sweep
from ttsr_studio.evaluation.verifier_study.accuracy import accuracy_row, members, write_accuracy
from ttsr_studio.evaluation.verifier_study.candidates import DrawnWindow, WindowScores, drawn_windows
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.score_log import reward_record

VERIFIERS_KEPT = ("critic", "consensus")
"""Whose scores are kept when none is asked for."""

KEEPING = 1
"""Raised when what a line says changes its meaning."""


@dataclass(frozen=True)
class Collected:
    """What a collection has come to.

    Attributes:
        file: of the scores.
        windows: its lines of this corpus, and how many of them were drawn now.
        tables: files that were written from them.
        alarms: of verifiers that the search games, in words.
    """

    file: Path
    windows: int
    drawn: int
    tables: list[Path]
    alarms: list[str]


@dataclass(frozen=True)
class ScoreCollection:
    """Every verifier's scores of every window, its segments, and x0-predictions after every step."""

    session: Session
    name: str = "rewards"

    @classmethod
    def load(cls, verifiers: Sequence[str], draws: int, seed: int) -> "ScoreCollection":
        """Raises OptionError or MissingError when a verifier is not there."""
        options = RenderOptions(
            search="census",
            candidates=draws,
            verifiers=tuple(verifiers),
            scope="window",
            choice="segment",
            witness=True,
            seed=seed,
        )
        return cls(Session(options))

    def find(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> list[Row] | None:
        """All lines of a clip, one for each window that is not silent. A crash may have left only some of them."""
        key = self.key(clip, cutoff_hz, run)
        first = run.results.find([part_key(key, 0)])
        count = first[0]["part"][1] if first else 1
        return run.results.find([part_key(key, number) for number in range(count)])

    def measure(self, item: Item, run: EvaluationRun) -> Iterable[Row]:
        key, own = self.key(item.clip, item.cutoff_hz, run), self.with_noises_of(item.clip, run)
        lines = [line_of(own, item, window) for window in drawn_windows(own, item)]
        for number, line in enumerate(lines):
            place = {"key": part_key(key, number), "part": [number, len(lines)], "version": __version__}
            yield line | place

    def with_noises_of(self, clip: Clip, run: EvaluationRun) -> Session:
        """The session with a seed that follows from its own and the clip's bytes."""
        options = self.session.options
        digest = hashlib.sha256(f"{options.seed} {run.checksum(clip.path)}".encode()).digest()
        return self.session.with_options(replace(options, seed=int.from_bytes(digest[:4])))

    def key(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> str:
        """What the keys of a clip's lines are made from."""
        own = {"rewarding": KEEPING, "kind": clip.kind, "options": self.session.options.to_json()}
        return run.row_key(clip, cutoff_hz, weights=weights_of(self.session), **own)


def part_key(key: str, number: int) -> str:
    """The key of one window's line."""
    return hashlib.sha256(f"{key} {number}".encode()).hexdigest()


def line_of(session: Session, item: Item, window: DrawnWindow) -> Row:
    """The scores of a window's candidates, the oracle's included."""
    record = reward_record(session, item.clip.name, item.cutoff_hz, window.candidates, item.clip.kind)
    whole = -window.distances(item)
    parts = [-window.distances(item, start, stop) for start, stop in pairwise(window.candidates.edges)]
    for candidate, score, own in zip(record["candidates"], whole, np.transpose(parts), strict=True):
        candidate["scores"]["lsd"] = finite(float(score))
        candidate["segments"]["lsd"] = [finite(round(float(part), 6)) for part in own]
    return record | {"search_range": search_range(window.renders)}


def collect_scores(
    verifiers: Sequence[str],
    candidates: int,
    seed: int,
    clips: Sequence[Clip],
    run: EvaluationRun,
    scaling: bool = False,
) -> Collected:
    """Keep the scores of all clips in rewards.jsonl, and write judges.md and what `scaling` asks for from them.

    Raises OutputError when something cannot be written.
    """
    study, verifiers = ScoreCollection.load(members(verifiers), candidates, seed), list(dict.fromkeys(verifiers))
    mine, cases = run.keeping("rewards.jsonl"), cases_with_band(clips, run.conditions.cutoffs)
    run.reporter.expect(len(cases))
    lines = list(sweep(study, cases, mine))
    folder = run.results.path.parent
    tables, alarms = [write_accuracy(folder, accuracy_rows(lines, verifiers), seed)], list[str]()
    if scaling and lines:
        from ttsr_studio.evaluation.replay.scaling_report import write_scaling

        alarms = write_scaling(folder, lines, verifiers, seed, f"ttsr {__version__}; seed {seed}.")
        tables += [folder / f"scaling.{end}" for end in ("md", "csv", "png")]
    return Collected(mine.results.path, len(lines), mine.results.computed, tables, alarms)


def accuracy_rows(lines: Sequence[Row], verifiers: Sequence[str]) -> list[Row]:
    """What the verifiers' table is made of, from lines of scores: a row for every verifier, clip and cutoff."""
    clips: dict[tuple[str, str, float], list[Row]] = {}
    for line in lines:
        clips.setdefault((line["clip"], line["kind"], line["cutoff_hz"]), []).append(line)
    return [
        accuracy_row(clip, kind, cutoff, verifier, [window_scores(line) for line in own])
        for (clip, kind, cutoff), own in clips.items()
        for verifier in verifiers
    ]


def window_scores(line: Row) -> WindowScores:
    """A line as studies of verifiers take a window."""
    every = [candidate["scores"] for candidate in line["candidates"]]
    columns = {name: np.array([scores[name] for scores in every], np.float64) for name in every[0]}
    return WindowScores(-columns.pop("lsd"), columns, line["search_range"])
