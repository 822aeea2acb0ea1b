"""The command line: `ttsr` and its commands, each in a file of its own."""

import click

from ttsr_studio import __version__
from ttsr_studio.doctor_command import doctor_command
from ttsr_studio.evaluate.command import evaluate_command
from ttsr_studio.models.command import models_group
from ttsr_studio.presets_command import presets_group
from ttsr_studio.render_command import render_command
from ttsr_studio.replay_command import replay_command
from ttsr_studio.score_command import score_command
from ttsr_studio.tune_command import tune_command
from ttsr_studio.watch.command import queue_group, watch_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ttsr")
def main() -> None:
    """Give band-limited audio its top octaves back: many renders are made, judged, and the best is kept."""


for command in (
    render_command,
    score_command,
    evaluate_command,
    replay_command,
    tune_command,
    watch_command,
    queue_group,
    presets_group,
    models_group,
    doctor_command,
):
    main.add_command(command)
