"""The errors that the library raises. Each message is one line: what is wrong, and what to do about it.

Only `cli.py` prints them and turns them into exit codes.
"""

from collections.abc import Iterable
from pathlib import Path


class TtsrError(Exception):
    """Base class of everything the library raises on purpose."""


class InputError(TtsrError):
    """A file that cannot be rendered: missing, broken, empty, full-band already, not audio."""


class ChangedError(InputError):
    """A file that became another while it was read."""


class OutputError(TtsrError):
    """An output that cannot be written, or that did not read back as written."""


class OptionError(TtsrError):
    """An option, key or name that is unknown or does not fit the others."""


class MissingError(TtsrError):
    """Something that was asked for is not installed or has no weights; the message says how to get it."""


def unknown(kind: str, name: str, known: Iterable[str]) -> OptionError:
    """Return the error for a name that no registry holds, listing the names that one does."""
    return OptionError(f"unknown {kind} {name!r}; known: {', '.join(sorted(known))}")


def shown(path: Path) -> str:
    """Return a path as one line of text, whatever its name holds."""
    text = str(path)
    return text if text.isprintable() else repr(text)
