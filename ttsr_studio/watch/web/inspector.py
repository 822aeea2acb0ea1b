"""What the page needs of the engine and the decoders, done in a process of its own: lengths, times, audition pages.

A file that crashes a decoder ends that process and nothing else. It is started when it is asked for, and ended when it
was not for a while.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from ttsr_studio.errors import InputError, TtsrError, shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.tasks import CrashedError, StoppedError, TaskFailedError
from ttsr_studio.watch.policy import WatchPolicy
from ttsr_studio.watch.workers.process import SideTask
from ttsr_studio.watch.workers.supervisor import Supervisor

IDLE_SECONDS = 120.0


@dataclass(frozen=True)
class Length:
    """How long a file is, None in both where it cannot be read, with the reason."""

    seconds: float | None
    channels: int | None
    reason: str | None = None


@dataclass(frozen=True)
class TimesNeeded:
    """How long files are, and how long each would take to render, in seconds; None where that is not known."""

    lengths: tuple[Length, ...]
    render_s: tuple[float | None, ...]
    basis: str | None


@dataclass(frozen=True)
class TimeTask(SideTask):
    """Ask how long files would take; `source` is the first of them, or the root where there is none."""

    sources: tuple[Path, ...]
    options: RenderOptions

    def answer(self) -> TimesNeeded:
        from ttsr_studio.rendering.inference.session import Session

        lengths = tuple(file_length(path) for path in self.sources)
        cost = cost_of(
            replace(self.options, candidates=2, budget=None, keep_top=1, diverse=False, take=1, amount=1.0, tilt=0.0)
        )
        if cost is None:
            return TimesNeeded(lengths, (None,) * len(lengths), None)
        speed = cost.speed(Session(self.options))
        each = [None if one.seconds is None else speed.of(one.seconds, one.channels or 1) for one in lengths]
        return TimesNeeded(lengths, tuple(each), speed.basis)


@cache
def cost_of(options: RenderOptions) -> Any:
    """What rendering costs here, from one trial for every set of options."""
    from ttsr_studio.rendering.estimate import measured_cost
    from ttsr_studio.rendering.inference.session import Session

    return measured_cost(Session(options))


def file_length(path: Path) -> Length:
    from ttsr_studio.audio.decode import probe

    try:
        found = probe(path)
    except (TtsrError, OSError) as error:
        return Length(None, None, str(error).replace(str(path), "").strip(": "))
    return Length(found.frames / found.rate, found.channels)


@dataclass(frozen=True)
class AuditionTask(SideTask):
    """Write the audition page of a render.

    Attributes:
        output, report: the render and its report.
        page: where it is to be written.
        file: its number in the queue, for the page around it.
    """

    output: Path
    report: Path
    page: Path
    file: int

    def answer(self) -> None:
        import numpy as np

        from ttsr_studio.report.html import audition_of, write_page
        from ttsr_studio.report.paths import report_names

        try:
            report = json.loads(self.report.read_text(encoding="utf-8"))
            with np.load(report_names(self.output)[2]) as arrays:
                known = dict(arrays)
        except FileNotFoundError as error:
            if error.filename == str(self.report):
                raise
            known = None
        except ValueError as error:
            raise InputError(f"{shown(Path(self.report.name))}: not a report; render again") from error
        write_page(self.page, audition_of(report, self.output, self.source, known), app={"file": self.file})


class Inspector:
    """Has tasks done one after the other, in a process of their own; for several threads.

    Args:
        log: file for what that process prints.
    """

    def __init__(self, log: Path, policy: WatchPolicy) -> None:
        self.policy = policy
        self.supervisor = Supervisor(log, policy.limits)
        self.lock, self.closed = threading.Lock(), False
        self.timer: threading.Timer | None = None

    def ask(self, task: SideTask) -> Any:
        """The answer to a task. Raises InputError where it cannot be done."""
        with self.lock:
            self._rest()
            if self.closed:
                raise InputError("the service ends")
            try:
                return self.supervisor.side(task, lambda _: not self.closed)
            except (CrashedError, StoppedError, TaskFailedError) as error:
                raise InputError(str(error) or "the service ends") from error
            finally:
                if not self.closed:
                    self.timer = threading.Timer(IDLE_SECONDS, self._stop)
                    self.timer.daemon = True
                    self.timer.start()

    def estimate(self, sources: Sequence[Path], options: RenderOptions, root: Path) -> TimesNeeded:
        """How long files would take."""
        eased = replace(options, device=self.policy.device)
        answer = self.ask(TimeTask(sources[0] if sources else root, tuple(sources), eased))
        assert isinstance(answer, TimesNeeded)
        return answer

    def _rest(self) -> None:
        if self.timer:
            self.timer.cancel()
            self.timer = None

    def _stop(self) -> None:
        with self.lock:
            self.supervisor.stop()

    def close(self) -> None:
        self.closed = True
        with self.lock:
            self._rest()
            self.supervisor.stop()
