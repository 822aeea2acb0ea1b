"""Values of options: what is understood where a text, a number or a list is given."""

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from ttsr_studio.errors import OptionError, nearest
from ttsr_studio.options.chain import Chain, parse_chain

RATES = (44100, 48000, 88200, 96000)
BITRATE = re.compile(r"(\d+(?:\.\d+)?)\s*(k(?:bps|bit/s)?|kbit|m)?", re.IGNORECASE)
FREQUENCY = re.compile(r"(\d+(?:\.\d+)?)\s*(k?)(?:hz)?", re.IGNORECASE)
DEPTHS = {"16bit": "16", "24bit": "24", "float": "32f", "32float": "32f", "32bitfloat": "32f", "float32": "32f"}
"""What people write for a depth, in small letters without gaps and hyphens."""
SECONDS = {"h": 3600.0, "min": 60.0, "s": 1.0}
LENGTH = re.compile(
    r"(?:(?P<h>\d+(?:\.\d+)?)h(?:ours?|r)?)?(?:(?P<min>\d+(?:\.\d+)?)m(?:in(?:utes?|s)?)?)?"
    r"(?:(?P<s>\d+(?:\.\d+)?)s(?:ec(?:onds?|s)?)?)?"
)
AUTO = ("critic", "consensus", "aesthetics?", "clap?")
AUTO_SPEECH = ("dnsmos?", "speaker?", "wer?")


def slip(value: Any) -> str:
    """What to write instead of a percentage or a decimal comma, as the end of a refusal; empty for anything else."""
    text = str(value).strip()
    if parsed := re.fullmatch(r"(-?\d+(?:[.,]\d+)?)\s*%", text):
        return f"; for {text} write {float(parsed[1].replace(',', '.')) / 100:g}"
    if re.fullmatch(r"-?\d+,\d+\D*", text):
        return f"; for {text} write {text.replace(',', '.')}, with a point"
    return ""


def read_depth(value: Any) -> str:
    """ "24bit", "24-bit", "float" and the like -> as the option has it; anything else as it is, as text."""
    text = str(value)
    return DEPTHS.get(re.sub(r"[\s_-]", "", text.lower()), text)


def read_frequency(text: str) -> float | None:
    """ "7k", "44.1 kHz", "7000" and the like -> Hz; None for what is no frequency."""
    parsed = FREQUENCY.fullmatch(text.strip())
    return round(float(parsed[1]) * (1000 if parsed[2] else 1), 6) if parsed else None


def read_rate(value: Any) -> Any:
    """ "44.1k", "48 kHz", "48000" -> Hz as a whole number; anything else as it is."""
    hertz = read_frequency(str(value))
    return int(hertz) if hertz is not None and hertz.is_integer() else value


READ = {"rate": read_rate, "depth": read_depth}
"""By field: what is made of a value before it is looked for among the choices of its option."""


def parse_loudness(value: str | float) -> str | float:
    """ "keep", "match", "off", or integrated loudness in LUFS from -70 to 0."""
    if value in ("keep", "match", "off"):
        return value
    try:
        lufs = float(re.sub(r"\s*(LUFS|LKFS)$", "", str(value), flags=re.IGNORECASE))
    except ValueError:
        meant = slip(value) or nearest(str(value), ["keep", "match", "off"])
        raise OptionError(f"--loudness {value!r}: keep, match, off, or LUFS such as -23{meant}") from None
    if not -70 <= lufs <= 0:
        raise OptionError(f"--loudness {lufs:g}: LUFS from -70 to 0")
    return lufs


def parse_amount(value: Any) -> Any:
    """ "auto", or a share from 0 to 1."""
    if value == "auto":
        return value
    try:
        share = float(value)
    except (TypeError, ValueError):
        raise OptionError(
            f"--amount {value!r}: from 0 to 1, or auto{slip(value) or nearest(str(value), ('auto',))}"
        ) from None
    if not 0 <= share <= 1:
        raise OptionError(f"--amount {share:g}: from 0 to 1, or auto")
    return share


def parse_rate(value: Any) -> Any:
    """ "source", or Hz as a number or a text."""
    rate = read_rate(value)
    if rate != "source" and rate not in RATES:
        raise OptionError(f"--rate {rate}: known: source, {', '.join(map(str, RATES))}")
    return rate


def parse_cutoff(value: Any) -> Any:
    """None, Hz as a number or a text, or a text of several, one of every channel, such as "4000,8000"."""
    if value is None:
        return None
    parts = [read_frequency(part) for part in str(value).split(",")]
    edges = [math.nan if part is None else part for part in parts]
    if not all(500 <= edge <= 23000 for edge in edges):
        raise OptionError(
            f"--cutoff {value}: from 500 to 23000 Hz, or that of every channel, such as 4000,8000{slip(value)}"
        )
    return edges[0] if len(edges) == 1 else ",".join(f"{edge:g}" for edge in edges)


def expand_auto(verifiers: Iterable[str], preset: str) -> tuple[str, ...]:
    """Replace "auto" by what suits any audio, or voices when the preset is one for speech, where it is installed."""
    known = (*AUTO, *AUTO_SPEECH) if "speech" in preset else AUTO
    return tuple(part for name in verifiers for part in (known if name == "auto" else (name,)))


def parse_pairs(option: str, texts: Iterable[Any], example: str) -> tuple[tuple[str, Any], ...]:
    """ "name=text" and the like, or pairs -> pairs. Raises OptionError for anything else, or a name given twice."""
    pairs: list[tuple[str, Any]] = []
    for text in texts:
        name, equals, value = text.partition("=") if isinstance(text, str) else (text[0], "=", text[1])
        if not equals or not name.strip() or not str(value).strip():
            raise OptionError(f"{option} {text!r}: NAME=VALUE, such as {example}")
        if name.strip() in dict(pairs):
            raise OptionError(f"{option} {name.strip()}: given twice")
        pairs.append((name.strip(), value.strip() if isinstance(value, str) else value))
    return tuple(pairs)


def each_apart(option: str, texts: Iterable[Any]) -> list[Any]:
    """Pairs as they were given. Raises OptionError for a text of several, such as "keep=0.5 rungs=0.25"."""
    given = list(texts)
    for text in given:
        parts = re.split(r"[\s,;]+(?=[^\s,;=]+=)", text.strip()) if isinstance(text, str) else ()
        if len(parts) > 1:
            apart = " ".join(f"{option} {part}" for part in parts)
            raise OptionError(f"{option} {text!r}: give each its own {option}: {apart}")
    return given


def parse_settings(texts: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    """ "keep=0.5" and the like, or pairs -> (name, text) pairs. Raises OptionError for anything else."""
    return parse_pairs("--set", each_apart("--set", texts), "keep=0.5")


def parse_targets(texts: Iterable[Any]) -> tuple[tuple[str, float], ...]:
    """ "critic=-1.2" and the like, or pairs -> (name, score) pairs. Raises OptionError for anything else."""
    try:
        pairs = tuple(
            (name, float(text)) for name, text in parse_pairs("--target", each_apart("--target", texts), "critic=-1.2")
        )
    except ValueError as error:
        raise OptionError(f"--target: NAME=SCORE, such as critic=-1.2 ({error})") from None
    if not all(math.isfinite(value) for _, value in pairs):
        raise OptionError("--target: a score is a finite number, such as critic=-1.2")
    return pairs


def parse_weights(texts: Iterable[Any]) -> tuple[tuple[str, float], ...]:
    """ "critic=2" and the like, or pairs -> (name, weight) pairs. Raises OptionError for anything else."""
    pairs = []
    for text in each_apart("--weight", texts):
        name, _, number = text.partition("=") if isinstance(text, str) else (text[0], "=", text[1])
        try:
            weight = float(number)
        except ValueError:
            raise OptionError(f"--weight {text!r}: NAME=W, such as critic=2") from None
        if not 0 <= weight < math.inf:
            raise OptionError(f"--weight {text}: 0 or more")
        pairs.append((name, weight))
    return tuple(pairs)


def parse_budget(value: str | None) -> tuple[int | None, float | None]:
    """None, "64nfe", "30s", "10min" or "1h 30min" -> (evaluations of a window and channel, seconds of search)."""
    if value is None:
        return None, None
    text = re.sub(r"\s", "", value.lower())
    length = LENGTH.fullmatch(text)
    counted = re.fullmatch(r"(\d+(?:\.\d+)?)nfe", text)
    if length and any(length.groups()):
        seconds = sum(float(amount or 0) * SECONDS[unit] for unit, amount in length.groupdict().items())
        if seconds > 0:
            return None, seconds
    if counted is None or float(counted[1]) <= 0:
        raise OptionError(
            f"--budget {value!r}: evaluations of a window such as 64nfe, or time of search such as 30s, 10min or 1h"
            f"{slip(value)}"
        )
    if not float(counted[1]).is_integer():
        raise OptionError(f"--budget {value!r}: whole network evaluations")
    return int(float(counted[1])), None


def parse_bitrate(text: str | None) -> int | None:
    """ "256k", "256000" or "0.5M" -> bit/s. Raises OptionError for anything else."""
    if text is None:
        return None
    parsed = BITRATE.fullmatch(str(text).strip())
    if parsed is None:
        raise OptionError(f"--bitrate {text!r}: bits a second, such as 256k")
    bits = float(parsed[1]) * {"": 1, "k": 1e3, "m": 1e6}[(parsed[2] or "")[:1].lower()]
    if not 6e3 <= bits <= 1.024e6:
        raise OptionError(f"--bitrate {text}: from 6k to 1024k bits a second, such as 256k")
    return round(bits)


Settings = Annotated[tuple[tuple[str, str], ...], BeforeValidator(parse_settings)]
Targets = Annotated[tuple[tuple[str, float], ...], BeforeValidator(parse_targets)]
Weights = Annotated[tuple[tuple[str, float], ...], BeforeValidator(parse_weights)]
Depth = Annotated[Literal["source", "16", "24", "32f"], BeforeValidator(read_depth)]
Rate = Annotated[int | Literal["source"], BeforeValidator(parse_rate)]
Cutoff = Annotated[str | Annotated[float, Field(ge=500, le=23000)] | None, BeforeValidator(parse_cutoff)]
LoudnessTarget = Annotated[str | float, BeforeValidator(parse_loudness)]
EffectChain = Annotated[Chain, BeforeValidator(parse_chain), WithJsonSchema({"type": ["string", "object"]})]
AmountOfMade = Annotated[str | float, BeforeValidator(parse_amount)]
