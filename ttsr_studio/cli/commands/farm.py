"""`ttsr farm`: the machines of a Ray cluster on which `--farm` works."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ttsr_studio.cli.command import OneLineErrors
from ttsr_studio.cli.farm_flags import FarmFlags, farm_of
from ttsr_studio.cli.json_output import echo_json
from ttsr_studio.errors import OptionError, shown

if TYPE_CHECKING:
    from ttsr_studio.farm.messages import Machine


@click.group("farm")
def farm_group() -> None:
    """The machines of a Ray cluster, on which `ttsr watch`, `render`, `evaluate` and `tune` work with --farm."""


class StatusCommand(OneLineErrors, click.Command):
    """A command whose errors are one line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Say how an address is given where it stands behind --farm, as elsewhere."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name != "--farm":
                raise
            plain = "The address is a plain argument: `ttsr farm status HOST:PORT`."
            raise click.UsageError(f"{error.format_message()} {plain}", ctx) from error


@farm_group.command("status", cls=StatusCommand)
@click.argument("address", default="auto", metavar="[ADDRESS]")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status_command(address: str, as_json: bool) -> None:
    """Machines, their cards, what each does, and which of them differ from this one.

    ADDRESS is the head's HOST:PORT; without it, the cluster that this machine belongs to. Exit code 1 when a machine
    has other versions, code or weights than this one or cannot say which, 2 when the farm cannot be reached.
    """
    from ttsr_studio.farm.census import GOING, how_it_agrees
    from ttsr_studio.farm.farm import check_farm

    flags = FarmFlags(check_farm(address))
    with farm_of(flags, lambda line: None) as farm:
        if reason := farm.reach():
            raise OptionError(reason if address == "auto" else f"{address}: {reason}")
        found, machines, head = farm.census(installed=True), farm.machines, farm.head
    workers = found.workers
    names = {each.node: f"{each.host} ({each.address}, {each.node[:8]})" for each in machines}
    going = [node for node, line in found.differences.items() if line == GOING]
    differing = {node: line for node, line in found.differences.items() if line and node not in going}
    if as_json:
        told = [{**asdict(each), "differs": differing.get(each.node), "going": each.node in going} for each in machines]
        echo_json({"head": head, "machines": told, "workers": [dict(each) for each in workers]}, indent=2)
    else:
        click.echo(f"head at {head}{', found by auto' if address == 'auto' else ''}")
        say_status(machines, workers)
        for node in going:
            click.echo(f"{names.get(node, node[:8])} {GOING}")
        for node, line in differing.items():
            click.echo(f"differs from this machine: {names.get(node, node[:8])}: {line}; {how_it_agrees(line)}")
        if not differing:
            others = "all others" if going else "all"
            click.echo(f"{others} have the versions, the code and the weights of this machine")
    sys.exit(1 if differing else 0)


def say_status(machines: Sequence["Machine"], workers: Sequence[Mapping[str, Any]]) -> None:
    """Say what there is, and what goes on."""
    slots = sum(each.slots for each in machines)
    click.echo(f"{several_of(len(machines), 'machine')}, room for {several_of(slots, 'worker')}, {len(workers)} there")
    for each in machines:
        click.echo(machine_line(each))
        for line in worker_lines(each.node, workers):
            click.echo(f"  {line}")


def several_of(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def machine_line(machine: "Machine") -> str:
    """A machine in a line: name, address, what it has, and what keeps it from being used."""
    cards, processors = machine.resources.get("GPU", 0), machine.resources.get("CPU", 0)
    has = [f"{cards:g} GPU"] if cards else []
    has += [f"{processors:g} CPU", f"{machine.resources.get('memory', 0) / 1e9:.0f} GB"]
    more = "; ends soon, takes nothing new" if machine.draining else ""
    more += "" if machine.slots else "; takes no workers"
    return f"{machine.host} ({machine.address}, {machine.node[:8]}): {', '.join(has)}{more}"


def worker_lines(node: str, workers: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the workers on a machine do."""
    lines = []
    for each in workers:
        if each["node"] == node:
            share = "" if each["share"] is None else f" {each['share']:.0%}"
            does = f"{shown(Path(each['does']))}  {each['stage']}{share}" if each["does"] else "nothing"
            card = f"card {each['cards']}, " if each["cards"] else ""
            lines.append(f"{does}  ({each['owner']}; {card}process {each['pid']}, {each['memory'] / 1e9:.1f} GB)")
    return lines
