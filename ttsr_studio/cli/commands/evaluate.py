"""`ttsr evaluate`: its options. What it does with them is in `evaluate_corpus`, which loads torch."""

from pathlib import Path
from typing import Any

import click

from ttsr_studio.cli.command import UserPath
from ttsr_studio.cli.farm_flags import farm_flags
from ttsr_studio.cli.help import GroupedCommand, grouped
from ttsr_studio.cli.interrupt import left_at_once
from ttsr_studio.engines.registry import ENGINES
from ttsr_studio.evaluation.benchmark.names import LOW_PASSES, PLAIN_SYSTEMS

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
    more=("What is measured", "Verifiers", "The paper", "Farm"),
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
    type=click.Choice(PLAIN_SYSTEMS),
    default=tuple(PLAIN_SYSTEMS),
    show_default=", ".join(PLAIN_SYSTEMS),
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
@farm_flags
@grouped("What is measured", "--recompute", is_flag=True, help="Measure again what is in the results already.")
def evaluate_command(source: Path, out: Path, **given: Any) -> None:
    """Measure systems on full-band clips: a manifest (CSV) or a folder.

    SPEC is NAME: KEY=VALUE ..., with the options of `ttsr render` as keys; verifiers are joined by + or a comma. GRID
    is KEY=A,B,C: every --render is multiplied by every --grid.

    Inputs are made by a fixed low-pass, rendered, and compared with the clips. Writes tables.md, tables.csv,
    results.jsonl and curves/*.png into the folder of --out; with --paper, paper.jsonl and paper/ instead. The columns
    ViSQOL and Zimtohrli, which count first, need the extra ttsr-studio[evaluate].

    Exit code 0 when all went well, 1 when some failed (each is named with its reason), 2 for usage.
    """
    with left_at_once():
        from ttsr_studio.cli.evaluate_corpus import evaluate_corpus

    evaluate_corpus(source, out, given)
