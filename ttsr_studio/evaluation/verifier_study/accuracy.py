"""How good are verifiers at finding the candidate that is nearest to the truth? Window by window.

For every window of every clip, N candidates are drawn and every verifier scores them all; what they should follow is
the log-spectral distance to the truth from the cutoff to the clip's own band edge. Renders are told the cutoff.

- closed: how much of the way from the mean candidate to the best one the verifier's choice goes, mean over windows:
  0 is a random choice, 1 the oracle's, below 0 worse than random.
- spearman: rank correlation of score and minus distance over the candidates of a window, mean over windows.
- mean, chosen, best: distances of the mean candidate, the verifier's choice and the oracle's.
- range: the candidates' search range (equation 4 of the paper), whoever chooses.

A verifier stands for a sum of z-scores where its name is "a+b". Rows are in judges.jsonl, the table in judges.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from ttsr_studio import __version__
from ttsr_studio.errors import OptionError
from ttsr_studio.evaluation.benchmark.dataset import Clip
from ttsr_studio.evaluation.benchmark.degradation import Item
from ttsr_studio.evaluation.benchmark.systems import weights_of
from ttsr_studio.evaluation.reporting.bootstrap import bootstrap
from ttsr_studio.evaluation.reporting.tables import by_kind_and_cutoff, interval, markdown_table, write_text
from ttsr_studio.evaluation.sweep import EvaluationRun, Row, cases_with_band, finite, sweep
from ttsr_studio.evaluation.verifier_study.candidates import WindowScores, scored_windows
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.verifiers.ensemble import combine
from ttsr_studio.verifiers.registry import load_verifiers

FIGURES = {
    "closed": "closed",
    "spearman": "Spearman",
    "mean": "LSD: mean candidate",
    "chosen": "the verifier's choice",
    "best": "the best",
    "range": "search range",
}
"""Figure -> title of its column."""

ACCURACY = 1
"""Raised when a figure's meaning changes."""


def members(verifiers: Sequence[str]) -> tuple[str, ...]:
    """All that is in names such as "a" and "a+b"."""
    return tuple(dict.fromkeys(part for name in verifiers for part in name.split("+")))


def check_studied(verifiers: Sequence[str]) -> None:
    """Refuse what cannot score windows, before anything runs. Raises OptionError or MissingError."""
    if "lsd" in members(verifiers):
        raise OptionError("--judge lsd: the oracle is what verifiers are compared with")
    for verifier in load_verifiers(members(verifiers), frozenset({"expected", "early", "others", "input"})):
        if verifier.scope != "window":
            raise OptionError(f"--judge {verifier.name}: scores whole clips, and here windows are scored")


def accuracy(windows: Sequence[WindowScores], verifier: str) -> dict[str, float]:
    """A verifier's figures over the windows of a clip; see the module. NaN when candidates are alike everywhere."""
    rows = []
    for window in windows:
        scores = combine({name: window.scores[name] for name in verifier.split("+")}, "zsum").values
        distance = window.distances
        mean, best, chosen = distance.mean(), distance.min(), distance[int(scores.argmax())]
        if mean - best < 1e-9:
            continue
        rank = 0.0 if np.ptp(scores) == 0 else float(spearmanr(scores, -distance).statistic)
        rows.append(((mean - chosen) / (mean - best), rank, mean, chosen, best, window.search_range))
    values = np.array(rows).mean(0) if rows else np.full(len(FIGURES), np.nan)
    return dict(zip(FIGURES, map(float, values), strict=True))


@dataclass(frozen=True)
class AccuracyStudy:
    """Verifiers, each with a row of its own for every case; the session has all their members."""

    session: Session
    verifiers: tuple[str, ...]
    name: str = "verifiers"

    def find(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> list[Row] | None:
        return run.results.find(list(self.keys(clip, cutoff_hz, run).values()))

    def measure(self, item: Item, run: EvaluationRun) -> Iterable[Row]:
        windows = list(scored_windows(self.session, item))
        for verifier, key in self.keys(item.clip, item.cutoff_hz, run).items():
            row = accuracy_row(item.clip.name, item.clip.kind, item.cutoff_hz, verifier, windows)
            yield {"key": key, **row, "version": __version__}

    def keys(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> dict[str, str]:
        """The keys of a case's rows by verifier; they do not depend on the others."""
        options = {key: value for key, value in self.session.options.to_json().items() if key != "verifiers"}
        own = {"judging": ACCURACY, "options": options, "weights": weights_of(self.session)}
        return {name: run.row_key(clip, cutoff_hz, judge=name, **own) for name in self.verifiers}


def accuracy_row(clip: str, kind: str, cutoff_hz: float, verifier: str, windows: Sequence[WindowScores]) -> Row:
    """What the table is made of: a row of a verifier on a clip."""
    place = {"clip": clip, "kind": kind, "cutoff_hz": cutoff_hz, "judge": verifier}
    drawn = {"candidates": len(windows[0].distances) if windows else 0, "windows": len(windows)}
    return place | drawn | {name: finite(value) for name, value in accuracy(windows, verifier).items()}


def study_accuracy(
    verifiers: Sequence[str], candidates: int, seed: int, clips: Sequence[Clip], run: EvaluationRun
) -> Path:
    """Study verifiers on all clips, keep judges.jsonl and write judges.md beside the results; returns the table.

    Raises OutputError when it cannot be written.
    """
    session = Session(RenderOptions(candidates=candidates, verifiers=members(verifiers), seed=seed))
    mine, cases = run.keeping("judges.jsonl"), cases_with_band(clips, run.conditions.cutoffs)
    run.reporter.expect(len(cases))
    rows = list(sweep(AccuracyStudy(session, tuple(dict.fromkeys(verifiers))), cases, mine))
    return write_accuracy(run.results.path.parent, rows, seed)


def write_accuracy(folder: Path, rows: Sequence[Row], seed: int) -> Path:
    """Write judges.md: verifiers by kind and cutoff, means over clips with 95 % bootstrap intervals."""
    lines = [
        "# Verifiers",
        "",
        "How well verifiers find the candidate nearest to the truth, window by window: `closed` is the share of the "
        "way from the mean candidate to the best that the verifier's choice goes (0: a random choice). Means over "
        "clips with 95 % bootstrap intervals.",
    ]
    for kind, cutoff, part in by_kind_and_cutoff(rows):
        count, drawn = len({row["clip"] for row in part}), max(row["candidates"] for row in part)
        lines += ["", f"## {kind}, cutoff {cutoff:g} Hz ({count} clips, best of {drawn})", ""]
        cells = []
        for verifier in dict.fromkeys(row["judge"] for row in part):
            own = [row for row in part if row["judge"] == verifier]
            columns = [np.array([row[name] for row in own], np.float64) for name in FIGURES]
            cells.append([verifier, *(interval(bootstrap(column, seed), 3) for column in columns)])
        lines += markdown_table(["verifier", *FIGURES.values()], cells)
    return write_text(folder / "judges.md", lines)
