"""What an integration is asked for, and what it would write: plain data, before anything is touched."""

import sys
import sysconfig
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from ttsr_studio.errors import OptionError, shown


@dataclass(frozen=True)
class Wish:
    """What somebody wants to be installed, and for whom.

    Attributes:
        ttsr: the program that scripts and services start.
        into: the folder that the files go to; None for where the other program looks for them.
        root: the folder that a service is to watch.
        system: whether a service is the machine's, as against one's own.
        run_as: whom a service of the machine runs as.
        administrator: whether this process is root's.
        platform: as `sys.platform`.
    """

    ttsr: Path
    into: Path | None = None
    root: Path | None = None
    system: bool = False
    run_as: str = "ttsr"
    administrator: bool = False
    platform: str = sys.platform


@dataclass(frozen=True)
class InstallPlan:
    """Files for one folder.

    Attributes:
        folder: where they go.
        contents: path relative to it -> content.
        next_steps: what to do then, a line each; commands stand on lines of their own, indented.
    """

    folder: Path
    contents: dict[str, bytes]
    next_steps: list[str] = field(default_factory=list)


def shipped(name: str) -> Path:
    """A folder or file that comes with the program: `integrations/...` or `docs/studio/...`."""
    package = Path(str(files("ttsr_studio")))
    inside = package / "_shipped"
    return (inside if inside.is_dir() else package.parent) / name


def own_program() -> Path:
    """The `ttsr` of the environment that this runs in. Raises OptionError where there is none."""
    name = "ttsr.exe" if sys.platform == "win32" else "ttsr"
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.is_file():
        raise OptionError(f"{shown(path)}: no such program; pass --ttsr with the path of the one to start")
    return path


def settings_folders(name: str, where: str, folders: list[Path]) -> list[Path]:
    """Those of a program's settings folders that are there. Raises OptionError when none is."""
    there = [folder for folder in folders if folder.is_dir()]
    if not there:
        looked = ", ".join(map(shown, folders)) or where
        raise OptionError(f"no settings of {name} ({looked}); start {name} once, or pass --into with {where}")
    return there
