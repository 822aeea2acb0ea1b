"""The report of a render: what was asked, what was tried, what was chosen and why, as `<name>.ttsr.json`.

Its shape is published in `report.schema.json`. What could not be measured is null.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ttsr_studio.report.write import _plain

if TYPE_CHECKING:
    from ttsr_studio.analysis.uncertainty import UncertaintySummary

SCHEMA_VERSION = "2"


@dataclass(frozen=True)
class ToolInfo:
    """What made the render. `options` holds every resolved option, so that the report alone can repeat it.

    Attributes:
        weights: {file name: sha256} of the engine's weights.
        versions: {package: version} of what the bits depend on, e.g. torch.
    """

    name: str
    version: str
    engine: str
    weights: Mapping[str, str]
    preset: str | None
    options: Mapping[str, Any]
    seed: int
    device: str
    batch_size: int
    versions: Mapping[str, str] = field(default_factory=dict)


Role = Literal["search", "held-out"]


@dataclass(frozen=True)
class VerifierInfo:
    """A judge that took part: "search" judges choose, "held-out" ones only watch."""

    unit: str
    weights: Mapping[str, str]
    licence: str
    role: Role = "search"


@dataclass(frozen=True)
class InputInfo:
    """The file as it was found. Frames are per channel; loudness in LUFS, true peak in dBTP, None when
    undefined."""

    name: str
    sha256: str
    rate: int
    depth: str
    channels: int
    frames: int
    lufs: float | None
    true_peak_db: float | None
    cutoff_hz: float | None
    crossover_hz: Sequence[float]
    cutoff_reason: str
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class MetadataInfo:
    """What the input says besides audio: what the output has of it, by name, what it has not, {name: why}, and what
    was not understood."""

    carried: Sequence[str] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class OutputInfo:
    """The file as it was written. `gain_db` is the one gain of the whole file, `gain_reason` says what it is
    for."""

    name: str
    sha256: str
    rate: int
    depth: str
    channels: int
    frames: int
    lufs: float | None
    true_peak_db: float | None
    gain_db: float
    gain_reason: str
    metadata: MetadataInfo = field(default_factory=MetadataInfo)


@dataclass(frozen=True)
class PreviewRecord:
    """What was said of an x0-prediction on the way: the solver step it was made at, and every verifier's score."""

    step: int
    scores: Mapping[str, float | None]


@dataclass(frozen=True)
class CandidateRecord:
    """A candidate: the noise key that makes it again, every verifier's raw score, and the combined one.

    A score is None from a verifier that has to hear, when the candidate was not decoded, and all are for one that the
    search did not carry to its end.

    Attributes:
        step: of the solver that it reached; None when all candidates were finished.
        looks: judgements on its way.
    """

    key: Mapping[str, Any]
    scores: Mapping[str, float | None]
    combined: float | None
    step: int | None = None
    looks: Sequence[PreviewRecord] = ()


@dataclass(frozen=True)
class SegmentRecord:
    """A part of a window and the candidate that it comes from; seconds from the start of the output."""

    start_s: float
    stop_s: float
    candidate: int


@dataclass(frozen=True)
class WindowRecord:
    """A window of the output, seconds from its start, with all candidates and the index of the chosen one.

    A window that was passed through, e.g. silence, has no candidates and None chosen.

    Attributes:
        chosen: where it is put together from several, the one that most comes from.
        segments: what it is put together from; empty when it is one candidate throughout.
        search_range: equation 4 of the paper; None with fewer than two candidates.
        cut: why its search stopped before the budget was spent: "time", "target", "interrupted"; None when it did not.
    """

    index: int
    start_s: float
    stop_s: float
    candidates: Sequence[CandidateRecord]
    chosen: int | None
    reason: str
    segments: Sequence[SegmentRecord] = ()
    search_range: float | None = None
    cut: str | None = None


@dataclass(frozen=True)
class SearchRecord:
    """How the noise was searched.

    Attributes:
        name, settings: the algorithm and what it was told.
        choice: what one choice holds for: "window", "segment" or "clip".
        window_nfe: evaluations that a window and channel was allowed; fewer where time set the limit.
        cut: how many windows stopped early, by why; "interrupted" means that the user had heard enough.
    """

    name: str = "random"
    settings: Mapping[str, Any] = field(default_factory=dict)
    choice: str = "window"
    window_nfe: int = 0
    cut: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreRecord:
    """What a judge, or one scale of it, made of the choice: means over windows (scope "clip": of the finalists).

    Attributes:
        input: score of the input itself; None when it cannot be asked.
        first: of the first draw, what one render without a search would be.
        mean: of all candidates, what a random pick would be.
        chosen: of what was kept.
        control: of a random pick through the same assembly; None when none was rendered.
        gain_sd: chosen above the mean, in standard deviations over the candidates; None when it tells none apart.
        harm: where the choice is worse than what it had to beat.
    """

    role: Role
    scope: Literal["window", "clip"]
    input: float | None
    first: float | None
    mean: float | None
    chosen: float | None
    gain_sd: float | None
    control: float | None = None
    harm: Sequence[str] = ()


@dataclass(frozen=True)
class Gains:
    """Mean gain of the judges that chose and of those that were held out, and the second over the first.

    A ratio that falls as candidates grow is the sign of a search that games its judges. None where there is none.
    """

    searched: float | None
    held_out: float | None
    ratio: float | None


@dataclass(frozen=True)
class FinalistRecord:
    """An assembled render and what clip verifiers said of it."""

    scores: Mapping[str, float | None]
    combined: float | None
    chosen: bool


@dataclass(frozen=True)
class AnnotationsRecord:
    """What was known of the file, and what verifiers did where it was not, by name."""

    transcript: str | None
    caption: str | None
    captions: Sequence[str]
    speakers: int
    notes: Mapping[str, str]


@dataclass(frozen=True)
class Timing:
    """Cost. `nfe` counts network evaluations; `audio_s` is the length of the file.

    Attributes:
        wall_s: seconds of wall-clock time that the render took.
        seconds: the same by stage: read, condition, network, decode, verify, assemble, write, and others.
    """

    nfe: int
    audio_s: float
    wall_s: float
    seconds: Mapping[str, float]

    def times_real_time(self) -> float | None:
        """Return seconds of audio per second of work; above 1 is faster than real time."""
        return self.audio_s / self.wall_s if self.wall_s > 0 else None


@dataclass(frozen=True)
class BestRecord:
    """One of the best renders that were written: its place among them, 1 for the best, and its file.

    Attributes:
        score: mean over windows of the combined score of the candidates that it is made of, or what clip verifiers said
            where they chose; None where nothing judged. A choice by segment comes first whatever its score.
        candidates: numbers of the candidates that it is made of, by window that sounds, by segment.
    """

    rank: int
    name: str
    score: float | None
    sha256: str
    lufs: float | None
    true_peak_db: float | None
    gain_db: float
    candidates: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Report:
    """Everything about one render.

    Attributes:
        verifiers: {name: info} of those that took part; `left_out` gives {name: why} of those that could not.
        uncertainty: spread of the candidates above the cutoff, dB.
        search_range: equation 4 of the paper, mean over windows; None with a single candidate.
        judged: what every judge, or scale "name/scale" of one, made of the choice.
        search: how the noise was searched.
        best: the renders that were written, the best first.
        control: the random pick that was written for comparison.
        finalists: assembled renders, when clip verifiers had a say; empty otherwise.
    """

    tool: ToolInfo
    input: InputInfo
    output: OutputInfo
    verifiers: Mapping[str, VerifierInfo]
    windows: Sequence[WindowRecord]
    timing: Timing
    uncertainty: "UncertaintySummary"
    search_range: float | None
    judged: Mapping[str, ScoreRecord]
    gains: Gains
    finalists: Sequence[FinalistRecord]
    brief: AnnotationsRecord
    left_out: Mapping[str, str] = field(default_factory=dict)
    search: SearchRecord = field(default_factory=SearchRecord)
    best: Sequence[BestRecord] = ()
    control: OutputInfo | None = None
    status: Literal["rendered"] = "rendered"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types only; NaN and infinities become None."""
        report: dict[str, Any] = _plain({"schema_version": SCHEMA_VERSION, **asdict(self)})
        report["timing"]["times_real_time"] = _plain(self.timing.times_real_time())
        return report
