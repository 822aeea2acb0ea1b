"""What a benchmark leaves behind: its tables and curves, and the line that says what they were measured under."""

from collections.abc import Sequence
from pathlib import Path

from ttsr_studio import __version__
from ttsr_studio.evaluation.benchmark.degradation import Conditions
from ttsr_studio.evaluation.benchmark.perceptual import package_versions
from ttsr_studio.evaluation.benchmark.tables import estimate_metrics, metrics_csv, metrics_markdown
from ttsr_studio.evaluation.reporting.tables import write_text
from ttsr_studio.evaluation.sweep import Row


def write_tables(out: Path, rows: Sequence[Row], baseline: str | None, seed: int, title: str) -> list[Path]:
    """Write tables.md, tables.csv and curves/*.png of these rows; returns the files, none without rows."""
    if not rows:
        return []
    from ttsr_studio.evaluation.benchmark.curves import draw_curves

    estimates = estimate_metrics(rows, baseline, seed)
    written = [
        write_text(out / "tables.md", metrics_markdown(estimates, baseline, title)),
        write_text(out / "tables.csv", metrics_csv(estimates)),
    ]
    return written + draw_curves(rows, estimates, out / "curves")


def conditions_line(source: Path, conditions: Conditions, tell_cutoff: bool, seed: int, join: float | None) -> str:
    """One line for the head of the tables: what the numbers were measured under.

    Args:
        join: seconds of the programmes that clips were joined into; None for clips as they are.
    """
    parts = [
        f"ttsr {__version__}",
        f"clips of {source.name}",
        f"low-pass {conditions.low_pass}",
        "renders are told the cutoff" if tell_cutoff else "renders detect the cutoff",
        f"seed {seed}",
        *(f"{column} {version}" for column, version in package_versions().items() if version),
    ]
    if join:
        parts.append(f"clips joined into programmes of at least {join:g} s, mono")
    if conditions.seconds is not None:
        parts.append(f"first {conditions.seconds:g} s of each clip")
    return "; ".join(parts) + "."
