"""How long the stages of a render took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ttsr_studio.diffusion.denoiser import Meter


@dataclass
class Stages:
    """Seconds by stage of a render, the network's own on its meter."""

    network: Meter = field(default_factory=Meter)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str, *, without_network: bool = False) -> Iterator[None]:
        """Count what is done within it as a stage, the network's seconds too unless told otherwise."""
        self.network.settle()
        began, network = time.perf_counter(), self.network.seconds
        try:
            yield
        finally:
            self.network.settle()
            spent = time.perf_counter() - began
            self.add(stage, spent - (self.network.seconds - network) if without_network else spent)

    def add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def merge(self, other: "Stages") -> None:
        """Add what another process, or another part of a render, took."""
        self.network = self.network + other.network
        for stage, seconds in other.seconds.items():
            self.add(stage, seconds)
