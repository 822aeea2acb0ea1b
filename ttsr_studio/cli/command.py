"""What commands share: the library's errors as usage errors, and types of arguments."""

from pathlib import Path
from typing import Any

import click

from ttsr_studio.errors import TtsrError, of_a_file, on_one_line
from ttsr_studio.storage.home import from_home


class UserPath(click.Path):
    """A path whose "~/" is the user's folder, in quotes too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(from_home(value) if isinstance(value, str) else value, param, ctx)


ROOT = UserPath(file_okay=False, path_type=Path)
"""The root of a watched tree."""


class OneLineErrors(click.Command):
    """A command that turns the library's errors into one line and exit code 2: nothing was rendered yet."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Name the way out where a file's name begins as an option does."""
        words = list(args)  # click empties its own
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            file = next((word for word in words if word.startswith("-") and Path(word).is_file()), None)
            if file is None:
                raise
            way_out = f"Write {on_one_line(f'./{file}')} for the file of that name."
            raise click.UsageError(f"{error.format_message()} {way_out}", ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TtsrError as error:
            raise click.UsageError(on_one_line(str(error)), ctx) from error
        except OSError as error:
            if error.filename is None:  # not of a file that somebody named
                raise
            raise click.UsageError(of_a_file(error), ctx) from error
