"""What a report says of files: the input, what was done to it, and what was written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from ttsr_studio.analysis.uncertainty import Amount
from ttsr_studio.report.record import Count, Positive, Record, Sha256


@dataclass(frozen=True)
class BandRecord(Record):
    """Where the band ends from a moment on."""

    start_s: Annotated[float, Field(ge=0)]
    edges_hz: Annotated[Sequence[float], Field(min_length=1)]
    """Of every channel, Hz."""


@dataclass(frozen=True)
class BeyondRecord(Record):
    """Something that the input holds above where its band ends."""

    what: Literal["tone", "birdie", "image", "sound"]
    """A steady tone, a codec's birdie or an upsampling's images, none of them the programme's, or anything else."""
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
    """DrawnMaps between two frequencies that a codec emptied, and that were filled."""

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
    """Where the input's band ends, Hz; null for silence."""
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
    """What was lifted; `cutoff_hz` and `bandwidth` are as they were heard before that."""
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
    held_db: float = 0.0
    """By how much louder than the input it stays, dB, so that what was there keeps its level; below 0: softer."""
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
    differs: str | None = None
    """What it is beside the first of the best, in words: brighter, more breath, harder hits; null for the first."""
