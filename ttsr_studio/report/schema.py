"""The report of a render, `<name>.ttsr.json`: what was asked, what was tried, what was chosen and why.

These classes are the one definition of its shape: reports are checked by them (`validate`), and the schema that
`ttsr schema` prints is made from them, with the text below a field as its description. What could not be measured is
null. Higher scores are better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from ttsr_studio.analysis.uncertainty import Amount, UncertaintySummary
from ttsr_studio.report.write import plain_json

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
KnownScores = Mapping[str, float | None]
"""By verifier, or by scale, "verifier/scale"; None when it could not be scored."""
Role = Literal["search", "held-out"]


class Record:
    """A part of the report: fields that it does not have are refused."""

    __pydantic_config__ = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
    )


@dataclass(frozen=True)
class PluginInfo(Record):
    """An engine, verifier, search or sampler of another package."""

    kind: Literal["engine", "verifier", "search", "sampler"]
    name: str
    package: str
    """As it is installed."""
    version: str

    @property
    def of(self) -> str:
        """The package with its version."""
        return f"{self.package} {self.version}".strip()


@dataclass(frozen=True)
class ToolInfo(Record):
    """What made the render; the options alone repeat it."""

    name: str
    version: str
    engine: str
    weights: Mapping[str, Sha256]
    """SHA-256 of every weights file of the engine, by file name."""
    preset: str | None
    options: Mapping[str, Any]
    """Every option, resolved, by its name."""
    seed: Count
    device: str
    batch_size: Positive
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the packages that the bits depend on, e.g. torch."""
    plugins: Sequence[PluginInfo] = ()
    """What other packages had a part in it."""


@dataclass(frozen=True)
class VerifierInfo(Record):
    """A verifier that took part."""

    unit: str
    weights: Mapping[str, Sha256]
    """SHA-256 of every weights file in use, by file name."""
    licence: str
    role: Role = "search"
    """Those of the search choose; those held out only watch."""


@dataclass(frozen=True)
class BandRecord(Record):
    """Where the band ends from a moment on."""

    start_s: Annotated[float, Field(ge=0)]
    edges_hz: Annotated[Sequence[float], Field(min_length=1)]
    """Of every channel, Hz."""


@dataclass(frozen=True)
class BeyondRecord(Record):
    """Something that the input holds above where its band ends."""

    what: Literal["tone", "sound"]
    """A steady tone, which is none of the programme's, or anything else."""
    start_s: Annotated[float, Field(ge=0)]
    stop_s: Annotated[float, Field(ge=0)]
    low_hz: Annotated[float, Field(gt=0)]
    high_hz: Annotated[float, Field(gt=0)]
    level_db: float
    """RMS, dBFS."""
    removed: bool
    """Whether the output has it no more; what is kept is as it was but for the one gain of the file."""


@dataclass(frozen=True)
class HoleBandRecord(Record):
    """Cells between two frequencies that a codec emptied, and that were filled."""

    low_hz: Annotated[float, Field(gt=0)]
    high_hz: Annotated[float, Field(gt=0)]
    cells: Annotated[int, Field(ge=0)]
    share: Annotated[float, Field(ge=0, le=1)]
    """Of the cells there that lie below the edge."""
    level_db: float
    """RMS of what was added there, dBFS, over the whole file, before its one gain."""


@dataclass(frozen=True)
class HolesRecord(Record):
    """What a codec emptied below where the band ends: cells of 375 Hz, one every 5.3 ms, at the engine's rate."""

    cells: Annotated[int, Field(ge=0)]
    """That were filled; it does not count in the loudness match."""
    share: Annotated[float, Field(ge=0, le=1)]
    bands: Sequence[HoleBandRecord] = ()
    """Those that hold any."""


@dataclass(frozen=True)
class SkirtRecord(Record):
    """By how much a filter's skirt was lifted, from a moment on."""

    start_s: Annotated[float, Field(ge=0)]
    channels: Annotated[Sequence[Positive], Field(min_length=1)]
    """Which ones, from 1."""
    hertz: Annotated[Sequence[float], Field(min_length=2)]
    """Ascending; below the first nothing changes, above the last the lift fades out."""
    lift_db: Annotated[Sequence[Amount], Field(min_length=2)]
    """At each of these, dB."""
    evidence: float
    """How much likelier a filter is than none, natural-log units."""


@dataclass(frozen=True)
class InputInfo(Record):
    """The file as it was found."""

    name: str
    sha256: Sha256
    rate: Positive
    """Hz."""
    depth: str
    """Sample format, e.g. PCM_24 or FLOAT."""
    channels: Positive
    frames: Count
    """Samples per channel."""
    lufs: float | None
    """Integrated loudness (BS.1770), LUFS; null for silence or less than 0.4 s."""
    true_peak_db: float | None
    """dBTP; null for silence."""
    cutoff_hz: Annotated[float, Field(gt=0)] | None
    """Where the input's band ends, Hz."""
    crossover_hz: Annotated[Sequence[float], Field(min_length=2, max_length=2)]
    """Between these the output goes over from the input to what was generated, Hz."""
    cutoff_reason: str
    warnings: Sequence[str] = ()
    evidence_db: float | None = None
    """By how much what lies between partials falls where the band ends; null where nothing says so."""
    bandwidth: Sequence[BandRecord] = ()
    """Where the band ends, by time and channel."""
    beyond: Sequence[BeyondRecord] = ()
    """What lies above that: tones do not count in the loudness match, nor does what was removed."""
    skirts: Sequence[SkirtRecord] = ()
    """What was lifted; `cutoff_hz` and `bandwidth` are as they are after that."""
    codec: str | None = None
    """What seems to have ended its band, a codec or a rate, in words; null where nothing says so."""
    lifted_lu: float | None = None
    """By how much that made the input louder, LU, which the loudness match lets stay; null where nothing was lifted."""


@dataclass(frozen=True)
class MetadataInfo(Record):
    """What the input says besides audio, and what became of it."""

    carried: Sequence[str] = ()
    """Chunks, blocks and tags that the output has, e.g. bext, iXML, LIST adtl, title."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Those that it has not, and why."""
    warnings: Sequence[str] = ()
    """What was broken or not understood."""


@dataclass(frozen=True)
class LimitRecord(Record):
    """What a limiter did to the peaks."""

    ceiling_db: float
    """dBTP."""
    most_db: Amount
    """What it took of a peak at most."""
    share: Annotated[float, Field(ge=0, le=1)]
    """Of the file that it lowered by .1 dB or more."""
    made_up_db: float
    """Gain before it for the loudness that it takes."""


@dataclass(frozen=True)
class EffectRecord(Record):
    """An effect of a chain."""

    name: str
    file: str | None
    """Of a plug-in; null for what pedalboard has itself."""
    settings: Mapping[str, Any]
    """All of them, as they were in force."""


@dataclass(frozen=True)
class ChainRecord(Record):
    """Effects before and after the render, in their order."""

    before: Sequence[EffectRecord]
    after: Sequence[EffectRecord]


@dataclass(frozen=True)
class OutputInfo(Record):
    """A file as it was written."""

    name: str
    sha256: Sha256
    rate: Positive
    """Hz."""
    depth: str
    """Sample format, e.g. PCM_24 or FLOAT."""
    channels: Positive
    frames: Count
    """Samples per channel."""
    lufs: float | None
    """Integrated loudness (BS.1770), LUFS; null for silence or less than 0.4 s."""
    true_peak_db: float | None
    """dBTP; null for silence."""
    gain_db: float
    """The one gain of the whole file, dB."""
    gain_reason: str
    lowered_db: Annotated[float, Field(ge=0)] = 0.0
    """By how much the gain was lowered for the peaks, dB."""
    limited: LimitRecord | None = None
    """What a limiter did; null where there was none, or nothing to do for it."""
    metadata: MetadataInfo = field(default_factory=MetadataInfo)


@dataclass(frozen=True)
class AmountBand(Record):
    """A band of what was made, and how much of it was mixed in on average."""

    low_hz: float
    high_hz: float
    amount: Amount


@dataclass(frozen=True)
class AmountRecord(Record):
    """How much of what was made was mixed in, and how it was tilted; scores are of all of it."""

    asked: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 1.0
    """A share, or auto: less where candidates disagree."""
    tilt_db: float = 0.0
    """dB an octave above where the band ends."""
    mean: Amount | None = None
    """Of auto: mean share over the cells, 1 kHz by 85 ms at 48 kHz."""
    per_second: Sequence[Amount] = ()
    """Of auto: the same for every started second."""
    per_band: Sequence[AmountBand] = ()
    """Of auto: the same for every band."""


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


@dataclass(frozen=True)
class AnnotationsRecord(Record):
    """What was known of the file."""

    transcript: str | None
    caption: str | None
    captions: Sequence[str]
    speakers: Count
    """How many recordings of the speaker were given."""
    notes: Mapping[str, str]
    """What verifiers did where something was not known, by name."""


@dataclass(frozen=True)
class Timing(Record):
    """What it cost."""

    nfe: Count
    """Network evaluations."""
    audio_s: Amount
    """Length of the file."""
    wall_s: Amount
    """Wall-clock seconds of the render."""
    seconds: Mapping[str, Amount]
    """The same by stage: read, condition, network, decode, verify, assemble, write, and others."""
    times_real_time: Amount | None
    """Seconds of audio per second of work; above 1 is faster than real time."""


@dataclass(frozen=True)
class BestRecord(Record):
    """One of the best renders that were written."""

    rank: Positive
    """1 for the best; what was chosen by segment comes first whatever its score."""
    name: str
    score: float | None
    """Mean over windows of the combined score of what it is made of, or the combined score of verifiers of clips where
    they chose; null for all where the ranks go by something else: segments, or the search itself."""
    sha256: Sha256
    lufs: float | None
    true_peak_db: float | None
    gain_db: float
    candidates: Sequence[Sequence[Count]]
    """Candidates that it is made of, by window that sounds, by segment."""


@dataclass(frozen=True)
class WatchRecord(Record):
    """What the watch folder knows of the render."""

    source: str
    """The input's path in the watched tree."""
    fingerprint: str
    """Checksum of everything that the render depends on besides the input's content."""
    duplicate_of: str | None
    """The source of the same content that this is a copy of the render of."""


@dataclass(frozen=True)
class Report(Record):
    """What was asked, tried and chosen for one file. Higher scores are better; what could not be measured is null."""

    schema_version: Literal["3"] = field(default="3", kw_only=True)
    tool: ToolInfo
    input: InputInfo
    output: OutputInfo
    verifiers: Mapping[str, VerifierInfo]
    """Those that took part, by name."""
    windows: Sequence[WindowRecord]
    timing: Timing
    uncertainty: UncertaintySummary
    search_range: Amount | None
    """How far candidates lie apart: equation 4 of the paper, LSD (log10 power), mean over windows; null with one
    candidate."""
    scores: Mapping[str, ScoreRecord]
    """Of the choice, by verifier, or by scale, "verifier/scale"."""
    gains: Gains
    n_best: Sequence[NBestRecord]
    """Whole renders among which verifiers of clips chose; empty where none did."""
    annotations: AnnotationsRecord
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Verifiers that were not used, and why."""
    search: SearchRecord = field(default_factory=SearchRecord)
    best: Sequence[BestRecord] = ()
    """The renders that were written, the best first."""
    random_baseline: OutputInfo | None = None
    """A random pick that was written for comparison."""
    amount: AmountRecord = field(default_factory=AmountRecord)
    codec_holes: HolesRecord | None = None
    """Null where they were not to be filled."""
    chain: ChainRecord | None = None
    """Null where there were no effects."""
    job: WatchRecord | None = None
    """Null for a render outside of a watch folder."""
    status: Literal["rendered"] = "rendered"

    def written(self) -> list[BestRecord | OutputInfo]:
        """The best renders and the random baseline: all audio that was written."""
        return [*self.best, *([self.random_baseline] if self.random_baseline else [])]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only; NaN and infinities become None."""
        report: dict[str, Any] = plain_json(asdict(self))
        return report
