"""What `ttsr score` does."""

import math
import sys
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from ttsr_studio.cli.json_output import echo_json
from ttsr_studio.cli.terminal import Cell, print_table
from ttsr_studio.engines.device import resolve_device
from ttsr_studio.errors import MissingError, OptionError, TtsrError, on_one_line, shown
from ttsr_studio.evaluation.verifier_study.score_files import FileScores, Scorer, annotations_of
from ttsr_studio.options import RenderOptions


def score_files(files: tuple[Path, ...], verifiers: tuple[str, ...], as_json: bool, given: dict[str, Any]) -> None:
    """Score files and print a table; exits with 1 when one could not be scored.

    Args:
        given: the other options of the command.
    """
    lr, cutoff, device, reference = (given.pop(name) for name in ("lr", "cutoff", "device", "reference"))
    rows: list[FileScores] = []
    try:
        options = RenderOptions(cutoff=cutoff, **given)
        scorer = Scorer(lr, reference, cutoff, resolve_device(device))
        for path in files:
            try:
                rows.append(scorer.score(path, annotations_of(path, options), verifiers))
            except (OptionError, MissingError) as error:
                if not rows and path == files[-1]:
                    raise  # what was asked for cannot be had for any file
                click.echo(f"failed: {shown(path)}: {on_one_line(str(error))}", err=True)
            except TtsrError as error:
                click.echo(f"failed: {on_one_line(str(error))}", err=True)
    except TtsrError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        plain = [{"file": str(row.path), "seconds": row.seconds, "scores": _plain(row.scores)} for row in rows]
        echo_json(plain, indent=2)
    elif rows:
        show(rows)
    if len(rows) < len(files):
        sys.exit(1)


def _plain(scores: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def show(rows: list[FileScores]) -> None:
    """A table, the best of every column in bold."""
    columns = list(dict.fromkeys(name for row in rows for name in row.scores))
    best = {name: max((row.scores.get(name, -math.inf) for row in rows), default=-math.inf) for name in columns}
    table: list[list[Cell]] = []
    for row in rows:
        table.append([row.path])
        for name in columns:
            value = row.scores.get(name, math.nan)
            text = f"{value:.3f}" if math.isfinite(value) else "-"
            table[-1].append(Text(text, "bold" if len(rows) > 1 and value == best[name] else ""))
    print_table(["file", *columns], table, right=columns)
