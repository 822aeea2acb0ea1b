"""What `ttsr tune` does."""

import sys
from pathlib import Path
from typing import Any

import click

from ttsr_studio.cli.farm_flags import FarmFlags, spread_over
from ttsr_studio.cli.progress import engine_loading
from ttsr_studio.cli.sweep_progress import sweep_progress
from ttsr_studio.errors import TtsrError, shown
from ttsr_studio.evaluation.benchmark.dataset import load_corpus
from ttsr_studio.evaluation.benchmark.degradation import Conditions
from ttsr_studio.evaluation.reporting.tables import write_text
from ttsr_studio.evaluation.sweep import EvaluationRun, Results
from ttsr_studio.evaluation.tuning.report import (
    check_target,
    decide,
    preset_text,
    rank_settings,
    tuning_line,
    tuning_markdown,
)
from ttsr_studio.evaluation.tuning.rungs import (
    RungTask,
    advise_rungs,
    cases_for_rungs,
    draw_for_rungs,
    rungs_markdown,
    rungs_preset,
    study_for_rungs,
)
from ttsr_studio.evaluation.tuning.space import Axes
from ttsr_studio.evaluation.tuning.study import TRUTH, Tuning, TuningTask, load_optuna, search_grid, search_optuna


def tune_engine(clips: Path, out: Path, preset: Path | None, given: dict[str, Any]) -> None:
    """Vary settings, compare them, and write tables and a preset; exits with 1 when some failed."""
    context = click.get_current_context()
    target, by_grid = preset or out / "tuned.toml", given["method"] == "grid"
    if given["nfe"] is None:
        raise click.UsageError("Missing option '--nfe': the most evaluations of a run; or give --rungs", context)
    try:
        flags = FarmFlags.of(given)
        conditions = Conditions(tuple(dict.fromkeys(given["cutoffs"])), "brick", given["seconds"])
        check_target(target)
        objective = tuple(given["objective"].split("+"))
        task = TuningTask(
            given["engine"], given["device"], objective, given["nfe"], given["candidates"], given["seed"], conditions
        )
        with engine_loading(quiet=False):
            tuning = Tuning(task, load_corpus(clips, given["kinds"], given["limit"]))
        axes = Axes.of(tuning.engine, given)
        tuning.check(axes)
        if not by_grid:
            load_optuna()
        results = Results(out / "tune.jsonl")
    except TtsrError as error:
        raise click.UsageError(str(error), context) from error
    try:
        with sweep_progress() as progress, spread_over(flags) as spread:
            run = EvaluationRun(conditions, results, progress, spread=spread)
            if by_grid:
                search_grid(tuning, axes, run)
            else:
                search_optuna(tuning, axes, run, given["trials"])
        settings = rank_settings(tuning)
        decision = decide(tuning, settings)
        title = tuning_line(clips, tuning, "grid" if by_grid else f"optuna, {given['trials']} trials")
        table = write_text(out / "tune.md", tuning_markdown(tuning, settings, decision, title))
        write_text(target, preset_text(tuning, decision))
    except TtsrError as error:
        raise click.ClickException(str(error)) from error
    click.echo(decision.words)
    for warning in decision.warnings:
        click.echo(f"warning: {warning}", err=True)
    for path in (table, target):
        click.echo(shown(path))
    click.echo(
        f"{len(settings)} settings, {tuning.above} more above the limit left out; "
        f"{sum(map(len, tuning.rows.values()))} results, {results.computed} of them computed now, "
        f"{len(progress.failures)} failed"
    )
    if progress.failures:
        sys.exit(1)


OF_SAMPLERS = ("nfe", "method", "trials", "solver", "steps", "schedule", "temperature", "guidance", "rho", "candidates")
"""Options that say nothing of rungs."""


def tune_rungs(clips: Path, out: Path, preset: Path | None, given: dict[str, Any]) -> None:
    """Try every schedule of rungs of halving, and write tables and a preset; exits with 1 when some failed."""
    context = click.get_current_context()
    target, commandline = preset or out / "tuned.toml", click.core.ParameterSource.COMMANDLINE
    for name in OF_SAMPLERS:
        if context.get_parameter_source(name) is commandline:
            raise click.UsageError(f"--{name}: of sampler settings, which --rungs leaves as they are", context)
    verifiers = tuple(given["objective"].split("+"))
    if TRUTH in verifiers:
        raise click.UsageError(f"--objective {given['objective']}: the truth chooses nowhere; name verifiers", context)
    try:
        flags = FarmFlags.of(given)
        conditions = Conditions(tuple(dict.fromkeys(given["cutoffs"])), "brick", given["seconds"])
        check_target(target)
        task = RungTask(given["engine"], given["device"], verifiers, given["rungs"], given["seed"])
        cases = cases_for_rungs(load_corpus(clips, given["kinds"], given["limit"]), conditions.cutoffs)
        with engine_loading(quiet=False):
            study = study_for_rungs(task)
        results = Results(out / "rungs.jsonl")
    except TtsrError as error:
        raise click.UsageError(str(error), context) from error
    try:
        with sweep_progress() as progress, spread_over(flags) as spread:
            file = draw_for_rungs(study, cases, EvaluationRun(conditions, results, progress, spread=spread))
        advice = advise_rungs(task, file)
        table = write_text(out / "rungs.md", rungs_markdown(advice, clips))
        write_text(target, rungs_preset(advice))
    except TtsrError as error:
        raise click.ClickException(str(error)) from error
    click.echo(advice.words)
    for path in (table, results.path, target):
        click.echo(shown(path))
    if progress.failures:
        sys.exit(1)
