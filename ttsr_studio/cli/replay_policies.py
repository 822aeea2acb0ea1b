"""What `ttsr replay` does."""

from pathlib import Path
from typing import Any

import click

from ttsr_studio.cli.json_output import echo_json
from ttsr_studio.errors import OptionError
from ttsr_studio.evaluation.replay.estimate import (
    outcome_column,
    outcomes_markdown,
    preview_figures,
    previews_markdown,
    replay,
    summarise_outcomes,
    to_json,
)
from ttsr_studio.evaluation.replay.policy import parse_policy
from ttsr_studio.evaluation.replay.score_file import read_score_file


def replay_policies(file: Path, given: dict[str, Any]) -> None:
    """Print what policies choose of kept scores, and what previews tell. Raises OptionError, InputError.

    Args:
        given: the options of the command.
    """
    policies, by, seed = given["policies"], given["by"], given["seed"]
    if not policies and not given["previews"]:
        raise OptionError("nothing to replay: give a --policy, or --looks")
    asked = [parse_policy(text) for text in policies]
    scores = read_score_file(file)
    found: dict[str, Any] = {"file": str(file)}
    texts = []
    if asked:
        column = outcome_column(scores, by)
        outcomes = summarise_outcomes(replay(asked, scores, column, given["orders"], seed), seed)
        found |= {"by": column, "policies": [to_json(one) for one in outcomes]}
        texts.append(outcomes_markdown(outcomes, column))
    if given["previews"]:
        figures = preview_figures(scores, by, seed)
        found["looks"] = [to_json(one) for one in figures]
        texts.append(previews_markdown(figures, by))
    as_json = given["as_json"]
    if as_json:
        echo_json(found, indent=2)
    else:
        click.echo("\n".join(texts), nl=False)
