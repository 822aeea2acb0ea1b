"""The options of a render, as flags of a command and keys of a preset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ttsr_studio.config import presets
from ttsr_studio.diffusion.samplers.registry import SAMPLERS
from ttsr_studio.diffusion.schedules import SCHEDULES
from ttsr_studio.diffusion.timesteps import SPACINGS
from ttsr_studio.engines.registry import ENGINES
from ttsr_studio.errors import OptionError
from ttsr_studio.options import CHOICES, DEPTHS, RATES, parse_pairs, parse_targets, parse_weights
from ttsr_studio.search.registry import SEARCHES, search_settings
from ttsr_studio.verifiers.ensemble import RULES
from ttsr_studio.verifiers.registry import VERIFIERS

Command = TypeVar("Command", bound=Callable[..., Any])

NOT_IN_PRESETS = {"preset", "reference", "transcript", "speakers", "device", "take"}
"""Parameters that are of one file, or of the machine."""


def apply_preset(ctx: click.Context, _parameter: click.Parameter, name: str) -> str:
    """Enter a preset through click's default_map, so that explicit flags win."""
    names = option_names()
    try:
        values = presets.load(name, names)
    except OptionError as error:
        raise click.UsageError(str(error), ctx) from error
    ctx.default_map = {names[key]: value for key, value in values.items()} | dict(ctx.default_map or {})
    return Path(name).stem


def weight_values(
    _ctx: click.Context, _parameter: click.Parameter, values: tuple[Any, ...]
) -> tuple[tuple[str, float], ...]:
    """NAME=W texts -> (name, weight) pairs."""
    try:
        return parse_weights(values)
    except OptionError as error:
        raise click.BadParameter(str(error)) from error


def pair_values(
    _ctx: click.Context, parameter: click.Parameter, values: tuple[Any, ...]
) -> tuple[tuple[str, Any], ...]:
    """NAME=VALUE texts -> pairs."""
    try:
        return parse_targets(values) if parameter.name == "targets" else parse_pairs("--set", values, "keep=0.5")
    except OptionError as error:
        raise click.BadParameter(str(error)) from error


def rate_value(_ctx: click.Context, _parameter: click.Parameter, value: str) -> int | str:
    return value if value == "source" else int(value)


FLAGS = (
    click.option(
        "--preset",
        default="general",
        show_default=True,
        is_eager=True,
        callback=apply_preset,
        help="Name, or a TOML file; see `ttsr presets list`.",
    ),
    click.option("--engine", type=click.Choice(list(ENGINES)), default="builtin", show_default=True),
    click.option("--search", type=click.Choice(list(SEARCHES)), default="random", show_default=True),
    click.option(
        "--candidates",
        type=int,
        default=8,
        show_default="the preset's",
        help="N: a window may take as many evaluations as N whole renders, however the search spends them.",
    ),
    click.option(
        "--budget",
        help="The most a search may spend, in place of the preset's --candidates: 64nfe (evaluations of a window and "
        "channel) or 30s (a file). With --candidates beside it the smaller holds.",
    ),
    click.option(
        "--target",
        "targets",
        multiple=True,
        callback=pair_values,
        metavar="NAME=SCORE",
        help="Search a window no further once its best candidate has this score, may be repeated.",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        callback=pair_values,
        metavar="NAME=VALUE",
        help="Setting of the search, may be repeated: "
        + "; ".join(f"{name}: {', '.join(search_settings(name))}" for name in SEARCHES if search_settings(name))
        + ".",
    ),
    click.option(
        "--choice",
        type=click.Choice(CHOICES),
        default="window",
        show_default="the preset's",
        help="What one choice holds for: a window, a segment of one, or the whole clip.",
    ),
    click.option("--segment", type=float, default=0.64, show_default=True, help="Seconds of a segment."),
    click.option(
        "--seam",
        type=float,
        default=0.5,
        show_default=True,
        help="Price of changing candidates between segments: standard deviations of the score for 10 dB between them.",
    ),
    click.option("--control", is_flag=True, help="Also write NAME_control: a random pick through the same assembly."),
    click.option(
        "--uncertain-above",
        type=float,
        default=6.0,
        show_default=True,
        help="dB; where candidates differ by more, the report lists the stretch.",
    ),
    click.option(
        "--verifier",
        "verifiers",
        multiple=True,
        default=["critic"],
        show_default="the preset's",
        help=f"Judge, may be repeated: {', '.join(VERIFIERS)}. NAME? is left out where it is not "
        "installed; auto: critic, consensus and whichever other is installed and suits.",
    ),
    click.option(
        "--ensemble",
        type=click.Choice(RULES),
        default="rank",
        show_default=True,
        help="How several verifiers are combined.",
    ),
    click.option(
        "--weight",
        "weights",
        multiple=True,
        callback=weight_values,
        metavar="NAME=W",
        help="Weight of a verifier in the ensemble, 0 or more, may be repeated.  [default: 1 each]",
    ),
    click.option(
        "--hold-out",
        multiple=True,
        metavar="NAME",
        help="Verifier that scores everything and chooses nothing, may be repeated: shows whether judges are "
        "being gamed.",
    ),
    click.option(
        "--scope",
        type=click.Choice(["auto", "window", "clip"]),
        default="auto",
        show_default=True,
        help="Judge windows or assembled clips; auto leaves it to every verifier.",
    ),
    click.option(
        "--finalists",
        type=int,
        help="Assembled renders that verifiers of clips judge.  "
        "[default: 4; all candidates where nothing judges windows]",
    ),
    click.option(
        "--transcript", help="The words that are spoken, for wer; or the name of a .txt file.  [default: heard]"
    ),
    click.option("--caption", help="What is to be heard, in a sentence, for clap."),
    click.option("--captions", multiple=True, help="What it may be, when there is no --caption; may be repeated."),
    click.option(
        "--speaker",
        "speakers",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Another recording of the same speaker, for speaker; may be repeated.",
    ),
    click.option("--neighbours", type=int, help="Zero-order search: renders a round, K, 1 or more.  [default: 2]"),
    click.option(
        "--cosine",
        type=float,
        help="Zero-order search: cosine to the pivot, -1 to 1; larger is nearer.  [default: 0.99]",
    ),
    click.option("--stride", type=float, help="The same as a chord, 0 to 2 times the norm, instead of --cosine."),
    click.option(
        "--pivot",
        type=click.Choice(["elitist", "paper"]),
        help="Zero-order search: keep the best ever, or the paper's literal rule.  [default: elitist]",
    ),
    click.option("--steps", type=int, help="Solver steps, 1 or more.  [default: the engine's]"),
    click.option("--solver", type=click.Choice(list(SAMPLERS)), help="[default: the engine's]"),
    click.option(
        "--schedule", type=click.Choice([*SCHEDULES, *SPACINGS]), help="Noise levels.  [default: the engine's]"
    ),
    click.option(
        "--temperature",
        type=float,
        help="Scale of the starting noise, above 0 to 1.5; lower is nearer to the engine's mean.  "
        "[default: the engine's]",
    ),
    click.option("--seed", type=int, default=0, show_default=True),
    click.option(
        "--rate",
        type=click.Choice(["source", *map(str, RATES)]),
        default="48000",
        show_default=True,
        callback=rate_value,
        help="Of the output, Hz.",
    ),
    click.option("--depth", type=click.Choice(DEPTHS), default="source", show_default=True, help="Of the output."),
    click.option("--loudness", default="match", show_default=True, help="match (the input), off, or LUFS."),
    click.option(
        "--ceiling",
        type=float,
        default=0.0,
        show_default=True,
        help="True peak, dBTP; the input's own where that is higher.",
    ),
    click.option("--cutoff", type=float, help="Where the input's band ends, Hz.  [default: detected]"),
    click.option(
        "--reference",
        type=click.Path(exists=True, path_type=Path),
        help="Ground truth (a file, or a folder with the inputs' names), for the oracle verifier lsd.",
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps."),
    click.option(
        "--batch",
        type=int,
        default=32,
        show_default=True,
        help="Rows of a device batch; halved when memory runs out.",
    ),
    click.option(
        "--guidance", type=float, help="Scale of classifier-free guidance, 0 to 20; 1 is none.  [default: the engine's]"
    ),
    click.option(
        "--guidance-interval",
        type=(float, float),
        metavar="LOW HIGH",
        help="Guide only between these noise levels.  [default: everywhere]",
    ),
    click.option(
        "--guidance-rescale", type=float, default=0.0, show_default=True, help="0 to 1; tames guidance, 0.7 is usual."
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        default="auto",
        show_default=True,
        help="Of the engine's networks; auto is the fastest that the device is good at.",
    ),
    click.option(
        "--window", type=float, help="Seconds that the engine draws at once (audiosr: 5.12, 10.24).  [default: its own]"
    ),
    click.option("--compile", is_flag=True, help="Compile the network first: slow to start, faster after."),
    click.option("--low-vram", is_flag=True, help="Keep only the network that runs on the device; decode in tiles."),
    click.option(
        "--posterior",
        type=click.Choice(["mean", "sample"]),
        default="mean",
        show_default=True,
        help="What of the encoder's posterior to condition on.",
    ),
    click.option(
        "--decode-top",
        type=int,
        metavar="K",
        help="Decode and judge in full only the K best at a cheaper look, 1 or more.  [default: all]",
    ),
    click.option("--look", help="The cheaper look: latent, mel (audiosr).  [default: the engine's cheapest]"),
    click.option(
        "--keep-top",
        type=int,
        default=1,
        show_default=True,
        metavar="K",
        help="Write the best K renders: NAME, and NAME_top2 to NAME_topK beside it.",
    ),
    click.option(
        "--take",
        type=int,
        default=1,
        show_default=True,
        metavar="N",
        help="Choose the render that is N-th best instead.",
    ),
    click.option(
        "--page/--no-page",
        default=False,
        help="Write NAME.ttsr.html: listen to input and best renders side by side, blind, and see why.",
    ),
    click.option("--salvage", is_flag=True, help="Render what is there of a truncated file."),
)


def render_flags(command: Command) -> Command:
    """Give a command every option of a render."""
    for add in reversed(FLAGS):
        command = add(command)
    return command


@click.command("render")
@render_flags
def bare_command(**_values: Any) -> None:
    """Nothing but the options: what turns values into those of a render, and knows their names."""


def option_names() -> dict[str, str]:
    """Option name as in a preset -> parameter name, for every render option that a preset may set."""
    return {
        p.opts[0].removeprefix("--"): p.name for p in bare_command.params if p.name and p.name not in NOT_IN_PRESETS
    }
