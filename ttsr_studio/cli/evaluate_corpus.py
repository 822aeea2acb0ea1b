"""What `ttsr evaluate` does."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ttsr_studio.cli.farm_flags import FarmFlags, spread_over
from ttsr_studio.cli.sweep_progress import sweep_progress
from ttsr_studio.errors import FarmError, OptionError, OutputError, TtsrError, shown
from ttsr_studio.evaluation.benchmark.concatenate import join_clips
from ttsr_studio.evaluation.benchmark.dataset import Clip, load_corpus
from ttsr_studio.evaluation.benchmark.degradation import Conditions, write_inputs
from ttsr_studio.evaluation.benchmark.perceptual import missing_note
from ttsr_studio.evaluation.benchmark.report import conditions_line, write_tables
from ttsr_studio.evaluation.benchmark.runner import evaluate_systems
from ttsr_studio.evaluation.benchmark.system_spec import plan_specs
from ttsr_studio.evaluation.benchmark.systems import System, plan_systems
from ttsr_studio.evaluation.paper.plan import PAPER_NAMES, PaperPlan, plan_paper
from ttsr_studio.evaluation.paper.run import run_paper
from ttsr_studio.evaluation.replay.collect import VERIFIERS_KEPT, collect_scores
from ttsr_studio.evaluation.sweep import EvaluationRun, Results, Row
from ttsr_studio.evaluation.verifier_study.accuracy import check_studied, study_accuracy

NOT_WITH_PAPER = {
    "--render": "renders",
    "--grid": "grids",
    "--outputs": "outputs",
    "--judge": "verifiers",
    "--baseline": "baseline",
    "--keep-rewards": "keep_rewards",
    "--scaling": "scaling",
    "--pictures": "pictures",
}


def evaluate_corpus(source: Path, out: Path, given: dict[str, Any]) -> None:
    """Measure what is asked for and write its tables; exits with 1 when some failed."""
    context = click.get_current_context()
    try:
        flags = FarmFlags.of(given)
        cutoffs = tuple(dict.fromkeys(given["cutoffs"]))
        conditions = Conditions(cutoffs, given["lowpass"], given["seconds"])
        clips = load_corpus(source, given["kinds"], given["limit"])
        if given["join"]:
            clips = join_clips(clips, given["join"], out / "programmes")
        plan = paper_of(clips, conditions, given)
        systems = [] if plan else systems_of(conditions, given)
        given["keep_rewards"] |= given["scaling"]
        given["verifiers"] = given["verifiers"] or (VERIFIERS_KEPT if given["keep_rewards"] else ())
        check_studied(given["verifiers"])
        results = Results(out / ("paper.jsonl" if plan else "results.jsonl"))
    except TtsrError as error:
        raise click.UsageError(str(error), context) from error
    title = conditions_line(source, conditions, given["tell_cutoff"], given["seed"], given["join"])
    try:
        with sweep_progress() as progress, spread_over(flags) as spread:
            run = EvaluationRun(conditions, results, progress, given["recompute"], spread=spread)
            if given["write_lr"]:
                for reason in write_inputs(given["write_lr"], plan.clips if plan else clips, conditions):
                    progress.failed(reason)
            if plan:
                rows, written = do_paper(plan, run, title, given)
            else:
                rows, written = do_systems(systems, clips, run, title, given)
    except (OptionError, OutputError, FarmError) as error:
        raise click.ClickException(str(error)) from error
    for path in written:
        click.echo(shown(path))
    click.echo(f"{len(rows)} results, {results.computed} of them computed now, {len(progress.failures)} failed")
    if progress.failures:
        sys.exit(1)


def paper_of(clips: Sequence[Clip], conditions: Conditions, given: dict[str, Any]) -> PaperPlan | None:
    """What --paper compares, None without it. Raises OptionError for options that do not go with it, or need it."""
    chosen = {"engine": given["paper_engine"], "candidates": given["paper_candidates"]}
    if not given["paper"]:
        if any(chosen.values()):
            raise OptionError("--paper-engine and --paper-candidates are settings of --paper; pass that too")
        return None
    if strange := [option for option, name in NOT_WITH_PAPER.items() if given[name]]:
        raise OptionError(f"--paper compares systems of its own; leave {', '.join(strange)} out")
    return plan_paper(clips, conditions, seed=given["seed"], oracle=given["oracle"], **chosen)


def systems_of(conditions: Conditions, given: dict[str, Any]) -> list[System]:
    """The systems that are asked for. Raises OptionError or MissingError for one that cannot run here."""
    if len(given["outputs"]) != len(given["names"]):
        raise OptionError("every --outputs needs its --name, in the same order")
    finished = list(zip(given["names"], given["outputs"], strict=True))
    specs = plan_specs(given["renders"], given["grids"], given["seed"], given["oracle"])
    return plan_systems(given["plain"], finished, specs, conditions.cutoffs, given["tell_cutoff"], given["baseline"])


def do_paper(plan: PaperPlan, run: EvaluationRun, title: str, given: dict[str, Any]) -> tuple[list[Row], list[Path]]:
    """Run the paper's comparison: its rows, and the files of its tables."""
    from ttsr_studio.evaluation.paper.tables import write_paper

    for name, why in plan.missing.items():
        click.echo(f"{PAPER_NAMES.get(name, name)} is not here: {why}", err=True)
    rows = run_paper(plan, run, given["tell_cutoff"])
    return rows, write_paper(run.results.path.parent / "paper", plan, rows, given["seed"], title)


def do_systems(
    systems: Sequence[System], clips: Sequence[Clip], run: EvaluationRun, title: str, given: dict[str, Any]
) -> tuple[list[Row], list[Path]]:
    """Measure systems, and what is asked for besides: the systems' rows, and the files of all tables."""
    out, seed = run.results.path.parent, given["seed"]
    if note := missing_note():
        click.echo(note, err=True)
    sheets = None
    if given["pictures"]:
        from ttsr_studio.evaluation.benchmark.pictures import ContactSheets

        sheets = ContactSheets(out / "pictures")
    rows = evaluate_systems(systems, clips, run, sheets)
    drawn = sheets.draw({row["clip"]: row["seconds"] for row in rows}) if sheets else []
    besides = do_verifiers(clips, run, given) if given["verifiers"] else []
    if given["uncertainty"]:
        from ttsr_studio.evaluation.verifier_study.calibration import study_calibration

        besides.append(study_calibration(given["drawn"], seed, clips, run))
    return rows, [*besides, *write_tables(out, rows, given["baseline"], seed, title), *drawn]


def do_verifiers(clips: Sequence[Clip], run: EvaluationRun, given: dict[str, Any]) -> list[Path]:
    """Study verifiers, and keep their scores where that is asked for: the files of the tables."""
    asked = given["verifiers"], given["drawn"], given["seed"], clips, run
    if not given["keep_rewards"]:
        return [study_accuracy(*asked)]
    kept = collect_scores(*asked, scaling=given["scaling"])
    click.echo(f"{shown(kept.file)}: {kept.windows} windows, {kept.drawn} of them drawn now")
    for alarm in kept.alarms:
        click.echo(alarm)
    return kept.tables
