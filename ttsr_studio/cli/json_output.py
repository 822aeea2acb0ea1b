"""What commands print for programs: JSON that every reader takes."""

import json
from typing import Any

import click

from ttsr_studio.report.write import plain_json


def echo_json(data: Any, indent: int | None = None) -> None:
    """Print JSON; what is not finite is null in it, as in reports, for JSON has no such numbers."""
    click.echo(json.dumps(plain_json(data), allow_nan=False, indent=indent, default=str))
