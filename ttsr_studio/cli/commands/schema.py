"""`ttsr schema`: the shape of a report, or of a job, for other programs."""

import click

from ttsr_studio.cli.json_output import echo_json


@click.command("schema")
@click.argument("what", type=click.Choice(["report", "job"]), default="report")
def schema_command(what: str) -> None:
    """Print the JSON schema of the report NAME.ttsr.json that this version writes, or of the job files it reads."""
    if what == "report":
        from ttsr_studio.report.validate import json_schema as made
    else:
        from ttsr_studio.batch.job_schema import job_schema as made
    echo_json(made(), indent=2)
