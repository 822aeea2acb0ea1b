"""Workers of a watch folder on a farm: they answer as those on this machine do; the queue stays the only authority."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ttsr_studio.farm.farm import Farm
from ttsr_studio.farm.messages import Whereabouts
from ttsr_studio.farm.works import HashWork, NotShared, OnShare, RenderWork, Shipment, ShippedRender
from ttsr_studio.rendering.summary import Rendered
from ttsr_studio.rendering.tasks import (
    HashDone,
    Limits,
    OnProgress,
    RenderDone,
    RenderTask,
    StoppedError,
    WorkerProgress,
    hash_file,
    refuse_failure,
)


class FarmWorker:
    """One worker on the farm, for one thread of a service.

    Args:
        mark: a file on the share.
    """

    def __init__(self, farm: Farm, limits: Limits, mark: Path) -> None:
        self.farm, self.limits, self.mark = farm, limits, mark
        self.line = farm.line()

    def ready(self, go_on: Callable[[], bool]) -> bool:
        """Have a live worker before a job is taken; False where the farm has no room for one now."""
        return self.line.open(go_on)

    def trouble(self, due: bool) -> str | None:
        """Why nothing can be done at the moment, in a line; None where something can.

        Args:
            due: whether there is something to do, for which workers are asked of those that hold them.
        """
        return self.farm.trouble() or (self.farm.held() if due else None)

    def rest(self, seconds: float) -> None:
        """Nothing has been there to do for so long."""
        self.line.rest(seconds)

    def stop(self) -> None:
        self.line.close()

    def hash(self, source: Path, on_progress: OnProgress) -> str:
        """The sha256 of a file. Raises what `render` does, and OSError."""
        answer = self._ask(HashWork(OnShare.of(self.mark, source)), source, 0, on_progress)
        if isinstance(answer, NotShared):
            answer = hash_file(source, lambda stage, done, total: went_on(on_progress, stage, done, total))
        assert isinstance(answer, HashDone)
        return answer.sha256

    def render(self, task: RenderTask, on_progress: OnProgress) -> RenderDone:
        """Have a render made.

        Raises:
            TaskFailedError: it cannot be made.
            CrashedError: the worker failed, hung or took too much memory; it is gone then.
            LostError: it went away, or its machine did, or the farm.
            StoppedError: `on_progress` returned False; the worker is gone then, as after whatever that raises.
        """
        share = OnShare.of(self.mark, task.source)
        answer = self._ask(RenderWork(task, share), task.source, share.size, on_progress)
        if isinstance(answer, NotShared):
            answer = self._ask(ShippedRender.of(task), task.source, share.size, on_progress)
        if isinstance(answer, Shipment):
            for name, content in answer.files.items():
                (task.target.parent / name).write_bytes(content)
            answer = answer.rendered
        assert isinstance(answer, Rendered)
        return RenderDone(answer.summary["sha256"], answer.line)

    def _ask(self, work: Any, source: Path, size: int, on_progress: OnProgress) -> Any:
        watchdog = Watchdog(self.limits, size, on_progress)
        answer = self.line.do(work, str(source), watchdog)
        refuse_failure(answer, self.line.close)
        return answer


class Watchdog:
    """Keeps an eye on the silence and the memory of a worker, and passes on where it stands."""

    def __init__(self, limits: Limits, size: int, on_progress: OnProgress) -> None:
        self.limits, self.size, self.on_progress = limits, size, on_progress
        self.last, self.count, self.heard = WorkerProgress("starting"), -1, time.monotonic()

    def __call__(self, standing: Whereabouts | None) -> None:
        """Raises CrashedError for a worker that hangs or takes too much, StoppedError when it is to end."""
        now = time.monotonic()
        if standing and standing.count != self.count:
            self.count, self.heard = standing.count, now
            self.last = WorkerProgress(standing.stage, standing.done, standing.total)
        if standing:
            self.limits.refuse_memory(standing.memory)
        self.limits.refuse_silence(self.last, now - self.heard, self.size)
        if not self.on_progress(self.last):
            raise StoppedError


def went_on(on_progress: OnProgress, stage: str, done: float, total: float) -> None:
    if not on_progress(WorkerProgress(stage, done, total)):
        raise StoppedError
