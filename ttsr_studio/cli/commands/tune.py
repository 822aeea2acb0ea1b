"""`ttsr tune`: sampler settings for an engine, searched under a limit of network evaluations."""

import sys
from pathlib import Path
from typing import Any

import click

from ttsr_studio import __version__
from ttsr_studio.cli.progress import progress_bar
from ttsr_studio.diffusion.samplers.registry import SAMPLERS
from ttsr_studio.diffusion.schedules import SCHEDULES
from ttsr_studio.diffusion.timesteps import SPACINGS
from ttsr_studio.engines.registry import ENGINES
from ttsr_studio.errors import OptionError, TtsrError
from ttsr_studio.evaluation.benchmark.dataset import load_corpus
from ttsr_studio.evaluation.benchmark.degradation import check_cutoff
from ttsr_studio.evaluation.benchmark.runner import Conditions, Results
from ttsr_studio.evaluation.tuning.report import WORDS, judge, rows_of, summarise, to_markdown, to_preset
from ttsr_studio.evaluation.tuning.space import Axes, Setting
from ttsr_studio.evaluation.tuning.study import Task, Tuning, load_optuna, search_grid, search_optuna

EPILOG = """\b
ttsr tune clips/manifest.csv --nfe 8 --objective lsd --out tuned
ttsr render stems/ --preset tuned/tuned.toml --candidates 16
"""


@click.command("tune", epilog=EPILOG)
@click.argument("clips", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--nfe",
    type=click.IntRange(1),
    required=True,
    help="The most network evaluations of one run of one window and channel; guidance counts twice.",
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
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Hear only so much of each clip.")
@click.option(
    "--candidates",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Draws of a window that the mean and the search range are taken over.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("tuned"),
    show_default=True,
    help="Folder of the results; what is there already is not computed again.",
)
@click.option(
    "--preset",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="NAME.toml",
    help="The preset to write.  [default: tuned.toml in --out]",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws, of optuna and of the bootstrap."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps.")
def tune_command(clips: Path, out: Path, preset: Path | None, **given: Any) -> None:
    """Find sampler settings for an engine on full-band clips: a manifest (CSV) or a folder, as for `ttsr evaluate`.

    Solver, steps, schedule, temperature and guidance are varied under a limit of network evaluations and compared with
    the engine's default. Writes tune.md and tune.jsonl into --out, and a preset for `ttsr render`. The default stays
    unless a setting beats it with an interval clear of 0.

    Exit code 0 when all went well, 1 when some failed (each is named with its reason), 2 for usage.
    """
    context = click.get_current_context()
    target = preset or out / "tuned.toml"
    try:
        conditions = Conditions(tuple(dict.fromkeys(given["cutoffs"])), "brick", given["seconds"])
        for cutoff in conditions.cutoffs:
            check_cutoff(cutoff, conditions.low_pass)
        refuse_another(target)
        objective = tuple(given["objective"].split("+"))
        task = Task(
            given["engine"], given["device"], objective, given["nfe"], given["candidates"], given["seed"], conditions
        )
        chosen = load_corpus(clips, given["kinds"], given["limit"])
        if len(objective) > 1 and len(chosen) < 2:
            raise OptionError(
                "--objective of several verifiers scales them by their spread over clips; give two clips or more"
            )
        tuning = Tuning(task, chosen)
        axes = Axes.of(tuning.engine, given)
        tuning.check(axes)
        if given["method"] == "optuna":
            load_optuna()
        results = Results(out / "tune.jsonl")
    except TtsrError as error:
        raise click.UsageError(str(error), context) from error
    try:
        failures = search(tuning, axes, results, given)
        entries = summarise(tuning)
    except TtsrError as error:
        raise click.ClickException(str(error)) from error
    verdict = judge(tuning, entries)
    title = describe(clips, task, given, len(chosen), len({clip.path for clip, _ in tuning.places}))
    try:
        (out / "tune.md").write_text(to_markdown(tuning, entries, verdict, title), encoding="utf-8")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(to_preset(tuning, verdict), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    click.echo(verdict.words)
    for warning in verdict.warnings:
        click.echo(f"warning: {warning}", err=True)
    for path in (out / "tune.md", target):
        click.echo(str(path))
    click.echo(
        f"{len(entries)} settings, {tuning.above} more above the limit left out; {len(rows_of(tuning))} results, "
        f"{results.computed} of them computed now, {failures} failed"
    )
    if failures:
        sys.exit(1)


def refuse_another(target: Path) -> None:
    """Raise OptionError for a preset of the user's own, and for a name that `ttsr render` would not take for a file."""
    if target.suffix != ".toml":
        raise OptionError(f"--preset {target}: a preset is a .toml file")
    if target.exists() and WORDS not in target.read_text(encoding="utf-8", errors="replace"):
        raise OptionError(f"--preset {target}: exists already and is not of this command; choose another name")


def search(tuning: Tuning, axes: Axes, results: Results, given: dict[str, Any]) -> int:
    """Measure settings, saying what fails; returns how many failed."""
    failures = 0

    def failed(reason: str) -> None:
        nonlocal failures
        failures += 1
        click.echo(f"failed: {reason}", err=True)

    by_grid = given["method"] == "grid"
    settings = len(axes.grid(tuning.task.limit)[0]) if by_grid else given["trials"] + 1
    with progress_bar(settings * len(tuning.places)) as step:

        def measure(setting: Setting) -> Any:
            return tuning.measure(setting, results, step, failed)

        if by_grid:
            search_grid(tuning, axes, measure)
        else:
            search_optuna(tuning, axes, measure, given["trials"])
    return failures


def describe(source: Path, task: Task, given: dict[str, Any], clips: int, usable: int) -> str:
    """One line for the head of the table: what the numbers were measured under."""
    method = "grid" if given["method"] == "grid" else f"optuna, {given['trials']} trials"
    parts = [
        f"ttsr {__version__}",
        f"engine {task.engine}",
        f"at most {task.limit} network evaluations a run",
        method,
        f"clips of {source.name}, cutoff {', '.join(f'{cutoff:g}' for cutoff in task.conditions.cutoffs)} Hz, told",
        *([f"{clips - usable} of {clips} clips end at the cutoff and are left out"] if usable < clips else []),
        f"{task.candidates} candidates",
        f"seed {task.seed}",
    ]
    if task.conditions.seconds is not None:
        parts.append(f"first {task.conditions.seconds:g} s of each clip")
    return "; ".join(parts) + "."
