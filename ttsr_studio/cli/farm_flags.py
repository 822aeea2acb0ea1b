"""The flags of a farm, for every command that can work on one."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ttsr_studio.cli.help import grouped
from ttsr_studio.errors import OptionError

if TYPE_CHECKING:
    from ttsr_studio.farm.cases import FarmCases
    from ttsr_studio.farm.farm import Farm


@dataclass(frozen=True)
class FarmFlags:
    """What was given: the head's address, cards of a worker, how many workers, and the device that they compute on."""

    address: str
    gpus: float | None = None
    workers: int | None = None
    device: str = "auto"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "FarmFlags | None":
        """Of a command's values; None without a farm.

        Raises OptionError for settings of a farm without one, and what `check_farm` raises for its address.
        """
        address, gpus, workers = (values[name] for name in ("farm", "farm_gpus", "farm_workers"))
        if address is None:
            for name, value in (("--farm-gpus", gpus), ("--farm-workers", workers)):
                if value is not None:
                    raise OptionError(f"{name}: is of a farm; pass --farm too")
            return None
        from ttsr_studio.farm.farm import check_farm

        return cls(check_farm(address), gpus, workers)


def cards(_ctx: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    """Cards of a worker: a fraction of one, or whole ones. Raises BadParameter for what Ray cannot give."""
    if value is None or (math.isfinite(value) and (0 <= value <= 1 or value == int(value) > 0)):
        return value
    raise click.BadParameter("a fraction of a card such as 0.5, a whole number of them, or 0 for none")


def farm_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --farm, --farm-gpus and --farm-workers."""
    for flag in reversed((
        grouped(
            "Farm",
            "--farm",
            metavar="auto or HOST:PORT",
            help="Work on the machines of a Ray cluster (extra ttsr-studio[farm], docs/studio/farm.md); auto: the one "
            "that this machine belongs to.",
        ),
        grouped(
            "Farm",
            "--farm-gpus",
            type=float,
            callback=cards,
            metavar="N",
            help="Cards of one worker; fractions share one, 0 works on processors.  [default: 1 where there are any]",
        ),
        grouped(
            "Farm",
            "--farm-workers",
            type=click.IntRange(1, 256),
            metavar="N",
            help="The most workers at a time.  [default: as many as there is room for, up to 64]",
        ),
    )):  # fmt: skip
        command = flag(command)
    return command


@contextmanager
def farm_of(flags: FarmFlags, tell: Callable[[str], None], what: str = "") -> Iterator["Farm"]:
    """A farm, let go at the end.

    Args:
        tell: told of every machine that cannot be used, in a line.
        what: is worked on, for others on the farm who ask.
    """
    from ttsr_studio.farm.farm import Farm, worker_threads
    from ttsr_studio.farm.identity import installation
    from ttsr_studio.farm.messages import FarmSettings

    owner = f"ttsr {click.get_current_context().info_name} {what}".rstrip()
    settings = FarmSettings(flags.address, flags.gpus, worker_threads(), installation(), owner=owner)
    farm = Farm(settings, tell)
    try:
        yield farm
    finally:
        farm.close()


@contextmanager
def spread_over(flags: FarmFlags | None) -> Iterator["FarmCases | None"]:
    """What measures cases of an evaluation on a farm; None without one. Raises OptionError where it is away."""
    if flags is None:
        yield None
        return
    from ttsr_studio.farm.cases import FarmCases

    def tell(line: str) -> None:
        click.echo(line, err=True)

    with farm_of(flags, tell) as farm:
        if reason := farm.trouble():
            raise OptionError(f"--farm {flags.address}: {reason}")
        yield FarmCases(farm, flags.workers, tell)
