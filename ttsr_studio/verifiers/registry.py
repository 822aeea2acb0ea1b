"""Verifiers by name."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

from torch import Tensor

from ttsr_studio.errors import MissingError
from ttsr_studio.plugins.plugin import Check, type_in_words
from ttsr_studio.plugins.registry import Registry, lacks
from ttsr_studio.verifiers.protocol import Context, Need, Scope, Verifier

Factory = Callable[[str], Verifier]
"""What an entry names: a class, or a function, that takes a device."""

BUILT_IN = {
    "lsd": "ttsr_studio.verifiers.signal.lsd:LSD",
    "lowband": "ttsr_studio.verifiers.signal.lowband:Lowband",
    "consensus": "ttsr_studio.verifiers.signal.consensus:Consensus",
    "self_consistency": "ttsr_studio.verifiers.signal.self_consistency:SelfConsistency",
    "continuity": "ttsr_studio.verifiers.signal.continuity:Continuity",
    "critic": "ttsr_studio.verifiers.critic.verifier:Critic",
    "speaker": "ttsr_studio.verifiers.pretrained.speaker:Speaker",
    "wer": "ttsr_studio.verifiers.pretrained.wer:WER",
    "aesthetics": "ttsr_studio.verifiers.pretrained.aesthetics:Aesthetics",
    "clap": "ttsr_studio.verifiers.pretrained.clap:CLAP",
    "dnsmos": "ttsr_studio.verifiers.pretrained.dnsmos:DNSMOS",
}
VERIFIERS: Registry[Factory] = Registry(
    "verifier", BUILT_IN, lambda entry: None if callable(entry) else "it is no class or function that takes a device"
)


def load_verifier(name: str, device: str = "cpu") -> Verifier:
    """Load a verifier by name; a model that is large enough runs on the device.

    Raises OptionError for an unknown name, MissingError when a package or weights file is not installed.
    """
    factory = VERIFIERS[name]
    return VERIFIERS.made(name, lambda: factory(device), lambda verifier: verifier_misfit(name, verifier), CHECKS)


def no_scores(given: Any, audio: Tensor, *_: Any) -> str | None:
    """Why something is no scores [N] of candidates [N, channels, samples], or such by scale."""
    count = len(audio)
    for scores in given.values() if isinstance(given, dict) and given else [given]:
        if not isinstance(scores, Tensor) or scores.shape != (count,):
            return f"{type_in_words(scores)} in place of a tensor of {count} scores"
    return None


def no_segment_scores(given: Any, audio: Tensor, _context: Context, edges: Sequence[int]) -> str | None:
    """Why something is no scores [N, S] of the segments of candidates."""
    shape = (len(audio), len(edges) - 1)
    fits = isinstance(given, Tensor) and given.shape == shape
    return None if fits else f"{type_in_words(given)} in place of a tensor of {shape[0]} x {shape[1]} scores"


CHECKS: dict[str, Check | None] = {
    "score": no_scores,
    "score_segments": no_segment_scores,
    "score_preview": lambda given, preview: no_scores(given, preview.pictures),
    "note": None,
}
"""What a verifier of another package answers for."""


def verifier_misfit(name: str, verifier: Verifier) -> str | None:
    """Why something is no verifier of this name, None when it is one."""
    if lacking := lacks(verifier, Verifier):
        return lacking
    if verifier.name != name:
        return f"it calls itself {verifier.name!r}"
    if verifier.scope not in get_args(Scope):
        return f"its scope is {verifier.scope!r}, none of {', '.join(get_args(Scope))}"
    if not isinstance(verifier.needs, frozenset | set):
        return "its needs are no set"
    if strange := set(verifier.needs) - set(get_args(Need)):
        return f"it needs {', '.join(sorted(map(str, strange)))}; there is {', '.join(get_args(Need))}"
    return None


def load_verifiers(names: Iterable[str], available: frozenset[Need], device: str = "cpu") -> list[Verifier]:
    """Load verifiers by name and refuse those that need what the job does not have."""
    verifiers = [load_verifier(name, device) for name in names]
    for verifier in verifiers:
        if lacking := verifier.needs - available:
            need = ", ".join(sorted(lacking))
            raise MissingError(f"verifier {verifier.name!r} needs --{need} FILE; pass it or leave the verifier out")
    return verifiers
