"""What commands share: the library's errors as usage errors, and types of arguments."""

from pathlib import Path
from typing import Any

import click

from ttsr_studio.errors import TtsrError, of_a_file

ROOT = click.Path(file_okay=False, path_type=Path)
"""The root of a watched tree."""


class OneLineErrors(click.Command):
    """A command that turns the library's errors into one line and exit code 2: nothing was rendered yet."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TtsrError as error:
            raise click.UsageError(str(error), ctx) from error
        except OSError as error:
            if error.filename is None:  # not of a file that somebody named
                raise
            raise click.UsageError(of_a_file(error), ctx) from error
