"""The one table of options: what a render is asked to do. Flags, presets, sidecars, jobs and schemas are made from it.

Every option stands once, as a field of `RenderOptions` in the group that it belongs to; `config.option_fields` reads
the table for those who take options from somewhere.
"""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import (
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from ttsr_studio.errors import OptionError, unknown
from ttsr_studio.options.values import (
    RATES,
    AmountOfMade,
    Cutoff,
    Depth,
    EffectChain,
    LoudnessTarget,
    Rate,
    Settings,
    Targets,
    Weights,
    expand_auto,
    parse_bitrate,
    parse_budget,
    slip,
)

Holder = Literal["preset", "sidecar", "job", "evaluation"]
"""What may set an option besides a flag; a `ttsr-watch.toml` sets what a preset does."""
FILES: tuple[Holder, ...] = ("preset", "sidecar", "job")
"""What sets an option that an evaluation fixes for all systems."""


def option(
    default: Any,
    help: str = "",
    *,
    name: str | None = None,
    takes: str | None = None,
    unset: str | None = None,
    held_by: tuple[Holder, ...] = (*FILES, "evaluation"),
    **more: Any,
) -> Any:
    """A row of the table.

    Args:
        name: of the option, where it is not the field's.
        takes: what it takes, in words, for the line that refuses another value.
        unset: what holds where the option is not given, in words, where the default does not say it.
        held_by: what may set it besides a flag.
        more: `metavar`; `several`, of an option that may be given more than once: what it takes; `flag`, False for
            what has none; and rules of `pydantic.Field`.
    """
    told: dict[str, Any] = {"name": name, "takes": takes, "unset": unset, "held_by": held_by}
    told |= {key: more.pop(key) for key in ("metavar", "several", "flag") if key in more}
    return Field(default, description=help, json_schema_extra=told, **more)


# fmt: off
@dataclass(frozen=True)
class SearchOptions:
    """How candidates are made and searched for. Of the preset, which is resolved here, only the name is left."""

    preset: str = option("general", "Name, or a TOML file; see `ttsr presets list`.", held_by=("sidecar",))
    search: str = option("random")
    candidates: int | None = option(
        8, "N: a window may take as many evaluations as N whole renders, however the search spends them.",
        ge=1, takes="at least 1", unset="the preset's")
    budget: str | None = option(
        None, "The most a search may spend, in place of the preset's --candidates: 64nfe (evaluations of a window and "
        "channel) or 30s (a file). With --candidates beside it the smaller holds.")
    targets: Targets = option(
        (), "Search a window no further once its best candidate has this score, may be repeated.",
        name="target", several="NAME=SCORE", held_by=FILES)
    settings: Settings = option(
        (), "Setting of the search, may be repeated: {settings}.", name="set", several="NAME=VALUE")
    neighbours: int | None = option(None, "Zero-order search: renders a round, K, 1 or more.", unset="2", flag=False)
    cosine: float | None = option(
        None, "Zero-order search: cosine to the pivot, -1 to 1; larger is nearer.", unset="0.99", flag=False)
    stride: float | None = option(
        None, "The same as a chord, 0 to 2 times the norm, instead of a cosine.", flag=False)
    pivot: Literal["elitist", "paper"] | None = option(
        None, "Zero-order search: keep the best ever, or the paper's literal rule.", unset="elitist", flag=False)
    choice: Literal["window", "clip", "segment"] = option(
        "window", "What one choice holds for: a window, a segment of one, or the whole clip.", unset="the preset's")
    segment: float = option(0.64, "Seconds of a segment.", ge=0.25, le=10, takes="from 0.25 to 10 seconds")
    seam: float = option(
        0.5, "Price of changing candidates between segments: standard deviations of the score for 10 dB between them.",
        ge=0, allow_inf_nan=False, takes="0 or more")
    seed: int = option(0, ge=0, takes="0 or more")


@dataclass(frozen=True)
class VerifierOptions:
    """What scores candidates, and how scores are combined."""

    verifiers: tuple[str, ...] = option(
        ("critic",), "Verifier, may be repeated: {verifiers}. NAME? is left out where it is not installed; auto: "
        "critic, consensus and whichever other is installed and suits.",
        name="verifier", several="names", unset="the preset's")
    ensemble: Literal["rank", "zsum", "minrank"] = option("rank", "How several verifiers are combined.")
    weights: Weights = option(
        (), "Weight of a verifier in the ensemble, 0 or more, may be repeated.",
        name="weight", several="NAME=W", unset="1 each")
    hold_out: tuple[str, ...] = option(
        (), "Verifier that scores everything and chooses nothing, may be repeated: shows whether the others are "
        "being gamed.", several="names", metavar="NAME")
    scope: Literal["auto", "window", "clip"] = option(
        "auto", "Score windows or assembled clips; auto leaves it to every verifier.")
    finalists: int | None = option(
        None, "Assembled renders that verifiers of clips score.",
        ge=1, takes="at least 1", unset="4; all candidates where nothing scores windows")
    decode_top: int | None = option(
        None, "Decode and score in full only the K best by a cheaper preview, 1 or more.",
        ge=1, takes="at least 1", unset="all", metavar="K")
    look: str | None = option(None, "The cheaper preview: latent, mel (audiosr).", unset="the engine's cheapest")
    reference: Path | None = option(
        None, "Ground truth (a file, or a folder with the inputs' names), for the oracle verifier lsd.",
        held_by=("sidecar", "job"))
    witness: bool = option(
        False, "Let held-out verifiers score x0-predictions on the way, for the record.", flag=False, held_by=())


@dataclass(frozen=True)
class KnownOptions:
    """What is known of the file, see `verifiers.protocol.Annotations`."""

    transcript: str | None = option(
        None, "The words that are spoken, for wer; or the name of a .txt file.",
        unset="found in the input", held_by=("sidecar", "job"))
    caption: str | None = option(None, "What is to be heard, in a sentence, for clap.", held_by=FILES)
    captions: tuple[str, ...] = option(
        (), "What it may be, when there is no --caption; may be repeated.", several="texts")
    speakers: tuple[Path, ...] = option(
        (), "Another recording of the same speaker, for speaker; may be repeated.",
        name="speaker", several="files", held_by=("sidecar", "job"))


@dataclass(frozen=True)
class EngineOptions:
    """The engine, its solver, and how it runs; None is the engine's own."""

    engine: str = option("builtin")
    steps: int | None = option(None, "Solver steps, 1 or more.", ge=1, takes="at least 1", unset="the engine's")
    solver: str | None = option(None, unset="the engine's")
    schedule: str | None = option(None, "Noise levels.", unset="the engine's")
    temperature: float | None = option(
        None, "Scale of the starting noise, above 0 to 1.5; lower is nearer to the engine's mean.",
        gt=0, le=1.5, takes="above 0, at most 1.5", unset="the engine's")
    guidance: float | None = option(
        None, "Scale of classifier-free guidance, 0 to 20; 1 is none.",
        ge=0, le=20, takes="from 0 to 20; 1 is none", unset="the engine's")
    guidance_interval: tuple[float, float] | None = option(
        None, "Guide only between these noise levels.", unset="everywhere", metavar="LOW HIGH")
    guidance_rescale: float = option(0.0, "0 to 1; tames guidance, 0.7 is usual.")
    posterior: Literal["mean", "sample"] = option("mean", "What of the encoder's posterior to condition on.")
    window: float | None = option(
        None, "Seconds that the engine draws at once (audiosr: 5.12, 10.24).", unset="its own")
    device: str = option("auto", "auto, cpu, cuda, mps.", held_by=("job", "evaluation"))
    batch: int = option(32, "Rows of a device batch; halved when memory runs out.", ge=1, takes="at least 1")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto", "Of the engine's networks; auto is the fastest that the device is good at.")
    compile: bool = option(False, "Compile the network first: slow to start, faster after.")
    low_vram: bool = option(False, "Keep only the network that runs on the device; decode in tiles.")


@dataclass(frozen=True)
class OutputOptions:
    """What is read, what is written, and what the report lists."""

    rate: Rate = option(48000, "Of the output, Hz.", held_by=FILES)
    depth: Depth = option("source", "Of the output.", held_by=FILES)
    bitrate: str | None = option(
        None, "Lossy audio of so many bits a second, such as 256k, where the output's container has a codec for it.",
        unset="lossless where the container holds that", held_by=FILES)
    keep_original_audio: bool = option(
        False, "In a video, keep the old audio beside the new.", held_by=FILES)
    loudness: LoudnessTarget = option("match", "match (the input), off, or LUFS.", held_by=FILES)
    ceiling: float = option(
        0.0, "True peak, dBTP; the input's own where that is higher.",
        ge=-20, le=0, takes="true peak from -20 to 0 dBTP", held_by=FILES)
    cutoff: Cutoff = option(
        None, "Where the input's band ends, Hz; of every channel where they differ: 4000,8000.",
        metavar="HZ[,HZ...]", unset="detected", held_by=FILES)
    remove: Literal["nothing", "tones", "above"] = option(
        "nothing", "What of the input may go: nothing, steady tones above where its band ends (a CRT's whine, a pilot, "
        "a switching supply), or all above. The report lists what went.", held_by=FILES)
    lift_skirt: bool = option(
        False, "Lift the skirt of a gentle filter: what it turned down, but not into the noise.", held_by=FILES)
    keep_skirt: bool = option(
        False, "Leave the skirt of a gentle filter as it is, where a preset or a sidecar says lift_skirt as well.",
        held_by=FILES)
    amount: AmountOfMade = option(
        1.0, "How much of what was made is mixed in, 0 to 1; auto: less where candidates disagree.", held_by=FILES)
    tilt: float = option(
        0.0, "Of what was made, dB an octave above where the band ends; negative is darker.",
        ge=-12, le=12, takes="from -12 to 12 dB an octave", held_by=FILES)
    fill_holes: bool = option(
        False, "Fill what a codec (mp3, AAC) emptied below where the band ends; the report lists it.", held_by=FILES)
    limiter: bool = option(
        False, "Limit peaks to the ceiling instead of lowering the gain; needs the extra [chain].", held_by=FILES)
    chain: EffectChain | None = option(
        None, "Effects before and after the render; needs the extra [chain].",
        metavar="FILE.toml", held_by=FILES)
    keep_top: int = option(
        1, "Write the best K renders: NAME, and NAME_top2 to NAME_topK beside it.",
        ge=1, takes="at least 1", metavar="K", held_by=FILES)
    take: int = option(
        1, "Choose the render that is N-th best instead.", ge=1, takes="at least 1", metavar="N", held_by=("job",))
    control: bool = option(
        False, "Also write NAME_control: a random pick through the same assembly.", held_by=FILES)
    uncertain_above: float = option(
        6.0, "dB; where candidates differ by more, the report lists the stretch.",
        ge=0, allow_inf_nan=False, takes="0 dB or more", held_by=FILES)
    page: bool = option(
        False, "Write NAME.ttsr.html: listen to input and best renders side by side, blind, and see why.",
        held_by=FILES)
    salvage: bool = option(False, "Render what is there of a truncated file.", held_by=FILES)
    stream: str | None = option(
        None, "Audio stream of a file that has several: its number, from 1 on, or its language.",
        unset="the file's own default", metavar="N|LANGUAGE", held_by=FILES)


# fmt: on
@dataclass(frozen=True, config=ConfigDict(extra="forbid", coerce_numbers_to_str=True))
class RenderOptions(OutputOptions, EngineOptions, KnownOptions, VerifierOptions, SearchOptions):
    """Options of one render, checked. Raises OptionError for what is unknown or wrong, or does not fit the others."""

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_line(cls, values: Any, handler: ModelWrapValidatorHandler["RenderOptions"]) -> "RenderOptions":
        try:
            return handler(values)
        except ValidationError as error:
            raise refusal(error) from None

    def __post_init__(self) -> None:
        if self.candidates is None and self.budget is None:
            raise OptionError("a search needs --candidates or a --budget")
        if self.choice == "clip" and self.decode_top is not None:
            raise OptionError(
                "--choice clip compares candidates over all windows, so it decodes all; leave --decode-top out"
            )
        for name, count in (("keep-top", self.keep_top), ("take", self.take)):
            if self.decode_top is not None and self.decode_top < count:
                raise OptionError(f"--{name} {count}: --decode-top {self.decode_top} leaves fewer that are decoded")
        if self.look is not None and self.decode_top is None:
            raise OptionError("--look says how candidates are scored before --decode-top of them; pass that too")
        object.__setattr__(self, "verifiers", expand_auto(self.verifiers, self.preset))
        if not self.verifiers:
            raise OptionError("at least one --verifier is needed to choose between candidates")
        named = [name.removesuffix("?") for name in (*self.verifiers, *self.hold_out)]
        if len(set(named)) < len(named):
            twice = sorted({name for name in named if named.count(name) > 1})
            raise OptionError(f"a verifier is named twice: {', '.join(twice)}; it either chooses or is held out, once")
        parse_budget(self.budget)
        parse_bitrate(self.bitrate)

    @property
    def budget_nfe(self) -> int | None:
        """Evaluations that a search may spend on a window and channel."""
        return parse_budget(self.budget)[0]

    @property
    def budget_seconds(self) -> float | None:
        """Seconds that all searches of a file may take."""
        return parse_budget(self.budget)[1]

    @property
    def cutoffs(self) -> tuple[float, ...]:
        """Where the band ends as it was given: one edge in Hz for all channels, or one for each; none if not given."""
        return () if self.cutoff is None else tuple(map(float, str(self.cutoff).split(",")))

    @property
    def bits_per_second(self) -> int | None:
        """Of lossy audio; None where none is asked for."""
        return parse_bitrate(self.bitrate)

    def search_settings(self) -> dict[str, Any]:
        """Settings given for the search algorithm; those of `settings`, which go before the others, are texts."""
        named = {"neighbours": self.neighbours, "cosine": self.cosine, "stride": self.stride, "pivot": self.pivot}
        return {name: value for name, value in named.items() if value is not None} | dict(self.settings)

    def to_json(self) -> dict[str, Any]:
        """Options as plain data, for the report; files by name only."""
        data = asdict(self)
        data["reference"] = self.reference.name if self.reference else None
        data |= {name: list(data[name]) for name in ("verifiers", "hold_out", "captions")}
        data["chain"] = self.chain.tables() if self.chain else None
        data["settings"] = [f"{name}={text}" for name, text in self.settings]
        data["targets"] = [f"{name}={value:g}" for name, value in self.targets]
        data["weights"] = [f"{name}={weight:g}" for name, weight in self.weights]
        data["speakers"] = [path.name for path in self.speakers]
        data["guidance_interval"] = list(self.guidance_interval) if self.guidance_interval else None
        return data


FIELD_INFO: dict[str, FieldInfo] = vars(RenderOptions)["__pydantic_fields__"]
"""The rows of the table by field, as pydantic has them."""


def option_name(field: str) -> str:
    """The name of an option on the command line and in files, of one by its field."""
    return str(row(field)["name"] or field.replace("_", "-"))


def row(field: str) -> dict[str, Any]:
    """What the table says of an option besides its type, range, default and help."""
    return cast(dict[str, Any], FIELD_INFO[field].json_schema_extra)


def options_schema() -> dict[str, dict[str, Any]]:
    """JSON schema of every option's value by field, as reports have it: of several, a list of texts."""
    schemas: dict[str, dict[str, Any]] = TypeAdapter(RenderOptions).json_schema()["properties"]
    for field, schema in schemas.items():
        for key in ("title", *row(field)):
            schema.pop(key, None)
        schema["description"] = re.sub(r": {\w+}", "", schema["description"])
        if row(field).get("several"):
            schemas[field] = {"type": "array", "items": {"type": "string"}, "description": schema["description"]}
    del schemas["rate"]["anyOf"]
    schemas["rate"]["enum"] = ["source", *RATES]
    return schemas


def refusal(error: ValidationError) -> OptionError:
    """The first thing that is wrong, in one line."""
    first = error.errors(include_url=False)[0]
    field, kind, value = str(first["loc"][0]), first["type"], first["input"]
    if kind == "unexpected_keyword_argument":
        return unknown("option", field, FIELD_INFO)
    name, takes = option_name(field), row(field)["takes"]
    if kind == "literal_error":
        known = re.findall("'(.*?)'", first["ctx"]["expected"])
        return OptionError(f"--{name} {value}: known: {', '.join(known)}")
    if takes and isinstance(value, int | float) and not kind.startswith("int_"):
        return OptionError(f"--{name} {value:g}: {takes}")
    words = {"int": "valid integer", "float": "valid float", "bool": "valid boolean", "string": "text"}
    wanted = words.get(kind.split("_")[0], "list")
    return OptionError(f"Invalid value for '--{name}': {value!r} is not a {wanted}{slip(value)}.")
