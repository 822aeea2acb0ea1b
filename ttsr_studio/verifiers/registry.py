"""Verifiers by name. A new one is one file and one line in `BUILT_IN`; it is imported on use."""

from collections.abc import Callable, Iterable, Set
from typing import TYPE_CHECKING

from ttsr_studio.errors import MissingError, OptionError, nearest
from ttsr_studio.plugins.registry import Registry

if TYPE_CHECKING:
    from ttsr_studio.verifiers.protocol import Need, Verifier

Factory = Callable[[str], "Verifier"]
"""What an entry names: a class, or a function, that takes a device."""

BUILT_IN = {
    "lsd": "ttsr_studio.verifiers.signal.lsd:LSD",
    "lowband": "ttsr_studio.verifiers.signal.lowband:Lowband",
    "consensus": "ttsr_studio.verifiers.signal.consensus:Consensus",
    "self_consistency": "ttsr_studio.verifiers.signal.self_consistency:SelfConsistency",
    "medoid": "ttsr_studio.verifiers.signal.medoid:Medoid",
    "medoid_zimtohrli": "ttsr_studio.verifiers.signal.medoid:MedoidZimtohrli",
    "typical": "ttsr_studio.verifiers.signal.typical:Typical",
    "continuity": "ttsr_studio.verifiers.signal.continuity:Continuity",
    "critic": "ttsr_studio.verifiers.critic.verifier:Critic",
    "probe": "ttsr_studio.verifiers.probe.verifier:Probe",
    "speaker": "ttsr_studio.verifiers.pretrained.speaker:Speaker",
    "wer": "ttsr_studio.verifiers.pretrained.wer:WER",
    "aesthetics": "ttsr_studio.verifiers.pretrained.aesthetics:Aesthetics",
    "clap": "ttsr_studio.verifiers.pretrained.clap:CLAP",
    "dnsmos": "ttsr_studio.verifiers.pretrained.dnsmos:DNSMOS",
    "sigmos": "ttsr_studio.verifiers.pretrained.sigmos:SIGMOS",
    "distillmos": "ttsr_studio.verifiers.pretrained.distillmos:DistillMOS",
}
ONLY_IN_A_SEARCH = {"consensus", "self_consistency", "medoid", "medoid_zimtohrli", "typical"}
"""What compares candidates with each other, and cannot score finished files."""
NEED_REFERENCE = {"lsd"}
SCORE_ONLY_FINISHED = {"medoid", "medoid_zimtohrli", "typical", "self_consistency"}
"""What has no scores on a search's way, as it compares finished candidates."""

VERIFIERS: Registry[Factory] = Registry(
    "verifier", BUILT_IN, lambda entry: None if callable(entry) else "it is no class or function that takes a device"
)


MEAN_RENDER_NFE = 2
"""Evaluations of a window and channel that the engine's mean render takes."""


def mean_render_nfe(needs: "Iterable[Set[Need]]") -> int:
    """Evaluations of a window and channel that go before a search: the mean render's, where a verifier needs that."""
    return MEAN_RENDER_NFE * any("expected" in each for each in needs)


def refuse_strangers(weights: Iterable[str], targets: Iterable[str], choosing: list[str]) -> None:
    """Raise OptionError for the first weight or target of a verifier that is not among those that choose."""
    for option, names, why in (
        ("--weight", weights, "not among the verifiers that choose here"),
        ("--target", targets, "no verifier of that name chooses here"),
    ):
        for name in names:
            verifier = name.split("/")[0] if option == "--target" else name
            if verifier not in choosing:
                raise OptionError(f"{option} {name}: {why}: {', '.join(choosing)}{nearest(verifier, choosing)}")


def needs_of(name: str) -> "Set[Need]":
    """What a verifier says that it needs, without loading it; nothing for a name that is no verifier's here."""
    return getattr(VERIFIERS[name], "needs", frozenset()) if name in VERIFIERS else frozenset()


def load_verifier(name: str, device: str = "cpu") -> "Verifier":
    """Load a verifier by name; a model that is large enough runs on the device.

    Raises OptionError for an unknown name, MissingError when a package or weights file is not installed.
    """
    from ttsr_studio.verifiers.plugin_checks import VERIFIER_CHECKS, verifier_misfit

    factory = VERIFIERS[name]
    return VERIFIERS.made(
        name, lambda: factory(device), lambda verifier: verifier_misfit(name, verifier), VERIFIER_CHECKS
    )


def load_verifiers(names: Iterable[str], available: "frozenset[Need]", device: str = "cpu") -> "list[Verifier]":
    """Load verifiers by name and refuse those that need what the job does not have."""
    verifiers = [load_verifier(name, device) for name in names]
    for verifier in verifiers:
        if lacking := verifier.needs - available:
            need = ", ".join(sorted(lacking))
            raise MissingError(f"verifier {verifier.name!r} needs --{need} FILE; pass it or leave the verifier out")
    return verifiers
