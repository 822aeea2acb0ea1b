"""The command line: `ttsr` and its commands, each in a file of its own that is loaded when it is asked for."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import click
from click.shell_completion import CompletionItem

from ttsr_studio import __version__
from ttsr_studio.cli.interrupt import left_at_once
from ttsr_studio.errors import on_one_line, shown, unknown

COMMANDS = {
    "render": ("render:render_command", "Render files, or all audio files of folders."),
    "session": ("session:session_command", "Render what a session of a DAW or an editor plays."),
    "inspect": ("inspect:inspect_command", "Say where the band of files ends, and what a render would do."),
    "score": ("score:score_command", "Score finished files, of this tool or another."),
    "watch": ("watch:watch_command", "Render what is dropped into a folder, for as long as it runs."),
    "jobs": ("jobs:jobs_group", "Jobs for render managers of studio farms, and what became of them."),
    "app": ("app:app_command", "Serve a page to drop files on, hear what came out, and choose."),
    "farm": ("farm:farm_group", "What the machines of a Ray cluster do."),
    "queue": ("queue:queue_group", "What a watched folder has seen, is doing, and did."),
    "evaluate": ("evaluate:evaluate_command", "Measure systems on full-band clips."),
    "replay": ("replay:replay_command", "Replay policies of a search on kept scores alone."),
    "tune": ("tune:tune_command", "Find sampler settings for an engine on full-band clips."),
    "presets": ("presets:presets_group", "Verifiers, search and budget by content type."),
    "models": ("models:models_group", "Weights that are not shipped: fetch, import and check them."),
    "integrations": ("integrations:integrations_group", "Install scripts for DAWs, and units for services."),
    "completion": ("completion:completion_group", "Complete commands and names by the Tab key."),
    "bench": ("bench:bench_command", "Say how fast this machine renders, and where time goes."),
    "doctor": ("doctor:doctor_command", "What is here: devices, engines, verifiers, weights."),
    "schema": ("schema:schema_command", "Print the JSON schema of reports, or of job files."),
}
"""Name -> where it is, and what the overview says of it; `ttsr --help` and `ttsr queue` must not wait for torch."""


LEAST_ALIKE = 0.85
"""Of the likest option: what is less alike is not proposed beside it."""


class BriefError(click.UsageError):
    """A wrong command line, told without how the command is used."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it, to standard error by default."""
        click.echo(f"Error: {self.format_message()}", file=file, err=file is None)


def likest(written: str, options: Sequence[str]) -> list[str]:
    """Of options that look like what was written those that do so most."""
    from difflib import SequenceMatcher

    alike = {option: SequenceMatcher(None, written, option).ratio() for option in options}
    return [option for option, ratio in alike.items() if ratio > LEAST_ALIKE * max(alike.values())]


@contextmanager
def in_brief() -> Iterator[None]:
    """Say of a wrong command line what is wrong, and where to look what would be right if the line does not say it."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        if isinstance(error, click.NoSuchOption) and error.possibilities:
            near = likest(error.option_name, error.possibilities)
            error = click.NoSuchOption(error.option_name, error.message, near, error.ctx)
        told = error.format_message()
        if error.ctx and isinstance(error, click.NoSuchOption | click.MissingParameter):
            told += f" See: {error.ctx.command_path} --help"
        raise BriefError(told, error.ctx) from error


class Commands(click.Group):
    """A group that loads a command when it is asked for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        with in_brief():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with in_brief():
            return super().invoke(ctx)

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands that begin so, and what click knows of options; none is loaded for it."""
        named = [CompletionItem(name, help=told) for name, (_, told) in COMMANDS.items() if name.startswith(incomplete)]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name][0].split(":")
        with left_at_once():
            command: click.Command = getattr(import_module(f"ttsr_studio.cli.commands.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            if Path(args[0]).exists():
                words = on_one_line(shlex.join(["ttsr", "render", *args]))
                raise click.UsageError(f"{shown(Path(args[0]))} is no command; to render it: {words}", ctx)
            raise click.UsageError(str(unknown("command", args[0], COMMANDS)), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ttsr")
def main() -> None:
    """Give band-limited audio its top octaves back: many renders are made and scored, and the best is kept."""
