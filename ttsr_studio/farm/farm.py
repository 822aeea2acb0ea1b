"""A farm as this process has it: lines to workers on other machines, through a gateway that may come and go.

In: an address, and work that pickles. Out: answers, or one of the errors of `rendering.tasks`. Any thread may have
lines, each its own; when the head is gone all of them hear of it, and whoever asks again later gets there again.
"""

import contextlib
import multiprocessing
import pickle
import queue
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from ttsr_studio.errors import MissingError, OptionError, pip_install
from ttsr_studio.farm import gateway
from ttsr_studio.farm.messages import (
    Answered,
    Ask,
    Census,
    Close,
    Do,
    Enough,
    FarmGone,
    FarmSettings,
    FarmState,
    Lost,
    Machine,
    NoRoom,
    Open,
    Opened,
    Seat,
    Wait,
    Whereabouts,
)
from ttsr_studio.rendering.tasks import LostError

POLL_SECONDS = 0.2
WAIT_SECONDS = 1.0
"""Between two words that this one waits."""

REST_SECONDS = 120.0
"""For which a service keeps a worker without work, when nobody waits for it."""

RETRY_SECONDS = 5.0
"""Between two tries to reach a farm that is away."""

CONNECT_SECONDS, SILENCE_SECONDS = 120.0, 30.0
"""For a gateway to find the farm; and without a word from it until it counts as hung."""


UNUSABLE, REACHED = "no machine of the farm can be used", "the farm is reached again"


class FarmAwayError(LostError):
    """The farm cannot be reached; the text says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, machine=True)


def check_farm(address: str) -> str:
    """An address as it is given: "auto" or "HOST:PORT". Raises OptionError, and MissingError without Ray."""
    if not address or address.startswith("-"):
        raise OptionError("--farm needs a value: auto or HOST:PORT")
    if address != "auto" and not re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):\d{1,5}", address):
        client = "; a ray:// address is of another kind" if address.startswith("ray:") else ""
        raise OptionError(f"--farm {address}: auto, or the head's HOST:PORT as `ray start --head` says it{client}")
    if address != "auto" and not 0 < int(address.rpartition(":")[2]) < 1 << 16:
        raise OptionError(f"--farm {address}: a port is a number from 1 to 65535, as `ray start --head` says it")
    if find_spec("ray") is None:
        raise MissingError(f"--farm needs the package 'ray': {pip_install('ttsr-studio[farm]')}")
    return address


class Link:
    """A gateway process, and the thread that hears it.

    Args:
        hear: is told every message, the last of which is `FarmGone`.
    """

    def __init__(self, settings: FarmSettings, hear: Callable[[Any], None]) -> None:
        context = multiprocessing.get_context("spawn")
        self.hear, self.lock, self.gone = hear, threading.Lock(), False
        theirs: Connection
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=gateway.run_gateway, args=(theirs, settings), daemon=True)
        self.process.start()
        theirs.close()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, message: Open | Do | Enough | Close | Ask | Wait) -> None:
        """Tell the gateway; whether it is there yet shows by what is heard of it."""
        try:
            with self.lock:
                self.pipe.send(message)
        except OSError:
            self.end()

    def _listen(self) -> None:
        reason, patience = "its head does not answer", CONNECT_SECONDS
        try:
            while self.pipe.poll(patience):
                message, patience = self.pipe.recv(), SILENCE_SECONDS
                if isinstance(message, FarmGone):
                    reason = message.reason
                    break
                self.hear(message)
        except (EOFError, OSError):
            pass
        self.end()
        self.hear(FarmGone(reason))

    def end(self) -> None:
        """End the process; its workers end with it."""
        self.gone = True
        self.process.kill()


class Farm:
    """The farm at an address.

    Args:
        tell: told once of every machine that cannot be used, in a line, and of a farm that was away and is reached
            again.

    Raises what `check_farm` raises.
    """

    def __init__(self, settings: FarmSettings, tell: Callable[[str], None] = lambda line: None) -> None:
        check_farm(settings.address)
        self.settings, self.tell = settings, tell
        self.lines: dict[int, Line] = {}
        self.machines: tuple[Machine, ...] = ()
        self._link: Link | None = None
        self._number, self._tried, self._head = 0, -RETRY_SECONDS, ""
        self._reason: str | None = None
        self._first = ""
        self._left: float | None = None
        self._unusable: str | None = None
        self.hungry, self._waited = False, 0.0
        self._holders: str | None = None
        self._told: set[str] = set()
        self._lock, self._connecting = threading.Lock(), threading.Lock()
        self._heard = threading.Event()
        self._census: queue.Queue[Census | None] = queue.Queue()

    def reach(self) -> str | None:
        """Why the farm cannot be reached, None when it can; tried anew every few seconds. May take a moment."""
        with self._connecting:
            if self._link is None and time.monotonic() - self._tried >= RETRY_SECONDS:
                self._heard.clear()
                self._link = Link(replace(self.settings, before=self._head), self._hear)
                self._heard.wait(CONNECT_SECONDS + 1)
                self._tried = time.monotonic()
            return None if self._link else f"the farm is away: {self._reason}"

    def trouble(self) -> str | None:
        """Why nothing can be done on the farm at the moment; None where something can."""
        return self.reach() or self._unusable

    def held(self) -> str | None:
        """Who holds all workers where this one has work and not a single one, which others are told; or None."""
        if self.room or self.trouble() or any(line.seat or line.opening for line in list(self.lines.values())):
            return None
        if time.monotonic() - self._waited > WAIT_SECONDS:
            self._waited = time.monotonic()
            with contextlib.suppress(FarmAwayError):
                self.send(Wait())
        return self._holders and f"all workers are held by {self._holders}"

    def may_have(self, line: "Line") -> bool:
        """Whether a line may take a worker or keep its own: no second one while others wait for their first."""
        return not (self.hungry and any(each.seat for each in list(self.lines.values()) if each is not line))

    def line(self) -> "Line":
        with self._lock:
            self._number += 1
            made = self.lines[self._number] = Line(self, self._number)
        return made

    def send(self, message: Open | Do | Enough | Close | Ask | Wait) -> None:
        """Raises FarmAwayError."""
        link = self._link
        if link is None:
            raise FarmAwayError(f"the farm is away: {self._reason}")
        link.send(message)

    def close(self) -> None:
        """Let the farm go, and everything that is done on it."""
        if self._link:
            self._link.end()
            self._link.process.join(10)

    def census(self, installed: bool = False) -> Census:
        """What all workers on the farm do, those of others too; and how machines differ. Raises FarmAwayError."""
        self.send(Ask(installed=installed))
        found = self._census.get()
        if found is None:
            raise FarmAwayError(f"the farm is away: {self._reason}")
        return found

    @property
    def head(self) -> str:
        """Address of the head that was reached last; empty at first."""
        return self._head

    @property
    def slots(self) -> int:
        """Workers that the machines take that can be used."""
        return sum(each.slots for each in self.machines if not each.refused and not each.draining)

    @property
    def cards(self) -> float:
        """Cards of the machine that has most."""
        return max((each.resources.get("GPU", 0.0) for each in self.machines), default=0.0)

    @property
    def room(self) -> int:
        """Workers for which there was room a second ago."""
        return sum(each.free for each in self.machines if not each.refused and not each.draining)

    def _hear(self, message: Any) -> None:
        """What the gateway says; called by its thread."""
        if isinstance(message, FarmState):
            self._see(message)
            self._heard.set()
        elif isinstance(message, Census):
            self._census.put(message)
        elif isinstance(message, FarmGone):
            self._census.put(None)
            if self._head and self._left is None:
                self._left = time.monotonic()
                self._first = message.reason.partition(";")[0]  # without what is to be done, as it is done by then
            self._reason, self._link, self.machines = message.reason, None, ()
            for line in list(self.lines.values()):
                line.inbox.put(message)
            self._heard.set()
        else:
            if whose := self.lines.get(message.line):
                whose.inbox.put(message)

    def _see(self, state: FarmState) -> None:
        if self._left is not None:
            away, self._left = time.monotonic() - self._left, None
            self.tell(f"{REACHED}, at {state.head}, after {away:.0f} s; it was away: {self._first}")
        self._head = state.head
        self.machines, self.hungry, self._holders = state.machines, state.hungry, state.holders
        why = [f"{each.host} ({each.address}): {each.refused}" for each in state.machines if each.refused]
        self._unusable = None if self.slots else f"{UNUSABLE}: {'; '.join(why)}" if why else self._why_no_slots()
        for each in state.machines:
            if each.refused and each.node not in self._told:
                self._told.add(each.node)
                self.tell(f"{each.host} ({each.address}) is not used: {each.refused}")

    def _why_no_slots(self) -> str:
        """Why no machine takes workers, and what to do."""
        asked, there = self.settings.gpus or 0.0, self.cards
        if asked <= there:
            return "the farm has no machine that takes workers; join one by `ray start --address=…`"
        most = f"has more than {there:g} of the {asked:g} cards of a worker" if there else "has a card"
        cure = "pass a smaller --farm-gpus" if there else "pass --farm-gpus 0 to work on processors"
        return f"no machine of the farm {most}; {cure}, or join one by `ray start --address=… --num-gpus=N`"


class Line:
    """One worker's place, for one thread."""

    def __init__(self, farm: Farm, number: int) -> None:
        self.farm, self.number = farm, number
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.seat: Seat | None = None
        self.opening, self.count = False, 0

    def open(self, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Have a live worker.

        False where there is no room or no farm at the moment, others wait for a first one, or it is not waited for.
        """
        self._catch_up()
        if self.seat and self._still_used():
            return True
        if self.farm.reach() or not self.farm.room or not self.farm.may_have(self):
            return False
        self.opening = True
        try:
            return self._open(go_on)
        except FarmAwayError:
            return False
        finally:
            self.opening = False

    def do(self, work: Any, what: str, tell: Callable[[Whereabouts | None], None], *, stopped: bool = False) -> Any:
        """Have work done: what it returned, or a `TaskFailed`.

        Args:
            tell: told some times a second where it stands, None while nothing new is known; what it raises ends the
                worker and goes on.
            stopped: whether somebody wants to stop already.

        Raises LostError when the worker or its machine goes away, FarmAwayError when the whole farm does.
        """
        self.count += 1
        try:
            self.farm.send(Do(self.number, self.count, pickle.dumps(work, protocol=5), what, stopped))
            while True:
                match self._next():
                    case Answered(number=self.count, result=result):
                        return pickle.loads(result)
                    case Whereabouts(number=self.count) as standing:
                        tell(standing)
                    case Lost(number=number, how=how, machine=machine) if number in (self.count, -1):
                        raise LostError(how, machine)
                    case FarmGone(reason=reason):
                        raise FarmAwayError(f"the farm is away: {reason}")
                    case None:
                        tell(None)
        except BaseException:
            self.close()
            raise

    def enough(self, leave: bool = False) -> None:
        """Have the work end with the best so far; with `leave` at once, with nothing."""
        with contextlib.suppress(FarmAwayError):  # then it has ended
            self.farm.send(Enough(self.number, leave))

    def _open(self, go_on: Callable[[], bool]) -> bool:
        self.farm.send(Open(self.number))
        while go_on():
            match self._next():
                case Opened(seat=seat):
                    self.seat = seat
                    return True
                case NoRoom(lost=True):
                    self.farm.send(Open(self.number))
                case NoRoom() | FarmGone():
                    return False
        self.close()
        return False

    def rest(self, seconds: float) -> None:
        """End the worker after so long without work, or where somebody waits for one, or its machine is to end."""
        if self.seat and (seconds > REST_SECONDS or self.farm.hungry or not self._still_used()):
            self.close()

    def close(self) -> None:
        """End the worker, whatever it does."""
        self.seat = None
        with contextlib.suppress(FarmAwayError):
            self.farm.send(Close(self.number))

    def _still_used(self) -> bool:
        """Whether its machine takes new work: one that is to end soon, or is gone, does not; nor where others wait."""
        assert self.seat is not None
        machine = next((each for each in self.farm.machines if each.node == self.seat.node), None)
        if machine is not None and not machine.draining and self.farm.may_have(self):
            return True
        self.close()
        return False

    def _catch_up(self) -> None:
        """Hear what was said since the last work."""
        while True:
            try:
                message = self.inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(message, Lost | FarmGone):
                self.seat = None

    def _next(self) -> Any:
        try:
            return self.inbox.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return None


def worker_threads() -> int:
    """Threads of a worker: as many as a render here has, since the same number gives the same bits."""
    import torch

    return torch.get_num_threads()
