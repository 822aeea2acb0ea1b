"""Time on a device: events of its own queue, so that nobody has to wait for it between steps."""

import time
from typing import Any

import torch


class DeviceTime:
    """The time from `begin` to `end` on a device; nothing is waited for until `seconds` is asked."""

    def __init__(self, device: torch.device) -> None:
        self.began, self.ended = _event(device), _event(device)
        self.began.record()

    def end(self) -> None:
        """What was asked of the device until now belongs to it."""
        self.ended.record()

    def seconds(self) -> float:
        """How long it took; waits until it is over."""
        self.ended.synchronize()
        return float(self.began.elapsed_time(self.ended)) / 1000


class WallClock:
    """The same where the caller works itself: on a CPU."""

    def __init__(self) -> None:
        self.began = self.ended = time.perf_counter()

    def end(self) -> None:
        self.ended = time.perf_counter()

    def seconds(self) -> float:
        return self.ended - self.began


def span(device: torch.device) -> DeviceTime | WallClock:
    """A span that begins now."""
    return DeviceTime(device) if device.type in ("cuda", "mps") else WallClock()


def _event(device: torch.device) -> Any:
    if device.type == "mps":
        return torch.mps.event.Event(enable_timing=True)
    return torch.cuda.Event(enable_timing=True)
