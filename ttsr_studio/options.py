"""What a render is asked to do, checked once. Names are those of the command-line options."""

import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ttsr_studio.errors import OptionError

RATES = (44100, 48000, 88200, 96000)
AUTO = ("critic", "consensus", "aesthetics?", "clap?")
AUTO_SPEECH = ("dnsmos?", "speaker?", "wer?")
CHOICES = ("window", "clip", "segment")
DEPTHS = ("source", "16", "24", "32f")


@dataclass(frozen=True)
class RenderOptions:
    """Options of one render, resolved from flags and preset.

    Attributes:
        preset: name, for the report; its values are already in the other fields.
        engine, search, solver, schedule: registry names; solver and schedule None for the engine's own.
        candidates: N: as many evaluations of a window as N whole renders take, however the search spends them; None for
            no such limit.
        budget: None, "64nfe" (network evaluations of one window and channel) or "30s" (of search, for the file).
        targets: (verifier, score): a window is searched no further once its best candidate has all of these.
        choice: one candidate for every window, for the whole clip, or for every segment.
        segment: seconds, of the segments.
        seam: price of changing candidates between segments, standard deviations of the score for every 10 dB between
            the two sides.
        uncertain_above: dB; stretches where candidates differ by more are listed in the report.
        control: also render a random pick, through the same assembly.
        verifiers: registry names, at least one.
        ensemble: how several verifiers are combined.
        steps: of the solver; None for the engine's own.
        temperature: scale of the starting noise: below 1 candidates stay nearer to the engine's mean; None for its own.
        seed: of the render, 0 or more.
        rate: of the output, Hz, or "source".
        depth: "source", "16", "24" or "32f".
        loudness: "match", "off" or integrated LUFS.
        ceiling: true peak, dBTP, that the gain keeps to (or to the input's own, where that is higher).
        reference: ground truth, for the oracle only.
        cutoff: Hz, to overrule the detection; None to detect.
        neighbours, cosine, stride, pivot: of zero-order search; None for its own.
        settings: (name, text) of any setting of the search; see `search.search_settings`.
        witness: let held-out judges hear x0-predictions on the way, for the record.
        device: "auto" or a torch device.
        batch: rows of a device batch.
        guidance: scale of classifier-free guidance, 1 for none; None for the engine's own.
        guidance_interval: noise levels (low, high) within which it guides; None for all.
        guidance_rescale: 0 to 1, see `diffusion.guidance`.
        precision, window, compile, low_vram, posterior: how the engine runs, see `engines.EngineSettings`.
        decode_top: K, the most candidates of a comparison that are decoded and judged in full; None for all.
        look: level at which the others are judged before; None for the engine's cheapest.
        hold_out: verifiers that score everything and choose nothing.
        weights: (name, weight) of verifiers in the ensemble, 1 for the others.
        scope: judge windows or whole clips; "auto" leaves it to every verifier.
        finalists: assembled renders that clip verifiers judge; None for 4, or for all candidates when nothing judges
            windows.
        transcript, caption, captions, speakers: what is known of the file, see `verifiers.Brief`.
        salvage: render what is there of a truncated file.
        keep_top: K, the best renders that are written: the chosen one, and K - 1 more beside it.
        take: which of the best renders is the chosen one; 1 is the best.
        page: write an audition page beside the report.
    """

    preset: str = "general"
    engine: str = "builtin"
    search: str = "random"
    candidates: int | None = 8
    budget: str | None = None
    targets: tuple[tuple[str, float], ...] = ()
    choice: Literal["window", "clip", "segment"] = "window"
    segment: float = 0.64
    seam: float = 0.5
    control: bool = False
    uncertain_above: float = 6.0
    verifiers: tuple[str, ...] = ("critic",)
    ensemble: Literal["rank", "zsum", "minrank"] = "rank"
    steps: int | None = None
    solver: str | None = None
    schedule: str | None = None
    temperature: float | None = None
    seed: int = 0
    rate: int | Literal["source"] = 48000
    depth: str = "source"
    loudness: str | float = "match"
    ceiling: float = 0.0
    reference: Path | None = None
    cutoff: float | None = None
    neighbours: int | None = None
    cosine: float | None = None
    stride: float | None = None
    pivot: str | None = None
    device: str = "auto"
    batch: int = 32
    guidance: float | None = None
    guidance_interval: tuple[float, float] | None = None
    guidance_rescale: float = 0.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    window: float | None = None
    compile: bool = False
    low_vram: bool = False
    posterior: Literal["mean", "sample"] = "mean"
    decode_top: int | None = None
    look: str | None = None
    hold_out: tuple[str, ...] = ()
    weights: tuple[tuple[str, float], ...] = ()
    scope: Literal["auto", "window", "clip"] = "auto"
    finalists: int | None = None
    transcript: str | None = None
    caption: str | None = None
    captions: tuple[str, ...] = ()
    speakers: tuple[Path, ...] = ()
    salvage: bool = False
    settings: tuple[tuple[str, str], ...] = ()
    witness: bool = False
    keep_top: int = 1
    take: int = 1
    page: bool = False
    budget_nfe: int | None = field(init=False, default=None, repr=False)
    budget_seconds: float | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        if self.candidates is not None and self.candidates < 1:
            raise OptionError(f"--candidates {self.candidates}: at least 1")
        if self.candidates is None and self.budget is None:
            raise OptionError("a search needs --candidates or a --budget")
        if self.choice not in CHOICES:
            raise OptionError(f"--choice {self.choice}: known: {', '.join(CHOICES)}")
        if not 0.25 <= self.segment <= 10:
            raise OptionError(f"--segment {self.segment:g}: from 0.25 to 10 seconds")
        if not 0 <= self.seam < math.inf:
            raise OptionError(f"--seam {self.seam:g}: 0 or more")
        if not 0 <= self.uncertain_above < math.inf:
            raise OptionError(f"--uncertain-above {self.uncertain_above:g}: 0 dB or more")
        if self.choice == "clip" and self.decode_top is not None:
            raise OptionError(
                "--choice clip compares candidates over all windows, so it decodes all; leave --decode-top out"
            )
        if self.batch < 1:
            raise OptionError(f"--batch {self.batch}: at least 1")
        if self.steps is not None and self.steps < 1:
            raise OptionError(f"--steps {self.steps}: at least 1")
        if self.temperature is not None and not 0 < self.temperature <= 1.5:
            raise OptionError(f"--temperature {self.temperature:g}: above 0, at most 1.5")
        if self.decode_top is not None and self.decode_top < 1:
            raise OptionError(f"--decode-top {self.decode_top}: at least 1")
        for name, count in (("keep-top", self.keep_top), ("take", self.take)):
            if count < 1:
                raise OptionError(f"--{name} {count}: at least 1")
            if self.decode_top is not None and self.decode_top < count:
                raise OptionError(f"--{name} {count}: --decode-top {self.decode_top} leaves fewer that can be heard")
        if self.look is not None and self.decode_top is None:
            raise OptionError("--look says how candidates are judged before --decode-top of them; pass that too")
        if self.guidance is not None and not 0 <= self.guidance <= 20:
            raise OptionError(f"--guidance {self.guidance:g}: from 0 to 20; 1 is none")
        if self.seed < 0:
            raise OptionError(f"--seed {self.seed}: 0 or more")
        if self.rate != "source" and self.rate not in RATES:
            raise OptionError(f"--rate {self.rate}: known: source, {', '.join(map(str, RATES))}")
        if self.depth not in DEPTHS:
            raise OptionError(f"--depth {self.depth}: known: {', '.join(DEPTHS)}")
        if self.cutoff is not None and not 500 <= self.cutoff <= 23000:
            raise OptionError(f"--cutoff {self.cutoff:g}: from 500 to 23000 Hz")
        if not -20 <= self.ceiling <= 0:
            raise OptionError(f"--ceiling {self.ceiling:g}: true peak from -20 to 0 dBTP")
        object.__setattr__(self, "verifiers", expand_auto(self.verifiers, self.preset))
        if not self.verifiers:
            raise OptionError("at least one --verifier is needed to choose between candidates")
        named = [name.removesuffix("?") for name in (*self.verifiers, *self.hold_out)]
        if len(set(named)) < len(named):
            twice = sorted({name for name in named if named.count(name) > 1})
            raise OptionError(f"a verifier is named twice: {', '.join(twice)}; it either chooses or is held out, once")
        if self.finalists is not None and self.finalists < 1:
            raise OptionError(f"--finalists {self.finalists}: at least 1")
        object.__setattr__(self, "loudness", parse_loudness(self.loudness))
        nfe, seconds = parse_budget(self.budget)
        object.__setattr__(self, "budget_nfe", nfe)
        object.__setattr__(self, "budget_seconds", seconds)

    def search_settings(self) -> dict[str, Any]:
        """Settings given for the search algorithm, without those left to it; texts for those of `settings`."""
        named = {"neighbours": self.neighbours, "cosine": self.cosine, "stride": self.stride, "pivot": self.pivot}
        given = {name: value for name, value in named.items() if value is not None}
        for name, text in self.settings:
            if name in given:
                raise OptionError(f"--set {name}: given twice")
            given[name] = text
        return given

    def to_json(self) -> dict[str, Any]:
        """Options as plain data, for the report; the reference by name only."""
        data = asdict(self)
        del data["budget_nfe"], data["budget_seconds"]
        data["reference"] = self.reference.name if self.reference else None
        data |= {name: list(data[name]) for name in ("verifiers", "hold_out", "captions")}
        data["settings"] = [f"{name}={text}" for name, text in self.settings]
        data["targets"] = [f"{name}={value:g}" for name, value in self.targets]
        data["weights"] = [f"{name}={weight:g}" for name, weight in self.weights]
        data["speakers"] = [path.name for path in self.speakers]
        data["guidance_interval"] = list(self.guidance_interval) if self.guidance_interval else None
        return data


def parse_loudness(value: str | float) -> str | float:
    """ "match", "off", or integrated loudness in LUFS from -70 to 0."""
    if value in ("match", "off"):
        return value
    try:
        lufs = float(value)
    except ValueError:
        raise OptionError(f"--loudness {value!r}: match, off, or LUFS such as -23") from None
    if not -70 <= lufs <= 0:
        raise OptionError(f"--loudness {lufs:g}: LUFS from -70 to 0")
    return lufs


def expand_auto(verifiers: Iterable[str], preset: str) -> tuple[str, ...]:
    """Replace "auto" by what suits any audio, or voices when the preset is one for speech, where it is installed."""
    known = (*AUTO, *AUTO_SPEECH) if "speech" in preset else AUTO
    return tuple(part for name in verifiers for part in (known if name == "auto" else (name,)))


def parse_pairs(option: str, texts: Iterable[str], example: str) -> tuple[tuple[str, str], ...]:
    """ "name=text" and the like -> (name, text) pairs. Raises OptionError for anything else, or a name given twice."""
    pairs: list[tuple[str, str]] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise OptionError(f"{option} {text!r}: NAME=VALUE, such as {example}")
        if name.strip() in dict(pairs):
            raise OptionError(f"{option} {name.strip()}: given twice")
        pairs.append((name.strip(), value.strip()))
    return tuple(pairs)


def parse_targets(texts: Iterable[str]) -> tuple[tuple[str, float], ...]:
    """ "critic=-1.2" and the like -> (name, score) pairs. Raises OptionError for anything else."""
    try:
        pairs = tuple((name, float(text)) for name, text in parse_pairs("--target", texts, "critic=-1.2"))
    except ValueError as error:
        raise OptionError(f"--target: NAME=SCORE, such as critic=-1.2 ({error})") from None
    if not all(math.isfinite(value) for _, value in pairs):
        raise OptionError("--target: a score is a finite number, such as critic=-1.2")
    return pairs


def parse_weights(texts: Iterable[str]) -> tuple[tuple[str, float], ...]:
    """ "critic=2" and the like -> (name, weight) pairs. Raises OptionError for anything else."""
    pairs = []
    for text in texts:
        name, _, number = text.partition("=")
        try:
            weight = float(number)
        except ValueError:
            raise OptionError(f"--weight {text!r}: NAME=W, such as critic=2") from None
        if not 0 <= weight < math.inf:
            raise OptionError(f"--weight {text}: 0 or more")
        pairs.append((name, weight))
    return tuple(pairs)


def parse_budget(value: str | None) -> tuple[int | None, float | None]:
    """None, "64nfe" or "30s" -> (evaluations of a window and channel, seconds of search for the file)."""
    if value is None:
        return None, None
    parsed = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(nfe|s)", value.strip(), re.IGNORECASE)
    if parsed is None or float(parsed[1]) <= 0:
        raise OptionError(
            f"--budget {value!r}: evaluations of a window such as 64nfe, or seconds of search such as 30s"
        )
    if parsed[2].lower() == "s":
        return None, float(parsed[1])
    if not float(parsed[1]).is_integer():
        raise OptionError(f"--budget {value!r}: whole network evaluations")
    return int(float(parsed[1])), None


OPTIONS = {"verifiers": "verifier", "weights": "weight", "targets": "target", "settings": "set"}
"""Fields whose option has another name, since it may be given more than once."""

OF_ONE_FILE = ("preset", "reference", "transcript", "speakers", "device", "witness", "take")
"""Fields that no preset sets."""

PRESET_KEYS = tuple(
    OPTIONS.get(each.name, each.name.replace("_", "-"))
    for each in fields(RenderOptions)
    if each.init and each.name not in OF_ONE_FILE
)
"""Names of the options that a preset, a sidecar or a `ttsr-watch.toml` may set."""
