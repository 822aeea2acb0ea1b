"""The worker on a machine of the farm: a Ray actor whose engine stays loaded. It knows nothing of queues or files."""

import os
import pickle
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import psutil

from ttsr_studio.farm.identity import how_it_differs, installation
from ttsr_studio.rendering.inference.progress import CancellationToken
from ttsr_studio.rendering.tasks import Workplace, guarded


class Work(Protocol):
    """What an actor is told: data that pickles, and does its work where it is called.

    Attributes:
        source: the file that it is about, for messages.
    """

    @property
    def source(self) -> Path: ...

    def __call__(self, place: Workplace) -> Any: ...


class LeftError(BaseException):
    """The work is not wanted any more. No `Exception`, since nothing on the way may take it for a failure."""


class RenderActor:
    """One worker. Ray calls `do` in one thread and the others beside it."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.sessions: Any = None
        self.what, self.stage, self.amount, self.count = "", "starting", (0.0, 0.0), 0
        self.stop, self.leaving = CancellationToken(), False
        self.turn = threading.Lock()

    def meet(self, ours: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str], str | None]:
        """Who and where this is, what is installed here, and how that differs from what is wanted."""
        theirs = installation()
        who = {"host": socket.gethostname(), "pid": os.getpid()}
        return who, theirs, how_it_differs(ours, theirs)

    def do(self, work: bytes, what: str, stopped: bool) -> bytes:
        """Do some work: its pickled answer, or `TaskFailed`."""
        import torch

        from ttsr_studio.config.annotations import read_annotations
        from ttsr_studio.rendering.inference.session import Sessions

        with self.turn:
            self.what, self.stop, self.leaving = what, CancellationToken(), False
            self.stop.asked = stopped
            self._report("loading", 0, 1)
            torch.set_num_threads(max(1, min(self.threads, os.cpu_count() or 1)))
            if self.sessions is None:
                self.sessions = Sessions()
            asked: Work = pickle.loads(work)
            place = Workplace(self.sessions, self._report, read_annotations, self.stop)
            try:
                answer = guarded(asked.source, lambda: asked(place))
            except LeftError:
                answer = None
            finally:
                self.what = ""
            return pickle.dumps(answer, protocol=5)

    def told(self) -> tuple[str, str, float, float, int, int]:
        """What is done here, its stage, done, total, how often that was reported, and the bytes of memory taken."""
        return self.what, self.stage, *self.amount, self.count, int(psutil.Process().memory_info().rss)

    def at(self) -> dict[str, Any]:
        """Where this is and what it does, for whoever asks."""
        import ray

        done, total = self.amount
        return {
            "node": ray.get_runtime_context().get_node_id(),
            "pid": os.getpid(),
            "does": self.what or None,
            "stage": self.stage if self.what else None,
            "share": done / total if self.what and total else None,
            "cards": os.environ.get("CUDA_VISIBLE_DEVICES") or None,  # as Ray sets it
            "memory": int(psutil.Process().memory_info().rss),
        }

    def enough(self, leave: bool) -> None:
        """End the work with the best so far, or leave it."""
        self.stop.asked = True
        self.leaving |= leave

    def _report(self, stage: str, done: float, total: float) -> None:
        if self.leaving:
            raise LeftError
        self.stage, self.amount = stage, (done, total)
        self.count += 1
