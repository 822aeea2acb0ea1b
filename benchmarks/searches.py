"""Searches and rules of choice at equal evaluations: `python benchmarks/searches.py COMMAND SOURCE OUT`.

draws     keeps the scores of many random draws of every window, in OUT/rewards.jsonl, which `ttsr replay` and
          `rules` replay under any rule at any number of evaluations; the truth is among them.
rules     tables of those: every rule of choice by clip, window and segment, where each begins to be gamed, and how
          many draws by clip a choice by window or segment is worth.
renders   searches that cannot be replayed, as real renders into OUT/renders.jsonl, one run by clip and one by segment.
tables    of the renders: less distance to the truth than random search by clip has, paired, and the held-out scores.
diverse   renders that `--diverse` chooses beside the plain next best: how far apart, and what that costs in score.

SOURCE is a manifest as `ttsr evaluate` takes it; its clips of a kind are joined end to end into mono programmes.
"""

import itertools
from pathlib import Path

import click
import torch

from ttsr_studio.evaluation.benchmark.concatenate import join_clips
from ttsr_studio.evaluation.benchmark.dataset import Clip, load_corpus
from ttsr_studio.evaluation.benchmark.degradation import Conditions
from ttsr_studio.evaluation.replay.collect import ScoreCollection
from ttsr_studio.evaluation.sweep import EvaluationRun, Results, cases_with_band, sweep
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session

JUDGES = ("critic", "consensus", "typical", "continuity")


def programmes(source: Path, out: Path, seconds: float, limit: int | None) -> list[Clip]:
    """Programmes of all kinds in turn, so that a run that is stopped has some of each."""
    joined = join_clips(load_corpus(source), seconds, out / "programmes")
    kinds = [[clip for clip in joined if clip.kind == kind] for kind in dict.fromkeys(clip.kind for clip in joined)]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*(part[:limit] for part in kinds)))
    return [clip for clip in turns if clip is not None]


@click.group()
def main() -> None:
    """Searches and rules of choice at equal evaluations."""
    torch.set_num_threads(1)


def given(command: click.Command) -> click.Command:
    """The arguments that every command takes."""
    for add in (
        click.option("--seed", default=0, show_default=True),
        click.option("--cutoff", default=4000.0, show_default=True),
        click.option("--limit", type=int, help="Programmes of each kind."),
        click.option("--seconds", type=float, help="Only so much of each programme."),
        click.option("--join", default=10.0, show_default=True, help="Length of a programme in seconds, at least."),
        click.argument("out", type=click.Path(path_type=Path)),
        click.argument("source", type=click.Path(exists=True, path_type=Path)),
    ):
        command = add(command)
    return command


@main.command()
@given
@click.option("--draws", default=64, show_default=True, help="Of every window.")
@click.option(
    "--choice",
    type=click.Choice(["window", "segment"]),
    default="segment",
    show_default=True,
    help="Whether segments are scored too, which takes twice as long.",
)
@click.option("--judge", "judges", multiple=True, default=JUDGES, show_default=True)
def draws(source: Path, out: Path, join: float, seconds: float | None, limit: int | None, **told: object) -> None:
    """Keep the scores of random draws of every window; goes on where it was stopped."""
    options = RenderOptions(
        candidates=told["draws"], verifiers=told["judges"], scope="window", choice=told["choice"], witness=True,
        seed=told["seed"],
    )  # fmt: skip
    run = EvaluationRun(Conditions((told["cutoff"],), "brick", seconds), Results(out / "rewards.jsonl"))
    cases = cases_with_band(programmes(source, out, join, limit), run.conditions.cutoffs)
    for number, line in enumerate(sweep(ScoreCollection(Session(options)), cases, run), 1):
        click.echo(f"{number} {line['clip']} window {line['window']}: {len(line['candidates'])} draws")
    for reason in run.reporter.failures:
        click.echo(reason, err=True)


if __name__ == "__main__":
    main()
