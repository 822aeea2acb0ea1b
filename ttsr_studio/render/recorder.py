"""What the report shows of a render, gathered while it streams by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ttsr_studio.analysis.search_range import search_range
from ttsr_studio.analysis.spectrogram_map import SpectrogramMap
from ttsr_studio.analysis.uncertainty import UncertaintyMap
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.windows import Window
from ttsr_studio.render.inference.segments import Take, share
from ttsr_studio.render.inference.state import WindowCandidates
from ttsr_studio.render.rerank import WINDOWS, Reranking
from ttsr_studio.report.schema import CandidateRecord, PreviewRecord, Role, ScoreRecord, SegmentRecord, WindowRecord
from ttsr_studio.verifiers.ensemble import Combined
from ttsr_studio.verifiers.panel import Panel
from ttsr_studio.verifiers.protocol import Scope

BLOCK = 1 << 18
TOLERANCE = 1e-9
TIE = 1e-9
"""Combined scores nearer than this are equal: what is between them is rounding."""


@dataclass(frozen=True)
class _Seen:
    """A window, its candidates' records and what came of them; without candidates for silence.

    Attributes:
        takes: of the finalists, and of the control when there is one.
        heard: scores of the first take where it is put together from several candidates.
    """

    window: Window
    records: list[CandidateRecord] = field(default_factory=list)
    combined: Combined = field(default_factory=lambda: Combined(np.zeros(0), (), ()))
    takes: list[Take] = field(default_factory=list)
    heard: dict[str, float] = field(default_factory=dict)
    input_scores: dict[str, float] = field(default_factory=dict)
    previewed: tuple[str, ...] = ()
    decoded: int = 0
    finished: int = 0
    search_range: float | None = None
    cut: str | None = None

    def value(self, take: int, name: str) -> float:
        """A verifier's score of a take."""
        if take == 0 and name in self.heard:
            return self.heard[name]
        return share(self.takes[take], [_number(record.scores.get(name)) for record in self.records])


class Recorder:
    """Spectrograms of input and output, the uncertainty map, and a record of every window.

    Args:
        rate, frames: of the audio at the engine's rate.
        cutoff_hz: where the input's band ends.
        asked: which of the best renders is to be the chosen one, 1 for the best.
    """

    def __init__(self, rate: int, frames: int, cutoff_hz: float, control: bool = False, asked: int = 1) -> None:
        self.rate, self.cutoff_hz, self.control, self.asked = rate, cutoff_hz, control, asked
        self.before, self.after = SpectrogramMap(rate, frames), SpectrogramMap(rate, frames)
        self.uncertainty = UncertaintyMap(rate, frames)
        self._seen: list[_Seen] = []

    def see(self, lr: Scratch, output: Scratch) -> None:
        """Take the whole input and output."""
        for start in range(0, output.frames, BLOCK):
            stop = min(output.frames, start + BLOCK)
            self.before.update(start, lr.read(start, stop))
            self.after.update(start, output.read(start, stop))

    def hear(
        self,
        window: Window,
        pool: WindowCandidates | None,
        takes: list[Take],
        heard: dict[str, float],
        scale: float,
    ) -> None:
        """Take a window, its candidates, and what finalists have of it; `scale` brings them to the file's level.

        Args:
            heard: what judges said of the first finalist where it was put together from several candidates.
        """
        if pool is None:
            self._seen.append(_Seen(window))
            return
        candidates = torch.stack(list(pool.audio.values())) * scale
        self.uncertainty.update(window.start, candidates, self.cutoff_hz)
        combined = pool.combined(range(len(pool.keys)))
        ways = any(pool.previews.values())
        records = [
            CandidateRecord(
                key.to_json(),
                {name: values[i] for name, values in pool.scores.items()},
                float(combined.values[i]),
                pool.steps[i] if ways else None,
                [PreviewRecord(look.step, look.scores) for look in pool.previews.get(i, ())],
            )
            for i, key in enumerate(pool.keys)
        ]
        finished = len(pool.audio) + len(pool.drawn)
        self._seen.append(
            _Seen(
                window,
                records,
                combined,
                takes,
                heard,
                pool.input_scores,
                pool.previewed if len(pool.audio) < finished else (),
                len(pool.audio),
                finished,
                search_range(candidates) if len(candidates) > 1 else None,
                pool.cut,
            )
        )

    def mean_combined(self, finalist: int) -> float:
        """Mean over windows of the combined score of what a finalist is made of; NaN where nothing chose windows."""
        values = [share(seen.takes[finalist], seen.combined.values.tolist()) for seen in self._seen if seen.records]
        chosen_by = {name for seen in self._seen for record in seen.records for name in record.scores}
        return float(np.mean(values)) if values and chosen_by else math.nan

    def made_of(self, finalist: int) -> list[tuple[int, ...]]:
        """Candidates of every window that sounds, by segment, of a finalist."""
        return [seen.takes[finalist].numbers for seen in self._seen if seen.records]

    def cuts(self) -> dict[str, int]:
        """How many windows stopped early, by why."""
        reasons = [seen.cut for seen in self._seen if seen.cut]
        return {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}

    def settle(self, reranking: Reranking, panel: Panel) -> tuple[list[WindowRecord], dict[str, ScoreRecord]]:
        """Records of all windows, and what every judge made of the choice, once it is known which finalist is kept."""
        kept = reranking.chosen
        windows = [self._window(seen, kept, panel) for seen in self._seen]
        roles: dict[str, Role] = {verifier.name: "search" for verifier in panel.search}
        roles |= {verifier.name: "held-out" for verifier in panel.held_out}
        columns = sorted({name for seen in self._seen for record in seen.records for name in record.scores})
        judged = {name: self._judge(name, kept, roles[name.split("/")[0]]) for name in columns}
        for name, values in reranking.scores.items():
            if name == WINDOWS:
                continue
            row = np.array(values)
            said = reranking.input_scores.get(name)
            judged[name] = score_record(
                roles[name.split("/")[0]],
                "clip",
                [(said, row, float(row[kept]), None)] if np.isfinite(row).any() else [],
            )
        return windows, judged

    def _judge(self, name: str, kept: int, role: Role) -> ScoreRecord:
        rows: list[Said] = []
        for seen in self._seen:
            values = np.array([_number(record.scores.get(name)) for record in seen.records])
            if np.isfinite(values).any():
                picked = seen.value(len(seen.takes) - 1, name) if self.control else None
                rows.append((seen.input_scores.get(name), values, seen.value(kept, name), picked))
        return score_record(role, "window", rows)

    def _window(self, seen: _Seen, kept: int, panel: Panel) -> WindowRecord:
        window = seen.window
        start, stop = window.start / self.rate, window.stop / self.rate
        if not seen.records:
            return WindowRecord(window.index, start, stop, [], None, "silence: passed through")
        take = seen.takes[kept]
        return WindowRecord(
            window.index,
            start,
            stop,
            seen.records,
            take.main,
            reason(seen, take, panel, self.asked),
            self._segments(window, take),
            seen.search_range,
            seen.cut,
        )

    def _segments(self, window: Window, take: Take) -> list[SegmentRecord]:
        if not take.spliced:
            return []
        return [
            SegmentRecord((window.start + a) / self.rate, (window.start + b) / self.rate, number)
            for a, b, number in zip(take.edges, take.edges[1:], take.numbers, strict=False)
        ]

    def search_range(self) -> float | None:
        """Equation 4, mean over the windows that had two candidates or more."""
        ranges = [seen.search_range for seen in self._seen if seen.search_range is not None]
        return float(np.mean(ranges)) if ranges else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value


Said = tuple[float | None, np.ndarray, float, float | None]
"""A judge's scores in one window: of the input, of the candidates [N], of the choice, of the control."""


def score_record(role: Role, scope: Scope, rows: Sequence[Said]) -> ScoreRecord:
    """What a judge made of the choice: means over windows."""
    spreads = [(chosen - np.nanmean(values)) / np.nanstd(values) for _, values, chosen, _ in rows if spread(values)]
    means: dict[str, list[float | None]] = {
        "input": [said for said, _, _, _ in rows],
        "first": [values[0] for _, values, _, _ in rows],
        "mean": [float(np.nanmean(values)) for _, values, _, _ in rows],
        "chosen": [chosen for _, _, chosen, _ in rows],
        "random_baseline": [picked for _, _, _, picked in rows],
    }
    figures: dict[str, float | None] = {}
    for name, parts in means.items():
        known = [part for part in parts if part is not None and math.isfinite(part)]
        figures[name] = float(np.mean(known)) if known else None
    chosen, first, before = figures["chosen"], figures["first"], figures["input"]
    harm = [
        name
        for name, other in (("below the input", before), ("below the first draw", first))
        if chosen is not None and other is not None and chosen < other - TOLERANCE * max(1.0, abs(other))
    ]
    return ScoreRecord(role, scope, **figures, gain_sd=float(np.mean(spreads)) if spreads else None, harm=harm)


def spread(values: np.ndarray) -> bool:
    """Whether a judge tells candidates apart at all."""
    finite = values[np.isfinite(values)]
    return len(finite) > 1 and float(finite.std()) > TOLERANCE * max(1.0, float(np.abs(finite).max()))


def reason(seen: _Seen, take: Take, panel: Panel, asked: int = 1) -> str:
    """Why this candidate, or these, in one line."""
    records, combined, chosen = seen.records, seen.combined.values, take.main
    judges = [verifier.name for verifier in panel.choosing("window")]
    by = judges[0] if len(judges) == 1 else f"{panel.rule} of {', '.join(judges)}"
    stopped = {"time": "; time ran out", "target": "; target met", "interrupted": "; interrupted"}.get(
        seen.cut or "", ""
    )
    if len(records) == 1:
        return f"the only candidate{stopped}"
    if not judges:
        return f"draw {chosen}, in the finalist that clip verifiers chose"
    if take.spliced:
        several = ", ".join(map(str, take.numbers))
        return f"segments of candidates {several}: best path by {', '.join(judges)} less the price of seams{stopped}"
    place = int((combined > combined[chosen]).sum()) + 1
    equals = int((np.abs(combined - combined[chosen]) <= TIE).sum()) - 1
    if asked > 1:
        why = f"number {place} of {seen.finished} by {by}, since render {asked} of the best was asked for"
    elif place == 1:
        why = f"best of {seen.finished} by {by}" + (f", the first of {equals + 1} that are tied" if equals else "")
    elif panel.choosing("clip"):
        why = f"number {place} of {seen.finished} by {by}, in the finalist that clip verifiers chose"
    elif len(take.edges) > 2:
        why = f"number {place} of {seen.finished} by {by}: best path through the segments"
    else:
        why = f"number {place} of {seen.finished} by {by}: the search's own last choice, or the best of the whole clip"
    if len(records) > seen.finished:
        why += f"; {len(records) - seen.finished} more were not carried to their end"
    if seen.previewed:
        why += f"; of {seen.finished}, the best {seen.decoded} by {', '.join(seen.previewed)} were decoded"
    elif len(seen.combined.excluded) > len(records) - seen.finished:
        why += f"; excluded, since a verifier could not score them: {', '.join(map(str, seen.combined.excluded))}"
    return why + stopped
