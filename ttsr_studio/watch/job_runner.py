"""One pair of hands of the service: takes a job, has it rendered, and sees to what becomes of it."""

import json
import shutil
import sqlite3
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ttsr_studio.audio.formats import KEPT
from ttsr_studio.config.sidecar import sidecar
from ttsr_studio.errors import TtsrError, in_one_line, shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.watch.event_log import Journal
from ttsr_studio.watch.filesystem.instance_lock import slot_of
from ttsr_studio.watch.filesystem.root import Tree
from ttsr_studio.watch.folder_config import Rule, Rules
from ttsr_studio.watch.policy import (
    FIRST_WAIT,
    LONGEST_WAIT,
    MOST_DEATHS,
    SETTINGS_WAIT,
    FailedError,
    LostError,
    RetryError,
    Stop,
    Terms,
    ease,
    fingerprint,
)
from ttsr_studio.watch.publish import TAKEN_AGAIN, Delivery, Place, place_of
from ttsr_studio.watch.queue.jobs import GONE, Queue
from ttsr_studio.watch.queue.store import Entry
from ttsr_studio.watch.workers.process import Said, Task, blame
from ttsr_studio.watch.workers.supervisor import DeadError, StoppedError, Worker

TWIN_WAIT = 2.0
SPACE_WAIT = 60.0
IDLE_SECONDS = 900.0
"""After so long without work the engine is unloaded."""

NOTIFY_SECONDS = 60.0
IN_SIDECARS = {
    "use --salvage": "put salvage = true into its sidecar",
    "Pass --cutoff HZ": "Put cutoff = HZ into its sidecar",
}
"""What messages say of flags, in words for those who have none."""

ROOM_LOSSY, ROOM = 40, 16
"""Bytes that a render may need, on disk and for a while, for every byte of its source."""


class Hand:
    """Works through the queue until told to stop; for one thread.

    Args:
        owner: name of the service.
        number: of this hand within it.
    """

    def __init__(
        self,
        owner: str,
        number: int,
        tree: Tree,
        queue: Queue,
        rules: Rules,
        terms: Terms,
        journal: Journal,
        stop: Stop,
    ) -> None:
        self.owner, self.tree, self.queue, self.rules = owner, tree, queue, rules
        self.terms, self.journal, self.stop = terms, journal, stop
        self.delivery = Delivery(tree)
        self.worker = Worker(tree.state / f"{slot_of(owner)}-worker-{number}.log", terms.limits)
        self.rested = time.monotonic()
        self.renewed = 0.0

    def step(self) -> bool:
        """Do one job; False when there was none to do."""
        ready = self.tree.here and not self.short_of_space()
        claim = self.queue.claim(self.owner) if ready else None
        if claim is None:
            if time.monotonic() - self.rested > IDLE_SECONDS:
                self.worker.stop()
            return False
        try:
            self.do(claim)
        finally:
            self.delivery.clear(claim)
            self.rested = time.monotonic()
        return True

    def close(self) -> None:
        self.worker.stop()

    def do(self, claim: Entry) -> None:
        """Do a job, and settle what became of it."""
        self.journal("started", file=claim.path, attempt=claim.attempts)
        began = time.monotonic()
        rule = self.rules.base
        try:
            rule = self.rules.of(claim.path)
            line = self.carry_out(claim, rule)
        except LostError:
            self.journal("left", file=claim.path)
        except StoppedError:
            self.queue.hand_back(claim, None)
            self.journal("handed back", file=claim.path)
        except DeadError as error:
            self.died(claim, str(error), rule)
        except FailedError as error:
            self.failed(claim, str(error), rule)
        except RetryError as error:
            self.later(claim, str(error), error.longest, error.first)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            self.later(claim, f"{place}{error.strerror or error}", LONGEST_WAIT, FIRST_WAIT)
        except TtsrError as error:
            kind = blame(error) if self.tree.here else "around"
            if kind == "input":
                self.failed(claim, str(error), rule)
            else:
                self.later(claim, str(error), SETTINGS_WAIT if kind == "settings" else LONGEST_WAIT, FIRST_WAIT)
        except sqlite3.Error:
            raise  # not of this file: the service sees to it, and the lease runs out
        except Exception as error:  # one file's trouble, foreseen or not, must not stop the others
            self.later(claim, in_one_line(Path(claim.path), error), LONGEST_WAIT, FIRST_WAIT)
        else:
            if line:
                self.journal("done", file=claim.path, seconds=round(time.monotonic() - began, 2), said=line)

    # The job itself

    def carry_out(self, claim: Entry, rule: Rule) -> str | None:
        """Render a file and put the result in its place; what to say of it, None when nothing came of it yet."""
        if self.tree.look_at(claim.path) != claim.signature:
            self.became_another(claim)
            return None
        options = self.rules.options_for(claim.path, rule)
        sha256 = self.asked(claim, self.worker.hash(self.tree.root / claim.path, self.told(claim)), rule).sha256
        mark = fingerprint(options, sidecar(self.tree.root / claim.path))
        place = place_of(claim.path, self.queue)
        self.identify(claim, sha256, mark, place)
        move = rule.finished == "move"
        if self.delivery.found(place, sha256, mark):
            self.ours(self.queue.finish(claim, lambda: None, move=move))
            self.settled(claim)
            return "was rendered already"
        self.delivery.refuse_foreign(place, claim)
        job = {"source": shown(Path(claim.path)), "fingerprint": mark, "duplicate_of": None}
        target = self.delivery.stage(claim, place.output)
        alone = options.keep_top > 1 or options.control or options.page  # there is more than a twin's render to copy
        twin, made = (None, None) if alone else self.take_twin(claim, sha256, mark, target, job)
        line = f"the same as {twin}"
        if made is None:
            self.refuse_without_room(claim)
            said = self.render(claim, target, options, rule)
            if said is None:
                self.became_another(claim)
                return None
            made, line = said.sha256, said.line.replace(shown(target), shown(Path(place.output)))
            self.delivery.annotate(target, job)
        if self.tree.look_at(claim.path) not in (claim.signature, None):
            self.became_another(claim)
            return None
        pairs = self.delivery.pairs(target, place)
        self.delivery.refuse_foreign(place, claim)
        self.ours(self.queue.intend(claim, made))
        self.ours(self.queue.finish(claim, lambda: self.delivery.put(pairs), move=move, twin=twin))
        self.settled(claim)
        self.notify("done", self.tree.root / place.report)
        return self.tree.name(line)

    def identify(self, claim: Entry, sha256: str, mark: str, place: Place) -> None:
        """Write down what a job is of. Raises LostError where the same is being rendered of another source."""
        whose = self.queue.identify(claim, sha256, mark, place.output, place.report)
        if whose == "twin":
            self.queue.hand_back(claim, "waits for another source of the same content", after=TWIN_WAIT)
        if whose != "ours":
            raise LostError

    def became_another(self, claim: Entry) -> None:
        """The file is not what it was when it was taken."""
        seen = self.tree.look_at(claim.path)
        if seen is None and not self.tree.here:
            raise RetryError("the watched root is away; is its disk or share mounted?")
        if seen is None and self.is_elsewhere(claim):
            return
        if seen is None:
            raise FailedError(GONE)
        self.queue.changed(claim, seen)
        self.journal("changed", file=claim.path)

    def is_elsewhere(self, claim: Entry) -> bool:
        """Whether a source was moved within the tree; it is forgotten under its old path then."""
        there = [path for path in self.queue.same_as(claim) if self.tree.look_at(path)]
        if not there or not self.queue.hand_back(claim, None):
            return False
        self.queue.forget_moved({there[0]: claim.signature}, lambda path: self.tree.look_at(path) is None)
        self.delivery.clear_note(claim.path)
        self.journal("moved", file=there[0], was=claim.path)
        return True

    def take_twin(
        self, claim: Entry, sha256: str, mark: str, target: Path, job: dict[str, Any]
    ) -> tuple[str | None, str | None]:
        """Stage the render of another source of the same content: (that source, checksum), or Nones."""
        for twin in self.queue.twins(sha256, mark):
            if twin.id != claim.id and twin.state == "done" and twin.twin is None:
                job["duplicate_of"] = shown(Path(twin.path))
                made = self.delivery.copy_twin(twin, target, Path(claim.path).name, job)
                if made is not None:
                    return twin.path, made
                job["duplicate_of"] = None
        return None, None

    def render(self, claim: Entry, target: Path, options: RenderOptions, rule: Rule) -> Said | None:
        """Have a job rendered; None when its file became another meanwhile."""
        eased = ease(replace(options, device=self.terms.device), claim.deaths, self.terms.cpu)
        task = Task(self.tree.root / claim.path, target, eased)
        said = self.worker.render(task, self.told(claim))
        if said.what == "failed" and said.kind == "changed":
            return None
        return self.asked(claim, said, rule)

    def asked(self, claim: Entry, said: Said, rule: Rule) -> Said:
        """What a worker answered, where that is no failure; raises what the failure calls for."""
        if said.what != "failed":
            return said
        reason = self.tree.name(said.line)
        if said.kind == "crash":
            raise DeadError(reason)
        if said.kind in ("around", "settings"):
            raise RetryError(reason, SETTINGS_WAIT if said.kind == "settings" else LONGEST_WAIT)
        if self.tree.look_at(claim.path) is None:
            self.became_another(claim)
        raise FailedError(reason)

    def told(self, claim: Entry) -> Any:
        """Keeps the lease while the worker says where it stands; says whether to go on."""

        def told(said: Said) -> bool:
            now = time.monotonic()
            if now - self.renewed > min(2.0, self.queue.lease / 4):
                self.renewed = now
                progress = {"stage": said.stage, "done": said.done, "total": said.total}
                if not self.queue.renew(claim, json.dumps(progress)):
                    self.worker.stop()
                    raise LostError
            return not self.stop.now

        return told

    @staticmethod
    def ours(still: bool) -> None:
        if not still:
            raise LostError

    # What became of it

    def settled(self, claim: Entry) -> None:
        """What is to be done once a render is in its place."""
        self.delivery.clear_note(claim.path)
        row = self.queue.get(claim.id)
        if row is not None and row.to_move:
            self.move(row)

    def failed(self, claim: Entry, reason: str, rule: Rule) -> None:
        reason = self.in_short(claim, reason)
        if not self.queue.fail(claim, reason, move=rule.finished == "move"):
            return
        self.journal("failed", file=claim.path, reason=reason)
        self.delivery.note(claim.path, f"Could not be rendered: {reason}", TAKEN_AGAIN)
        row = self.queue.get(claim.id)
        if row is not None and row.to_move:
            self.move(row)
        self.notify("failed", self.delivery.note_path(claim.path))

    def later(self, claim: Entry, reason: str, longest: float, first: float) -> None:
        reason = self.in_short(claim, reason)
        wait = min(longest, first * 3.0**claim.tries)
        if not self.queue.hand_back(claim, reason, after=wait, count="tries"):
            return
        self.journal("waiting", file=claim.path, reason=reason, seconds=wait)
        self.delivery.note(claim.path, f"Not rendered yet: {reason}", "It is tried again by and by.")

    def died(self, claim: Entry, how: str, rule: Rule) -> None:
        self.worker.stop()
        how = self.tree.name(how)
        self.journal("worker died", file=claim.path, reason=how, time=claim.deaths + 1)
        if claim.deaths + 1 >= MOST_DEATHS:
            tried = "with smaller batches" + (" and on the CPU" if self.terms.cpu else "")
            self.failed(claim, f"the renderer {how}; {MOST_DEATHS} times, also {tried}", rule)
        else:
            self.queue.hand_back(claim, f"the renderer {how}; tried again with smaller batches", count="deaths")

    def in_short(self, claim: Entry, reason: str) -> str:
        """A reason without the name of the file that it stands beside, or the root's place."""
        for flag, key in IN_SIDECARS.items():
            reason = reason.replace(flag, key)
        return self.tree.name(reason).removeprefix(f"{shown(Path(claim.path))}: ")

    def move(self, row: Entry) -> None:
        try:
            self.delivery.move(row)
        except OSError as error:
            self.journal("not moved", file=row.path, reason=error.strerror or str(error))
        else:
            self.queue.moved(row)

    def notify(self, state: str, path: Path) -> None:
        """Run the program that wants to know. It gets the path as its last argument, never a shell."""
        if not self.terms.notify:
            return
        try:
            done = subprocess.run(
                [*self.terms.notify, str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=NOTIFY_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self.journal("notify failed", reason=str(error))
            return
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            self.journal("notify failed", reason=f"exit code {done.returncode}", said=said, state=state)

    # Room

    def short_of_space(self) -> bool:
        """Whether the disk is too full to begin anything; said once, and in the database for all to see."""
        try:
            free = shutil.disk_usage(self.tree.root).free
        except OSError:
            return not self.tree.here
        reason = None
        if free < self.terms.keep_free:
            reason = (
                f"waits for disk space: {free / 1e6:.0f} MB are free, {self.terms.keep_free / 1e6:.0f} are kept free"
            )
        before = self.queue.fact("waiting")
        if (before is None) != (reason is None):
            self.queue.set_waiting(reason)
            self.journal("disk full" if reason else "disk has room", reason=reason)
        return reason is not None

    def refuse_without_room(self, claim: Entry) -> None:
        """Raise RetryError when a render might not fit on the disks that it needs."""
        factor = ROOM if Path(claim.path).suffix.lower() in KEPT else ROOM_LOSSY
        needed = claim.size * factor
        for folder in (self.tree.root, Path(tempfile.gettempdir())):
            free = shutil.disk_usage(folder).free
            if free < needed:
                where = "here" if folder == self.tree.root else "for temporary files"
                room = f"{free / 1e6:.0f} MB are free {where}, up to {needed / 1e6:.0f} may be needed"
                raise RetryError(f"waits for disk space: {room}", first=SPACE_WAIT)
