"""`ttsr jobs`: renders as bundles of jobs for render managers, and what became of them."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ttsr_studio.batch.path_map import PathMap, parse_map
from ttsr_studio.batch.plan import passed_over
from ttsr_studio.cli import completing
from ttsr_studio.cli.command import OneLineErrors, UserPath
from ttsr_studio.cli.help import GroupedCommand, grouped
from ttsr_studio.cli.json_output import echo_json
from ttsr_studio.cli.render_options import given_flags, render_flags
from ttsr_studio.config.option_fields import GROUPS
from ttsr_studio.errors import OptionError, shown
from ttsr_studio.farm.jobs_again import Again, write_again
from ttsr_studio.farm.jobs_bundle import read_bundle
from ttsr_studio.farm.jobs_collect import OVER, STATUSES, Collection, collect
from ttsr_studio.farm.jobs_commands import program_words, shell_word
from ttsr_studio.farm.jobs_split import Split, SplitRequest, split
from ttsr_studio.options import FIRST_GROUPS
from ttsr_studio.report.numbers import time_words
from ttsr_studio.storage.home import from_home

BUNDLE = "Bundle"
FOLDER = UserPath(file_okay=False, path_type=Path)
UNFINISHED = 3
"""Exit code where nothing failed, and not everything has run."""
SHOWN = 20
"""Lines on files of one status that are printed without --all."""

EXAMPLES = (
    ("ttsr jobs split stems/ -o /mnt/out/ --into /mnt/b1", "a job for each file"),
    ("ttsr jobs split reels/ --into b1 --per 10", "ten files a job, evenly"),
    ("ttsr jobs split a/ -o out/ --into b1 --map /mnt/a=/Volumes/a", "nodes mount it elsewhere"),
)


class SplitCommand(GroupedCommand, OneLineErrors):
    """A command with the options of a render."""


@click.group("jobs")
def jobs_group() -> None:
    """Renders as jobs for OpenCue, Deadline, Tractor, SLURM or Open Job Description: `split`, then `collect`."""


@jobs_group.command(
    "split",
    cls=SplitCommand,
    examples=EXAMPLES,
    first=(BUNDLE, *FIRST_GROUPS),
    more=[group for group in GROUPS if group not in FIRST_GROUPS],
)
@click.argument("inputs", nargs=-1, required=True, type=UserPath(path_type=Path, readable=False), metavar="INPUT...")
@grouped(BUNDLE, "--into", type=FOLDER, required=True, metavar="DIR", help="The folder for the bundle, a new one.")
@grouped(BUNDLE, "--per", type=click.IntRange(1), default=1, show_default=True, help="Files of a job, at most.")
@grouped(
    BUNDLE,
    "--map",
    "maps",
    multiple=True,
    metavar="HERE=THERE",
    help="A folder here, and what the nodes call it: /mnt/a=/Volumes/a, /mnt/a=Z:\\a. May be repeated.",
)
@grouped(
    BUNDLE, "--ttsr", "program", default="ttsr", show_default=True, metavar="PROGRAM",
    help="The program on the nodes, with arguments before its own where it needs some.",
)  # fmt: skip
@grouped(BUNDLE, "--replace", is_flag=True, help="Take the place of a bundle that lies there.")
@grouped(BUNDLE, "--json", "as_json", is_flag=True, help="Say as a JSON object what was written.")
@grouped(
    "Basics", "-o", "--output", shell_complete=completing.files,
    help="Where renders go, as for `ttsr render`.  [default: {dir}/{stem}_ttsr{ext}]",
)  # fmt: skip
@render_flags
@grouped("Basics", "--overwrite", is_flag=True, help="Let the jobs replace outputs that exist.")
@grouped("Basics", "--skip-existing", is_flag=True, help="Leave out files whose output exists.")
@grouped("Files", "--report/--no-report", default=True, show_default=True, help="Write reports beside the outputs.")
def jobs_split(**given: Any) -> None:
    """Write a bundle: numbered job files, a command list, a SLURM array and an Open Job Description template.

    Nothing is rendered, and no source is touched. Files are spread over the jobs evenly by length, the longest first.
    Names of outputs, and what is refused, are those of `ttsr render` with the same options. A file that cannot be read
    is named, and its job stays in the bundle: `collect` then says what became of every input.
    """
    if given["overwrite"] and given["skip_existing"]:
        raise OptionError("--overwrite and --skip-existing exclude each other; pass one of them")
    asked = SplitRequest(
        inputs=given["inputs"],
        output=given["output"],
        preset=given["preset"],
        given=given_flags(click.get_current_context()),
        into=given["into"],
        existing="overwrite" if given["overwrite"] else "skip" if given["skip_existing"] else "refuse",
        report=given["report"],
        per=given["per"],
        maps=PathMap(tuple(map(parse_map, given["maps"]))),
        program=tuple(program_words(given["program"])),
        replace=given["replace"],
    )
    made = split(asked)
    if given["as_json"]:
        told: dict[str, Any] = {"bundle": str(asked.into) if made.bundle else None}
        told |= {"jobs": made.jobs, "files": made.files}
        told |= {"audio_s": round(made.seconds, 3), "left_out": made.left_out, "unreadable": list(made.unreadable)}
        told |= {"strange_to_windows": list(made.strange)} if made.strange else {}
        echo_json(told)
    else:
        if others := passed_over(asked.inputs):
            click.echo(others, err=True)
        if inside := output_inside(asked):
            click.echo(inside, err=True)
        say_split(made, asked.into)


def output_inside(asked: SplitRequest) -> str | None:
    """A note where renders go into a folder that is split; None where they do not, or lie beside their sources."""
    if not asked.output or "{" in asked.output:
        return None
    out = Path(os.path.abspath(from_home(asked.output)))
    inside = next((each for each in asked.inputs if each.is_dir() and out.is_relative_to(os.path.abspath(each))), None)
    if inside is None:
        return None
    return (
        f"note: -o {shown(Path(asked.output))} lies inside {shown(inside)}, which is split: renders there are inputs "
        "the next time it is; choose a folder beside it"
    )


def say_split(made: Split, into: Path) -> None:
    """What was written, and what to do with it."""
    if made.left_out:
        click.echo(f"{made.left_out} left out, whose output exists", err=True)
    if not made.bundle:
        click.echo("nothing is left to render; no bundle was written")
        return
    if made.unmapped:
        lie = (
            f"{number_of(made.unmapped, 'input')} {'lies' if made.unmapped == 1 else 'lie'} outside of what --map names"
        )
        click.echo(f"note: {lie}; nodes must see {'it' if made.unmapped == 1 else 'them'} there", err=True)
    if made.strange:
        first, more = made.strange[0], len(made.strange) - 1
        others = f" and {number_of(more, 'other path')}" if more else ""
        is_not, how = ("are" if more else "is"), "name by --map HERE=THERE what nodes call the folder"
        click.echo(
            f"note: --ttsr is a program of Windows, and {shown(Path(first))}{others} {is_not} of this machine: they "
            f"will not be found there; {how}, as in --map {shown(Path(first).parent)}=Z:\\{Path(first).parent.name}",
            err=True,
        )
    if count := len(made.unreadable):
        they, job = ("it is", "its job is") if count == 1 else ("they are", "their jobs are")
        kept = f"{job} in the bundle, and will fail with these words:"
        click.echo(f"note: {number_of(count, 'file')} cannot be rendered as {they}; {kept}", err=True)
        for line in made.unreadable[:SHOWN]:
            click.echo(f"  {line}", err=True)
        if len(made.unreadable) > SHOWN:
            click.echo("  and more; --json names every file", err=True)
    long = f"{time_words(made.seconds)} of audio, channels together"
    click.echo(f"wrote {number_of(made.jobs, 'job')} of {number_of(made.files, 'file')} ({long}) into {shown(into)}")
    click.echo(f"next, one of:\n  a task for each line of {shown(into / 'commands.txt')}")
    if not made.bundle.on_windows:
        click.echo(f"  cd {shell_word(str(into))} && sbatch array.sbatch")
    click.echo(f"  openjd run {shell_word(str(into / 'template.yaml'))}")
    click.echo(f"then:\n  ttsr jobs collect {shell_word(str(into))}")


def number_of(count: int, what: str) -> str:
    """3 files, 1 file."""
    return f"{count} {what}{'' if count == 1 else 's'}"


@jobs_group.command("collect", cls=OneLineErrors)
@click.argument("bundle", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--again", type=FOLDER, metavar="DIR", help="Write a bundle of what is worth running again.")
@click.option(
    "--everything", is_flag=True, help="With --again: also what failed by its input or settings, when that is mended."
)
@click.option("--replace", "replaced", is_flag=True, help="With --again: take the place of a bundle that lies there.")
@click.option("--over", is_flag=True, help="The farm has ended: what has begun and left no result has crashed.")
@click.option("--no-look", is_flag=True, help="Do not look whether outputs are there.")
@click.option(
    "--all", "every", is_flag=True,
    help=f"Name every file, those that are done with their outputs; not only the first {SHOWN} that are not done.",
)  # fmt: skip
def jobs_collect(
    bundle: Path, as_json: bool, again: Path | None, everything: bool, replaced: bool, over: bool, no_look: bool,
    every: bool,
) -> None:  # fmt: skip
    """Say what became of a bundle: done, failed with the reason and whose fault it was, crashed, running, never ran.

    Exit code 0 when everything is done or had nothing to add, 1 when something failed, crashed or was cancelled, 3 when
    nothing did and something is running or never ran, 2 where there is no bundle. Nothing in it is changed.
    """
    if again is None and (everything or replaced):
        raise OptionError("--everything and --replace go with --again; name a folder for it")
    found = collect(read_bundle(bundle), over, not no_look)
    if not as_json:
        say_collected(found, every)
    more = write_again(found, again, everything, replaced) if again else None
    if as_json:
        told = found.to_json()
        if more:
            told["again"] = {"bundle": str(again) if more.jobs else None, "jobs": more.jobs, "files": more.files}
        echo_json(told, indent=2)
    elif more:
        say_again(more, again)
    counts = found.counts()
    bad = sum(counts[status] for status in ("failed", "crashed", "cancelled"))
    click.get_current_context().exit(1 if bad else UNFINISHED if counts["running"] + counts["never ran"] else 0)


def say_collected(found: Collection, every: bool) -> None:
    """What became of all files: how many of each status, and those that are not done by name."""
    told = dict.fromkeys(STATUSES, 0)
    for job, file in found.files():
        if file.status in OVER and not every:
            continue
        told[file.status] += 1
        if every or told[file.status] <= SHOWN:
            name, fault = shown(Path(file.input)), f" [{file.fault}]" if file.fault else ""
            done = f"-> {shown(Path(file.output))}" if file.status == "done" and file.output else file.reason
            reason = done if done.startswith(name) else f"{name}{' ' if done[:2] == '->' else ': '}{done}".rstrip(": ")
            click.echo(f"{file.status:9} job {job.number}{fault}: {reason}")
        elif told[file.status] == SHOWN + 1:
            click.echo(f"{file.status:9} and more; --all names every file")
    counts = found.counts()
    click.echo(", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status]) or "no jobs")


def say_again(more: Again, into: Path | None) -> None:
    """What is run again, and what is not."""
    if more.jobs and into:
        click.echo(f"wrote {number_of(more.jobs, 'job')} of {number_of(more.files, 'file')} into {shown(into)}")
    else:
        click.echo("nothing to run again; no bundle was written")
    if more.left:
        click.echo(f"{more.left} left out that would fail the same way (--everything takes them)")
    if more.running:
        click.echo(f"{more.running} left out that are running")


@jobs_group.command("commands", cls=OneLineErrors)
@click.argument("bundle", type=FOLDER)
@click.option("--map", "maps", multiple=True, metavar="HERE=THERE", help="As for `split`.  [default: as it was split]")
@click.option("--ttsr", "program", metavar="PROGRAM", help="The program on the nodes.  [default: as it was split]")
def jobs_commands(bundle: Path, maps: tuple[str, ...], program: str | None) -> None:
    """Print the command list of a bundle for where it lies now, as after it was moved."""
    found = read_bundle(bundle)
    found = replace(found, maps=PathMap(tuple(map(parse_map, maps)))) if maps else found
    if maps and found.maps.find(os.path.abspath(bundle)) is None:
        raise OptionError(f"--map {shown(Path(maps[0]))}: {shown(bundle)}, the bundle, does not lie in it")
    found = replace(found, program=tuple(program_words(program))) if program else found
    for line in found.lines():
        click.echo(line)
