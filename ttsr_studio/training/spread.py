"""Work of training that a farm can do: piece after piece, here or on its machines, with the same answers."""

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ttsr_studio.errors import OptionError


class PartWork(Protocol):
    """Data that pickles, and does its work where it is called, whatever it is called with."""

    def __call__(self, place: Any = None) -> Any: ...


WorkPlace = Callable[[int, Callable[[int], Any], Callable[[int], Any]], Iterator[Any]]
"""Has so many pieces done: they are made by number, and anew for a machine that does not see the files that they name;
answers in order."""


def in_this_process(count: int, make: Callable[[int], PartWork], _: Callable[[int], PartWork]) -> Iterator[Any]:
    """Do pieces in this process."""
    for number in range(count):
        yield make(number)()


def add_farm(parser: ArgumentParser, what: str) -> None:
    """Add --farm and --farm-workers to a command line, for what can be done there."""
    parser.add_argument("--farm", metavar="ADDRESS", help=f"a farm that {what}: auto, or HOST:PORT of its head")
    parser.add_argument("--farm-workers", type=workers, metavar="N", help="of the farm, at most; default: all")


def workers(text: str) -> int:
    """A number of workers."""
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise ArgumentTypeError("1 to 256")
    return int(text)


@contextmanager
def where_to_work(given: Namespace) -> Iterator[WorkPlace]:
    """Where a command's pieces are done, for as long as this lasts. Raises OptionError for a farm that is not there."""
    if given.farm is None:
        if given.farm_workers:
            raise OptionError("--farm-workers: is of a farm; pass --farm too")
        yield in_this_process
        return
    from ttsr_studio.farm.farm import Farm, worker_threads
    from ttsr_studio.farm.identity import installation
    from ttsr_studio.farm.messages import FarmSettings
    from ttsr_studio.farm.ordered import OrderedWork

    settings = FarmSettings(given.farm, 0.0, worker_threads(), installation(), owner="ttsr training")
    farm = Farm(settings, to_stderr)
    try:
        if reason := farm.trouble():
            raise OptionError(f"--farm {given.farm}: {reason}")
        yield OrderedWork(farm, given.farm_workers, to_stderr)
    finally:
        farm.close()


def to_stderr(line: str) -> None:
    """Say what keeps the work up."""
    print(line, file=sys.stderr, flush=True)
