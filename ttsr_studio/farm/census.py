"""What goes on on a farm: what every worker does, whosever it is, and how the machines' installations differ."""

import contextlib
from collections.abc import Iterator
from typing import Any

from ttsr_studio.farm.identity import Installation, how_it_differs, installation
from ttsr_studio.farm.machines import Machines
from ttsr_studio.farm.messages import NAMESPACE
from ttsr_studio.farm.waiting import our_workers, owner_of

CENSUS_SECONDS = 5.0
"""For a worker to say what it does."""

INSTALLATION_SECONDS = 20.0
"""For all machines to say what is installed on them."""

GOING = "is ending, or just went away"
"""Of a machine that cannot be asked any more, which is no difference."""

SILENT = f"it did not say within {INSTALLATION_SECONDS:.0f} s what is installed on it"


def census(ray: Any) -> Iterator[dict[str, Any]]:
    """What all our workers on the farm do, whosever they are; those that do not answer at once are left out."""
    for name in our_workers(ray):
        with contextlib.suppress(Exception):  # it may end meanwhile
            actor = ray.get_actor(name, namespace=NAMESPACE)
            yield ray.get(actor.at.remote(), timeout=CENSUS_SECONDS) | {"owner": owner_of(name)}


def differing_machines(ray: Any, machines: Machines) -> dict[str, str | None]:
    """How every machine differs from what is installed here, in a line; None where it does not, or `GOING`.

    Of weights that are not here, those of the first machine that has some are wanted of the others.
    """
    place = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    asked = {
        node: ray.remote(installation).options(num_cpus=0, max_retries=0, scheduling_strategy=place(node, soft=False))
        for node, each in machines.by_node.items()
        if not each.draining  # Ray gives it nothing any more
    }
    answers = {node: task.remote() for node, task in asked.items()}
    done = set(ray.wait(list(answers.values()), num_returns=len(answers), timeout=INSTALLATION_SECONDS)[0])
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    wanted, found = dict(machines.wanted), dict[str, str | None](dict.fromkeys(machines.by_node, GOING))
    for node, answer in answers.items():
        theirs = answer_of(ray, answer) if answer in done else SILENT
        theirs = GOING if isinstance(theirs, str) and node not in alive else theirs
        found[node] = theirs if isinstance(theirs, str) else how_it_differs(wanted, theirs)
        wanted = {**(theirs if found[node] is None and not isinstance(theirs, str) else {}), **wanted}
    return found


def answer_of(ray: Any, answer: Any) -> Installation | str:
    """What is installed on a machine, or why it cannot say that."""
    try:
        told: Installation = ray.get(answer)
        return told
    except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
        return GOING
    except Exception as error:  # it went away, or cannot import us
        lines = [line for line in str(error).splitlines() if line.strip()]
        return "no ttsr-studio that can be imported: " + " ".join((lines or [type(error).__name__])[-1].split())[:200]


def how_it_agrees(difference: str) -> str:
    """What to do about a machine that differs so, in words."""
    parts = difference.split("; ")
    steps = ["install there what is installed here"] if any("weights of" not in part for part in parts) else []
    steps += ["fetch the same weights (`ttsr models`)"] if any("weights of" in part for part in parts) else []
    return f"{' and '.join(steps)}, then `ray stop` and `ray start --address=…` there"
