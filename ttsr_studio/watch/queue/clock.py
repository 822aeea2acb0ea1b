"""Time that does not jump: leases and waits are counted by a clock that only runs forward, and begin anew at a boot."""

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class SteadyTime:
    """A point in time for this machine: `steady` seconds after the boot that has this name."""

    boot: str
    steady: float


class Clock:
    """The machine's clocks; tests put another in its place."""

    def wall(self) -> float:
        """Seconds since 1970, for people to read; may jump."""
        return time.time()

    def now(self) -> SteadyTime:
        """Seconds that only run forward, shared by all processes since the machine was started."""
        return SteadyTime(boot_name(), time.monotonic())


@cache
def boot_name() -> str:
    """A name for the time since the machine was last started."""
    linux = Path("/proc/sys/kernel/random/boot_id")
    if linux.exists():
        return linux.read_text(encoding="ascii").strip()
    return f"{psutil.boot_time() // 60:.0f}"
