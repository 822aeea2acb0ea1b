"""What a report says of the search: its candidates by window, their scores, and what they were worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from ttsr_studio.analysis.uncertainty import Amount
from ttsr_studio.report.record import Count, KnownScores, Positive, Record, Role


@dataclass(frozen=True)
class PreviewRecord(Record):
    """KnownScores of a candidate's x0-prediction before it was finished."""

    step: Count
    """Solver step at which the prediction was made."""
    scores: KnownScores


@dataclass(frozen=True)
class CandidateRecord(Record):
    """A candidate of a window."""

    key: Mapping[str, Any]
    """The noise key that makes it again."""
    scores: KnownScores
    """Raw score by verifier; null when it could not be scored: not decoded, or not carried to its end."""
    combined: float | None
    """What the choice was made by; null when excluded."""
    step: Count | None = None
    """Solver step that it reached; null when all candidates were finished."""
    previews: Sequence[PreviewRecord] = ()


@dataclass(frozen=True)
class SegmentRecord(Record):
    """A part of a window and the candidate that it comes from; seconds from the start of the output."""

    start_s: Amount
    stop_s: Amount
    candidate: Count


@dataclass(frozen=True)
class WindowRecord(Record):
    """A window of the output, seconds from its start."""

    index: Count
    start_s: Amount
    stop_s: Amount
    candidates: Sequence[CandidateRecord]
    """Empty where the input was passed through, e.g. silence."""
    chosen: Count | None
    """Index into candidates, the one that most comes from; null when there are none."""
    reason: str
    segments: Sequence[SegmentRecord] = ()
    """What it is put together from; empty when it is one candidate throughout."""
    search_range: Amount | None = None
    """Equation 4 of the paper for this window; null with fewer than two candidates."""
    cut: Annotated[str, Field(pattern="^(time|target|interrupted)$")] | None = None
    """Why its search stopped before the budget was spent; null when it did not."""


@dataclass(frozen=True)
class SearchRecord(Record):
    """How the noise was searched."""

    name: str = "random"
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the algorithm was told."""
    choice: Literal["window", "segment", "clip"] = "window"
    """What one choice holds for."""
    window_nfe: Count = 0
    """Network evaluations that a window and channel was allowed; fewer where time set the limit."""
    cut: Mapping[str, Positive] = field(default_factory=dict)
    """How many windows stopped early, by why: time, target, interrupted."""


@dataclass(frozen=True)
class ScoreRecord(Record):
    """KnownScores of the choice and of what it had to beat: means over windows, or of the n best renders."""

    role: Role
    scope: Literal["window", "clip"]
    """Whether windows were scored, or whole assembled renders."""
    input: float | None
    """Of the input itself; null when it cannot be asked."""
    first: float | None
    """Of the first draw: what one render without a search would be."""
    mean: float | None
    """Of all candidates: what a random pick would be."""
    chosen: float | None
    """Of what was kept."""
    gain_sd: float | None
    """Chosen above the mean, in standard deviations over the candidates; null when it tells none apart."""
    random_baseline: float | None = None
    """Of a random pick through the same assembly; null when none was rendered."""
    harm: Sequence[str] = ()
    """Where the choice is worse than what it had to beat."""


@dataclass(frozen=True)
class Gains(Record):
    """Mean gain of the verifiers that chose and of those held out.

    A ratio that falls as candidates grow is the sign of a search that games its verifiers.
    """

    searched: float | None
    held_out: float | None
    ratio: float | None
    """The second over the first."""


@dataclass(frozen=True)
class NBestRecord(Record):
    """One of the n best renders, assembled whole and reranked by verifiers of clips."""

    scores: KnownScores
    combined: float | None
    chosen: bool
