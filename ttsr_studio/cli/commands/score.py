"""`ttsr score`: verifiers on any audio."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from ttsr_studio.cli import completing
from ttsr_studio.cli.command import UserPath
from ttsr_studio.cli.terminal import Cell, print_table
from ttsr_studio.engines.device import resolve_device
from ttsr_studio.errors import MissingError, OptionError, TtsrError, on_one_line, shown
from ttsr_studio.evaluation.verifier_study.score_files import ONLY_IN_A_SEARCH, FileScores, Scorer, annotations_of
from ttsr_studio.options import RenderOptions
from ttsr_studio.verifiers.registry import VERIFIERS

FILE = UserPath(exists=True, dir_okay=False, path_type=Path)


@click.command("score")
@click.argument("files", nargs=-1, required=True, type=UserPath(path_type=Path, readable=False), metavar="FILE...")
@click.option(
    "--verifier",
    "verifiers",
    shell_complete=completing.verifiers,
    multiple=True,
    help=f"May be repeated: {', '.join(name for name in VERIFIERS if name not in ONLY_IN_A_SEARCH)}.  "
    "[default: all that can score here]",
)
@click.option("--input", "lr", type=FILE, help="The band-limited input that the files were made from.")
@click.option("--reference", type=FILE, help="Ground truth, for lsd.")
@click.option("--cutoff", type=float, help="Where the input's band ends, Hz.  [default: detected in --input]")
@click.option("--transcript", help="The words that are spoken.")
@click.option("--caption", help="What is to be heard, in a sentence.")
@click.option("--captions", multiple=True, help="What it may be, when there is no --caption; may be repeated.")
@click.option("--speaker", "speakers", multiple=True, type=FILE, help="Another recording of the same speaker.")
@click.option(
    "--device", default="auto", show_default=True, shell_complete=completing.devices, help="auto, cpu, cuda, mps."
)
@click.option("--json", "as_json", is_flag=True, help="A JSON array on standard output.")
def score_command(
    files: tuple[Path, ...],
    verifiers: tuple[str, ...],
    lr: Path | None,
    reference: Path | None,
    cutoff: float | None,
    device: str,
    as_json: bool,
    **known: Any,
) -> None:
    """Score finished files, of this tool or another. Higher is better in every column.

    A file's own sidecar (NAME.ttsr.toml) goes before the options. Exit code 1 when a file could not be scored.
    """
    rows: list[FileScores] = []
    try:
        options = RenderOptions(cutoff=cutoff, **known)
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
        click.echo(json.dumps(plain, indent=2))
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
