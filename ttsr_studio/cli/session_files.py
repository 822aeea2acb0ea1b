"""What `ttsr session` does: the media of a session rendered, and the session written with them."""

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttsr_studio.batch.existing import clear_killed, refuse_existing
from ttsr_studio.batch.outcome import FileOutcome
from ttsr_studio.batch.plan import Job
from ttsr_studio.batch.run import BatchRun
from ttsr_studio.cli.dry_run import announce_all
from ttsr_studio.cli.file_lines import is_left, say_cut_off, say_stopping
from ttsr_studio.cli.interrupt import left_at_once, stop_on_interrupt
from ttsr_studio.cli.progress import RenderProgress, engine_loading
from ttsr_studio.cli.render_files import run_all, time_left
from ttsr_studio.cli.run_output import RunOutput, logged
from ttsr_studio.cli.session_parts import SessionPart, plan_parts
from ttsr_studio.config.resolve import read_transcript, refuse_without_effect, resolve, with_sidecar
from ttsr_studio.errors import OptionError, TtsrError, on_one_line, shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.sessions.convert import ADAPTERS, adapters, convertible, write_converted
from ttsr_studio.sessions.media import Medium, Replacement, SessionChange, SessionFile, Target, Way, chosen, of_tracks
from ttsr_studio.sessions.open import open_session
from ttsr_studio.storage.atomic import fit_name, write_atomic
from ttsr_studio.storage.names import FileKeys, refuse_impossible

if TYPE_CHECKING:
    from ttsr_studio.rendering.inference.session import Session

REPORT = "session.ttsr.json"
REPORT_VERSION = "1"
ONE_OF_A_FILE = ("loudness", "keep-top", "page", "control", "take", "again")
"""Options of a whole file."""


@dataclass(frozen=True)
class SessionArguments:
    """What `ttsr session` was given besides the options of a render."""

    session: Path
    output: Path | None
    tracks: tuple[str, ...]
    way: Way
    list_only: bool
    used_ranges: bool
    preset: str
    report: bool
    overwrite: bool
    skip_existing: bool
    dry_run: bool
    as_json: bool
    quiet: bool = False
    verbose: bool = False
    log: Path | None = None


def render_session(asked: SessionArguments, given: dict[str, Any]) -> None:
    """Do what was asked for; ends the process with exit code 1 where media failed.

    Raises OptionError and InputError before the first render for what cannot be begun.
    """
    if asked.quiet and asked.verbose:
        raise OptionError("--quiet and --verbose exclude each other; pass one of them")
    out = RunOutput(asked.as_json, asked.quiet, asked.verbose)
    with logged(asked.log):
        session = open_session(asked.session)
        tracks = chosen(session, asked.tracks)
        if asked.list_only:
            failed = list_media(session, tracks, out)
        else:
            target = target_of(asked, session, tracks)
            with tempfile.TemporaryDirectory(prefix="ttsr-session-") as scratch:
                failed = render_media(asked, given, session, target, (out, Path(scratch)))
    if failed:
        sys.exit(1)


def list_media(session: SessionFile, tracks: frozenset[str], out: RunOutput) -> bool:
    """Say of every medium what it is and where it is played."""
    media = [each for each in session.media() if of_tracks(each, tracks)]
    for each in media:
        out.result(each.to_json(), "\n".join(medium_lines(each, tracks)))
    for note in session.notes:
        out.note(f"note: {note}")
    out.note(f"{session.kind}: {len(media)} media, {sum(len(each.uses) for each in media)} places")
    return False


def medium_lines(medium: Medium, tracks: frozenset[str]) -> list[str]:
    """What a person reads of a medium."""
    where = "in the session" if medium.entry else shown(medium.path) if medium.path else "nowhere"
    why = medium.trouble or medium.aside
    lines = [f"{on_one_line(medium.reference)}: {where}" + (f" ({why})" if why else "")]
    if medium.note:
        lines.append(f"  note: {medium.note}")
    for use in medium.uses:
        if not tracks or use.track in tracks:
            stop = "the end" if use.stop_s is None else f"{use.stop_s:.3f} s"
            name = f" {use.clip!r}" if use.clip else ""
            lines.append(f"  {on_one_line(use.track)}{name} at {use.at}: from {use.start_s:.3f} s to {stop}")
    return lines


def target_of(asked: SessionArguments, session: SessionFile, tracks: frozenset[str]) -> Target:
    """Where the session goes. Raises OptionError where that cannot be."""
    if asked.output is None:
        raise OptionError("-o is missing: name the session to write, or pass --list")
    if asked.overwrite and asked.skip_existing:
        raise OptionError("--overwrite and --skip-existing exclude each other; pass one of them")
    out = asked.output
    if not session.ways:
        raise OptionError(f"{shown(session.path)}: {session.kind} is only read; pass --list, without -o")
    if out.suffix.lower() != session.path.suffix.lower():
        refuse_other_kind(asked, session)
    keys = FileKeys()
    if keys.of(out) == keys.of(session.path):
        raise OptionError(f"-o {shown(out)}: is the session itself, which is never touched; name another")
    refuse_impossible(out)
    if out.is_dir():
        raise OptionError(f"-o {shown(out)}: is a folder; name a file")
    if out.exists() and not asked.overwrite:
        raise OptionError(f"{shown(out)}: exists already; pass --overwrite, or another -o")
    there = next(each for each in out.absolute().parents if each.exists())
    if not there.is_dir():
        raise OptionError(f"{shown(there)}: is no folder; choose another -o")
    if asked.way not in session.ways:
        raise OptionError(f"--as {asked.way}: {session.kind} has no place for that; it takes {', '.join(session.ways)}")
    folder = out.with_name(fit_name(f"{out.stem}_ttsr"))
    refuse_anothers_folder(folder, out)
    return Target(out, folder, tracks, asked.way, asked.overwrite)


def refuse_anothers_folder(folder: Path, out: Path) -> None:
    """Raise OptionError where the report in a folder says that its renders are of a session of another name."""
    try:
        owner = Path(json.loads((folder / REPORT).read_bytes())["output"]).name
    except (OSError, ValueError, LookupError, TypeError):
        return  # nobody's
    if owner != out.name and out.with_name(owner).exists():
        raise OptionError(
            f"-o {shown(out)}: its renders would go into {shown(folder)}, which holds those of "
            f"{on_one_line(owner)}; choose another name"
        )


def refuse_other_kind(asked: SessionArguments, session: SessionFile) -> None:
    """Raise OptionError for a session of a kind that this one cannot become."""
    out = asked.output or session.path
    if not convertible(session.path, out):
        into = [each for each in ADAPTERS if session.path.suffix.lower() in ADAPTERS]
        also = f", or one of {' '.join(into)}" if into else ""
        raise OptionError(f"-o {shown(out)}: a session of another kind; name it {session.path.suffix}{also}")
    if asked.way != "replace" and out.suffix.lower() != ".otio":
        raise OptionError(
            f"--as {asked.way}: is lost where the session becomes another kind; write {session.path.suffix}"
        )
    adapters()


def render_media(
    asked: SessionArguments, given: dict[str, Any], session: SessionFile, target: Target, to: tuple[RunOutput, Path]
) -> bool:
    """Render what is to be rendered and write the session; whether anything failed.

    Args:
        to: where it is told, and a folder for what is taken out of archives.
    """
    out, scratch = to
    if "transcript" in given:
        given["transcript"] = read_transcript(given["transcript"])
    options = resolve(asked.preset, given)
    refuse_without_effect(options, given)
    if options.page and not asked.report:
        raise OptionError("--page shows the report; leave --no-report out")
    if asked.used_ranges:
        refuse_with_ranges(given)
    parts = plan_parts(session, target, scratch, options if asked.used_ranges else None)
    jobs = [job for part in parts for job in part.jobs]
    if options.transcript and len(jobs) > 1:
        raise OptionError("--transcript is of one file; a session with several media takes none")
    if not asked.overwrite and not asked.skip_existing:
        whole = [Job(part.source, part.target, None) for part in parts if part.jobs]
        refuse_existing([*jobs, *whole], options, "pass --overwrite or --skip-existing, or another -o")
    out.names = {
        str(part.source): on_one_line(part.medium.reference) for part in parts if part.medium.entry and part.jobs
    }
    for part in parts:
        say_left(part, out)
    for note in session.notes:
        out.note(f"note: {note}")
    if jobs:
        render_jobs(asked, (options, given), parts, out)
    failed = any(part.failed for part in parts)
    if asked.dry_run:
        return failed
    return write_out(asked, session, target, parts, out) or failed


def refuse_with_ranges(given: Mapping[str, Any]) -> None:
    """Raise OptionError for options that stretches of a file cannot have each on its own."""
    for name in ONE_OF_A_FILE:
        if given.get(name) not in (None, "off"):
            raise OptionError(f"--{name}: a file of which only parts are rendered has one render, at its own level; "
                              "leave it or --used-ranges out")  # fmt: skip


def say_left(part: SessionPart, out: RunOutput) -> None:
    """Say why a medium stays as it is, where it does."""
    if part.reason:
        told = {"input": part.medium.reference, "reason": part.reason}
        if part.failed:
            out.failure(told, part.reason)
        else:
            out.result({**told, "status": "skipped"}, f"skipped {part.reason}")
    elif part.medium.note:
        out.note(f"note: {part.medium.reference}: {part.medium.note}")


def render_jobs(
    asked: SessionArguments,
    options_given: tuple[RenderOptions, dict[str, Any]],
    parts: Sequence[SessionPart],
    out: RunOutput,
) -> None:
    """Render the media that are to be rendered, and note in the parts what became of them."""
    options, given = options_given
    with engine_loading(asked.quiet or asked.as_json):
        with left_at_once():
            from ttsr_studio.rendering.inference.session import Session, Sessions
        session = Session(options)
    part_of = {job.target: part for part in parts for job in part.jobs}

    def options_of(job: Job) -> RenderOptions:
        return part_of[job.target].options_of(with_sidecar(part_of[job.target].source, options, given))

    if asked.skip_existing and not asked.dry_run:
        clear_killed([job for part in parts for job in (*part.jobs, Job(part.source, part.target, None))])
    waiting = list[Job]()
    for part in parts:
        whole, named = Job(part.source, part.target, None), part.medium.reference
        if asked.skip_existing and part.jobs and is_left(whole, asked.report, out, asked.dry_run, named):
            part.done = True
            continue
        for job in part.jobs:
            if not (asked.skip_existing or asked.overwrite):
                say_cut_off(job, out, asked.dry_run)
            done = asked.skip_existing and job != whole and is_left(job, asked.report, out, asked.dry_run, named)
            (part.rendered if done else waiting).append(job)
    if asked.dry_run:
        announce_all(waiting, options_of, session, out)
        return

    def note(outcome: FileOutcome) -> None:
        part = part_of[outcome.job.target]
        part.see(outcome)
        part.reason = out.named(part.reason)

    run_with_progress(session, Sessions(session), asked, waiting, (options_of, note, out))


def run_with_progress(
    session: "Session", sessions: Any, asked: SessionArguments, jobs: list[Job], told: tuple[Any, Any, RunOutput]
) -> None:
    """The loop over the files, with its progress shown."""
    options_of, note, out = told
    names = [shown(Path(job.source.name)) for job in jobs]
    with (
        RenderProgress(names, time_left(jobs, session, out), out.quiet or out.as_json) as progress,
        stop_on_interrupt(lambda: say_stopping(progress, session)) as stop,
    ):
        out.progress = progress
        begin: Callable[[int, Job], Any] = lambda number, _: progress.begin(number)  # noqa: E731
        run = BatchRun(
            sessions,
            options_of,
            begin,
            replace=asked.overwrite,
            skip_existing=asked.skip_existing,
            report=asked.report,
            stop=stop,
        )
        run_all(run, jobs, [job.source for job in jobs], None, out, note)
    out.progress = None


def write_out(
    asked: SessionArguments, session: SessionFile, target: Target, parts: Sequence[SessionPart], out: RunOutput
) -> bool:
    """Write the session with the renders that are there, and say what was done; whether a render did not fit."""
    renders, misfits = list[Replacement](), False
    for part in parts:
        try:
            render = part.replacement(asked.overwrite, out.note)
        except TtsrError as error:
            part.reason, part.failed, part.done, misfits = on_one_line(str(error)), True, False, True
            say_left(part, out)
            continue
        renders += [render] if render else []
    if not renders:
        out.note(f"nothing to replace: {shown(target.out)} is not written")
        return misfits
    same = target.out.suffix.lower() == session.path.suffix.lower()
    change = session.write(target, renders) if same else write_converted(session, target, renders)
    told = session_summary(session, target, parts, change)
    if asked.report:
        write_atomic(target.folder / REPORT, (json.dumps(told, indent=1) + "\n").encode())
    for part in parts:
        if part.done and part.medium.entry:
            part.target.unlink(missing_ok=True)  # the session holds it
    if not asked.report and not any(target.folder.iterdir()):
        target.folder.rmdir()
    for note in change.notes:
        out.note(f"note: {note}")
    places = sum(change.replaced.values())
    done = "play renders" if target.way == "replace" else "have renders as alternatives"
    where = f"{places} place{'' if places == 1 else 's'} of {len(renders)} media"
    out.result(told, f"{shown(target.out)}: {where} {done}")
    return misfits


def session_summary(
    session: SessionFile, target: Target, parts: Sequence[SessionPart], change: SessionChange
) -> dict[str, Any]:
    """What was replaced, and what was not and why."""
    return {
        "session_report_version": REPORT_VERSION,
        "status": "written",
        "session": str(session.path),
        "output": str(target.out),
        "kind": session.kind,
        "as": target.way,
        "replaced": [
            {
                "reference": part.medium.reference,
                "render": part.target.name,
                "places": change.replaced.get(part.medium.reference, 0),
            }
            for part in parts
            if part.done
        ],
        "left": [
            {"reference": part.medium.reference, "failed": part.failed, "reason": part.reason}
            for part in parts
            if not part.done
        ],
        "notes": [*session.notes, *change.notes],
    }
