"""What the report shows of a render, gathered while it streams by."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.analysis.spectrogram_map import SpectrogramMap
from ttsr_studio.analysis.uncertainty import UncertaintyMap
from ttsr_studio.audio.disk_buffer import Scratch, Sum
from ttsr_studio.audio.windows import Window
from ttsr_studio.rendering.inference.segments import Selection
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.state import Scores, WindowCandidates
from ttsr_studio.rendering.inference.windows import JoinedWindow, SearchInput
from ttsr_studio.rendering.rerank import WINDOWS, Reranking
from ttsr_studio.report.record import Role
from ttsr_studio.report.search_records import CandidateRecord, PreviewRecord, ScoreRecord, SegmentRecord, WindowRecord
from ttsr_studio.verifiers.ensemble import Combined
from ttsr_studio.verifiers.panel import Panel
from ttsr_studio.verifiers.protocol import Scope
from ttsr_studio.verifiers.rules import TYPICAL

BLOCK = 1 << 18
TOLERANCE = 1e-9
LEAST_SHARE, LEAST_SD = 0.05, 0.5
"""What a choice scores below the first draw by is told from so much of the way from the input to that draw on, and from
so many standard deviations over the candidates; less is a draw's luck."""
TIE = 1e-9
"""Combined scores nearer than this are equal: what is between them is rounding."""


@dataclass(frozen=True)
class WindowNotes:
    """A window, its candidates' records and what came of them; without candidates where there was nothing to add.

    Attributes:
        combined: ensemble scores of all candidates.
        selections: of the n best, and of the random baseline last when there is one.
        assembled: scores of the first selection where it is put together from several candidates.
        input_scores: of the input itself.
        previewed: verifiers that scored before decoding, where not all candidates were decoded.
        decoded, finished: how many candidates were.
        search_range: equation 4 of the paper; None with fewer than two candidates.
        cut: why its search stopped before the budget was spent.
    """

    window: Window
    records: list[CandidateRecord] = field(default_factory=list)
    combined: Combined = field(default_factory=lambda: Combined(np.zeros(0), (), ()))
    selections: list[Selection] = field(default_factory=list)
    assembled: Scores = field(default_factory=dict)
    input_scores: Scores = field(default_factory=dict)
    previewed: tuple[str, ...] = ()
    decoded: int = 0
    finished: int = 0
    search_range: float | None = None
    cut: str | None = None
    silent: bool = False

    def values(self, name: str) -> NDArray[np.float64]:
        """A verifier's scores of all candidates, NaN where there is none."""
        return np.array([_number(record.scores.get(name)) for record in self.records])

    def value(self, selection: int, name: str) -> float:
        """A verifier's score of a selection."""
        if selection == 0 and name in self.assembled:
            return self.assembled[name]
        return self.selections[selection].mean(self.values(name).tolist())


class Recorder:
    """Spectrograms of input, output and what was added, the uncertainty map, and notes of every window."""

    def __init__(self, session: Session, source: SearchInput) -> None:
        self.session, self.cutoff_hz, self.rate = session, source.cutoff_hz, session.engine.sample_rate
        frames = source.lr.frames
        self.before, self.after = SpectrogramMap(self.rate, frames), SpectrogramMap(self.rate, frames)
        self.added = SpectrogramMap(self.rate, frames)
        self.uncertainty = UncertaintyMap(self.rate, frames, shown=getattr(session.engine, "shown_spread", 1.0))
        self._windows: list[WindowNotes] = []

    def compare(self, lr: Scratch | Sum, output: Scratch | Sum) -> None:
        """Take the whole input and output."""
        for start in range(0, output.frames, BLOCK):
            stop = min(output.frames, start + BLOCK)
            given, made = lr.read(start, stop), output.read(start, stop)
            self.before.update(start, given)
            self.after.update(start, made)
            self.added.update(start, made - given)

    def add(self, joined: JoinedWindow) -> None:
        """Take a window, its candidates, and what the n best have of it."""
        window, found = joined.window, joined.candidates
        if found is None:
            self._windows.append(WindowNotes(window, silent=joined.silent))
            return
        if found.apart is None:
            raise RuntimeError("a window whose candidates were not compared")
        self.uncertainty.take(window.start, found.apart, self.cutoff_hz)
        decoded = len(found.audio)
        combined = found.combined(self.session.panel, range(len(found.candidates)))
        finished = sum(each.finished for each in found.candidates)
        notes = WindowNotes(
            window,
            candidate_records(found, combined),
            combined,
            joined.selections,
            assembled=joined.scores,
            input_scores=found.input_scores,
            previewed=found.previewed if decoded < finished else (),
            decoded=decoded,
            finished=finished,
            search_range=found.apart.search_range,
            cut=found.cut,
        )
        self._windows.append(notes)

    def mean_combined(self, number: int) -> float:
        """Mean combined score over the windows that one of the n best is made of; NaN where nothing chose them."""
        known = self._sounding()
        values = [each.selections[number].mean(each.combined.values.tolist()) for each in known]
        scored = any(record.scores for each in known for record in each.records)
        return float(np.mean(values)) if values and scored else math.nan

    def made_of(self, number: int) -> list[tuple[int, ...]]:
        """Candidates of every window that sounds, by segment, of one of the n best."""
        return [each.selections[number].numbers for each in self._sounding()]

    def _sounding(self) -> list[WindowNotes]:
        return [each for each in self._windows if each.records]

    def cuts(self) -> dict[str, int]:
        """How many windows stopped early, by why."""
        return dict(Counter(each.cut for each in self._windows if each.cut))

    def search_range(self) -> float | None:
        """Equation 4, mean over the windows that had two candidates or more."""
        ranges = [each.search_range for each in self._windows if each.search_range is not None]
        return float(np.mean(ranges)) if ranges else None

    def settle(self, reranking: Reranking) -> tuple[list[WindowRecord], dict[str, ScoreRecord]]:
        """Records of all windows, and every verifier's of the choice, once it is known which of the n best is kept."""
        panel, kept = self.session.panel, reranking.chosen
        roles: dict[str, Role] = {verifier.name: "search" for verifier in panel.search}
        roles |= {verifier.name: "held-out" for verifier in panel.held_out}
        columns = sorted({name for each in self._windows for record in each.records for name in record.scores})
        records = {name: self._by_window(name, kept, roles[name.split("/")[0]]) for name in columns}
        for name, scores in reranking.scores.items():
            if name != WINDOWS:
                values = np.array(scores)
                choice = ScoredChoice(reranking.input_scores.get(name), values, float(values[kept]))
                known = [choice] if np.isfinite(values).any() else []
                records[name] = score_record(roles[name.split("/")[0]], "clip", known)
        return [self._window(each, kept) for each in self._windows], records

    def _by_window(self, name: str, kept: int, role: Role) -> ScoreRecord:
        rows = []
        for each in self._windows:
            values = each.values(name)
            if np.isfinite(values).any():
                last = len(each.selections) - 1
                baseline = each.value(last, name) if self.session.options.control else None
                rows.append(ScoredChoice(each.input_scores.get(name), values, each.value(kept, name), baseline))
        record = score_record(role, "window", rows)
        return replace(record, harm=[]) if name == TYPICAL else record  # others may well be more usual

    def _window(self, notes: WindowNotes, kept: int) -> WindowRecord:
        window = notes.window
        start, stop = window.start / self.rate, window.stop / self.rate
        if not notes.records:
            why = "silence" if notes.silent else "the input reaches to the top of the band"
            return WindowRecord(window.index, start, stop, [], None, f"{why}: passed through")
        selection = notes.selections[kept]
        return WindowRecord(
            window.index,
            start,
            stop,
            notes.records,
            selection.main,
            reason(notes, selection, self.session.panel, self.session.options.take),
            self._segments(window, selection),
            notes.search_range,
            notes.cut,
        )

    def _segments(self, window: Window, selection: Selection) -> list[SegmentRecord]:
        if not selection.spliced:
            return []
        return [
            SegmentRecord((window.start + a) / self.rate, (window.start + b) / self.rate, number)
            for a, b, number in zip(selection.edges, selection.edges[1:], selection.numbers, strict=False)
        ]


def candidate_records(found: WindowCandidates, combined: Combined) -> list[CandidateRecord]:
    """A window's candidates as the report has them."""
    on_the_way = any(each.previews for each in found.candidates)
    names = list(found.scores)
    return [
        CandidateRecord(
            each.key.to_json(),
            {name: each.scores.get(name, math.nan) for name in names},
            float(combined.values[number]),
            each.step if on_the_way else None,
            [PreviewRecord(preview.step, preview.scores) for preview in each.previews],
        )
        for number, each in enumerate(found.candidates)
    ]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


@dataclass(frozen=True)
class ScoredChoice:
    """A verifier's scores in one window, or of one clip.

    Attributes:
        input: of the input; None when it cannot be asked.
        candidates: [N].
        chosen: of the choice.
        random: of the random baseline; None when there is none.
    """

    input: float | None
    candidates: NDArray[np.float64]
    chosen: float
    random: float | None = None


def score_record(role: Role, scope: Scope, rows: Sequence[ScoredChoice]) -> ScoreRecord:
    """A verifier's view of the choice: means over windows."""
    apart = [row for row in rows if spread(row.candidates)]
    gains = [(row.chosen - np.nanmean(row.candidates)) / np.nanstd(row.candidates) for row in apart]
    before, first = mean_of([row.input for row in rows]), mean_of([row.candidates[0] for row in rows])
    chosen = mean_of([row.chosen for row in rows])
    least = LEAST_SD * float(np.mean([np.nanstd(row.candidates) for row in rows])) if rows else 0.0
    if before is not None and first is not None:
        least = max(least, LEAST_SHARE * abs(first - before))
    harm = [
        name
        for name, other, by in (("below the input", before, 0.0), ("below the first draw", first, least))
        if chosen is not None and other is not None and chosen < other - max(by, TOLERANCE * max(1.0, abs(other)))
    ]
    return ScoreRecord(
        role,
        scope,
        input=before,
        first=first,
        mean=mean_of([float(np.nanmean(row.candidates)) for row in rows]),
        chosen=chosen,
        gain_sd=float(np.mean(gains)) if gains else None,
        random_baseline=mean_of([row.random for row in rows]),
        harm=harm,
    )


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of those that are known; None when none is."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.mean(known)) if known else None


def spread(values: np.ndarray) -> bool:
    """Whether a verifier tells candidates apart at all."""
    finite = values[np.isfinite(values)]
    return len(finite) > 1 and float(finite.std()) > TOLERANCE * max(1.0, float(np.abs(finite).max()))


def reason(notes: WindowNotes, selection: Selection, panel: Panel, asked: int = 1) -> str:
    """Why this candidate, or these, in one line."""
    hedged = panel.rule == "pessimism"
    verifiers = [v.name for v in panel.choosing("window") if not (hedged and v.name == TYPICAL)]
    less = ", less what is untypical" if hedged else ""
    stopped = {"time": "; time ran out", "target": "; target met", "interrupted": "; interrupted"}.get(
        notes.cut or "", ""
    )
    if len(notes.records) == 1:
        return f"the only candidate{stopped}"
    if not verifiers:
        return f"draw {selection.main}, in the render that clip verifiers chose"
    if selection.spliced:
        several = ", ".join(map(str, selection.numbers))
        by = ", ".join(verifiers) + less
        return f"segments of candidates {several}: best path by {by} less the price of seams{stopped}"
    rule = "zsum" if hedged else panel.rule
    by = (verifiers[0] if len(verifiers) == 1 else f"{rule} of {', '.join(verifiers)}") + less
    return ranked_reason(notes, selection, by, bool(panel.choosing("clip")), asked) + left_out(notes) + stopped


def ranked_reason(notes: WindowNotes, selection: Selection, by: str, by_clip: bool, asked: int) -> str:
    """Why a candidate of a certain rank, by these verifiers."""
    combined, count = notes.combined.values, notes.finished
    own = combined[selection.main]
    place = int((combined > own).sum()) + 1
    equals = int((np.abs(combined - own) <= TIE).sum()) - 1
    if asked > 1:
        return f"number {place} of {count} by {by}, since render {asked} of the best was asked for"
    if place == 1:
        return f"best of {count} by {by}" + (f", the first of {equals + 1} that are tied" if equals else "")
    if by_clip:
        return f"number {place} of {count} by {by}, in the render that clip verifiers chose"
    if len(selection.edges) > 2:
        return f"number {place} of {count} by {by}: best path through the segments"
    return f"number {place} of {count} by {by}: the search's own last choice, or the best of the whole clip"


def left_out(notes: WindowNotes) -> str:
    """Which candidates could not be chosen, and why."""
    unfinished = len(notes.records) - notes.finished
    words = f"; {unfinished} more were not carried to their end" if unfinished else ""
    if notes.previewed:
        words += f"; of {notes.finished}, the best {notes.decoded} by {', '.join(notes.previewed)} were decoded"
    elif len(notes.combined.excluded) > unfinished:
        words += f"; excluded, since a verifier could not score them: {', '.join(map(str, notes.combined.excluded))}"
    return words
