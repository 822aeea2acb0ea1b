"""The process that speaks with Ray, so that nothing which becomes of a farm can end or hang the process that uses it.

Ray ends a driver whose head is gone for a minute, and starts no second time in a process that it was lost in. So the
driver is a child that may be ended and started anew at any time; its actors end with it. It imports no torch.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from textwrap import shorten
from typing import Any

from ttsr_studio.farm.actor import RenderActor
from ttsr_studio.farm.census import census, differing_machines
from ttsr_studio.farm.heads import head_of, refuse_silent
from ttsr_studio.farm.machines import CutOffError, Machines
from ttsr_studio.farm.messages import (
    NAMESPACE,
    Answered,
    Ask,
    Census,
    Close,
    Do,
    Enough,
    FarmGone,
    FarmSettings,
    Lost,
    NoRoom,
    Open,
    Opened,
    Seat,
    Wait,
    Whereabouts,
)
from ttsr_studio.farm.waiting import WaitingList, holders, our_workers, worker_name

BEAT_SECONDS = 1.0
TOLD_SECONDS = 0.4
"""Between two questions to a worker where it stands."""

MEET_SECONDS = 300.0
"""For a worker to start and import what it needs."""

PLACE_SECONDS = 20.0
"""For Ray to start a process on a machine that has room; later somebody else was quicker."""

KNOCK_SECONDS, KNOCKS = 1.0, 3
"""The head is gone when so many connections to it in a row are refused."""

WORK = "work"
"""What a worker does all of its work in, one thread: each further one would keep memory of its own."""

EXIT_GONE = 3


@dataclass
class Desk:
    """A line's worker, as it is known here.

    Attributes:
        met: what its introduction comes by; None once it is through.
        asked: what the answer to its work comes by.
    """

    actor: Any
    node: str
    met: Any
    began: float = field(default_factory=time.monotonic)
    call: Do | None = None
    asked: Any = None
    enough: Enough | None = None
    told: Any = None
    told_at: float = 0.0


def run_gateway(pipe: Connection, settings: FarmSettings) -> None:
    """The main function of the process."""
    print_into(settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they go to the whole group; the parent decides what becomes of the work
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray

        head = head_of(settings)
        with contextlib.redirect_stdout(sys.stderr):
            ray.init(
                address=head, namespace=NAMESPACE, log_to_driver=False, configure_logging=False,
                _skip_env_hook=True,
            )  # fmt: skip
    except Exception as error:
        kind = "" if type(error) is ConnectionError else f"{type(error).__name__}: "
        pipe.send(FarmGone(kind + " ".join(str(error).split())[:300]))
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # Ray has handlers of its own
    threading.Thread(target=end_without_head, args=(ray.get_runtime_context().gcs_address,), daemon=True).start()
    try:
        Gateway(pipe, settings).run()
    except CutOffError as error:
        pipe.send(FarmGone(str(error)))


def print_into(settings: FarmSettings) -> None:
    """Send what Ray prints to the log."""
    file = os.open(settings.log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)


def end_without_head(address: str) -> None:
    """End this process when nobody listens at the head's address any more."""
    refused = 0
    while refused < KNOCKS:
        time.sleep(KNOCK_SECONDS)
        try:
            refuse_silent(address)
            refused = 0
        except ConnectionError:
            refused += 1
    os._exit(EXIT_GONE)


class Gateway:
    """Hands work to actors and answers back; one thread, which never waits for long."""

    def __init__(self, pipe: Connection, settings: FarmSettings) -> None:
        import ray
        import ray.util.scheduling_strategies

        self.ray: Any = ray
        self.pipe, self.settings = pipe, settings
        self.kind: Any = self.ray.remote(concurrency_groups={WORK: 1})(RenderActor)
        self.desks: dict[int, Desk] = {}
        self.owner = f"{settings.owner} on {socket.gethostname()}, process {os.getppid()}"
        self.machines, self.waiting = Machines(ray, settings), WaitingList()
        self.beaten, self.number = 0.0, 0
        self.inbox: list[Any] = []
        self.fresh = threading.Condition()

    def run(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            self._beat()
            with self.fresh:
                if not self.inbox and not self._waiting():
                    self.fresh.wait(0.2)
                messages, self.inbox = self.inbox, []
            for message in messages:
                self._hear(message)
            self._collect()

    def _listen(self) -> None:
        """Take what the parent says; end when it does, whatever the other thread waits for."""
        while True:
            try:
                message = self.pipe.recv()
            except (EOFError, OSError):
                os._exit(0)
            with self.fresh:
                self.inbox.append(message)
                self.fresh.notify()

    # What the parent says

    def _hear(self, message: Open | Do | Enough | Close | Ask | Wait) -> None:
        desk = self.desks.get(message.line)
        if isinstance(message, Open):
            self._open(message.line)
        elif isinstance(message, Ask):
            differing = differing_machines(self.ray, self.machines) if message.installed else {}
            self.pipe.send(Census(tuple(census(self.ray)), differing))
        elif isinstance(message, Wait):
            self.beaten *= self.waiting.count > 0  # who holds them is said at once
            self.waiting.wait()
        elif desk is None:
            if isinstance(message, Do):
                self.pipe.send(Lost(message.line, message.number, "its worker is gone", True))
        elif isinstance(message, Do):
            desk.call, desk.enough = message, None
            doing: Any = desk.actor.do.options(concurrency_group=WORK)
            desk.asked = doing.remote(message.work, message.what, message.stopped)
        elif isinstance(message, Enough):
            desk.enough = message
            desk.actor.enough.remote(message.leave)
        else:
            self._close(message.line)

    def _open(self, line: int) -> None:
        """Start an actor on the machine that has most room."""
        self._close(line)
        self._look()
        machine = self.machines.best()
        if machine is None:
            self.pipe.send(NoRoom(line))
            return
        self.number += 1
        place = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(machine.node, soft=False)
        options = {
            "name": worker_name(self.owner, f"{os.getpid()}.{self.number}"),
            "max_restarts": 0,
            "max_task_retries": 0,
            "max_concurrency": 4,
            "scheduling_strategy": place,
            **self.machines.resources(machine.resources),
        }
        actor: Any = self.kind.options(**options).remote(self.settings.threads)
        self.desks[line] = Desk(actor, machine.node, actor.meet.remote(self.machines.wanted))

    def _close(self, line: int) -> None:
        desk = self.desks.pop(line, None)
        if desk:
            with contextlib.suppress(Exception):  # it may be gone already
                self.ray.kill(desk.actor)

    # What the actors say

    def _waiting(self) -> list[Any]:
        return [ref for desk in self.desks.values() for ref in (desk.met, desk.asked, desk.told) if ref is not None]

    def _collect(self) -> None:
        refs = self._waiting()
        done = set(self.ray.wait(refs, num_returns=1, timeout=0.05)[0]) if refs else set()
        if done:
            done = set(self.ray.wait(refs, num_returns=len(refs), timeout=0)[0])
        now = time.monotonic()
        for line, desk in list(self.desks.items()):
            try:
                if desk.met is not None:
                    self._meet(line, desk, desk.met in done, now)
                    continue
                if desk.told in done:
                    self._tell(line, desk)
                if desk.asked in done:
                    self._answer(line, desk)
                elif desk.told is None and now - desk.told_at > (TOLD_SECONDS if desk.call else BEAT_SECONDS):
                    desk.told, desk.told_at = desk.actor.told.remote(), now
                    if desk.enough:  # said again, since it may have come before the work did
                        desk.actor.enough.remote(desk.enough.leave)
            except self.ray.exceptions.RayError as error:
                self._lose(line, desk, error)

    def _meet(self, line: int, desk: Desk, there: bool, now: float) -> None:
        """See to a worker that starts."""
        if there:
            who, theirs, difference = self.ray.get(desk.met)
            if difference:
                self._refuse(line, desk, difference)
                return
            self.machines.agree(theirs)
            machine, desk.met = self.machines.by_node.get(desk.node), None
            address = machine.address if machine else ""
            self.pipe.send(Opened(line, Seat(desk.node, who["host"], address, who["pid"])))
            self.waiting.leave()
        elif now - desk.began > PLACE_SECONDS and not self._placed(desk):
            self._close(line)
            self.pipe.send(NoRoom(line))
        elif now - desk.began > MEET_SECONDS:
            self._refuse(line, desk, f"a worker did not start within {MEET_SECONDS:.0f} s")

    @staticmethod
    def _placed(desk: Desk) -> bool:
        """Whether a process was begun for a worker: until somebody else's ends there may be no room for it."""
        from ray._private.state import state

        found = state.actor_table(desk.actor._actor_id.hex())
        return not found or found["State"] != "PENDING_CREATION" or bool(found["Address"]["Port"])

    def _refuse(self, line: int, desk: Desk, why: str) -> None:
        """Use a machine no more."""
        self.machines.refuse(desk.node, why)
        self._close(line)
        self._look()
        self.pipe.send(self.machines.state())
        self.pipe.send(NoRoom(line, lost=True))

    def _tell(self, line: int, desk: Desk) -> None:
        ref, desk.told = desk.told, None
        _, stage, done, total, count, memory = self.ray.get(ref)
        if desk.call:
            self.pipe.send(Whereabouts(line, desk.call.number, stage, done, total, count, memory))

    def _answer(self, line: int, desk: Desk) -> None:
        ref, call = desk.asked, desk.call
        assert call is not None
        result = self.ray.get(ref)
        desk.call = desk.asked = desk.enough = None
        self.pipe.send(Answered(line, call.number, result))

    def _lose(self, line: int, desk: Desk, error: Exception) -> None:
        """A worker ended, or its machine did; or it cannot start there."""
        errors = self.ray.exceptions
        self._look()
        machine = self.machines.by_node.get(desk.node)
        host = machine.host if machine else desk.node[:8]
        away = machine is None or isinstance(error, errors.ActorUnavailableError) or "node has died" in str(error)
        away |= machine is not None and machine.draining and isinstance(error, errors.ActorUnschedulableError)
        self._close(line)
        if desk.met is None:
            how = f"the machine {host} went away" if away else f"its worker on {host} ended: {why_ended(error)}"
            self.pipe.send(Lost(line, desk.call.number if desk.call else -1, how, away))
        elif away or (isinstance(error, errors.ActorDiedError) and "Error" not in why_ended(error)):
            self.pipe.send(NoRoom(line, lost=True))
        else:  # it cannot be imported there, say
            self._refuse(line, desk, why_ended(error))

    # The machines

    def _beat(self) -> None:
        if time.monotonic() - self.beaten >= BEAT_SECONDS:
            self._look()
            self.beaten = time.monotonic()
            who = holders(our_workers(self.ray), self.owner) if self.waiting.count else None
            self.pipe.send(replace(self.machines.state(), hungry=self.waiting.others(), holders=who))

    def _look(self) -> None:
        self.machines.look(desk.node for desk in self.desks.values())


def why_ended(error: Exception) -> str:
    """Why a worker ended: in plain words where Ray has its own, else what its error comes to."""
    told, lines = str(error), [line.strip() for line in str(error).splitlines() if line.strip()]
    if "owner has died" in told.lower() or "owner's node" in told.lower():
        return "the part of the cluster that started it has ended"
    if "connection error code" in told or "closed unexpectedly" in told:  # Ray says no more of a process that is gone
        return "it was killed, crashed, or ran out of memory"
    return shorten(lines[-1], 200, placeholder=" …") if lines else type(error).__name__
