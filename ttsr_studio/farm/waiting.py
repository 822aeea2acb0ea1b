"""Who waits for a first worker, and who holds workers: so that those who have several, or need none, make room.

Commands and services on one farm know nothing of each other but what they leave in the head's table of keys and values,
and the names of their workers. A key that does not change any more is of a command that ended.
"""

import time
import uuid
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ttsr_studio.farm.messages import NAMESPACE

FRESH_SECONDS = 5.0
"""For which a command counts as waiting after it said so."""

STALE_SECONDS = 60.0
"""After which what one said is cleared away."""

KEY, SPACE = b"waits-", NAMESPACE.encode()


class WaitingList:
    """What the commands on a farm say of their waiting."""

    def __init__(self) -> None:
        from ray.experimental import internal_kv

        self.table: Any = internal_kv
        self.mine, self.count = KEY + uuid.uuid4().hex.encode(), 0
        self.seen: dict[bytes, tuple[bytes, float]] = {}

    def wait(self) -> None:
        """Say, again and again, that this one has work and not a single worker."""
        self.count += 1
        self.table._internal_kv_put(self.mine, str(self.count).encode(), overwrite=True, namespace=SPACE)

    def leave(self) -> None:
        """Say that it has one now."""
        if self.count:
            self.table._internal_kv_del(self.mine, namespace=SPACE)
            self.count = 0

    def others(self) -> bool:
        """Whether somebody else waits."""
        now, seen = time.monotonic(), self.seen
        self.seen = {}
        for key in self.table._internal_kv_list(KEY, namespace=SPACE):
            value = self.table._internal_kv_get(key, namespace=SPACE)
            if key == self.mine or value is None:
                continue
            before, since = seen.get(key, (b"", now))
            self.seen[key] = value, since if value == before else now
            if now - self.seen[key][1] > STALE_SECONDS:
                self.table._internal_kv_del(key, namespace=SPACE)
        return any(now - since < FRESH_SECONDS for _, since in self.seen.values())


def worker_name(owner: str, number: str) -> str:
    """What a worker is called on the farm, from whose it is; the number may hold no "-"."""
    return f"{owner}-{number}"


def owner_of(name: str) -> str:
    """Whose a worker is."""
    return name.rpartition("-")[0]


def our_workers(ray: Any) -> list[str]:
    """Names of all workers on the farm, those of other commands and services too."""
    found = ray.util.list_named_actors(all_namespaces=True)
    return sorted(each["name"] for each in found if each["namespace"] == NAMESPACE)


def holders(workers: Iterable[str], ours: str) -> str | None:
    """Who else holds how many workers, in words.

    None where only we do: those were lost, and are free again as soon as that shows.
    """
    counts = Counter(map(owner_of, workers))
    others = [f"{owner} ({count})" for owner, count in counts.most_common() if owner != ours]
    return "; ".join(others) or (None if counts else "other programs")
