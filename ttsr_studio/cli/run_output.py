"""What a run of many files prints, quietly or at length, and what it writes into its log."""

import logging
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.cells import cell_len

from ttsr_studio import __version__
from ttsr_studio.cli.json_output import echo_json
from ttsr_studio.cli.progress import RenderProgress
from ttsr_studio.errors import OptionError, shown

LOG = logging.getLogger("ttsr")
LOG.addHandler(logging.NullHandler())  # without --log nothing is printed a second time


@dataclass
class RunOutput:
    """Where a run tells of itself.

    Attributes:
        as_json: whether results are JSON objects.
        quiet: whether nothing but failures, and JSON, is printed.
        verbose: whether details are printed.
        progress: the line of progress, which is cleared before anything else is printed.
        names: what is said in place of paths that nobody knows, such as those of temporary files.
    """

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    progress: RenderProgress | None = None
    names: dict[str, str] = field(default_factory=dict)

    def named(self, text: str) -> str:
        """A text with the names that are known."""
        for path, name in self.names.items():
            text = text.replace(path, name)
        return text

    def _known(self, data: dict[str, Any]) -> dict[str, Any]:
        return {key: self.named(value) if isinstance(value, str) else value for key, value in data.items()}

    def result(self, data: dict[str, Any], line: str) -> None:
        """What became of a file."""
        data, line = self._known(data), self.named(line)
        LOG.info("%s", line)
        self._clear()
        if self.as_json:
            echo_json(data)
        elif not self.quiet:
            click.echo(wrapped(line) if sys.stdout.isatty() else line)

    def failure(self, data: dict[str, Any], reason: str) -> None:
        """Why there is nothing of a file."""
        data, reason = self._known(data), self.named(reason)
        LOG.error("failed: %s", reason)
        self._clear()
        if self.as_json:
            echo_json({**data, "status": "failed", "reason": reason})
        else:
            click.echo(f"failed: {reason}", err=True)

    def note(self, line: str) -> None:
        """Something about the run."""
        LOG.info("%s", line)
        self._clear()
        if not self.quiet:
            click.echo(line, err=True)

    def detail(self, line: str) -> None:
        """Something that only some want to know."""
        LOG.debug("%s", line)
        if self.verbose:
            self._clear()
            click.echo(f"  {line}", err=True)

    def _clear(self) -> None:
        if self.progress:
            self.progress.clear()


def wrapped(text: str) -> str:
    """A text for a terminal: its lines broken between words, what goes on a little further in."""
    width = shutil.get_terminal_size().columns
    return "\n".join(
        line
        if cell_len(line) <= width
        else textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )


@contextmanager
def logged(file: Path | None) -> Iterator[None]:
    """Append everything that a run tells, and what libraries warn of, to a file while it runs.

    Raises OptionError for a file that cannot be written.
    """
    if file is None:
        yield
        return
    try:
        handler = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise OptionError(f"--log {shown(file)}: {error.strerror or error}; name another file") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root, levels = logging.getLogger(), (LOG.level, LOG.propagate)
    LOG.setLevel(logging.DEBUG)
    LOG.propagate = True
    root.addHandler(handler)
    logging.captureWarnings(True)
    LOG.info("ttsr %s: %s", __version__, " ".join(map(repr, sys.argv[1:])))
    try:
        yield
    except BaseException as error:
        code = error.code if isinstance(error, SystemExit) else repr(error)
        LOG.info("ended: %s", code)
        raise
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        handler.close()
        LOG.setLevel(levels[0])
        LOG.propagate = levels[1]
