"""A training run in stages that can be stopped at any time and goes on from its last checkpoint."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Generic

import torch
from torch import Tensor, nn

from ttsr_studio.errors import InputError
from ttsr_studio.weights.checkpoint import Net


class TrainingRun(ABC, Generic[Net]):
    """Network, its average, optimiser, stage and step; saved whole.

    Attributes:
        net, average: the network and the exponential average of its weights, which is what ships.
        stage, step: step counts within the stage.
        plan: what was decided on the way and has to be known after a stop, such as the number of steps.
    """

    def __init__(self, folder: Path, net: Net, average: Net, device: torch.device) -> None:
        """Begin in a folder, or go on from its checkpoint."""
        self.folder, self.device = folder, device
        self.net, self.average = net.to(device), average.to(device)
        self.average.load_state_dict(self.net.state_dict())
        self.average.eval().requires_grad_(False)
        self.stage, self.step = 0, 0
        self.plan: dict[str, float] = {}
        self.optimizer = self.new_optimizer()
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "state.pt").exists():
            self._load()

    @abstractmethod
    def new_optimizer(self) -> torch.optim.Optimizer:
        """Of what the stage trains."""

    def _load(self) -> None:
        state = torch.load(self.folder / "state.pt", map_location=self.device, weights_only=True)
        same_sizes(self.net, state["net"], self.folder)
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.stage, self.step, self.plan = state["stage"], state["step"], state["plan"]
        self.optimizer = self.new_optimizer()
        self.optimizer.load_state_dict(state["optimizer"])

    def save(self) -> None:
        state = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stage": self.stage,
            "step": self.step,
            "plan": self.plan,
        }
        torch.save(state, self.folder / "state.tmp")
        (self.folder / "state.tmp").replace(self.folder / "state.pt")

    def update(self, loss: Tensor, rate: float, slowest: float) -> None:
        """One step down at a learning rate; the average follows, slower and slower up to `slowest`."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(slowest, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), 1 - decay)

    def next_stage(self) -> None:
        """The averaged weights become the network's."""
        self.net.load_state_dict(self.average.state_dict())
        self.stage, self.step = self.stage + 1, 0

    def log(self, **entry: object) -> None:
        with (self.folder / "log.jsonl").open("a") as lines:
            lines.write(json.dumps(entry) + "\n")
        print(json.dumps(entry), flush=True)


def same_sizes(net: nn.Module, state: dict[str, Tensor], where: Path) -> None:
    """Raise InputError when a state is not one of a network of these sizes."""
    if {name: value.shape for name, value in state.items()} != {
        name: value.shape for name, value in net.state_dict().items()
    }:
        raise InputError(f"{where}: of a network of other sizes; go on with its own options, or choose another")


def learning_rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Linear warm-up, then a cosine to zero."""
    return peak * min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))


def recent_mean(losses: Iterable[Tensor]) -> float:
    """Mean of losses that were left on the device."""
    return float(torch.stack(list(losses)).mean())
