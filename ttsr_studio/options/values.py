"""Values of options: what is understood where a text, a number or a list is given."""

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from ttsr_studio.errors import OptionError
from ttsr_studio.options.chain import Chain, parse_chain

RATES = (44100, 48000, 88200, 96000)
BITRATE = re.compile(r"(\d+(?:\.\d+)?)\s*(k(?:bps|bit/s)?|kbit|m)?", re.IGNORECASE)
AUTO = ("critic", "consensus", "aesthetics?", "clap?")
AUTO_SPEECH = ("dnsmos?", "speaker?", "wer?")


def parse_loudness(value: str | float) -> str | float:
    """ "match", "off", or integrated loudness in LUFS from -70 to 0."""
    if value in ("match", "off"):
        return value
    try:
        lufs = float(value)
    except (TypeError, ValueError):
        raise OptionError(f"--loudness {value!r}: match, off, or LUFS such as -23") from None
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
        raise OptionError(f"--amount {value!r}: from 0 to 1, or auto") from None
    if not 0 <= share <= 1:
        raise OptionError(f"--amount {share:g}: from 0 to 1, or auto")
    return share


def parse_rate(value: Any) -> Any:
    """ "source", or Hz as a number or a text."""
    rate = int(value) if isinstance(value, str) and value.isdecimal() else value
    if rate != "source" and rate not in RATES:
        raise OptionError(f"--rate {rate}: known: source, {', '.join(map(str, RATES))}")
    return rate


def parse_cutoff(value: Any) -> Any:
    """None, Hz as a number or a text, or a text of several, one of every channel, such as "4000,8000"."""
    if value is None:
        return None
    try:
        edges = [float(part) for part in str(value).split(",")]
    except ValueError:
        edges = [math.nan]
    if not all(500 <= edge <= 23000 for edge in edges):
        raise OptionError(f"--cutoff {value}: from 500 to 23000 Hz, or that of every channel, such as 4000,8000")
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


def parse_settings(texts: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    """ "keep=0.5" and the like, or pairs -> (name, text) pairs. Raises OptionError for anything else."""
    return parse_pairs("--set", texts, "keep=0.5")


def parse_targets(texts: Iterable[Any]) -> tuple[tuple[str, float], ...]:
    """ "critic=-1.2" and the like, or pairs -> (name, score) pairs. Raises OptionError for anything else."""
    try:
        pairs = tuple((name, float(text)) for name, text in parse_pairs("--target", texts, "critic=-1.2"))
    except ValueError as error:
        raise OptionError(f"--target: NAME=SCORE, such as critic=-1.2 ({error})") from None
    if not all(math.isfinite(value) for _, value in pairs):
        raise OptionError("--target: a score is a finite number, such as critic=-1.2")
    return pairs


def parse_weights(texts: Iterable[Any]) -> tuple[tuple[str, float], ...]:
    """ "critic=2" and the like, or pairs -> (name, weight) pairs. Raises OptionError for anything else."""
    pairs = []
    for text in texts:
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
Depth = Annotated[Literal["source", "16", "24", "32f"], BeforeValidator(str)]
Rate = Annotated[int | Literal["source"], BeforeValidator(parse_rate)]
Cutoff = Annotated[str | Annotated[float, Field(ge=500, le=23000)] | None, BeforeValidator(parse_cutoff)]
LoudnessTarget = Annotated[str | float, BeforeValidator(parse_loudness)]
EffectChain = Annotated[Chain, BeforeValidator(parse_chain), WithJsonSchema({"type": ["string", "object"]})]
AmountOfMade = Annotated[str | float, BeforeValidator(parse_amount)]
