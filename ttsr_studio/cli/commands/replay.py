"""`ttsr replay`: its options. What it does with them is in `replay_policies`, which loads torch."""

from pathlib import Path
from typing import Any

import click

from ttsr_studio.cli.command import OneLineErrors, UserPath
from ttsr_studio.cli.interrupt import left_at_once
from ttsr_studio.evaluation.replay.policy_text import split_policy

EPILOG = """\b
A policy is NAME: KEY=VALUE ..., with the keys
  n=8                      draws that are started (all there are)
  nfe=32                   instead of n: evaluations of a window and channel,
                           counted as ttsr render counts its --budget
  verifier=critic+lsd      who chooses
  ensemble=zsum            how several are combined: rank, zsum, minrank,
                           shrunk, pessimism (goes by the column typical)
  search=halving           with rungs=0.25,0.5 and keep=0.5, as in ttsr render
  search=poisson           with mean=0.5: best of a Poisson number of draws
  choice=segment           what one choice holds for: window, segment, clip
  target=critic:-1.2       draw one by one, no further once the best has it
\b
ttsr replay results/rewards.jsonl
  --policy "best16: n=16 verifier=critic+consensus ensemble=zsum"
  --policy "halving: nfe=64 search=halving verifier=critic"
  --policy "target: verifier=critic target=critic:-1.1"
\b
Segments are chosen without the price of seams, which a score file does not
hold; renders with a --target draw in batches, and may draw some more.
"""


@click.command("replay", cls=OneLineErrors, epilog=EPILOG)
@click.argument("file", type=UserPath(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="SPEC",
    help="A policy to replay, repeatable: "
    "'NAME: KEY=VALUE ...', such as 'best8: n=8 verifier=critic'; its keys stand below, and in "
    "docs/research/measuring.md.",
)
@click.option(
    "--looks", "previews", is_flag=True, help="What x0-predictions tell of finished renders: the grounds for rungs."
)
@click.option("--by", metavar="COLUMN", help="Verifier whose scores are the outcome.  [default: lsd, the oracle]")
@click.option(
    "--orders",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Subsets of the draws that each policy is tried on, at least.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the orders and the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def replay_command(file: Path, **given: Any) -> None:
    """Replay policies of a search on kept scores, without the engine: what they choose, and what it costs.

    FILE is of `ttsr evaluate --keep-rewards` (rewards.jsonl), or of `ttsr render --keep-rewards` with --search census
    or random. Tables are Markdown, by kind and cutoff, with 95 % intervals over clips; differences are paired with
    the first policy.
    """
    for text in given["policies"]:
        split_policy(text)
    with left_at_once():
        from ttsr_studio.cli.replay_policies import replay_policies

    replay_policies(file, given)
