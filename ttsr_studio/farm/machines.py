"""The machines of a farm, as the gateway sees them: which there are, what room they have, and which are not used."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ttsr_studio.farm.messages import FarmSettings, FarmState, Machine


class Machines:
    """Keeps account of nodes; Ray says which there are, and where our workers are the gateway."""

    def __init__(self, ray: Any, settings: FarmSettings) -> None:
        self.ray, self.settings = ray, settings
        self.wanted = dict(settings.identity)
        self.refused: dict[str, str] = {}
        self.by_node: dict[str, Machine] = {}

    def look(self, taken: Iterable[str]) -> None:
        """Ask which machines are there; workers take a place on some of them."""
        from ray._private.state import state

        draining, counts = set(state.get_draining_nodes()), Counter(taken)
        self.by_node = {
            node["NodeID"]: Machine(
                node["NodeID"],
                node["NodeManagerHostname"],
                node["NodeManagerAddress"],
                {name: float(value) for name, value in node["Resources"].items() if name in ("CPU", "GPU", "memory")},
                draining=node["NodeID"] in draining,
                refused=self.refused.get(node["NodeID"]),
            )
            for node in self.ray.nodes()
            if node["Alive"]
        }
        for node, each in self.by_node.items():
            slots = self._slots(each)
            self.by_node[node] = replace(each, slots=slots, free=max(0, slots - counts[node]))

    def best(self) -> Machine | None:
        """The machine with most room for another worker; None where there is no room."""
        room = [each for each in self.by_node.values() if each.free and not each.draining and not each.refused]
        return max(room, key=lambda each: (each.free, each.slots), default=None)

    def refuse(self, node: str, why: str) -> None:
        """Use a machine no more."""
        self.refused[node] = why

    def agree(self, theirs: dict[str, str]) -> None:
        """Take in what a machine has that is not installed here: all machines must have the same of that."""
        for name, value in theirs.items():
            self.wanted.setdefault(name, value)

    def state(self) -> FarmState:
        return FarmState(tuple(self.by_node.values()))

    def resources(self, machine: Machine) -> dict[str, float]:
        """What a worker asks of a machine, as Ray names it."""
        gpus, cpus = self.gpus, machine.resources.get("CPU", 0.0)
        return {"num_gpus": gpus, "num_cpus": 0.0 if gpus else min(self.settings.threads, cpus)}

    @property
    def gpus(self) -> float:
        """Cards of one worker."""
        if self.settings.gpus is not None:
            return self.settings.gpus
        return float(any(each.resources.get("GPU") for each in self.by_node.values()))

    def _slots(self, machine: Machine) -> int:
        asked = self.resources(machine)
        if asked["num_gpus"]:
            return int(machine.resources.get("GPU", 0.0) / asked["num_gpus"] + 1e-6)
        return int(machine.resources.get("CPU", 0.0) / asked["num_cpus"] + 1e-6) if asked["num_cpus"] else 0
