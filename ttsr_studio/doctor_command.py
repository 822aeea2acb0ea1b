"""`ttsr doctor`: what is here and what is missing."""

import json
import sys

import click
from rich.console import Console
from rich.table import Table

from ttsr_studio.doctor import findings


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="A JSON array on standard output.")
def doctor_command(as_json: bool) -> None:
    """What is here: devices, engines, verifiers, weights; what is missing and how to get it.

    Exit code 1 when nothing can be rendered.
    """
    rows = findings()
    if as_json:
        click.echo(json.dumps([row.to_json() for row in rows], indent=2))
    else:
        table = Table(box=None, pad_edge=False)
        for title in ("", "name", "state", "detail"):
            table.add_column(title, overflow="fold")
        for row in rows:
            table.add_row(row.kind, row.name, "[green]ok[/]" if row.ok else "[yellow]missing[/]", row.detail)
        Console().print(table)
    if not any(row.ok for row in rows if row.kind == "engine"):
        sys.exit(1)
