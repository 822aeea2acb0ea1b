"""What a verifier costs."""

import time
from collections.abc import Iterator

import torch

from ttsr_studio.errors import MissingError
from ttsr_studio.verifiers.protocol import Annotations, Context
from ttsr_studio.verifiers.registry import VERIFIERS, load_verifier

RATE = 48000


def bench_verifiers(seconds: float, candidates: int, device: str, *names: str) -> Iterator[tuple[str, float | str]]:
    """Time verifiers, all when none is named, on candidates of noise.

    Yields (name, milliseconds for a second of a candidate's audio, or why it is not here).

    The second of two calls counts, as in a search: what is computed once per window is cached by then.
    """
    generator = torch.Generator().manual_seed(0)
    audio = 0.1 * torch.randn(candidates, 1, round(seconds * RATE), generator=generator)
    latents = torch.randn(2, candidates, 1000, generator=generator)
    for name in names or VERIFIERS:
        try:
            verifier = load_verifier(name, device)
        except MissingError as error:
            yield name, f"not here: {error}"
            continue
        context = Context(
            RATE, 6000.0, audio[0], raw=audio, expected=audio[0], reference=audio[0],
            early=(latents[0], latents[1]), annotations=Annotations(transcript="some words", caption="noise"),
        )  # fmt: skip
        for turn in range(2):
            fresh = audio * 0.99**turn  # resampling, and comparing with others, are part of the cost
            began = time.perf_counter()
            verifier.score(fresh, context)
            spent = time.perf_counter() - began
        yield name, 1000 * spent / (seconds * candidates)
