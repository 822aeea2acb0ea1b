"""What a device is worth, unattended and in under nine minutes: `python benchmarks/devices.py --device cuda`.

Renders `ttsr bench`'s programme by the built-in engine, in float32 and bfloat16 where the device has it, at several
batches; then, where AudioSR is installed, by that, plain and with --low-vram. Every line of the output is JSON: what
`ttsr bench --json` says, the setting, and how busy the card was (nvidia-smi, five times a second). A setting that fails
says why, and the rest goes on; what there is no time for is named.
"""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from ttsr_studio.batch.bench import render_cost
from ttsr_studio.engines.device import resolve_device
from ttsr_studio.errors import TtsrError

BUILTIN: list[dict[str, Any]] = [
    {},
    {"batch": 64},
    {"batch": 128},
    {"precision": "bf16"},
    {"precision": "bf16", "batch": 128},
]
AUDIOSR: list[dict[str, Any]] = [
    {"engine": "audiosr-basic", "candidates": 8, "decode_top": 1, "verifier": ["consensus"]},
    {"engine": "audiosr-basic", "candidates": 8, "decode_top": 1, "verifier": ["consensus"], "low_vram": True},
]


class Utilisation:
    """How busy NVIDIA's card is while something runs, in per cent; nothing is known of others."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        asked = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=200"]
        try:
            watcher = subprocess.Popen(asked, stdout=subprocess.PIPE, text=True)
        except OSError:
            yield
            return
        reader = threading.Thread(target=self._read, args=(watcher,), daemon=True)
        reader.start()
        try:
            yield
        finally:
            watcher.terminate()
            reader.join()

    def _read(self, watcher: "subprocess.Popen[str]") -> None:
        for line in watcher.stdout or ():
            with contextlib.suppress(ValueError):
                self.seen.append(float(line))

    @property
    def mean(self) -> float | None:
        return sum(self.seen) / len(self.seen) if self.seen else None


def measured(preset: str, seconds: float, device: str, setting: dict[str, Any]) -> dict[str, Any]:
    """One line: what a setting takes, or why it cannot be."""
    busy = Utilisation()
    try:
        with busy.watched():
            cost = render_cost(preset, seconds, device=device, **setting)
    except (TtsrError, RuntimeError) as error:
        return {"setting": setting, "failed": str(error)}
    derived = {"times_real_time": cost.times_real_time, "candidates_per_hour": cost.candidates_per_hour}
    return {"setting": setting, **asdict(cost), **derived, "utilisation": busy.mean}


@click.command()
@click.option("--device", default="auto", show_default=True)
@click.option("--preset", default="music", show_default=True)
@click.option("--candidates", default=16, show_default=True)
@click.option("--seconds", default=60.0, show_default=True, help="Of the programme.")
@click.option("--minutes", default=8.0, show_default=True, help="After which nothing more is begun.")
def main(device: str, preset: str, candidates: int, seconds: float, minutes: float) -> None:
    """Print a line of JSON for every setting."""
    began, device = time.monotonic(), resolve_device(device)
    longest = 0.0
    for setting in [*({"candidates": candidates, **each} for each in BUILTIN), *AUDIOSR]:
        left = 60 * minutes - (time.monotonic() - began)
        at = time.monotonic()
        if left < longest:
            line: dict[str, Any] = {"setting": setting, "failed": f"no time: {left:.0f} s left"}
        else:
            line = measured(preset, seconds, device, setting)
        longest = max(longest, time.monotonic() - at)
        click.echo(json.dumps(line))


if __name__ == "__main__":
    main()
