"""`ttsr schema`: the shape of a report, for other programs."""

import json

import click


@click.command("schema")
def schema_command() -> None:
    """Print the JSON schema of the report NAME.ttsr.json that this version writes."""
    from ttsr_studio.report.validate import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
