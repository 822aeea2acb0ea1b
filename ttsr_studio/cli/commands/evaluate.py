"""`ttsr evaluate`: systems, verifiers and the paper's tables on full-band clips."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ttsr_studio.cli.command import UserPath
from ttsr_studio.cli.sweep_progress import sweep_progress
from ttsr_studio.engines.registry import ENGINES
from ttsr_studio.errors import OptionError, OutputError, TtsrError
from ttsr_studio.evaluation.benchmark.concatenate import join_clips
from ttsr_studio.evaluation.benchmark.dataset import Clip, load_corpus
from ttsr_studio.evaluation.benchmark.degradation import LOW_PASSES, Conditions, write_inputs
from ttsr_studio.evaluation.benchmark.perceptual import missing_note
from ttsr_studio.evaluation.benchmark.report import conditions_line, write_tables
from ttsr_studio.evaluation.benchmark.runner import evaluate_systems
from ttsr_studio.evaluation.benchmark.system_spec import plan_specs
from ttsr_studio.evaluation.benchmark.systems import PLAIN_SYSTEMS, System, plan_systems
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

EPILOG = """\b
SPEC is NAME: KEY=VALUE ..., with the options of `ttsr render` as keys; verifiers are joined by + or a comma.
GRID is KEY=A,B,C: every --render is multiplied by every --grid.
\b
ttsr evaluate clips/manifest.csv --out results --limit 5
  --render "random: search=random" --render "zero: search=zero-order"
  --grid candidates=1,2,4,8 --grid verifier=continuity,continuity+lowband
  --outputs their/audio --name their-system --baseline replication
"""


@click.command("evaluate", epilog=EPILOG)
@click.argument("source", type=UserPath(exists=True, path_type=Path))
@click.option(
    "--out",
    type=UserPath(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the results; rows already there are not computed again.",
)
@click.option("--render", "renders", multiple=True, metavar="SPEC", help="A system to render with, repeatable.")
@click.option("--grid", "grids", multiple=True, metavar="GRID", help="Vary an option of the renders, repeatable.")
@click.option(
    "--system",
    "plain",
    multiple=True,
    type=click.Choice(list(PLAIN_SYSTEMS)),
    default=list(PLAIN_SYSTEMS),
    show_default=True,
    help="Systems without a model: the input, copies of its octave, noise under the truth's own envelope.",
)
@click.option(
    "--outputs",
    multiple=True,
    type=UserPath(exists=True, file_okay=False, path_type=Path),
    help="Finished audio of another system, by the clips' stems, below DIR/CUTOFF (DIR/4000) when there are "
    "several cutoffs. Repeatable, each with its --name.",
)
@click.option("--name", "names", multiple=True, help="Of the system whose audio --outputs gives.")
@click.option(
    "--judge",
    "verifiers",
    multiple=True,
    metavar="VERIFIER",
    help="How well a verifier, or the sum of some (a+b), finds the candidate nearest to the truth, repeatable; "
    "writes judges.md.",
)
@click.option(
    "--judged",
    "drawn",
    type=click.IntRange(2),
    default=16,
    show_default=True,
    help="Candidates of a window that a --judge chooses from.",
)
@click.option(
    "--keep-rewards",
    is_flag=True,
    help="Keep every score of every candidate that a --judge chooses from (critic and consensus, without one), also on "
    "the way and by segment, in rewards.jsonl, for `ttsr replay`.",
)
@click.option(
    "--scaling",
    is_flag=True,
    help="Whether what a search gains by each --judge lasts for the others, as N grows to --judged, and which N is "
    "worth it; keeps scores as --keep-rewards does, and writes scaling.md, scaling.csv and scaling.png.",
)
@click.option(
    "--uncertainty",
    is_flag=True,
    help="Whether a render is further from the truth where its candidates disagree (--judged of them); writes "
    "uncertainty.md.",
)
@click.option(
    "--pictures",
    is_flag=True,
    help="Draw contact sheets: input, truth and every system's output as spectrograms on one scale, 8 clips a page; "
    "writes pictures/KIND-CUTOFF.png. Systems answer again where results are kept and their pictures are not.",
)
@click.option("--baseline", help="Name of the system that the others are compared with.")
@click.option(
    "--cutoff",
    "cutoffs",
    multiple=True,
    type=float,
    default=[4000, 8000],
    show_default=True,
    help="Where the inputs' band ends, Hz.",
)
@click.option(
    "--lowpass",
    type=click.Choice(LOW_PASSES),
    default="brick",
    show_default=True,
    help="brick: sharp filter, stays at 48 kHz; resample: soxr, stored at twice the cutoff.",
)
@click.option("--kind", "kinds", multiple=True, help="Only clips of this kind, repeatable.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many clips of each kind.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Only so much of each clip.")
@click.option(
    "--join",
    type=click.FloatRange(0, min_open=True),
    help="Join clips of a kind end to end, in mono, into programmes of at least so many seconds.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the renders and of the bootstrap."
)
@click.option("--oracle", is_flag=True, help="Allow verifier lsd, which knows the truth; a last line of --paper.")
@click.option("--tell-cutoff", is_flag=True, help="Give renders the true cutoff; they detect it otherwise.")
@click.option(
    "--write-lr",
    type=UserPath(file_okay=False, path_type=Path),
    help="Also write the inputs, for other systems to render: DIR/CUTOFF/CLIP.wav.",
)
@click.option(
    "--paper",
    is_flag=True,
    help="Instead: Table 1, Table 2 and Figure 2 of the paper, in OUT/paper, by the presets paper-speech, paper-music "
    "and paper-sfx, for whichever verifiers have weights. The manifest may give transcript, caption and reference.",
)
@click.option("--paper-engine", type=click.Choice(list(ENGINES)), help="Of --paper, with its own solver and steps.")
@click.option("--paper-candidates", type=click.IntRange(1), metavar="N", help="Of --paper, instead of the paper's 120.")
@click.option("--recompute", is_flag=True, help="Measure again what is in the results already.")
def evaluate_command(source: Path, out: Path, **given: Any) -> None:
    """Measure systems on full-band clips: a manifest (CSV) or a folder.

    Inputs are made by a fixed low-pass, rendered, and compared with the clips. Writes tables.md, tables.csv,
    results.jsonl and curves/*.png into the folder of --out; with --paper, paper.jsonl and paper/ instead. The columns
    ViSQOL and Zimtohrli, which count first, need: pip install 'ttsr-studio[evaluate]'.

    Exit code 0 when all went well, 1 when some failed (each is named with its reason), 2 for usage.
    """
    context = click.get_current_context()
    try:
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
        with sweep_progress() as progress:
            run = EvaluationRun(conditions, results, progress, given["recompute"])
            if given["write_lr"]:
                for reason in write_inputs(given["write_lr"], plan.clips if plan else clips, conditions):
                    progress.failed(reason)
            if plan:
                rows, written = do_paper(plan, run, title, given)
            else:
                rows, written = do_systems(systems, clips, run, title, given)
    except OutputError as error:
        raise click.ClickException(str(error)) from error
    for path in written:
        click.echo(str(path))
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
    click.echo(f"{kept.file}: {kept.windows} windows, {kept.drawn} of them drawn now")
    for alarm in kept.alarms:
        click.echo(alarm)
    return kept.tables
