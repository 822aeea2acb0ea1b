"""`ttsr bench`: how fast this machine renders."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ttsr_studio.cli import completing
from ttsr_studio.cli.command import OneLineErrors
from ttsr_studio.cli.interrupt import left_at_once
from ttsr_studio.cli.json_output import echo_json
from ttsr_studio.cli.render_options import device_flag

if TYPE_CHECKING:
    from ttsr_studio.batch.bench import RenderCost


@click.command("bench", cls=OneLineErrors)
@click.option("--preset", default="general", show_default=True, shell_complete=completing.presets, help="Its settings.")
@click.option("--engine", help="Another engine than the preset's.")
@click.option("--candidates", type=click.IntRange(1), help="Another number than the preset's.")
@click.option("--batch", type=click.IntRange(1), help="Rows that the device computes at once.")
@device_flag
@click.option("--seconds", type=click.FloatRange(1, 600), default=30.0, show_default=True, help="Of the programme.")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
def bench_command(preset: str, seconds: float, as_json: bool, **options: Any) -> None:
    """Render a stereo programme of this tool's own and say what that takes here: speed, memory, where time goes.

    Compare figures of one machine in one state only; what else runs on it counts.
    """
    with left_at_once():
        from ttsr_studio.batch.bench import render_cost
        from ttsr_studio.cli.progress import told_in_a_log

    with told_in_a_log(lambda: "rendering the programme"):
        cost = render_cost(preset, seconds, **{name: value for name, value in options.items() if value is not None})
    if as_json:
        derived = {"times_real_time": cost.times_real_time, "candidates_per_hour": cost.candidates_per_hour}
        echo_json(asdict(cost) | derived, indent=2)
        return
    for line in table(cost):
        click.echo(line)


def table(cost: "RenderCost") -> list[str]:
    """The figures, a line each."""
    device = f"{cost.device} ({cost.card})" if cost.card else f"{cost.device}, {cost.threads} threads"
    memory = f"{cost.memory_mb:.0f} MB" + (f", {cost.card_mb:.0f} MB on the card" if cost.card_mb is not None else "")
    total = sum(cost.stages.values()) or 1.0
    parts = [f"{name} {100 * part / total:.0f} %" for name, part in cost.stages.items() if part > 0.01 * total]
    return [
        f"device       {device}",
        f"render       {cost.audio_s:g} s stereo, {cost.candidates} candidates, {cost.preset} on {cost.engine}",
        f"time         {cost.wall_s:.1f} s, {cost.cpu_s:.1f} s of CPU: {cost.times_real_time:.2f} times real time",
        f"candidates   {cost.candidates_per_hour:.0f} of a minute of audio in an hour",
        f"memory       {memory} at most",
        f"where        {', '.join(parts)}",
    ]
