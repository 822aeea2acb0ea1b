"""What a run's weights sound like so far: `ttsr evaluate` with them beside the weights that are shipped.

Losses do not say whether an engine is better: weights with a better likelihood on every kind of held-out clip have
been further from the truth by ViSQOL. So a run that is left alone measures itself by the columns that count, and draws
contact sheets (FOLDER/columns/pictures).
"""

import csv
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ttsr_studio.errors import InputError
from ttsr_studio.weights.checkpoint import Config, export

COLUMNS = ("visqol", "zimtohrli", "lsd_edge", "hf_bias_db", "tonal_off", "onset_off", "pause_hiss_db", "pre_onset_db")
ONE_DRAW = "candidates=1 verifier=continuity"
SHIPPED = "shipped"


@dataclass(frozen=True)
class ListeningColumns:
    """Where and how often.

    Attributes:
        folder: of the run.
        clips: full-band clips with a manifest.csv, or a folder of them, as `ttsr evaluate` takes; none of them heard
            in training.
        every: steps between measurements.
    """

    folder: Path
    clips: Path
    every: int

    def due(self, step: int, last: bool) -> bool:
        """Whether it is time at this step."""
        return last or step % self.every == 0

    def entry(self, net: nn.Module, config: Config, step: int) -> dict[str, object]:
        """For the log: `columns`, or `columns_failed` with the reason; a long run does not end by it."""
        try:
            return {"columns": self.measured(net, config, step)}
        except InputError as error:
            return {"columns_failed": str(error)}

    def measured(self, net: nn.Module, config: Config, step: int) -> dict[str, dict[str, list[float]]]:
        """Evaluate single draws at 4 kHz, keeping the weights as FOLDER/columns/step-N.safetensors.

        Returns by kind and column: mean, difference to the shipped weights and its 95 % interval, [4]; a column that
        has no value on a kind is left out. Raises InputError when `ttsr evaluate` fails, with its last line.
        """
        name, out = f"step-{step}", self.folder / "columns"
        out.mkdir(exist_ok=True)
        export(net, config, out / f"{name}.safetensors", {"steps": step})
        command = [sys.executable, "-m", "ttsr_studio", "evaluate", self.clips.resolve(), "--out", "columns"]
        command += ["--render", f"{SHIPPED}: {ONE_DRAW}", "--baseline", SHIPPED, "--system", "lr", "--pictures"]
        command += ["--render", f"{name}: {ONE_DRAW} engine-weights=columns/{name}.safetensors", "--cutoff", "4000"]
        done = subprocess.run([str(part) for part in command], cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or "nothing was said").splitlines()[-1]
            raise InputError(f"ttsr evaluate {self.clips}: {said}")
        return read_columns(out / "tables.csv", name)


def read_columns(table: Path, system: str) -> dict[str, dict[str, list[float]]]:
    """One system's rows of a table of `ttsr evaluate`, see `ListeningColumns.measured`."""
    found: dict[str, dict[str, list[float]]] = {}
    with table.open(newline="") as lines:
        for row in csv.DictReader(lines):
            values = [row[name] for name in ("mean", "difference", "difference_low", "difference_high")]
            if row["system"] == system and row["metric"] in COLUMNS and all(values):
                found.setdefault(row["kind"], {})[row["metric"]] = [round(float(value), 4) for value in values]
    return found
