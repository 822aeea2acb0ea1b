"""`ttsr score`: its options. What it does with them is in `score_files`, which loads torch."""

from pathlib import Path
from typing import Any

import click

from ttsr_studio.cli import completing
from ttsr_studio.cli.command import UserPath
from ttsr_studio.cli.interrupt import left_at_once
from ttsr_studio.cli.render_options import device_flag
from ttsr_studio.verifiers.registry import ONLY_IN_A_SEARCH, VERIFIERS

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
@device_flag
@click.option("--json", "as_json", is_flag=True, help="A JSON array on standard output.")
def score_command(files: tuple[Path, ...], verifiers: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Score finished files, of this tool or another. Higher is better in every column.

    A file's own sidecar (NAME.ttsr.toml) goes before the options. Exit code 1 when a file could not be scored.
    """
    with left_at_once():
        from ttsr_studio.cli.score_files import score_files

    score_files(files, verifiers, as_json, given)
