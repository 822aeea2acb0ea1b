"""What the command lines of training share: `python -m ttsr_studio.training.NAME`."""

import sys
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ttsr_studio.errors import TtsrError


def command(name: str, description: str) -> ArgumentParser:
    """The parser of a training module's command line."""
    return ArgumentParser(
        f"python -m ttsr_studio.training.{name}",
        description=description,
        formatter_class=ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )


def existing(text: str) -> Path:
    """A file or folder that is there."""
    if not Path(text).exists():
        raise ArgumentTypeError(f"{text} does not exist")
    return Path(text)


def existing_folder(text: str) -> Path:
    """A folder that is there."""
    if not existing(text).is_dir():
        raise ArgumentTypeError(f"{text} is a file")
    return Path(text)


def existing_file(text: str) -> Path:
    """A file that is there."""
    if existing(text).is_dir():
        raise ArgumentTypeError(f"{text} is a folder")
    return Path(text)


def new_folder(text: str) -> Path:
    """A folder that may be there already."""
    if Path(text).is_file():
        raise ArgumentTypeError(f"{text} is a file")
    return Path(text)


@contextmanager
def one_line() -> Iterator[None]:
    """Errors of the project end a command in one line, without a traceback."""
    try:
        yield
    except TtsrError as error:
        sys.exit(f"Error: {error}")
