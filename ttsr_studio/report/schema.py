"""The report of a render, `<name>.ttsr.json`: what was asked, what was tried, what was chosen and why.

These classes, with `file_records` and `search_records`, are the one definition of its shape: reports are checked by
them (`validate`), and the schema that `ttsr schema` prints is made from them, with the text below a field as its
description. What could not be measured is null. Higher scores are better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ttsr_studio.analysis.uncertainty import Amount, UncertaintySummary
from ttsr_studio.report.file_records import AmountRecord, BestRecord, ChainRecord, HolesRecord, InputInfo, OutputInfo
from ttsr_studio.report.record import Count, Notice, Positive, Record, Role, Sha256
from ttsr_studio.report.search_records import Gains, NBestRecord, ScoreRecord, SearchRecord, WindowRecord
from ttsr_studio.report.write import plain_json


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
    notices: Sequence[Notice] = ()
    """What somebody has to know of it; the lines of input and metadata stand here as well."""

    def written(self) -> list[BestRecord | OutputInfo]:
        """The best renders and the random baseline: all audio that was written."""
        return [*self.best, *([self.random_baseline] if self.random_baseline else [])]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only; NaN and infinities become None."""
        report: dict[str, Any] = plain_json(asdict(self))
        return report
