#!/usr/bin/env python3
"""Render the audio of an Ardour session with TTSR Studio, and put the renders on the tracks as a new take.

    python ttsr_ardour.py SESSION.ardour --preset speech --track Vocals

Needs Python 3.11 and nothing else; `ttsr` is called as a program. See README.md beside this file.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ardour_session import NewTake, SessionError, SessionFile, Take
from stems import Channel, group
from ttsr_job import CANCELLED, JobError, Render, Request, is_render, place, refuse_wrong, remove, rendered

HERE = Path(__file__).resolve().parent
CHECK = HERE / "ttsr_check.lua"
NOT_LOOKED_AT = {"peaks", "export", "dead", "analysis", "backup", "instant.xml"}
"""What Ardour writes anew, or needs not, to load a session."""

NOT_OPTIONS = {
    "rate": "the rate is the source's",
    "page": "a session gets no pages",
    "keep-top": "a track gets one render",
    "control": "a track gets one render",
    "take": "a track gets the best render",
}
"""Options of ttsr that make no sense in a session, and why."""

OLD_PLAYLIST = "choose the old playlist in Ardour (the track's P menu)"


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments = parse()
    try:
        if arguments.install is not None:
            return install(arguments)
        if arguments.plan:
            return do_plan(arguments.plan)
        return do_session(arguments)
    except (SessionError, JobError) as error:
        print(f"{error}\nThe session is as it was.", file=sys.stderr)
        return error.code if isinstance(error, JobError) else 2
    except OSError as error:
        print(f"{error.filename or 'a file'}: {error.strerror}\nThe session is as it was.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("cancelled\nThe session is as it was.", file=sys.stderr)
        return CANCELLED


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("session", nargs="?", type=Path, help="the session file, NAME.ardour; not open in Ardour")
    parser.add_argument("--track", action="append", default=[], help="only this track; may be repeated")
    parser.add_argument("--preset", default="general", help="preset of ttsr (default: %(default)s)")
    parser.add_argument("--candidates", type=int, help="how many candidates are searched")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="any other option of ttsr; may be repeated"
    )
    parser.add_argument("--skip-failed", action="store_true", help="go on without files that cannot be rendered")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be rendered")
    parser.add_argument("--ttsr", default="ttsr", help="the program (default: the one on the path)")
    parser.add_argument("--ardour-lua", help="Ardour's own Lua (default: ardour7-lua and the like, on the path)")
    parser.add_argument("--no-check", action="store_true", help="do not have Ardour load the result before it is kept")
    parser.add_argument(
        "--install", nargs="?", const="", metavar="FOLDER", help="install the action for Ardour's menu, and end"
    )
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)  # for the action: what it wants rendered
    arguments = parser.parse_args()
    if not (arguments.session or arguments.plan or arguments.install is not None):
        parser.error("which session?")
    others = vars(arguments).keys() - {"install", "ttsr", "preset"}
    if arguments.install is not None and any(getattr(arguments, each) != parser.get_default(each) for each in others):
        parser.error("--install takes --ttsr and --preset, and no session")
    return arguments


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Options of ttsr as a job names them. Raises SessionError for what is no option."""
    options: dict[str, Any] = {} if arguments.candidates is None else {"candidates": arguments.candidates}
    for each in arguments.option:
        name, equals, value = each.partition("=")
        if not equals:
            raise SessionError(f"--option {each}: takes NAME=VALUE")
        if name in NOT_OPTIONS:
            raise SessionError(f"--option {each}: {NOT_OPTIONS[name]}")
        if name in options:
            raise SessionError(f'--option {each}: {name} is given twice; several values are a list, NAME=["A", "B"]')
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def do_session(arguments: argparse.Namespace) -> int:
    """Render what the tracks of a session play. Raises SessionError or JobError, and then nothing has changed."""
    request = Request(arguments.ttsr, arguments.preset, options_of(arguments), arguments.skip_failed)
    path = arguments.session.resolve()
    session = SessionFile(path)
    refuse_open(path)
    refuse_read_only(session)
    takes = session.takes(arguments.track)
    regions = regions_of(session, takes, arguments.skip_failed)
    if not regions:
        raise SessionError("no region here plays an audio file that can be rendered")
    if arguments.dry_run:
        refuse_wrong(request, regions[0][0][0])
        for files in group(regions):
            print(" + ".join(map(str, files)))
        return 0
    with rendered(regions, request, say) as renders:
        used = {channel for region in regions for channel in region}
        plays, new = place(renders, used, session.audio_folder, session.reports)
    try:
        done = session.add_takes(takes, plays)
        if not arguments.no_check:
            check(session, arguments.ardour_lua)
        backup = keep(session)
    except BaseException:
        remove(new)
        with suppress(OSError):  # it stays if it holds the reports of earlier renders
            session.reports.rmdir()
        raise
    return report(done, renders, backup)


def regions_of(session: SessionFile, takes: Sequence[Take], skip_renders: bool) -> list[Sequence[Channel]]:
    """What the regions of takes play; what cannot be rendered is named, and stays as it is.

    Raises SessionError for tracks that play renders, unless those are to be skipped.
    """
    found: list[Sequence[Channel]] = []
    done: dict[str, str] = {}
    for take in takes:
        for region in take.playlist.iter("Region"):
            channels = session.channels(region)
            if channels is None:
                why = "is made of other regions, or a file is missing"
            elif any(is_render(path, session.reports) for path, _ in channels):
                why = "plays a render of ttsr already"
                done[take.track] = take.playlist.get("name", "")
                if not skip_renders:
                    continue
            else:
                found.append(channels)
                continue
            print(f"{take.track}: region {region.get('name')} {why}; it stays as it is", file=sys.stderr)
    if done and not skip_renders:
        lines = (
            f"{track}: playlist {playlist} plays renders of ttsr already; {OLD_PLAYLIST}, save, and run this again"
            for track, playlist in done.items()
        )
        raise SessionError("\n".join(lines))
    return found


def refuse_read_only(session: SessionFile) -> None:
    """Raises SessionError where the renders, the reports or the session could not be written."""
    for folder in (session.folder, session.audio_folder, session.reports):
        there = next(each for each in (folder, *folder.parents) if each.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            raise SessionError(f"{there}: cannot be written to")


def refuse_open(path: Path) -> None:
    """Raises SessionError for a session with unsaved changes, or that a program has open: both would be at odds with
    what is written here."""
    pending = path.with_suffix(".pending")
    if pending.exists():
        raise SessionError(
            f"{pending.name}: the session has changes that were never saved; open it in Ardour and save it"
        )
    program = holder(path.parent)
    if program:
        raise SessionError(f"{program} has the session open; save and close it first")


def holder(folder: Path) -> str | None:
    """The program that has a file below a folder open, where the system tells (Linux does)."""
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if handle.readlink().is_relative_to(folder) and handle.parts[2] != str(os.getpid()):
                return (Path("/proc") / handle.parts[2] / "comm").read_text(encoding="utf-8").strip()
        except OSError:
            continue  # it has just been closed, or is somebody else's
    return None


def say(share: float, what: str) -> None:
    """Progress, on one line of a terminal; elsewhere nothing needs to be told."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{share:4.0%} {what}", end="" if share < 1 else "\n", file=sys.stderr, flush=True)


def check(session: SessionFile, program: str | None) -> None:
    """Have Ardour load the changed session beside the original, and compare what it makes of both.

    Raises SessionError where Ardour finds anything changed but what the regions play. Neither is saved.
    """
    names = [program] if program else [f"ardour{version}-lua" for version in range(9, 5, -1)]
    lua = next(filter(None, map(shutil.which, names)), None)
    if lua is None:
        if program:
            raise SessionError(f"{program}: not found")
        print("Ardour's Lua was not found (--ardour-lua): the session was not checked", file=sys.stderr)
        return
    before, after = (seen_by_ardour(lua, session, content) for content in (session.original, session.to_bytes()))
    unlike = [f"{old} became {new}" for old, new in zip(before, after, strict=False) if old != new]
    if not before or len(before) != len(after) or unlike:
        raise SessionError(
            f"Ardour does not load the changed session as it should: {'; '.join(unlike) or 'it is empty'}"
        )


def seen_by_ardour(lua: str, session: SessionFile, content: bytes) -> list[str]:
    """Every region of every track as Ardour sees it, but for its name and what it plays."""
    with tempfile.TemporaryDirectory(prefix="ttsr-ardour-") as name:
        # A twin of the session's folder: Ardour writes a file or two beside whatever it loads.
        twin = Path(name) / session.folder.name
        twin.mkdir()
        for each in session.folder.iterdir():
            if each.name not in NOT_LOOKED_AT and each.suffix != ".ardour":
                (twin / each.name).symlink_to(each)
        (twin / session.path.name).write_bytes(content)
        answer = Path(name) / "answer"
        command = [lua, str(CHECK), str(twin), session.path.stem, str(answer)]
        for _ in range(3):  # Ardour's Lua crashes once in a while, whatever it loads
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            if answer.exists() or done.returncode >= 0:
                break
        if not answer.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise SessionError(f"{shlex.join(command)} does not load the session: {''.join(said)}")
        return [line for line in answer.read_text(encoding="utf-8", errors="replace").splitlines() if line]


def keep(session: SessionFile) -> Path:
    """Write the session, whole or not at all, and keep the one before. Raises SessionError if it changed meanwhile."""
    path = session.path
    refuse_open(path)
    if path.read_bytes() != session.original:
        raise SessionError(f"{path.name} was saved while this was rendering; run it again")
    number = 1
    while (backup := path.with_name(f"{path.name}.before-ttsr{f'-{number}' if number > 1 else ''}")).exists():
        number += 1
    backup.write_bytes(session.original)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as out:
            out.write(session.to_bytes())
            out.flush()
            os.fsync(out.fileno())
        shutil.copymode(path, part)
        os.replace(part, path)
    except BaseException:
        remove([part, backup])
        raise
    return backup


def report(done: Sequence[NewTake], renders: Sequence[Render], backup: Path) -> int:
    for take in done:
        print(f"{take.track}: {take.regions} regions, playlist {take.playlist} (before: {take.before})")
    print(f"The session as it was: {backup}")
    for each in renders:
        if each.output is None:
            print(f"{', '.join(path.name for path in each.files)}: {each.reason}", file=sys.stderr)
    return 1 if any(each.output is None for each in renders) else 0


def do_plan(plan_path: Path) -> int:
    """Render what the action in Ardour's menu asks for, and answer in lines that Lua reads with ease."""
    plan = json.loads(plan_path.read_text(encoding="utf-8"))
    answer = Path(plan["answer"])
    regions = [[(Path(path), channel) for path, channel in region] for region in plan["regions"]]
    request = Request(
        plan["ttsr"],
        plan["preset"],
        plan["options"],
        cancel=Path(plan["cancel"]),
        progress=Path(plan["progress"]),
    )
    reports = Path(plan["reports"])
    used = {channel for region in regions for channel in region}
    try:
        done = sorted({path.name for path, _ in used if is_render(path, reports)})
        if done:
            raise JobError(f"{', '.join(done)}: a render of ttsr already; {OLD_PLAYLIST}, or select other regions", 2)
        with rendered(regions, request, say) as renders:
            plays, _ = place(renders, used, Path(plan["audio"]), reports)
        rows = [f"{old}\t{channel}\t{new}\t{number}" for (old, channel), (new, number) in plays.items()]
        answer.write_text("\n".join(["done", *rows]), encoding="utf-8")
    except (JobError, OSError) as error:
        answer.write_text(f"failed\n{error}", encoding="utf-8")
        return error.code if isinstance(error, JobError) else 1
    return 0


def install(arguments: argparse.Namespace) -> int:
    """Put the action into Ardour's script folder, and beside Ardour's settings where the programs are."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    if sys.platform == "darwin":
        config = Path.home() / "Library/Preferences"
    folders = [Path(arguments.install)] if arguments.install else [*config.glob("[Aa]rdour[0-9]")]
    ttsr = shutil.which(arguments.ttsr)
    if not folders or ttsr is None:
        raise SessionError(f"no settings of Ardour in {config}" if ttsr else f"{arguments.ttsr}: not found (--ttsr)")
    show = [ttsr, "presets", "show", arguments.preset]
    shown = subprocess.run(show, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if shown.returncode != 0:
        said = shown.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise SessionError("".join(said) or f"{shlex.join(show)} ended with {shown.returncode}")
    # A preset of one's own is named by its file, and Ardour is not started in this folder.
    preset = str(Path(arguments.preset).absolute()) if arguments.preset.endswith(".toml") else arguments.preset
    for folder in folders:
        scripts = folder / "scripts"
        scripts.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HERE / "ttsr_render.lua", scripts / "ttsr_render.lua")
        lines = {"python": sys.executable, "tool": str(HERE / "ttsr_ardour.py"), "ttsr": str(Path(ttsr).absolute())}
        lines |= {"preset": preset}
        text = "".join(f"{key}={re.sub(chr(10), ' ', value)}\n" for key, value in lines.items())
        (folder / "ttsr.conf").write_text(text, encoding="utf-8")
        print(f"{scripts / 'ttsr_render.lua'}\n{folder / 'ttsr.conf'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
