"""How long the stages of a render took."""

import time
from dataclasses import dataclass, field

from ttsr_studio.diffusion.denoiser import Meter


@dataclass
class Stages:
    """Seconds by stage of a render, the network's own on its meter."""

    network: Meter = field(default_factory=Meter)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, began: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began
