"""The machines of a farm, as the gateway sees them: which there are, what room they have, and which are not used."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ttsr_studio.farm.messages import FarmSettings, FarmState, Machine

CUT_OFF = "what connected this command with it has ended (Ray's node on this machine)"


class CutOffError(Exception):
    """The node that this process is connected by has died: nothing that it starts would live."""


class Machines:
    """Keeps account of nodes; Ray says which there are, and where our workers are the gateway."""

    def __init__(self, ray: Any, settings: FarmSettings) -> None:
        self.ray, self.settings = ray, settings
        self.wanted = dict(settings.identity)
        self.refused: dict[str, str] = {}
        self.by_node: dict[str, Machine] = {}

    def look(self, taken: Iterable[str]) -> None:
        """Ask which machines are there; workers take a place on some of them. Raises CutOffError."""
        from ray._private import state as of_ray

        state: Any = of_ray.state
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
        if self.ray.get_runtime_context().get_node_id() not in self.by_node:
            raise CutOffError(CUT_OFF)
        left = state.available_resources_per_node()
        for node, each in self.by_node.items():
            slots = self.slots_in(each.resources)
            free = max(0, min(slots - counts[node], self.slots_in(left.get(node, {}), each.resources)))
            self.by_node[node] = replace(each, slots=slots, free=free)

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
        return FarmState(tuple(self.by_node.values()), head=self.ray.get_runtime_context().gcs_address)

    def resources(self, there: Mapping[str, float]) -> dict[str, float]:
        """What a worker asks of a machine that has so much, as Ray names it."""
        gpus, cpus = self.gpus, there.get("CPU", 0.0)
        return {"num_gpus": gpus, "num_cpus": 0.0 if gpus else min(self.settings.threads, cpus)}

    @property
    def gpus(self) -> float:
        """Cards of one worker."""
        if self.settings.gpus is not None:
            return self.settings.gpus
        return float(any(each.resources.get("GPU") for each in self.by_node.values()))

    def slots_in(self, left: Mapping[str, float], there: Mapping[str, float] | None = None) -> int:
        """Workers that a machine takes with what is left of what is there."""
        asked = self.resources(left if there is None else there)
        if gpus := asked["num_gpus"]:
            most = int(left.get("GPU", 0.0) / gpus + 1e-6)
            on_one = int(1 / gpus + 1e-6)  # what is left of a card is not put together with that of another
            return most if gpus >= 1 or there else min(most, on_one * int(left.get("GPU", 0.0)))
        return int(left.get("CPU", 0.0) / asked["num_cpus"] + 1e-6) if asked["num_cpus"] else 0
