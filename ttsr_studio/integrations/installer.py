"""Puts the files of integrations where they belong, and never over a file of somebody else.

Beside what it writes it leaves a list of names and checksums, by which it knows its own files the next time: those that
somebody changed since are somebody's.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ttsr_studio.errors import OptionError, OutputError, shown
from ttsr_studio.integrations.daw import ardour, reaper
from ttsr_studio.integrations.plan import InstallPlan, Wish
from ttsr_studio.integrations.services import launchd, systemd
from ttsr_studio.storage.atomic import write_atomic

LIST = ".ttsr-installed.json"


@dataclass(frozen=True)
class Integration:
    """One thing that can be installed: what it is, and how its files are planned."""

    summary: str
    plan: Callable[[Wish], list[InstallPlan]]
    service: bool = False


INTEGRATIONS = {
    "reaper": Integration("scripts for REAPER: new takes beside the old ones", reaper),
    "ardour": Integration("an action for Ardour's menu, and a command for its sessions", ardour),
    "systemd": Integration("a watch folder as a service on Linux, yours or the machine's", systemd, service=True),
    "launchd": Integration("a watch folder as a service on macOS", launchd, service=True),
}


@dataclass(frozen=True)
class FileChange:
    """What becomes of one file: "write", "replace", "remove" or "keep" (it is as it should be)."""

    what: str
    path: Path
    content: bytes = b""


def changes_of(plan: InstallPlan) -> list[FileChange]:
    """What is to be done for a plan.

    Raises OptionError, before anything is done, for a file that was not written here or was changed since.
    """
    known, changes = written_before(plan.folder), []
    for name, content in plan.contents.items():
        path = plan.folder / name
        if not path.exists() and not path.is_symlink():
            changes.append(FileChange("write", path, content))
        elif is_own(path, checksum_of(content)):
            changes.append(FileChange("keep", path, content))
        elif is_own(path, known.get(name)):
            changes.append(FileChange("replace", path, content))
        else:
            raise OptionError(
                f"{shown(path)}: was not written by `ttsr integrations`, or was changed since; "
                "move it away and run this again, or pass --into another folder"
            )
    stale = [name for name in sorted(known.keys() - plan.contents.keys()) if beside_others(name, plan)]
    own = (plan.folder / name for name in stale if is_own(plan.folder / name, known[name]))
    return changes + [FileChange("remove", path) for path in own]


def install_files(plan: InstallPlan, changes: list[FileChange]) -> None:
    """Do what was planned. Raises OutputError where a folder cannot be made or written to."""
    for change in changes:
        if change.what == "remove":
            change.path.unlink(missing_ok=True)
        elif change.what != "keep":
            make_parents(change.path.parent)
            write_atomic(change.path, change.content)
            change.path.chmod(0o644)
    kept = {name: sha for name, sha in written_before(plan.folder).items() if not beside_others(name, plan)}
    kept |= {name: checksum_of(content) for name, content in plan.contents.items()}
    write_atomic(plan.folder / LIST, json.dumps(kept, indent=1, sort_keys=True).encode() + b"\n")


def found(name: str, wish: Wish) -> Iterator[Path]:
    """Where an integration is installed already, of the places that it would go to."""
    try:
        plans = INTEGRATIONS[name].plan(wish)
    except OptionError:
        return
    yield from (plan.folder for plan in plans if plan.contents.keys() & written_before(plan.folder).keys())


def written_before(folder: Path) -> dict[str, str]:
    """Names and checksums of what was written to a folder before; a list that cannot be read is none."""
    try:
        known = json.loads((folder / LIST).read_text(encoding="utf-8"))
        return {str(name): str(sha) for name, sha in known.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def beside_others(name: str, plan: InstallPlan) -> bool:
    """Whether a file that was written before belonged to the same integration: it lay in the same sub-folder."""
    return any(Path(name).parent == Path(other).parent for other in plan.contents) and "/" in name


def is_own(path: Path, sha: str | None) -> bool:
    """Whether a file is a plain one with this checksum."""
    return sha is not None and path.is_file() and not path.is_symlink() and checksum_of(path.read_bytes()) == sha


def checksum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_parents(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{shown(folder)}: cannot be made ({error.strerror})") from error
