"""What verifiers need of candidates, and when."""

from ttsr_studio.verifiers.protocol import Verifier


def needs_early(verifier: Verifier) -> bool:
    return "early" in verifier.needs
