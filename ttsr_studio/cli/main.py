"""The command line: `ttsr` and its commands, each in a file of its own that is loaded when it is asked for."""

from importlib import import_module

import click

from ttsr_studio import __version__
from ttsr_studio.cli.interrupt import left_at_once

COMMANDS = {
    "render": "render:render_command",
    "inspect": "inspect:inspect_command",
    "score": "score:score_command",
    "watch": "watch:watch_command",
    "queue": "queue:queue_group",
    "evaluate": "evaluate:evaluate_command",
    "replay": "replay:replay_command",
    "tune": "tune:tune_command",
    "presets": "presets:presets_group",
    "models": "models:models_group",
    "doctor": "doctor:doctor_command",
    "schema": "schema:schema_command",
}
"""Name -> where it is; `ttsr --version` and `ttsr queue` must not wait for torch."""


class Commands(click.Group):
    """A group that loads a command when it is asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name].split(":")
        with left_at_once():
            command: click.Command = getattr(import_module(f"ttsr_studio.cli.commands.{module}"), attribute)
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ttsr")
def main() -> None:
    """Give band-limited audio its top octaves back: many renders are made, judged, and the best is kept."""
