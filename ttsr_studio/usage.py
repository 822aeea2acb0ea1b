"""Errors of the library as usage errors of a command."""

from typing import Any

import click

from ttsr_studio.errors import TtsrError


class Settings(click.Command):
    """A command that turns the library's errors into one line and exit code 2: nothing was rendered yet."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TtsrError as error:
            raise click.UsageError(str(error), ctx) from error
