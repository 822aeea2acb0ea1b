"""What the report shows of a render, gathered while it streams by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ttsr_studio.analysis.search_range import search_range
from ttsr_studio.analysis.spectra import SpectrogramMap
from ttsr_studio.analysis.uncertainty import UncertaintyMap
from ttsr_studio.audio.stream import Scratch
from ttsr_studio.audio.windows import Window
from ttsr_studio.candidates import WindowPool
from ttsr_studio.finalists import WINDOWS, Contest
from ttsr_studio.report.record import CandidateRecord, JudgeRecord, Role, WindowRecord
from ttsr_studio.verifiers import Scope
from ttsr_studio.verifiers.ensemble import Combined
from ttsr_studio.verifiers.panel import Panel

BLOCK = 1 << 18
TOLERANCE = 1e-9
TIE = 1e-9
"""Combined scores nearer than this are equal: what is between them is rounding."""


@dataclass(frozen=True)
class _Seen:
    """A window, its candidates' records and what came of them; without candidates for silence."""

    window: Window
    records: list[CandidateRecord]
    combined: Combined
    chosen: list[int]
    input_scores: dict[str, float]
    looked: tuple[str, ...]
    decoded: int


class Observer:
    """Spectrograms of input and output, the uncertainty map, and a record of every window.

    Args:
        rate, frames: of the audio at the engine's rate.
        cutoff_hz: where the input's band ends.
    """

    def __init__(self, rate: int, frames: int, cutoff_hz: float) -> None:
        self.rate, self.cutoff_hz = rate, cutoff_hz
        self.before, self.after = SpectrogramMap(rate, frames), SpectrogramMap(rate, frames)
        self.uncertainty = UncertaintyMap(rate, frames)
        self._seen: list[_Seen] = []
        self._ranges: list[float] = []

    def see(self, lr: Scratch, output: Scratch) -> None:
        """Take the whole input and output."""
        for start in range(0, output.frames, BLOCK):
            stop = min(output.frames, start + BLOCK)
            self.before.update(start, lr.read(start, stop))
            self.after.update(start, output.read(start, stop))

    def hear(self, window: Window, pool: WindowPool | None, chosen: list[int], scale: float) -> None:
        """Take a window with its candidates, and the one in every finalist; `scale` brings them to the file's level."""
        if pool is None:
            self._seen.append(_Seen(window, [], Combined(np.zeros(0), (), ()), chosen, {}, (), 0))
            return
        candidates = torch.stack(list(pool.audio.values())) * scale
        self.uncertainty.update(window.start, candidates, self.cutoff_hz)
        if len(candidates) > 1:
            self._ranges.append(search_range(candidates))
        combined = pool.combined(range(len(pool.keys)))
        records = [
            CandidateRecord(
                key.to_json(), {name: values[i] for name, values in pool.scores.items()}, float(combined.values[i])
            )
            for i, key in enumerate(pool.keys)
        ]
        looked = pool.looked if len(pool.audio) < len(records) else ()
        self._seen.append(_Seen(window, records, combined, chosen, pool.input_scores, looked, len(pool.audio)))

    def mean_combined(self, finalist: int) -> float:
        """Mean over windows of the combined score of what a finalist is made of; NaN where nothing chose windows."""
        values = [float(seen.combined.values[seen.chosen[finalist]]) for seen in self._seen if seen.records]
        chosen_by = {name for seen in self._seen for record in seen.records for name in record.scores}
        return float(np.mean(values)) if values and chosen_by else math.nan

    def settle(self, contest: Contest, panel: Panel) -> tuple[list[WindowRecord], dict[str, JudgeRecord]]:
        """Records of all windows, and what every judge made of the choice, once it is known which finalist is kept."""
        kept = contest.chosen
        windows = [self._window(seen, kept, panel) for seen in self._seen]
        roles: dict[str, Role] = {verifier.name: "search" for verifier in panel.search}
        roles |= {verifier.name: "held-out" for verifier in panel.held_out}
        columns = sorted({name for seen in self._seen for record in seen.records for name in record.scores})
        judged = {name: self._judge(name, kept, roles[name.split("/")[0]]) for name in columns}
        for name, values in contest.scores.items():
            if name == WINDOWS:
                continue
            row = np.array(values)
            said = contest.input_scores.get(name)
            judged[name] = judge_record(
                roles[name.split("/")[0]], "clip", [(said, row, kept)] if np.isfinite(row).any() else []
            )
        return windows, judged

    def _judge(self, name: str, kept: int, role: Role) -> JudgeRecord:
        rows = []
        for seen in self._seen:
            values = np.array([_number(record.scores.get(name)) for record in seen.records])
            if np.isfinite(values).any():
                rows.append((seen.input_scores.get(name), values, seen.chosen[kept]))
        return judge_record(role, "window", rows)

    def _window(self, seen: _Seen, kept: int, panel: Panel) -> WindowRecord:
        window = seen.window
        start, stop = window.start / self.rate, window.stop / self.rate
        if not seen.records:
            return WindowRecord(window.index, start, stop, [], None, "silence: passed through")
        chosen = seen.chosen[kept]
        return WindowRecord(window.index, start, stop, seen.records, chosen, reason(seen, chosen, panel))

    def search_range(self) -> float | None:
        """Equation 4, mean over the windows that had two candidates or more."""
        return float(np.mean(self._ranges)) if self._ranges else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def judge_record(role: Role, scope: Scope, rows: Sequence[tuple[float | None, np.ndarray, int]]) -> JudgeRecord:
    """What a judge made of the choice: means over windows of (score of the input, scores [N], number of the chosen)."""
    inputs = [said for said, _, _ in rows if said is not None and math.isfinite(said)]
    spreads = [
        (values[chosen] - np.nanmean(values)) / np.nanstd(values) for _, values, chosen in rows if spread(values)
    ]
    means = {
        "input": inputs,
        "first": [values[0] for _, values, _ in rows],
        "mean": [np.nanmean(values) for _, values, _ in rows],
        "chosen": [values[chosen] for _, values, chosen in rows],
    }
    figures = {name: float(np.mean(parts)) if parts else None for name, parts in means.items()}
    chosen, first, before = figures["chosen"], figures["first"], figures["input"]
    harm = [
        name
        for name, other in (("below the input", before), ("below the first draw", first))
        if chosen is not None and other is not None and chosen < other - TOLERANCE * max(1.0, abs(other))
    ]
    return JudgeRecord(role, scope, **figures, gain_sd=float(np.mean(spreads)) if spreads else None, harm=harm)


def spread(values: np.ndarray) -> bool:
    """Whether a judge tells candidates apart at all."""
    finite = values[np.isfinite(values)]
    return len(finite) > 1 and float(finite.std()) > TOLERANCE * max(1.0, float(np.abs(finite).max()))


def reason(seen: _Seen, chosen: int, panel: Panel) -> str:
    """Why this candidate, in one line."""
    records, combined = seen.records, seen.combined.values
    judges = [verifier.name for verifier in panel.choosing("window")]
    if len(records) == 1:
        return "the only candidate"
    if not judges:
        return f"draw {chosen}, in the finalist that clip verifiers chose"
    by = judges[0] if len(judges) == 1 else f"{panel.rule} of {', '.join(judges)}"
    place = int((combined > combined[chosen]).sum()) + 1
    equals = int((np.abs(combined - combined[chosen]) <= TIE).sum()) - 1
    if place == 1:
        why = f"best of {len(records)} by {by}" + (f", the first of {equals + 1} that are tied" if equals else "")
    elif panel.choosing("clip"):
        why = f"number {place} of {len(records)} by {by}, in the finalist that clip verifiers chose"
    else:
        why = f"the search's last pivot, number {place} of {len(records)} by {by}"
    if seen.looked:
        why += f"; of {len(records)}, the best {seen.decoded} by {', '.join(seen.looked)} were decoded"
    elif seen.combined.excluded:
        why += f"; excluded, since a verifier could not score them: {', '.join(map(str, seen.combined.excluded))}"
    return why
