"""The token by which the page knows those who may change things: made once, in a file that its owner alone can read."""

import hmac
import os
import secrets
import stat
import time
from collections import deque
from pathlib import Path

from ttsr_studio.errors import OptionError, shown

NAME = "app-token"
LETTERS = 32
"""Of randomness, in bytes."""

TICKET_SECONDS = 60.0
MOST_WRONG, WRONG_SECONDS = 20, 60.0
"""Wrong tokens in so many seconds, from which on that is told as too many."""


class Token:
    """The token of a root, and how often others were tried.

    Args:
        state: folder of the root's database.

    Attributes:
        made: whether it was made just now, and is to be shown.

    Raises OptionError where others can read its file, or it cannot be written.
    """

    def __init__(self, state: Path) -> None:
        self.path = state / NAME
        self.made = False
        self.wrong: deque[float] = deque(maxlen=MOST_WRONG)
        try:
            self.text = self._read() or self._make()
        except OSError as error:
            raise OptionError(f"{shown(self.path)}: {error.strerror or error}; it holds the page's token") from error

    def _read(self) -> str | None:
        try:
            handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:
            return None
        with open(handle, encoding="ascii", errors="replace") as file:
            if os.name == "posix" and stat.S_IMODE(os.fstat(handle).st_mode) & 0o077:
                raise OptionError(
                    f"{shown(self.path)}: others can read the page's token; delete the file, and a new one is made"
                )
            return file.read().strip() or None

    def _make(self) -> str:
        text, new = secrets.token_urlsafe(LETTERS), self.path.with_name(f"{NAME}.{os.getpid()}")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(handle)
        new.replace(self.path)
        self.made = True
        return text

    def is_known(self, given: str | None) -> bool:
        """Whether what somebody gives is the token; compared in a time that tells nothing."""
        known = given is not None and secrets.compare_digest(given.encode(), self.text.encode())
        if not known and given is not None:
            self.wrong.append(time.monotonic())
        return known

    def ticket(self, path: str) -> str:
        """What opens one address for a short while, for what a browser asks for without a token: frames and links."""
        until = f"{time.time() + TICKET_SECONDS:.0f}"
        return f"{until}.{self._sealed(path, until)}"

    def is_ticket(self, path: str, given: str) -> bool:
        """Whether a ticket is one for this address, and still holds."""
        until, _, seal = given.partition(".")
        right = secrets.compare_digest(seal.encode(), self._sealed(path, until).encode())
        return right and until.isdecimal() and len(until) < 12 and time.time() < int(until)

    def _sealed(self, path: str, until: str) -> str:
        return hmac.new(self.text.encode(), f"{path} {until}".encode(), "sha256").hexdigest()

    @property
    def guessed_at(self) -> bool:
        """Whether so many wrong tokens came in a short time that somebody may be guessing."""
        return len(self.wrong) == MOST_WRONG and time.monotonic() - self.wrong[0] < WRONG_SECONDS
