"""The errors that the library raises. Each message is one line: what is wrong, and what to do about it.

Only `cli` prints them and turns them into exit codes.
"""

import difflib
import errno
import importlib.util
import os
import shlex
import subprocess
import sys
import traceback
from collections.abc import Iterable
from enum import Enum, auto
from pathlib import Path

TRANSIENT_ERRNOS = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM", "EMFILE", "ENFILE", "EBUSY", "EAGAIN"),
        *("ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENODEV", "ENXIO"),
    )
    if hasattr(errno, name)
}
"""What the system says when a file is not to blame, and waiting may help."""


class TtsrError(Exception):
    """Base class of everything the library raises on purpose."""


class InputError(TtsrError):
    """A file that cannot be rendered: missing, broken, empty, full-band already, not audio."""


class NothingToAddError(InputError):
    """A file that is full-band already, or shows no sign of a limit: it is skipped, which is no failure.

    Nothing is written. `Renderer.render` and `Renderer.enhance` raise it, so catch it before InputError, and take the
    source as it is; its message says why, and what to pass where one knows better.
    """


class ChangedError(InputError):
    """A file that became another while it was read."""


class OutputError(TtsrError):
    """An output that cannot be written, or that did not read back as written."""


class TakenError(OutputError):
    """An output whose name something else took while it was made; that is left as it is."""


class OptionError(TtsrError):
    """An option, key or name that is unknown or does not fit the others."""


class DeviceError(OptionError):
    """A device that is known, and not on this machine."""


class MissingError(TtsrError):
    """Something that was asked for is not installed or has no weights; the message says how to get it."""


class PluginError(TtsrError):
    """What another package added failed at its work; the message names that package, and what it said."""


class FarmError(TtsrError):
    """A farm on which nothing can be done; the message says why."""


class Cause(Enum):
    """What a failure is about."""

    INPUT = auto()
    NOTHING_TO_ADD = auto()
    SETTINGS = auto()
    CHANGED = auto()
    """The file is another by now."""
    ENVIRONMENT = auto()
    CRASH = auto()
    """The process itself."""


def cause_of(error: OSError | TtsrError) -> Cause:
    """What an error is about, by what the system said where it did."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in TRANSIENT_ERRNOS:
            return Cause.ENVIRONMENT
        cause = cause.__cause__
    if isinstance(error, PluginError):
        return Cause.CRASH  # as any error that nobody foresaw
    if isinstance(error, MissingError | OptionError):
        return Cause.SETTINGS
    if isinstance(error, NothingToAddError):
        return Cause.NOTHING_TO_ADD
    return Cause.INPUT if isinstance(error, InputError | OSError) else Cause.ENVIRONMENT


def pip_install(*what: str) -> str:
    """A command line that installs a package or an extra where this program runs, fit to be copied.

    It is uv's where there is no pip, as in what uv makes, and pipx by it.
    """
    has_pip = importlib.util.find_spec("pip") is not None
    if os.name == "nt":
        by = [sys.executable, "-m", "pip", "install"] if has_pip else ["uv", "pip", "install", "-p", sys.executable]
        return subprocess.list2cmdline([*by, *what])
    python = Path(sys.executable)
    home = Path.home()
    own = python.is_relative_to(home) and shlex.quote(str(python)) == str(python)
    program = f"~/{python.relative_to(home)}" if own else shlex.quote(str(python))
    installer = f"{program} -m pip install" if has_pip else f"uv pip install -p {program}"
    return " ".join([installer, *map(shlex.quote, what)])


def unknown(kind: str, name: str, known: Iterable[str]) -> OptionError:
    """Return the error for a name that is not among the known ones: these, and the nearest of them, stand in it."""
    names = sorted(known)
    return OptionError(f"unknown {kind} {name!r}; known: {', '.join(names)}{nearest(str(name), names)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a line that refuses a name: "; nearest: " and those that it may have been meant for, or nothing."""
    names = {each.lower(): each for each in sorted(known)}
    alike = difflib.get_close_matches(name.lower(), names)
    near = [names[each] for each in (alike[:1] if name.lower() in names else alike)]
    return f"; nearest: {', '.join(near)}" if near else ""


def shown(path: Path) -> str:
    """Return a path as one line of text, whatever its name holds."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def on_one_line(text: str) -> str:
    """A text as one line that a terminal takes for nothing else: what is not printable in it is escaped."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def first_line(error: BaseException) -> str:
    """What an error says, in one line that is not too long."""
    return " ".join(str(error).split())[:200]


def of_a_file(error: OSError) -> str:
    """What the system says of a file, in one line."""
    return f"{shown(Path(os.fsdecode(error.filename)))}: {error.strerror}"


def in_one_line(source: Path, error: Exception) -> str:
    """What went wrong with a file; what nobody foresaw says where it happened, so that it can be reported."""
    if isinstance(error, PluginError):
        return f"{shown(source)}: {on_one_line(str(error))}"
    if isinstance(error, TtsrError):
        return on_one_line(str(error))
    if isinstance(error, OSError):
        return f"{shown(source)}: {error.strerror or error}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = " ".join(str(error).split())
    return (
        f"{shown(source)}: unexpected {type(error).__name__}: {what} "
        f"(at {Path(place.filename).name}:{place.lineno}); please report this"
    )
