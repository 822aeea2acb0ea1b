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
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from ttsr_studio.errors import OptionError, unknown
from ttsr_studio.options.values import (
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
OptionGroup = Literal[
    "Basics",
    "Output",
    "Quality and budget",
    "Listening",
    "Repair and effects",
    "Files",
    "What is known of the file",
    "Search",
    "Verifiers",
    "Sampler",
    "AudioSR",
]
"""Groups of options, in the order that help and pages have."""
FIRST_GROUPS: tuple[OptionGroup, ...] = ("Basics", "Output", "Quality and budget", "Listening")
"""Groups that most people need; the others are shown by `--help-all`."""
KNOWN: OptionGroup = "What is known of the file"
REPAIR: OptionGroup = "Repair and effects"


def option(
    default: Any,
    help: str = "",
    *,
    group: OptionGroup,
    takes: str | None = None,
    unset: str | None = None,
    held_by: tuple[Holder, ...] = (*FILES, "evaluation"),
    **more: Any,
) -> Any:
    """A row of the table.

    Args:
        group: that it is told of in.
        takes: what it takes, in words, for the line that refuses another value.
        unset: what holds where the option is not given, in words, where the default does not say it.
        held_by: what may set it besides a flag.
        more: `name`, where it is not the field's; `metavar`; `several`, of an option that may be given more than
            once: what it takes; `flag`, False for what has none; and rules of `pydantic.Field`.
    """
    told: dict[str, Any] = {
        "group": group,
        "name": more.pop("name", None),
        "takes": takes,
        "unset": unset,
        "held_by": held_by,
    }
    told |= {key: more.pop(key) for key in ("metavar", "several", "flag") if key in more}
    return Field(default, description=help, json_schema_extra=told, **more)


# fmt: off
@dataclass(frozen=True)
class SearchOptions:
    """How candidates are made and searched for. Of the preset, which is resolved here, only the name is left."""

    preset: str = option(
        "general", "What the material is, by the name of a preset (`ttsr presets list`), or a TOML file of your own.",
        group="Basics", held_by=("sidecar",))
    search: str = option("random", "How candidates are searched for; random draws each of them anew.", group="Search")
    candidates: int | None = option(
        8, "How many candidates of each window are made, of which the best is kept. A search that makes no whole "
        "candidates may spend as many network evaluations as so many take.",
        group="Quality and budget", ge=1, takes="at least 1", unset="the preset's", metavar="N")
    budget: str | None = option(
        None, "The most that the search may spend, instead of a number of candidates: time for a file (30s, 10min), "
        "or network evaluations for a window and channel (64nfe). With --candidates the smaller limit holds; else "
        "time makes at most 128.",
        group="Quality and budget", metavar="LIMIT")
    targets: Targets = option(
        (), "Search a window no further once its best candidate has this score. May be repeated.",
        group="Search", name="target", several="NAME=SCORE", held_by=FILES)
    settings: Settings = option(
        (), "A setting of the search. May be repeated. Known are {settings}.",
        group="Search", name="set", several="NAME=VALUE")
    neighbours: int | None = option(
        None, "Zero-order search: how many renders a round, 1 or more.", group="Search", unset="2", flag=False)
    cosine: float | None = option(
        None, "Zero-order search: cosine to the pivot, -1 to 1; larger is nearer.",
        group="Search", unset="0.99", flag=False)
    stride: float | None = option(
        None, "The same as a chord, 0 to 2 times the norm, instead of a cosine.", group="Search", flag=False)
    pivot: Literal["elitist", "paper"] | None = option(
        None, "Zero-order search: keep the best ever, or the paper's literal rule.",
        group="Search", unset="elitist", flag=False)
    choice: Literal["window", "clip", "segment"] = option(
        "window", "What each choice is made for: a window of some seconds, a segment of one, or the whole clip.",
        group="Search", unset="the preset's")
    segment: float = option(
        0.64, "Length of a segment in seconds, for --choice segment.",
        group="Search", ge=0.25, le=10, takes="from 0.25 to 10 seconds", metavar="SECONDS")
    seam: float = option(
        0.5, "What it costs to change candidates between segments, for --choice segment: standard deviations of the "
        "score for a difference of 10 dB.",
        group="Search", ge=0, allow_inf_nan=False, takes="0 or more")
    seed: int = option(
        0, "Where random numbers start: the same seed makes the same render, another one makes another.",
        group="Quality and budget", ge=0, takes="0 or more", metavar="N")


@dataclass(frozen=True)
class VerifierOptions:
    """What scores candidates, and how scores are combined."""

    verifiers: tuple[str, ...] = option(
        ("critic",), "A verifier that scores candidates and has a part in the choice. May be repeated. Known are "
        "{verifiers}. NAME? is left out where it is not installed; auto stands for critic, consensus, and all others "
        "that are installed and suit the material.",
        group="Verifiers", name="verifier", several="names", metavar="NAME", unset="the preset's")
    ensemble: Literal["rank", "zsum", "minrank", "shrunk", "pessimism"] = option(
        "rank", "How the scores of several verifiers are combined: their mean rank, their sum in standard deviations, "
        "the lowest rank, a sum that goes by ranks where candidates are few, or a sum less what is untypical of the "
        "candidates.", group="Verifiers")
    weights: Weights = option(
        (), "How much a verifier counts among several, 0 or more. May be repeated.",
        group="Verifiers", name="weight", several="NAME=W", unset="1 each")
    hold_out: tuple[str, ...] = option(
        (), "A verifier that scores every candidate and has no part in the choice, which shows whether the search "
        "games the others. May be repeated.",
        group="Verifiers", several="names", metavar="NAME")
    scope: Literal["auto", "window", "clip"] = option(
        "auto", "Whether windows are scored, or whole assembled renders; auto does what suits each verifier.",
        group="Verifiers")
    finalists: int | None = option(
        None, "How many assembled renders are scored by verifiers that need the whole clip.",
        group="Verifiers", ge=1, takes="at least 1", unset="4; all candidates where nothing scores windows",
        metavar="N")
    decode_top: int | None = option(
        None, "Decode and score in full only the K candidates that are best by a cheaper preview.",
        group="Verifiers", ge=1, takes="at least 1", unset="all", metavar="K")
    look: str | None = option(
        None, "The preview that --decode-top goes by: latent, or mel (AudioSR only).",
        group="Verifiers", unset="the engine's cheapest", metavar="NAME")
    reference: Path | None = option(
        None, "The true full-band file, or a folder of such files with the inputs' names, for the verifier lsd.",
        group="Verifiers", held_by=("sidecar", "job"))
    witness: bool = option(
        False, "Let held-out verifiers score x0-predictions on the way, for the record.",
        group="Verifiers", flag=False, held_by=())


@dataclass(frozen=True)
class KnownOptions:
    """What is known of the file, see `verifiers.protocol.Annotations`."""

    transcript: str | None = option(
        None, "The words that are spoken, or a .txt file that holds them, for the verifier wer.",
        group=KNOWN, unset="recognised in the input", held_by=("sidecar", "job"))
    caption: str | None = option(
        None, "What is to be heard, in a sentence, for the verifier clap.", group=KNOWN, held_by=FILES)
    captions: tuple[str, ...] = option(
        (), "What it may be, where there is no --caption. May be repeated.", group=KNOWN, several="texts")
    speakers: tuple[Path, ...] = option(
        (), "Another recording of the same speaker, for the verifier speaker. May be repeated.",
        group=KNOWN, name="speaker", several="files", held_by=("sidecar", "job"))


@dataclass(frozen=True)
class EngineOptions:
    """The engine, its solver, and how it runs; None is the engine's own."""

    engine: str = option("builtin", "The model that makes the candidates.", group="Sampler")
    engine_weights: Path | None = option(
        None, "Weights of your own for the built-in engine, as its training writes them.",
        group="Sampler", unset="those that come with it", held_by=("job", "evaluation"), metavar="FILE")
    steps: int | None = option(
        None, "How many steps the solver takes for a candidate.",
        group="Sampler", ge=1, takes="at least 1", unset="the engine's", metavar="N")
    solver: str | None = option(None, "How the steps are taken.", group="Sampler", unset="the engine's")
    schedule: str | None = option(
        None, "How noise levels are spaced over the steps.", group="Sampler", unset="the engine's")
    temperature: float | None = option(
        None, "Scale of the noise that a candidate starts from, above 0 to 1.5; lower keeps candidates nearer to the "
        "engine's mean.",
        group="Sampler", gt=0, le=1.5, takes="above 0, at most 1.5", unset="the engine's")
    variety: float = option(
        0.0, "How far the built-in engine's candidates differ in level, 0 to 1: 0 keeps all near what is likeliest, 1 "
        "lets them be brighter and darker, to choose among by ear with --keep-top and --diverse.",
        group="Sampler", ge=0, le=1, takes="from 0 to 1")
    guidance: float | None = option(
        None, "Scale of classifier-free guidance, 0 to 20; 1 is none.",
        group="AudioSR", ge=0, le=20, takes="from 0 to 20; 1 is none", unset="the engine's")
    guidance_interval: tuple[float, float] | None = option(
        None, "Guide only between these two noise levels.", group="AudioSR", unset="everywhere", metavar="LOW HIGH")
    guidance_rescale: float = option(
        0.0, "How far the loudness that guidance adds is taken back, 0 to 1; 0.7 is usual.", group="AudioSR")
    posterior: Literal["mean", "sample"] = option(
        "mean", "Whether the input is encoded as the mean of the encoder's posterior, or as a sample of it.",
        group="AudioSR")
    window: float | None = option(
        None, "Seconds that the engine renders at once: 5.12 or 10.24.",
        group="AudioSR", unset="its own", metavar="SECONDS")
    device: str = option(
        "auto", "What to compute on: auto, cpu, cuda or mps.", group="Basics", held_by=("job", "evaluation"),
        metavar="NAME")
    batch: int | None = option(
        None, "How many rows the device computes at once; halved when its memory runs out.",
        group="Sampler", ge=1, takes="at least 1", unset="32; on NVIDIA's cards as many as fit", metavar="N")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto", "Precision of the engine's networks; auto takes the fastest that the device is good at.",
        group="Sampler")
    compile: bool = option(False, "Compile the network first, which is slow to start and then faster.", group="Sampler")
    low_vram: bool = option(
        False, "Keep on the device only the network that is running, and decode in tiles.", group="AudioSR")


@dataclass(frozen=True)
class OutputOptions:
    """What is read, what is written, and what the report lists."""

    rate: Rate = option(48000, "Sample rate of the output in Hz.", group="Output", held_by=FILES)
    depth: Depth = option("source", "Sample format of the output, in bits.", group="Output", held_by=FILES)
    bitrate: str | None = option(
        None, "Write lossy audio with so many bits a second, such as 256k, where the output's container has a codec "
        "for it.",
        group="Files", unset="lossless where the container holds that", held_by=FILES, metavar="BITS")
    keep_original_audio: bool = option(
        False, "In a video, keep the original audio beside the new one.", group="Files", held_by=FILES)
    loudness: LoudnessTarget = option(
        "keep", "match for the loudness of the input; keep for the same as far as that moves what was there by at most "
        "0.5 dB; off for no gain at all; or a number of LUFS.",
        group="Output", held_by=FILES, metavar="LUFS")
    ceiling: float = option(
        0.0, "The highest true peak in dBTP; the input's own where that is higher.",
        group="Output", ge=-20, le=0, takes="true peak from -20 to 0 dBTP", held_by=FILES, metavar="DBTP")
    cutoff: Cutoff = option(
        None, "Where the input's band ends, in Hz; one number for each channel where they differ: 4000,8000.",
        group="Output", metavar="HZ[,HZ...]", unset="detected", held_by=FILES)
    remove: Literal["nothing", "tones", "birdies", "images", "above"] = option(
        "nothing", "What may be removed from the input above the end of its band: nothing; steady tones, such as a "
        "CRT's whine, a pilot or a switching supply; a lossy codec's birdies, which are short tones; the images of a "
        "naive upsampling, from where they begin; or all there is. The report lists what was removed.",
        group=REPAIR, held_by=FILES)
    lift_skirt: bool = option(
        True, "Lift what a gentle filter turned down, but not into the noise.", group=REPAIR, held_by=FILES)
    keep_skirt: bool = option(
        False, "Leave what a gentle filter turned down as it is.", group=REPAIR, held_by=FILES)
    amount: AmountOfMade = option(
        1.0, "How much of what was made is mixed in, 0 to 1; auto for less where candidates disagree.",
        group="Output", held_by=FILES, metavar="SHARE")
    tilt: float = option(
        0.0, "Slope given to what was made, in dB an octave above the end of the band; negative is darker.",
        group=REPAIR, ge=-12, le=12, takes="from -12 to 12 dB an octave", held_by=FILES, metavar="DB")
    fill_holes: bool = option(
        False, "Fill what MP3 emptied below the end of the band, where that is found; for music: speech gains nothing.",
        group=REPAIR, held_by=FILES)
    limiter: bool = option(
        False, "Limit peaks to the ceiling instead of lowering the gain; needs the extra [chain].",
        group=REPAIR, held_by=FILES)
    chain: EffectChain | None = option(
        None, "Effects before and after the render, from a TOML file; needs the extra [chain].",
        group=REPAIR, metavar="FILE.toml", held_by=FILES)
    keep_top: int = option(
        1, "Write the best K renders: NAME, and NAME_top2 to NAME_topK beside it.",
        group="Listening", ge=1, takes="at least 1", metavar="K", held_by=FILES)
    diverse: bool = option(
        False, "With --keep-top, choose renders that are good and differ from each other, not just the next best.",
        group="Search", held_by=FILES)
    take: int = option(
        1, "Write the N-th best render in place of the best.",
        group="Listening", ge=1, takes="at least 1", metavar="N", held_by=("sidecar", "job"))
    control: bool = option(
        False, "Also write NAME_control, put together in the same way from random picks, to compare with.",
        group="Listening", held_by=FILES)
    uncertain_above: float = option(
        6.0, "List a stretch in the report where candidates differ by more than so many dB.",
        group="Listening", ge=0, allow_inf_nan=False, takes="0 dB or more", held_by=FILES, metavar="DB")
    page: bool = option(
        False, "Write NAME.ttsr.html, a page to hear input and best renders side by side, also blind, and to see why.",
        group="Listening", held_by=FILES)
    salvage: bool = option(
        False, "Render what is left of a file that is cut short or damaged.", group="Files", held_by=FILES)
    stream: str | None = option(
        None, "Which audio stream of a file that has several: its number, from 1 on, or its language.",
        group="Files", unset="the file's own default", metavar="N|LANGUAGE", held_by=FILES)


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
        if self.diverse and self.keep_top < 2:
            raise OptionError("--diverse says how the renders beside the best are chosen; pass --keep-top 2 or more")
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
        data |= {name: one.name if one else None for name, one in (
            ("reference", self.reference), ("engine_weights", self.engine_weights))}  # fmt: skip
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
