"""`ttsr replay`: searches tried on draws that are there. Prints and exits, as the command line does."""

import json
from pathlib import Path
from typing import Any

import click

from ttsr_studio.cli.command import Settings
from ttsr_studio.errors import OptionError
from ttsr_studio.evaluation.replay import estimate as replay
from ttsr_studio.evaluation.replay.policy import parse_policy
from ttsr_studio.evaluation.replay.score_file import Rewards, read_rewards

EPILOG = """\b
A policy is NAME: KEY=VALUE ..., with the keys
  n=8                      draws that are started (all there are)
  nfe=32                   instead of n: evaluations of a window and channel
  verifier=critic+lsd      who chooses
  ensemble=zsum            how several are combined: rank, zsum, minrank
  search=halving           with rungs=0.25,0.5 and keep=0.5, as in ttsr render
  choice=segment           what one choice holds for: window, segment, clip
  target=critic:-1.2       draw one by one, no further once the best has it
\b
ttsr replay results/rewards.jsonl
  --policy "best16: n=16 verifier=critic+consensus ensemble=zsum"
  --policy "halving: nfe=64 search=halving verifier=critic"
  --policy "target: verifier=critic target=critic:-1.1"
\b
Segments are chosen without the price of seams, which a file of rewards does
not hold; renders with a --target draw in batches, and may draw some more.
"""


@click.command("replay", cls=Settings, epilog=EPILOG)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--policy", "policies", multiple=True, metavar="SPEC", help="A policy to replay, repeatable.")
@click.option("--looks", is_flag=True, help="What x0-predictions tell of finished renders: the grounds for rungs.")
@click.option("--by", metavar="COLUMN", help="Verifier that judges the outcome.  [default: lsd, the oracle]")
@click.option(
    "--orders",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Subsets of the draws that each policy is tried on, at least.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the orders and the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def replay_command(
    file: Path, policies: tuple[str, ...], looks: bool, by: str | None, orders: int, seed: int, as_json: bool
) -> None:
    """Replay policies of a search on kept rewards, without the engine: what they choose, and what it costs.

    FILE is of `ttsr evaluate --keep-rewards` (rewards.jsonl), or of `ttsr render --keep-rewards` with --search census
    or random. Tables are Markdown, by kind and cutoff, with 95 % intervals over clips; differences are paired with
    the first policy.
    """
    if not policies and not looks:
        raise OptionError("nothing to replay: give a --policy, or --looks")
    asked = [parse_policy(text) for text in policies]
    rewards = read_rewards(file)
    found: dict[str, Any] = {"file": str(file)}
    if asked:
        column = replay.judged_by(rewards, by)
        summaries = replay.summarise(replay.replay(asked, rewards, column, orders, seed), seed)
        found |= {"by": column, "policies": [replay.plain(one) for one in summaries]}
        say(as_json, replay.to_markdown(summaries, column))
    if looks:
        told = look_at(rewards, by, seed)
        found["looks"] = [replay.plain(one) for one in told]
        say(as_json, ("\n" if asked else "") + replay.previews_to_markdown(told, by))
    if as_json:
        click.echo(json.dumps(found, indent=2, allow_nan=False))


def look_at(rewards: Rewards, by: str | None, seed: int) -> list[replay.Summary]:
    """The correlations of looks. Raises OptionError when the file has none."""
    if not rewards.previews:
        raise OptionError("no looks in the file: they are kept by --search census")
    known = by is not None or replay.ORACLE in rewards.columns
    return list(
        replay.previews(replay.preview_rows(rewards, replay.judged_by(rewards, by) if known else None), rewards, seed)
    )


def say(as_json: bool, text: str) -> None:
    if not as_json:
        click.echo(text, nl=False)
