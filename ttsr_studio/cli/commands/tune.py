"""`ttsr tune`: its options. What it does with them is in `tune_engine`, which loads torch."""

from pathlib import Path
from typing import Any

import click

from ttsr_studio.cli.command import UserPath
from ttsr_studio.cli.farm_flags import farm_flags
from ttsr_studio.cli.interrupt import left_at_once
from ttsr_studio.cli.render_options import device_flag
from ttsr_studio.diffusion.samplers.registry import SAMPLERS
from ttsr_studio.diffusion.schedule_names import SCHEDULES, SPACINGS
from ttsr_studio.engines.registry import ENGINES

EPILOG = """\b
ttsr tune clips/manifest.csv --nfe 8 --objective lsd --out tuned
ttsr render stems/ --preset tuned/tuned.toml --candidates 16
ttsr tune clips/manifest.csv --rungs 64 --out rungs
"""


@click.command("tune", epilog=EPILOG)
@click.argument("clips", type=UserPath(exists=True, path_type=Path))
@click.option(
    "--nfe",
    type=click.IntRange(1),
    help="The most network evaluations of one run of one window and channel; guidance counts twice.  [required "
    "without --rungs]",
)
@click.option(
    "--rungs",
    type=click.IntRange(1),
    metavar="NFE",
    help="Instead of sampler settings, find the rungs of --search halving (`--set rungs=..., keep=...`) that gain most "
    "of the truth with so many evaluations of a window and channel, chosen by the verifiers of --objective; on "
    "four clips or more.",
)
@click.option("--engine", default="builtin", show_default=True, help=f"{', '.join(ENGINES)}.")
@click.option(
    "--objective",
    default="critic+consensus",
    show_default=True,
    help="What a single draw is to score high in: a verifier, several joined by + (mean of z-scores), or lsd (minus "
    "the distance to the truth). consensus is nearness to the engine's mean render, so it favours settings whose "
    "candidates collapse to that mean, and lsd may, too: the search range is reported and tells.",
)
@click.option(
    "--method",
    type=click.Choice(["grid", "optuna"]),
    default="grid",
    show_default=True,
    help="grid: every combination; optuna: so many --trials, chosen by what is known (extra ttsr-studio[tune]).",
)
@click.option("--trials", type=click.IntRange(1), default=40, show_default=True, help="Of --method optuna.")
@click.option(
    "--solver",
    multiple=True,
    help=f"Repeatable, as all that is varied: {', '.join(SAMPLERS)}.  [default: one of each order]",
)
@click.option(
    "--steps",
    multiple=True,
    type=click.IntRange(1),
    help="Repeatable; what the limit does not allow is left out.  [default: as many as it allows, a half, a quarter; "
    "any number with optuna]",
)
@click.option(
    "--schedule",
    multiple=True,
    help=f"Repeatable: {', '.join([*SCHEDULES, *SPACINGS])}.  [default: all that differ]",
)
@click.option("--temperature", multiple=True, type=float, help="Repeatable.  [default: the engine's]")
@click.option("--guidance", multiple=True, type=float, help="Repeatable.  [default: the engine's, and none]")
@click.option(
    "--rho",
    multiple=True,
    type=float,
    help="Repeatable, of schedule edm, 1 or more; measured, but a preset cannot hold it.  [default: the engine's]",
)
@click.option(
    "--cutoff",
    "cutoffs",
    multiple=True,
    type=float,
    default=[4000, 8000],
    show_default=True,
    help="Where the inputs' band ends, Hz.",
)
@click.option("--kind", "kinds", multiple=True, help="Only clips of this kind, repeatable.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many clips of each kind.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Only so much of each clip.")
@click.option(
    "--candidates",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Draws of a window that the mean and the search range are taken over.",
)
@click.option(
    "--out",
    type=UserPath(file_okay=False, path_type=Path),
    default=Path("tuned"),
    show_default=True,
    help="Folder of the results; what is there already is not computed again.",
)
@click.option(
    "--preset",
    type=UserPath(dir_okay=False, path_type=Path),
    metavar="NAME.toml",
    help="The preset to write.  [default: tuned.toml in --out]",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws, of optuna and of the bootstrap."
)
@device_flag
@farm_flags
def tune_command(clips: Path, out: Path, preset: Path | None, **given: Any) -> None:
    """Find sampler settings for an engine on full-band clips: a manifest (CSV) or a folder, as for `ttsr evaluate`.

    Solver, steps, schedule, temperature and guidance are varied under a limit of network evaluations and compared with
    the engine's default. Writes tune.md and tune.jsonl into --out, and a preset for `ttsr render`. The default stays
    unless a setting beats it with an interval clear of 0. With --rungs: rungs.md, rungs.jsonl, and a preset.

    Exit code 0 when all went well, 1 when some failed (each is named with its reason), 2 for usage.
    """
    with left_at_once():
        from ttsr_studio.cli.tune_engine import tune_engine, tune_rungs

    (tune_engine if given["rungs"] is None else tune_rungs)(clips, out, preset, given)
