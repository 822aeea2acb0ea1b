"""What a verifier of another package is held to."""

from collections.abc import Sequence
from typing import Any, get_args

from torch import Tensor

from ttsr_studio.plugins.plugin import Check, type_in_words
from ttsr_studio.plugins.registry import lacks
from ttsr_studio.verifiers.protocol import Context, Need, Scope, Verifier


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


VERIFIER_CHECKS: dict[str, Check | None] = {
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
