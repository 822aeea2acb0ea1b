"""Verifiers: judges that give every candidate a score, higher is better.

Adding one is one file and one line in `VERIFIERS`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from ttsr_studio.errors import MissingError, unknown

Need = Literal["reference", "expected"]


@dataclass(frozen=True)
class Context:
    """What a verifier may know of the window besides the candidates.

    Attributes:
        sample_rate: Hz, of all audio here.
        cutoff_hz: where the input's band ends.
        lr: the input, [channels, samples], aligned with the candidates.
        raw: the engine's own output before the crossover, [N, channels, samples]; None when there is none.
        expected: the engine's own mean render, [channels, samples]; None unless a verifier needs it.
        reference: ground truth, [channels, samples]; None unless the user gave one.
    """

    sample_rate: int
    cutoff_hz: float
    lr: Tensor
    raw: Tensor | None = None
    expected: Tensor | None = None
    reference: Tensor | None = None


class Verifier(Protocol):
    """A judge of candidates.

    Attributes:
        name: registry name.
        unit: native unit of the score ("dB", "MOS", ...).
        needs: parts of the context it cannot work without.
        weights: {file name: sha256} of the weights in use, empty when there are none.
        licence: licence of those weights, or of the method.
    """

    name: str
    unit: str
    needs: frozenset[Need]
    weights: dict[str, str]
    licence: str

    def score(self, audio: Tensor, context: Context) -> Tensor:
        """audio [N, channels, samples] -> scores [N], float64, higher is better."""
        ...


@runtime_checkable
class Glancing(Protocol):
    """A verifier that can also judge a candidate before it is decoded."""

    name: str

    def glance(self, pictures: Tensor, expected: Tensor) -> Tensor:
        """Compare candidates as the engine draws them with what it expects on average.

        pictures [N, channels, ...], expected [channels, ...], in an engine's own units -> scores [N], float64, higher
        is better.
        """
        ...


VERIFIERS = {
    "lsd": "ttsr_studio.verifiers.lsd:LSD",
    "lowband": "ttsr_studio.verifiers.lowband:Lowband",
    "consensus": "ttsr_studio.verifiers.consensus:Consensus",
    "continuity": "ttsr_studio.verifiers.continuity:Continuity",
    "critic": "ttsr_studio.verifiers.critic.judge:Critic",
    "dnsmos": "ttsr_studio.verifiers.dnsmos:DNSMOS",
}


def load_verifier(name: str) -> Verifier:
    """Load a verifier by name.

    Raises OptionError for an unknown name, MissingError when a package or weights file is not installed.
    """
    if name not in VERIFIERS:
        raise unknown("verifier", name, VERIFIERS)
    module, attribute = VERIFIERS[name].split(":")
    factory: Callable[[], Verifier] = getattr(import_module(module), attribute)
    return factory()


def load_verifiers(names: Iterable[str], available: frozenset[Need]) -> list[Verifier]:
    """Load verifiers by name and refuse those that need what the job does not have."""
    verifiers = [load_verifier(name) for name in names]
    for verifier in verifiers:
        if lacking := verifier.needs - available:
            need = ", ".join(sorted(lacking))
            raise MissingError(f"verifier {verifier.name!r} needs a {need}; pass --{need} FILE or leave it out")
    return verifiers
