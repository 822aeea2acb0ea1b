"""Time that does not jump: leases and waits are counted by a clock that only runs forward, and begin anew at a boot."""

import contextlib
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
from filelock import FileLock

SAME_BOOT_SECONDS = 60.0
"""No machine starts twice within a minute and has had a service in between."""


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
    if sys.platform == "darwin":
        asked = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return agreed_name(Path(tempfile.gettempdir()) / "ttsr-boot", psutil.boot_time())


def agreed_name(place: Path, booted: float) -> str:
    """One name for all processes, though each works the time of the boot out anew, some seconds off.

    Args:
        place: where the first one leaves it for the others.
        booted: when the machine was started, in seconds since 1970.
    """
    with FileLock(f"{place}.lock"):
        with contextlib.suppress(OSError, ValueError):
            known = float(place.read_text(encoding="ascii"))
            if abs(known - booted) < SAME_BOOT_SECONDS:
                return f"{known:.0f}"
        place.write_text(f"{booted:.0f}", encoding="ascii")
    return f"{booted:.0f}"
