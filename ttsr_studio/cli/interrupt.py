"""The wish to stop: the first Ctrl-C asks a render to finish with what it has; the second one, or SIGTERM, ends it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ttsr_studio.rendering.inference.progress import CancellationToken

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


@contextmanager
def left_at_once() -> Iterator[None]:
    """While modules are loaded nothing is under way that needs cleaning up, and they could swallow an exception.

    Ctrl-C then ends the process with one line. Only the main thread can have a handler; elsewhere nothing changes.
    """
    try:
        before = signal.signal(signal.SIGINT, lambda *_: leave())
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def leave() -> None:
    """End the process at once."""
    os.write(2, b"interrupted before anything was begun\n")
    os._exit(INTERRUPTED)


@contextmanager
def stop_on_interrupt(told: Callable[[], None]) -> Iterator[CancellationToken]:
    """A sign that the first SIGINT raises, calling `told`; the next one, and any SIGTERM, raises KeyboardInterrupt.

    The handlers before are put back at the end. Only the main thread can have one; elsewhere the sign stays down.
    """
    sign = CancellationToken()

    def handle(number: int, _frame: FrameType | None) -> None:
        if sign.asked or number == signal.SIGTERM:
            raise KeyboardInterrupt
        sign.asked = True
        told()

    try:
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        yield sign
        return
    try:
        yield sign
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
