"""`ttsr evaluate`: the command. Prints and exits, as the command line does."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from ttsr_studio import __version__
from ttsr_studio.cli.progress import progress_bar
from ttsr_studio.engines.registry import ENGINES
from ttsr_studio.errors import OptionError, OutputError, TtsrError, unknown
from ttsr_studio.evaluation.benchmark.concatenate import join_clips
from ttsr_studio.evaluation.benchmark.dataset import Clip, load_corpus
from ttsr_studio.evaluation.benchmark.degradation import LOW_PASSES, LowPass, check_cutoff
from ttsr_studio.evaluation.benchmark.perceptual import missing_note, versions
from ttsr_studio.evaluation.benchmark.runner import Conditions, Results, Row, evaluate, write_inputs
from ttsr_studio.evaluation.benchmark.system_spec import plan_specs
from ttsr_studio.evaluation.benchmark.systems import PLAIN, Finished, Plain, Render, System
from ttsr_studio.evaluation.paper.plan import TITLES, Plan, plan_paper
from ttsr_studio.evaluation.paper.run import run_paper
from ttsr_studio.evaluation.replay.collect import JUDGES
from ttsr_studio.options import RenderOptions
from ttsr_studio.render.inference.session import Session
from ttsr_studio.verifiers.registry import load_verifiers

if TYPE_CHECKING:
    from ttsr_studio.evaluation.benchmark.pictures import Pictures

NOT_WITH_PAPER = {
    "--render": "renders",
    "--grid": "grids",
    "--outputs": "outputs",
    "--judge": "judges",
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
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the results; rows already there are not computed again.",
)
@click.option("--render", "renders", multiple=True, metavar="SPEC", help="A system to render with, repeatable.")
@click.option("--grid", "grids", multiple=True, metavar="GRID", help="Vary an option of the renders, repeatable.")
@click.option(
    "--system",
    "plain",
    multiple=True,
    type=click.Choice(list(PLAIN)),
    default=list(PLAIN),
    show_default=True,
    help="Systems without a model: the input, copies of its octave, noise under the truth's own envelope.",
)
@click.option(
    "--outputs",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Finished audio of another system, by the clips' stems, below DIR/CUTOFF (DIR/4000) when there are "
    "several cutoffs. Repeatable, each with its --name.",
)
@click.option("--name", "names", multiple=True, help="Of the system whose audio --outputs gives.")
@click.option(
    "--judge",
    "judges",
    multiple=True,
    metavar="VERIFIER",
    help="How well a verifier, or the sum of some (a+b), finds the candidate nearest to the truth, repeatable; "
    "writes judges.md.",
)
@click.option(
    "--judged",
    type=click.IntRange(2),
    default=16,
    show_default=True,
    help="Candidates of a window that judges choose from.",
)
@click.option(
    "--keep-rewards",
    is_flag=True,
    help="Keep every score of every candidate that judges choose from (critic and consensus, without --judge), also on "
    "the way and by segment, in rewards.jsonl, for `ttsr replay`.",
)
@click.option(
    "--scaling",
    is_flag=True,
    help="Whether what a search gains by each --judge lasts for the others, as N grows to --judged, and which N is "
    "worth it; keeps rewards, and writes scaling.md, scaling.csv and scaling.png.",
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
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Hear only so much of each clip.")
@click.option(
    "--join",
    type=click.FloatRange(0, min_open=True),
    help="Join clips of a kind end to end, in mono, into programmes of at least so many seconds.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the renders and of the bootstrap."
)
@click.option("--oracle", is_flag=True, help="Allow verifier lsd, which hears the truth; a last line of --paper.")
@click.option("--tell-cutoff", is_flag=True, help="Give renders the true cutoff; they detect it otherwise.")
@click.option(
    "--write-lr",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write the inputs, for other systems to render: DIR/CUTOFF/CLIP.wav.",
)
@click.option(
    "--paper",
    is_flag=True,
    help="Instead: Table 1, Table 2 and Figure 2 of the paper, in OUT/paper, by the presets paper-speech, paper-music "
    "and paper-sfx, for whichever judges have weights. The manifest may give transcript, caption and reference.",
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
        conditions = Conditions(
            tuple(dict.fromkeys(given["cutoffs"])), cast(LowPass, given["lowpass"]), given["seconds"]
        )
        for cutoff in conditions.cutoffs:
            check_cutoff(cutoff, conditions.low_pass)
        clips = load_corpus(source, given["kinds"], given["limit"])
        if given["join"]:
            clips = join_clips(clips, given["join"], out / "programmes")
        plan = plan_paper_run(clips, conditions, given)
        systems = [] if plan else plan_systems(conditions, given)
        given["keep_rewards"] |= given["scaling"]
        given["judges"] = given["judges"] or (JUDGES if given["keep_rewards"] else ())
        check_judges(given["judges"])
        results = Results(out / ("paper.jsonl" if plan else "results.jsonl"))
    except TtsrError as error:
        raise click.UsageError(str(error), context) from error
    if plan:
        finish_paper(plan, source, conditions, results, given)
        return
    failures = write_lr(given["write_lr"], clips, conditions) if given["write_lr"] else 0
    if note := missing_note():
        click.echo(note, err=True)
    try:
        pictures = load_pictures(out / "pictures") if given["pictures"] else None
        rows, missed = run(systems, clips, conditions, results, given["recompute"], pictures)
        sheets = pictures.draw({row["clip"]: row["seconds"] for row in rows}) if pictures else []
        if given["judges"]:
            readable = {row["clip"] for row in rows}
            work = run_rewards if given["keep_rewards"] else run_judges
            missed += work([clip for clip in clips if clip.name in readable], conditions, out, given)
        if given["uncertainty"]:
            missed += run_uncertainty(clips, conditions, out, given)
    except OutputError as error:
        raise click.ClickException(str(error)) from error
    failures += missed
    tables = write_report(out, rows, given["baseline"], given["seed"], describe(source, conditions, given))
    for path in [*tables, *sheets]:
        click.echo(str(path))
    click.echo(f"{len(rows)} results, {results.computed} of them computed now, {failures} failed")
    if failures:
        sys.exit(1)


def plan_paper_run(clips: Sequence[Clip], conditions: Conditions, given: dict[str, Any]) -> Plan | None:
    """What --paper compares, None without it. Raises OptionError for options that do not go with it, or need it."""
    chosen = {"engine": given["paper_engine"], "candidates": given["paper_candidates"]}
    if not given["paper"]:
        if any(chosen.values()):
            raise OptionError("--paper-engine and --paper-candidates are settings of --paper; pass that too")
        return None
    if strange := [option for option, name in NOT_WITH_PAPER.items() if given[name]]:
        raise OptionError(f"--paper compares systems of its own; leave {', '.join(strange)} out")
    return plan_paper(clips, conditions, seed=given["seed"], oracle=given["oracle"], **chosen)


def finish_paper(plan: Plan, source: Path, conditions: Conditions, results: Results, given: dict[str, Any]) -> None:
    """Run the paper's comparison, write its tables, and exit with 1 when something failed."""
    from ttsr_studio.evaluation.paper.tables import write_paper

    for name, why in plan.missing.items():
        click.echo(f"{TITLES.get(name, name)} is not here: {why}", err=True)
    failures = write_lr(given["write_lr"], plan.clips, conditions) if given["write_lr"] else 0

    def failed(reason: str) -> None:
        nonlocal failures
        failures += 1
        click.echo(f"failed: {reason}", err=True)

    total = len(conditions.cutoffs) * sum(clip.kind == line.kind for line in plan.lines for clip in plan.clips)
    options = {"tell_cutoff": given["tell_cutoff"], "recompute": given["recompute"], "failed": failed}
    try:
        with progress_bar(total) as step:
            rows = run_paper(plan, conditions, results, progress=step, **options)
        folder, title = results.path.parent / "paper", describe(source, conditions, given)
        for path in write_paper(folder, plan, rows, given["seed"], title):
            click.echo(str(path))
    except OutputError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(rows)} results, {results.computed} of them computed now, {failures} failed")
    if failures:
        sys.exit(1)


def plan_systems(conditions: Conditions, given: dict[str, Any]) -> list[System]:
    """All systems in the order of the tables, checked before anything runs.

    Raises OptionError or MissingError for one that cannot run here, and for names that clash.
    """
    if len(given["outputs"]) != len(given["names"]):
        raise OptionError("every --outputs needs its --name, in the same order")
    specs = plan_specs(given["renders"], given["grids"], given["seed"], given["oracle"])
    cutoffs = list(conditions.cutoffs)
    names = [*dict.fromkeys(given["plain"]), *given["names"], *(spec.name for spec in specs)]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"two systems are named {name!r}")
    if given["baseline"] is not None and given["baseline"] not in names:
        raise unknown("--baseline", given["baseline"], names)
    return [
        *(Plain(name, PLAIN[name]) for name in dict.fromkeys(given["plain"])),
        *(Finished.find(*pair, cutoffs) for pair in zip(given["names"], given["outputs"], strict=True)),
        *(Render.load(spec, given["tell_cutoff"]) for spec in specs),
    ]


def run(
    systems: Sequence[System],
    clips: Sequence[Clip],
    conditions: Conditions,
    results: Results,
    recompute: bool,
    pictures: "Pictures | None",
) -> tuple[list[Row], int]:
    """Evaluate, saying what fails: the rows, and how many failed."""
    failures = 0

    def failed(reason: str) -> None:
        nonlocal failures
        failures += 1
        click.echo(f"failed: {reason}", err=True)

    with progress_bar(len(systems) * len(clips) * len(conditions.cutoffs)) as step:
        rows = evaluate(
            systems,
            clips,
            conditions,
            results,
            recompute=recompute,
            pictures=pictures,
            progress=step,
            failed=failed,
        )
    return rows, failures


def load_pictures(folder: Path) -> "Pictures":
    from ttsr_studio.evaluation.benchmark.pictures import Pictures

    return Pictures(folder)


def members(judges: Sequence[str]) -> tuple[str, ...]:
    """All verifiers of judges such as "a" and "a+b"."""
    return tuple(dict.fromkeys(name for judge in judges for name in judge.split("+")))


def check_judges(judges: Sequence[str]) -> None:
    """Refuse what cannot judge, before anything runs. Raises OptionError or MissingError."""
    if "lsd" in members(judges):
        raise OptionError("--judge lsd: the oracle is what judges are compared with")
    for verifier in load_verifiers(members(judges), frozenset({"expected", "early", "input"})):
        if verifier.scope != "window":
            raise OptionError(f"--judge {verifier.name}: judges whole clips, and here windows are judged")


def over_clips(
    what: str, clips: Sequence[Clip], conditions: Conditions, work: Callable[[Clip, float], list[Row]]
) -> tuple[list[Row], int]:
    """Do a work on every clip at every cutoff, saying what fails: its rows, and how many failed."""
    rows: list[Row] = []
    failures = 0
    with progress_bar(len(clips) * len(conditions.cutoffs)) as step:
        for cutoff in conditions.cutoffs:
            for clip in clips:
                step(what, clip.name)
                try:
                    rows += work(clip, cutoff)
                except OutputError:
                    raise
                except (TtsrError, OSError) as error:
                    failures += 1
                    click.echo(f"failed: {what}, {clip.name}, {cutoff:g} Hz: {error}", err=True)
    return rows, failures


def run_judges(clips: Sequence[Clip], conditions: Conditions, out: Path, given: dict[str, Any]) -> int:
    """Judge the verifiers and write judges.md and judges.jsonl; returns how many clips failed."""
    from ttsr_studio.evaluation.verifier_study.accuracy import judge_clip, table

    options = RenderOptions(candidates=given["judged"], verifiers=members(given["judges"]), seed=given["seed"])
    session, results = Session(options), Results(out / "judges.jsonl")
    judges = list(dict.fromkeys(given["judges"]))

    def work(clip: Clip, cutoff: float) -> list[Row]:
        return judge_clip(session, judges, clip, cutoff, conditions, results, given["recompute"])

    rows, failures = over_clips("judges", clips, conditions, work)
    (out / "judges.md").write_text(table(rows, given["seed"]), encoding="utf-8")
    click.echo(str(out / "judges.md"))
    return failures


def run_rewards(clips: Sequence[Clip], conditions: Conditions, out: Path, given: dict[str, Any]) -> int:
    """Keep the rewards of all clips in rewards.jsonl, and write judges.md and what --scaling asks for from them.

    Returns how many clips failed.
    """
    from ttsr_studio.evaluation.replay.collect import judge_rows, reward_clip, reward_options
    from ttsr_studio.evaluation.verifier_study.accuracy import table

    session = Session(reward_options(members(given["judges"]), given["judged"], given["seed"]))
    results, judges = Results(out / "rewards.jsonl"), list(dict.fromkeys(given["judges"]))

    def work(clip: Clip, cutoff: float) -> list[Row]:
        return reward_clip(session, clip, cutoff, conditions, results, given["recompute"])

    lines, failures = over_clips("rewards", clips, conditions, work)
    (out / "judges.md").write_text(table(judge_rows(lines, judges), given["seed"]), encoding="utf-8")
    click.echo(f"{results.path}: {len(lines)} windows, {results.computed} of them drawn now")
    click.echo(str(out / "judges.md"))
    if given["scaling"] and lines:
        from ttsr_studio.evaluation.replay.scaling_report import write_scaling

        alarms = write_scaling(out, lines, judges, given["seed"], f"ttsr {__version__}; seed {given['seed']}.")
        click.echo("\n".join([*(str(out / f"scaling.{end}") for end in ("md", "csv", "png")), *alarms]))
    return failures


def run_uncertainty(clips: Sequence[Clip], conditions: Conditions, out: Path, given: dict[str, Any]) -> int:
    """Compare uncertainty with error and write uncertainty.md and uncertainty.jsonl; returns how many clips failed."""
    from ttsr_studio.evaluation.verifier_study.calibration import judge_uncertainty, table

    options = RenderOptions(candidates=max(3, given["judged"]), verifiers=("critic",), seed=given["seed"])
    session, results = Session(options), Results(out / "uncertainty.jsonl")

    def work(clip: Clip, cutoff: float) -> list[Row]:
        return judge_uncertainty(session, clip, cutoff, conditions, results, given["recompute"])

    rows, failures = over_clips("uncertainty", clips, conditions, work)
    (out / "uncertainty.md").write_text(table(rows, given["seed"]), encoding="utf-8")
    click.echo(str(out / "uncertainty.md"))
    return failures


def write_lr(folder: Path, clips: Sequence[Clip], conditions: Conditions) -> int:
    """Write the inputs for other systems; returns how many clips failed."""
    failures = [reason for _, reason in write_inputs(folder, clips, conditions) if reason is not None]
    for reason in failures:
        click.echo(f"failed: {reason}", err=True)
    return len(failures)


def describe(source: Path, conditions: Conditions, given: dict[str, Any]) -> str:
    """One line for the head of the tables: what the numbers were measured under."""
    parts = [
        f"ttsr {__version__}",
        f"clips of {source.name}",
        f"low-pass {conditions.low_pass}",
        "renders are told the cutoff" if given["tell_cutoff"] else "renders detect the cutoff",
        f"seed {given['seed']}",
        *(f"{column} {version}" for column, version in versions().items() if version),
    ]
    if given["join"]:
        parts.append(f"clips joined into programmes of at least {given['join']:g} s, mono")
    if conditions.seconds is not None:
        parts.append(f"first {conditions.seconds:g} s of each clip")
    return "; ".join(parts) + "."


def write_report(out: Path, rows: list[Row], baseline: str | None, seed: int, title: str) -> list[Path]:
    """Write tables and curves of these rows; returns the files, none without rows."""
    if not rows:
        return []
    from ttsr_studio.evaluation.reporting.figures import draw_curves
    from ttsr_studio.evaluation.reporting.tables import summarise, to_csv, to_markdown

    entries = summarise(rows, baseline, seed)
    written = [out / "tables.md", out / "tables.csv"]
    written[0].write_text(to_markdown(entries, baseline, title), encoding="utf-8")
    written[1].write_text(to_csv(entries), encoding="utf-8")
    return written + draw_curves(rows, entries, out / "curves")
