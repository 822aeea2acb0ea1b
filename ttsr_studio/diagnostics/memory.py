"""How much memory the process has taken at most."""

import math
import sys
from pathlib import Path


def peak_rss_mb() -> float:
    """Largest resident memory, MB of 1e6 bytes; NaN on Windows."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return float(lines["VmHWM"].split()[0]) * 1024 / 1e6 if "VmHWM" in lines else math.nan
    if sys.platform == "win32":
        return math.nan
    import resource

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6
