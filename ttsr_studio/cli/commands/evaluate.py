"""`ttsr evaluate`: systems, verifiers and the paper's tables on full-band clips."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ttsr_studio.cli.command import UserPath
from ttsr_studio.cli.help import GroupedCommand, grouped
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

EXAMPLES = (
    ("ttsr evaluate clips/ --out results --limit 5", "systems without a model"),
    ('ttsr evaluate clips/ --out results --render "mine: preset=speech" --grid candidates=1,4', "two renders as well"),
    ("ttsr evaluate clips/ --out results --outputs audio/ --name theirs", "another system's files"),
)


@click.command(
    "evaluate",
    cls=GroupedCommand,
    examples=EXAMPLES,
    first=("Basics", "Inputs"),
    more=("What is measured", "Verifiers", "The paper"),
)
@click.argument("source", type=UserPath(exists=True, path_type=Path))
@grouped(
    "Basics",
    "--out",
    type=UserPath(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the results. Rows that are there already are not computed again.",
)
@grouped(
    "Basics", "--render", "renders", multiple=True, metavar="SPEC", help="A system to render with. May be repeated."
)
@grouped(
    "Basics", "--grid", "grids", multiple=True, metavar="GRID", help="Vary an option of the renders. May be repeated."
)
@grouped(
    "What is measured",
    "--system",
    "plain",
    multiple=True,
    type=click.Choice(list(PLAIN_SYSTEMS)),
    default=list(PLAIN_SYSTEMS),
    show_default=True,
    help="Systems without a model to measure: the input, copies of its octave, noise under the truth's own envelope.",
)
@grouped(
    "What is measured",
    "--outputs",
    multiple=True,
    type=UserPath(exists=True, file_okay=False, path_type=Path),
    help="Finished audio of another system, by the clips' stems, below DIR/CUTOFF (DIR/4000) when there are "
    "several cutoffs. May be repeated, each time with its --name.",
)
@grouped("What is measured", "--name", "names", multiple=True, help="Name of the system whose audio --outputs gives.")
@grouped(
    "Verifiers",
    "--judge",
    "verifiers",
    multiple=True,
    metavar="VERIFIER",
    help="Measure how well a verifier, or the sum of some (a+b), finds the candidate nearest to the truth, and write "
    "judges.md. May be repeated.",
)
@grouped(
    "Verifiers",
    "--judged",
    "drawn",
    type=click.IntRange(2),
    default=16,
    show_default=True,
    help="How many candidates of a window a --judge chooses from.",
)
@grouped(
    "Verifiers",
    "--keep-rewards",
    is_flag=True,
    help="Keep every score of every candidate that a --judge chooses from (critic and consensus, without one), also on "
    "the way and by segment, in rewards.jsonl, for `ttsr replay`.",
)
@grouped(
    "Verifiers",
    "--scaling",
    is_flag=True,
    help="Measure whether what a search gains by each --judge lasts for the others, as N grows to --judged, and which "
    "N is worth it. Keeps scores as --keep-rewards does, and writes scaling.md, scaling.csv and scaling.png.",
)
@grouped(
    "What is measured",
    "--uncertainty",
    is_flag=True,
    help="Measure whether a render is further from the truth where its candidates disagree (--judged of them), and "
    "write uncertainty.md.",
)
@grouped(
    "What is measured",
    "--pictures",
    is_flag=True,
    help="Draw contact sheets: input, truth and every system's output as spectrograms on one scale, 8 clips a page; "
    "writes pictures/KIND-CUTOFF.png. Systems answer again where results are kept and their pictures are not.",
)
@grouped("What is measured", "--baseline", help="Name of the system that the others are compared with.")
@grouped(
    "Inputs",
    "--cutoff",
    "cutoffs",
    multiple=True,
    type=float,
    default=[4000, 8000],
    show_default=True,
    help="Where the inputs' band ends, in Hz. May be repeated.",
)
@grouped(
    "Inputs",
    "--lowpass",
    type=click.Choice(LOW_PASSES),
    default="brick",
    show_default=True,
    help="How inputs are made: brick is a sharp filter and stays at 48 kHz, resample is soxr to twice the cutoff.",
)
@grouped("Inputs", "--kind", "kinds", multiple=True, help="Only clips of this kind. May be repeated.")
@grouped("Basics", "--limit", type=click.IntRange(1), help="Only the first so many clips of each kind.")
@grouped("Inputs", "--seconds", type=click.FloatRange(0, min_open=True), help="Only so much of each clip.")
@grouped(
    "Inputs",
    "--join",
    type=click.FloatRange(0, min_open=True),
    help="Join clips of a kind end to end, in mono, into programmes of at least so many seconds.",
)
@grouped(
    "Basics",
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the renders and of the bootstrap.",
)
@grouped(
    "Verifiers",
    "--oracle",
    is_flag=True,
    help="Allow the verifier lsd, which knows the truth; adds a last line to --paper.",
)
@grouped("Inputs", "--tell-cutoff", is_flag=True, help="Give renders the true cutoff, which they detect otherwise.")
@grouped(
    "Inputs",
    "--write-lr",
    type=UserPath(file_okay=False, path_type=Path),
    help="Also write the inputs, for other systems to render: DIR/CUTOFF/CLIP.wav.",
)
@grouped(
    "The paper",
    "--paper",
    is_flag=True,
    help="Make Table 1, Table 2 and Figure 2 of the paper instead, in OUT/paper, by the presets paper-speech, "
    "paper-music and paper-sfx, for whichever verifiers have weights. The manifest may give transcript, "
    "caption and reference.",
)
@grouped(
    "The paper",
    "--paper-engine",
    type=click.Choice(list(ENGINES)),
    help="Engine of --paper, with its own solver and steps.",
)
@grouped(
    "The paper",
    "--paper-candidates",
    type=click.IntRange(1),
    metavar="N",
    help="How many candidates --paper makes, instead of the paper's 120.",
)
@grouped("What is measured", "--recompute", is_flag=True, help="Measure again what is in the results already.")
def evaluate_command(source: Path, out: Path, **given: Any) -> None:
    """Measure systems on full-band clips: a manifest (CSV) or a folder.

    SPEC is NAME: KEY=VALUE ..., with the options of `ttsr render` as keys; verifiers are joined by + or a comma. GRID
    is KEY=A,B,C: every --render is multiplied by every --grid.

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
