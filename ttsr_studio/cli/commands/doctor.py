"""`ttsr doctor`: what is here and what is missing."""

import sys

import click
from rich.text import Text

from ttsr_studio.cli.interrupt import left_at_once
from ttsr_studio.cli.json_output import echo_json
from ttsr_studio.cli.terminal import print_table


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="A JSON array on standard output.")
def doctor_command(as_json: bool) -> None:
    """What is here: devices, engines, verifiers, weights; what is missing and how to get it;
    which plug-ins are refused, and why.

    What it prints can be pasted into a report of a problem: versions, device, weights, and no path of yours beyond "~".

    Exit code 1 when nothing can be rendered.
    """
    with left_at_once():
        from ttsr_studio.diagnostics.environment import findings

    rows = findings()
    if as_json:
        echo_json([row.to_json() for row in rows], indent=2)
    else:
        colours = {"ok": "green", "missing": "yellow", "refused": "red"}
        table = [(row.kind, row.name, Text(row.state, colours[row.state]), row.detail) for row in rows]
        print_table(("", "name", "state", "detail"), table, wrapped="detail")
    if not any(row.ok for row in rows if row.kind == "engine"):
        sys.exit(1)
