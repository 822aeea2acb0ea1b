"""`ttsr render`: its options, and the loop over the files."""

import json
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from ttsr_studio import presets
from ttsr_studio.again import Earlier, read_report
from ttsr_studio.audio.files import probe
from ttsr_studio.diffusion.samplers import SAMPLERS
from ttsr_studio.diffusion.schedules import SCHEDULES
from ttsr_studio.diffusion.vp import SPACINGS
from ttsr_studio.engines import ENGINES
from ttsr_studio.errors import OptionError, TtsrError, shown
from ttsr_studio.jobs import Job, plan_jobs
from ttsr_studio.options import CHOICES, DEPTHS, RATES, RenderOptions, parse_pairs, parse_targets, parse_weights
from ttsr_studio.progress import Watch, show_progress
from ttsr_studio.render import beside, render
from ttsr_studio.search import SEARCHES, search_settings
from ttsr_studio.session import Session, Sessions
from ttsr_studio.sidecars import KEYS as BRIEF_KEYS
from ttsr_studio.sidecars import read_sidecar, sidecar
from ttsr_studio.stopping import INTERRUPTED, stop_on_interrupt
from ttsr_studio.usage import Settings
from ttsr_studio.verifiers import VERIFIERS
from ttsr_studio.verifiers.ensemble import RULES

NOT_IN_PRESETS = {
    "again",
    "inputs",
    "preset",
    "output",
    "dry_run",
    "as_json",
    "overwrite",
    "skip_existing",
    "report",
    "reference",
    "transcript",
    "speakers",
    "device",
    "keep_rewards",
    "take",
    "job",
    "help",
}


def option_names() -> dict[str, str]:
    """Option name as in a preset -> parameter name, for every render option that a preset may set."""
    return {
        p.opts[0].removeprefix("--"): p.name for p in render_command.params if p.name and p.name not in NOT_IN_PRESETS
    }


def apply_preset(ctx: click.Context, _parameter: click.Parameter, name: str) -> str:
    """Enter a preset through click's default_map, so that explicit flags win."""
    names = option_names()
    try:
        values = presets.load(name, names)
    except OptionError as error:
        raise click.UsageError(str(error), ctx) from error
    ctx.default_map = {names[key]: value for key, value in values.items()} | dict(ctx.default_map or {})
    return Path(name).stem


def apply_report(ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> Earlier | None:
    """Enter the options of a report as a preset's, before those of the preset itself."""
    if path is None:
        return None
    try:
        earlier = read_report(path)
    except TtsrError as error:
        raise click.UsageError(str(error), ctx) from error
    ctx.default_map = dict(ctx.default_map or {}) | earlier.options()
    return earlier


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


def follow_job(_ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    """Do what a job file says, and end."""
    if path is not None:
        from ttsr_studio.job_command import run_job  # which uses what is in here

        run_job(path)


@click.command("render", cls=Settings)
@click.option(
    "--job",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=follow_job,
    metavar="JOB.json",
    help="Do what a job file says, and nothing else: the door for other programs (docs/jobs.md).",
)
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    help="File, folder, or template of {dir} {stem} {ext} {preset} {engine} {seed} {rate}.  "
    "[default: {dir}/{stem}_ttsr{ext}]",
)
@click.option(
    "--preset",
    default="general",
    show_default=True,
    is_eager=True,
    callback=apply_preset,
    help="Name, or a TOML file; see `ttsr presets list`.",
)
@click.option(
    "--again",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    callback=apply_report,
    metavar="REPORT",
    help="Take all options from a report (.ttsr.json) and say whether the render came out the same.",
)
@click.option("--engine", type=click.Choice(list(ENGINES)), default="builtin", show_default=True)
@click.option("--search", type=click.Choice(list(SEARCHES)), default="random", show_default=True)
@click.option(
    "--candidates",
    type=int,
    default=8,
    show_default="the preset's",
    help="N: a window may take as many evaluations as N whole renders, however the search spends them.",
)
@click.option(
    "--budget",
    help="The most a search may spend, in place of the preset's --candidates: 64nfe (evaluations of a window and "
    "channel) or 30s (a file). With --candidates beside it the smaller holds.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    callback=pair_values,
    metavar="NAME=SCORE",
    help="Search a window no further once its best candidate has this score, may be repeated.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=pair_values,
    metavar="NAME=VALUE",
    help="Setting of the search, may be repeated: "
    + "; ".join(f"{name}: {', '.join(search_settings(name))}" for name in SEARCHES if search_settings(name))
    + ".",
)
@click.option(
    "--choice",
    type=click.Choice(CHOICES),
    default="window",
    show_default="the preset's",
    help="What one choice holds for: a window, a segment of one, or the whole clip.",
)
@click.option("--segment", type=float, default=0.64, show_default=True, help="Seconds of a segment.")
@click.option(
    "--seam",
    type=float,
    default=0.5,
    show_default=True,
    help="Price of changing candidates between segments: standard deviations of the score for 10 dB between them.",
)
@click.option("--control", is_flag=True, help="Also write NAME_control: a random pick through the same assembly.")
@click.option(
    "--uncertain-above",
    type=float,
    default=6.0,
    show_default=True,
    help="dB; where candidates differ by more, the report lists the stretch.",
)
@click.option(
    "--keep-rewards",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append every score of every candidate to a file, for `ttsr replay`; --search census keeps looks, too.",
)
@click.option(
    "--verifier",
    "verifiers",
    multiple=True,
    default=["critic"],
    show_default="the preset's",
    help=f"Judge, may be repeated: {', '.join(VERIFIERS)}. NAME? is left out where it is not "
    "installed; auto: critic, consensus and whichever other is installed and suits.",
)
@click.option(
    "--ensemble",
    type=click.Choice(RULES),
    default="rank",
    show_default=True,
    help="How several verifiers are combined.",
)
@click.option(
    "--weight",
    "weights",
    multiple=True,
    callback=weight_values,
    metavar="NAME=W",
    help="Weight of a verifier in the ensemble, 0 or more, may be repeated.  [default: 1 each]",
)
@click.option(
    "--hold-out",
    multiple=True,
    metavar="NAME",
    help="Verifier that scores everything and chooses nothing, may be repeated: shows whether judges are being gamed.",
)
@click.option(
    "--scope",
    type=click.Choice(["auto", "window", "clip"]),
    default="auto",
    show_default=True,
    help="Judge windows or assembled clips; auto leaves it to every verifier.",
)
@click.option(
    "--finalists",
    type=int,
    help="Assembled renders that verifiers of clips judge.  [default: 4; all candidates where nothing judges windows]",
)
@click.option("--transcript", help="The words that are spoken, for wer; or the name of a .txt file.  [default: heard]")
@click.option("--caption", help="What is to be heard, in a sentence, for clap.")
@click.option("--captions", multiple=True, help="What it may be, when there is no --caption; may be repeated.")
@click.option(
    "--speaker",
    "speakers",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Another recording of the same speaker, for speaker; may be repeated.",
)
@click.option("--neighbours", type=int, help="Zero-order search: renders a round, K, 1 or more.  [default: 2]")
@click.option(
    "--cosine", type=float, help="Zero-order search: cosine to the pivot, -1 to 1; larger is nearer.  [default: 0.99]"
)
@click.option("--stride", type=float, help="The same as a chord, 0 to 2 times the norm, instead of --cosine.")
@click.option(
    "--pivot",
    type=click.Choice(["elitist", "paper"]),
    help="Zero-order search: keep the best ever, or the paper's literal rule.  [default: elitist]",
)
@click.option("--steps", type=int, help="Solver steps, 1 or more.  [default: the engine's]")
@click.option("--solver", type=click.Choice(list(SAMPLERS)), help="[default: the engine's]")
@click.option("--schedule", type=click.Choice([*SCHEDULES, *SPACINGS]), help="Noise levels.  [default: the engine's]")
@click.option(
    "--temperature",
    type=float,
    help="Scale of the starting noise, above 0 to 1.5; lower is nearer to the engine's mean.  [default: the engine's]",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--rate",
    type=click.Choice(["source", *map(str, RATES)]),
    default="48000",
    show_default=True,
    callback=rate_value,
    help="Of the output, Hz.",
)
@click.option("--depth", type=click.Choice(DEPTHS), default="source", show_default=True, help="Of the output.")
@click.option("--loudness", default="match", show_default=True, help="match (the input), off, or LUFS.")
@click.option(
    "--ceiling",
    type=float,
    default=0.0,
    show_default=True,
    help="True peak, dBTP; the input's own where that is higher.",
)
@click.option("--cutoff", type=float, help="Where the input's band ends, Hz.  [default: detected]")
@click.option(
    "--reference",
    type=click.Path(exists=True, path_type=Path),
    help="Ground truth (a file, or a folder with the inputs' names), for the oracle verifier lsd.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps.")
@click.option(
    "--batch",
    type=int,
    default=32,
    show_default=True,
    help="Rows of a device batch; halved when memory runs out.",
)
@click.option(
    "--guidance", type=float, help="Scale of classifier-free guidance, 0 to 20; 1 is none.  [default: the engine's]"
)
@click.option(
    "--guidance-interval",
    type=(float, float),
    metavar="LOW HIGH",
    help="Guide only between these noise levels.  [default: everywhere]",
)
@click.option(
    "--guidance-rescale", type=float, default=0.0, show_default=True, help="0 to 1; tames guidance, 0.7 is usual."
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Of the engine's networks; auto is the fastest that the device is good at.",
)
@click.option(
    "--window", type=float, help="Seconds that the engine draws at once (audiosr: 5.12, 10.24).  [default: its own]"
)
@click.option("--compile", is_flag=True, help="Compile the network first: slow to start, faster after.")
@click.option("--low-vram", is_flag=True, help="Keep only the network that runs on the device; decode in tiles.")
@click.option(
    "--posterior",
    type=click.Choice(["mean", "sample"]),
    default="mean",
    show_default=True,
    help="What of the encoder's posterior to condition on.",
)
@click.option(
    "--decode-top",
    type=int,
    metavar="K",
    help="Decode and judge in full only the K best at a cheaper look, 1 or more.  [default: all]",
)
@click.option("--look", help="The cheaper look: latent, mel (audiosr).  [default: the engine's cheapest]")
@click.option(
    "--keep-top",
    type=int,
    default=1,
    show_default=True,
    metavar="K",
    help="Write the best K renders: NAME, and NAME_top2 to NAME_topK beside it.",
)
@click.option(
    "--take", type=int, default=1, show_default=True, metavar="N", help="Choose the render that is N-th best instead."
)
@click.option(
    "--page/--no-page",
    default=False,
    help="Write NAME.ttsr.html: listen to input and best renders side by side, blind, and see why.",
)
@click.option("--salvage", is_flag=True, help="Render what is there of a truncated file.")
@click.option(
    "--report/--no-report",
    default=True,
    show_default=True,
    help="Write NAME.ttsr.json and NAME.ttsr.png beside the output.",
)
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--skip-existing", is_flag=True, help="Leave outputs that exist, and go on.")
@click.option("--dry-run", is_flag=True, help="Say what would be rendered, and where to, and stop.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file on standard output.")
def render_command(
    inputs: tuple[Path, ...],
    output: str | None,
    reference: Path | None,
    report: bool,
    overwrite: bool,
    skip_existing: bool,
    dry_run: bool,
    as_json: bool,
    again: Earlier | None,
    keep_rewards: Path | None,
    **values: Any,
) -> None:
    """Render files, or all audio files of folders. Sources are never touched.

    Exit code 0 when all rendered, 1 when some failed (each is named with its reason) or --again came out different,
    2 for usage, 130 when interrupted: the first Ctrl-C finishes the file at hand with the best so far, the second one
    leaves it; what is finished stays, and --skip-existing goes on from there.
    """
    refuse_without_effect(values["choice"])
    if keep_rewards:
        refuse_unwritable(keep_rewards)
    values |= {"transcript": read_transcript(values["transcript"]), "witness": keep_rewards is not None}
    given = set(filter(typed, values))
    options = RenderOptions(reference=reference, **values | limits(values, given))
    if overwrite and skip_existing:
        raise OptionError("--overwrite and --skip-existing exclude each other; pass one of them")
    if options.page and not report:
        raise OptionError("--page shows the report; leave --no-report out")
    jobs = plan_jobs(inputs, output, options)
    if options.transcript and len(jobs) > 1:
        raise OptionError("--transcript is of one file; for several, put it into sidecars: NAME.ttsr.toml")
    if not overwrite and not skip_existing:
        refuse_existing(jobs, options)
    if again:
        if len(jobs) > 1:
            raise OptionError(f"--again {again.path}: a report is of one file, not of {len(jobs)}")
        again.refuse_other_input(jobs[0].source)
    session = Session(options)
    if dry_run:
        failed = [job for job in jobs if not announce(job, options, given, as_json)]
    else:
        waiting = [job for job in jobs if not (skip_existing and job.target.exists())]
        skipped = [job for job in jobs if job not in waiting]
        for job in skipped:
            tell(
                as_json,
                {"input": str(job.source), "output": str(job.target), "status": "skipped"},
                f"skipped {job.target} (exists)",
            )
        failed = []
        sessions = Sessions(session)
        with show_progress(quiet=as_json) as watch, stop_on_interrupt(say_stopping) as stop:
            for number, job in enumerate(waiting):
                extra = {"report": report, "stop": stop, "rewards": keep_rewards}
                try:
                    own = partial(with_sidecar, job, options, given) if not again else lambda: options
                    progress = watch(job.source.name, number, len(waiting))
                    done = render_one(sessions, own, job, extra, as_json, progress, again)
                except KeyboardInterrupt:
                    click.echo(f"interrupted in {job.source}; {number} of {len(waiting)} files done", err=True)
                    sys.exit(INTERRUPTED)
                if not done:
                    failed.append(job)
                if stop.asked:
                    click.echo(f"interrupted; {number + 1 - len(failed)} of {len(waiting)} files done", err=True)
                    sys.exit(INTERRUPTED)
    if failed:
        if len(jobs) > 1:
            click.echo(f"{len(failed)} of {len(jobs)} files failed", err=True)
        sys.exit(1)


def say_stopping() -> None:
    click.echo("stopping: this file is finished with the best so far; Ctrl-C again leaves it", err=True)


def typed(name: str) -> bool:
    """Whether an option stands on the command line itself."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def refuse_without_effect(choice: str) -> None:
    """Raise OptionError for settings of segments where nothing is chosen by segment."""
    for name in ("segment", "seam"):
        if choice != "segment" and typed(name):
            raise OptionError(f"--{name} is of --choice segment, not of --choice {choice}; leave it out")


def refuse_unwritable(path: Path) -> None:
    """Raise OptionError when a file cannot be appended to, before hours are spent on what goes into it."""
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise OptionError(f"--keep-rewards {path}: {error.strerror or error}") from error


def resolve(preset: str, values: Mapping[str, Any]) -> RenderOptions:
    """Options as `ttsr render --preset PRESET` has them with these values, by option name, for flags.

    Raises OptionError for what the command would refuse.
    """
    names = option_names()
    given = {names[key]: value for key, value in values.items()}
    try:
        with render_command.make_context("render", ["INPUT", "--preset", preset], default_map=given) as ctx:
            params = {name: value for name, value in ctx.params.items() if name in RenderOptions.__dataclass_fields__}
    except click.UsageError as error:
        raise OptionError(error.format_message()) from error
    options = RenderOptions(**params | limits(params, set(given)))
    Session.check_names(options)
    return options


def with_sidecar(job: Job, options: RenderOptions, given: Collection[str]) -> RenderOptions:
    """Options of one file: those of its sidecar, then flags (`given`, parameter names), then presets.

    A preset in the sidecar takes the place of the command's. Raises OptionError or InputError for what cannot be.
    """
    file = sidecar(job.source)
    values = read_sidecar(file) if file.is_file() else {}
    own = {key: value for key, value in values.items() if key not in BRIEF_KEYS}
    if not own:
        return options
    preset, reference = own.pop("preset", None), own.pop("reference", None)
    names = option_names()
    own = {key: presets.checked(file, key, value) for key, value in own.items()}
    resolved = resolve(preset or "general", own)
    fields = {names[key] for key in own}
    if preset:
        kept = {name: getattr(options, name) for name in given if name not in fields and hasattr(options, name)}
        merged = replace(resolved, **kept)
    else:
        taken = {name: getattr(resolved, name) for name in fields}
        taken |= {one: None for one, other in LIMITS.items() if other in fields and one not in fields}
        merged = replace(options, **taken)
    return replace(merged, reference=file.parent / reference) if reference else merged


LIMITS = {"candidates": "budget", "budget": "candidates"}
"""A limit of a search, and the one that takes its place."""


def limits(values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """What gives way to what was given: a limit of one kind to another, settings to a search without them."""
    changed: dict[str, Any] = {one: None for one, other in LIMITS.items() if other in given and one not in given}
    known = search_settings(values["search"])
    changed |= {
        name: None for name in ("neighbours", "cosine", "stride", "pivot") if name not in known and name not in given
    }
    if "settings" not in given:
        changed["settings"] = tuple(pair for pair in values["settings"] if pair[0] in known)
    return changed


def read_transcript(value: str | None) -> str | None:
    """A text, or what the .txt file of that name holds. Raises OptionError when that cannot be read."""
    if value is None or not value.endswith(".txt"):
        return value
    try:
        return Path(value).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--transcript {value}: {error}") from error


def refuse_existing(jobs: list[Job], options: RenderOptions) -> None:
    """Raise OptionError when a render, or one that is written beside it, exists already."""
    extra = ["control"] * options.control + [f"top{rank}" for rank in range(1, options.keep_top + 1)]
    wanted = [path for job in jobs for path in (job.target, *(beside(job.target, what) for what in extra))]
    there = [path for path in wanted if path.exists()]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise OptionError(f"{there[0]}{more}: exists already; pass --overwrite or --skip-existing, or another -o")


def tell(as_json: bool, data: dict[str, Any], line: str, error: bool = False) -> None:
    if as_json:
        click.echo(json.dumps(data))
    else:
        click.echo(line, err=error)


def announce(job: Job, options: RenderOptions, given: Collection[str], as_json: bool) -> bool:
    """Dry run of one job; False when it cannot be rendered."""
    try:
        info = probe(job.source, with_sidecar(job, options, given).salvage)
    except TtsrError as error:
        tell(
            as_json,
            {"input": str(job.source), "status": "failed", "reason": str(error)},
            f"failed: {error}",
            error=True,
        )
        return False
    seconds = info.frames / info.rate
    kind = f"{info.container} {info.subtype}, {info.rate} Hz, {info.channels} ch, {seconds:.2f} s"
    line = f"{job.source} ({kind}) -> {job.target}"
    tell(
        as_json,
        {"input": str(job.source), "output": str(job.target), "seconds": seconds, "status": "planned"},
        line,
    )
    return True


def render_one(
    sessions: Sessions,
    options: Callable[[], RenderOptions],
    job: Job,
    extra: dict[str, Any],
    as_json: bool,
    progress: Watch,
    again: Earlier | None,
) -> bool:
    """Render one job and say how it went; False when it failed."""
    try:
        chosen = options()
        truth = chosen.reference if chosen.reference and chosen.reference.is_file() else job.reference
        session = sessions.of(chosen)
        result = render(session, job.source, job.target, reference=truth, progress=progress, **extra)
    except Exception as error:  # one file's trouble, foreseen or not, must not stop a folder
        reason = in_one_line(job.source, error)
        tell(
            as_json,
            {"input": str(job.source), "status": "failed", "reason": reason},
            f"failed: {reason}",
            error=True,
        )
        return False
    good = True
    line, data = (
        result.line,
        {"input": str(job.source), "output": str(job.target), "status": "rendered", **result.summary},
    )
    if again:
        data["verdict"] = again.verdict(session, result)
        line = f"{line}\n{data['verdict']}"
        good = again.expected(session.options.take) is None or again.same(result, session.options.take)
    tell(as_json, data, line)
    return good


def in_one_line(source: Path, error: Exception) -> str:
    """What went wrong with a file; what nobody foresaw says where it happened, so that it can be reported."""
    if isinstance(error, TtsrError):
        return str(error)
    if isinstance(error, OSError):
        return f"{shown(source)}: {error.strerror or error}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = " ".join(str(error).split())
    return (
        f"{shown(source)}: unexpected {type(error).__name__}: {what} "
        f"(at {Path(place.filename).name}:{place.lineno}); please report this"
    )
