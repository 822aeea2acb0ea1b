"""What searches and the batcher say to each other.

A search is a generator: it yields requests and receives their results, and returns the winner. It knows no engine and
no verifier; the batcher merges the requests of all windows into device batches.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.errors import OptionError


@dataclass(frozen=True)
class Candidate:
    """One render of one window: its number in that window (from 0, in order of request) and its noise."""

    index: int
    key: NoiseKey


@dataclass(frozen=True)
class Solve:
    """Request: render these noises. The answer is a list of candidates in the same order.

    The list is shorter when time ran out, but never empty on a window's first request.
    """

    keys: tuple[NoiseKey, ...]


@dataclass(frozen=True)
class Score:
    """Request: compare these candidates. The answer is float64 [len(candidates)], higher is better.

    Ensembles rank, so a score means something only beside the others of its request.
    """

    candidates: tuple[Candidate, ...]


Request = Solve | Score
Answer = list[Candidate] | np.ndarray
Search = Generator[Request, Answer, Candidate]


@dataclass(frozen=True)
class Problem:
    """One window to search: its own noise key, from which candidates descend."""

    key: NoiseKey


@dataclass(frozen=True)
class Budget:
    """The most that a search may spend on one window.

    Attributes:
        candidates: renders, at least 1.
    """

    candidates: int

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise OptionError(f"a search needs at least 1 candidate, not {self.candidates}")


def best(candidates: list[Candidate], scores: np.ndarray) -> Candidate:
    """The highest score; the earliest of equals."""
    return candidates[int(np.argmax(scores))]
