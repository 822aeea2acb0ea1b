"""One job: from the file that was taken to its render in place."""

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ttsr_studio.config.sidecar import sidecar
from ttsr_studio.errors import Cause, TtsrError, in_one_line, shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.tasks import (
    CrashedError,
    LostError,
    RenderDone,
    RenderTask,
    RenderWorker,
    StoppedError,
    TaskFailedError,
    WorkerProgress,
)
from ttsr_studio.watch.context import ServiceContext
from ttsr_studio.watch.disk_space import refuse_without_disk
from ttsr_studio.watch.folder_config import FolderRule
from ttsr_studio.watch.outcome import EndedError, Ending, Outcome, of_cause, of_error
from ttsr_studio.watch.policy import ease, fingerprint
from ttsr_studio.watch.publish import Publisher, ResultPaths, job_entry, result_paths
from ttsr_studio.watch.queue.jobs import Queue
from ttsr_studio.watch.queue.states import Claim, JobState, Reason
from ttsr_studio.watch.queue.store import JobRecord

DUPLICATE_SECONDS = 2.0
"""Until it is asked again whether another source of the same content is rendered."""

RENEW_SECONDS = 2.0


@dataclass(frozen=True)
class StagedRender:
    """A render that lies in the work folder."""

    sha256: str
    line: str
    duplicate_of: str | None = None


class WatchJob:
    """A file that was taken, and the rule of its folder."""

    def __init__(
        self, context: ServiceContext, queue: Queue, worker: RenderWorker, claim: JobRecord, rule: FolderRule
    ) -> None:
        self.context, self.queue, self.worker = context, queue, worker
        self.claim, self.rule = claim, rule
        self.root, self.source = context.root, context.root.path / claim.path
        self.publisher = Publisher(context.root)
        self.renewed = 0.0

    def run(self) -> Outcome:
        """Do the job; whatever goes wrong becomes an outcome. Raises sqlite3.Error, which is not of this file."""
        try:
            return self._run()
        except EndedError as error:
            return error.outcome
        except StoppedError:
            return Outcome(Ending.STOPPED)
        except CrashedError as error:
            return Outcome(Ending.CRASHED, str(error))
        except LostError as error:
            return Outcome(Ending.MACHINE_LOST if error.machine else Ending.WORKER_LOST, str(error))
        except TaskFailedError as error:
            changed = error.cause is Cause.CHANGED
            if changed or (error.cause is Cause.INPUT and self.root.signature_of(self.claim.path) is None):
                return self._changed()
            return of_cause(error.cause, str(error))
        except OSError as error:
            file = f"{error.filename}: " if error.filename else ""
            return Outcome(Ending.RETRY, f"{file}{error.strerror or error}")
        except TtsrError as error:
            return of_error(error, self.root.available)
        except sqlite3.Error:
            raise  # the service sees to it, and the lease runs out
        except Exception as error:  # one file's trouble, foreseen or not, must not stop the others
            return Outcome(Ending.RETRY, in_one_line(Path(self.claim.path), error))

    def _run(self) -> Outcome:
        if self.root.signature_of(self.claim.path) != self.claim.signature:
            return self._changed()
        options = self.context.rules.options_for(self.claim.path, self.rule)
        sha256 = self.worker.hash(self.source, self._keep_lease)
        mark = fingerprint(options, sidecar(self.source))
        paths = result_paths(self.claim.path, self.queue)
        self._identify(sha256, mark, paths)
        if self.publisher.is_rendered(paths, sha256, mark):
            self._finish(lambda: None)
            return Outcome(Ending.DONE, "was rendered already")
        self.publisher.refuse_foreign(paths, self.claim)
        target = self.publisher.stage(self.claim, paths.output)
        staged = self._copy(target, sha256, mark, options) or self._render(target, options, mark)
        if self.root.signature_of(self.claim.path) not in (self.claim.signature, None):
            return self._changed()
        pairs = self.publisher.pairs(target, paths)
        self.publisher.refuse_foreign(paths, self.claim)
        self._require(self.queue.intend(self.claim, staged.sha256))
        earlier = self.publisher.replaced(paths)
        self._finish(lambda: self.publisher.put(pairs), staged.duplicate_of)
        self.publisher.clear_replaced(earlier, paths, self.source)
        line = staged.line.replace(shown(target), shown(Path(paths.output)))
        return Outcome(Ending.DONE, line, self.root.path / paths.report)

    def _identify(self, sha256: str, mark: str, paths: ResultPaths) -> None:
        """Write down what the job is of. Ends it where the same is being rendered of another source."""
        whose = self.queue.identify(self.claim, sha256, mark, paths.output, paths.report)
        if whose is Claim.DUPLICATE:
            reason = "waits for another source of the same content"
            self.queue.hand_back(self.claim, reason, after=DUPLICATE_SECONDS)
        self._require(whose is Claim.OURS)

    def _copy(self, target: Path, sha256: str, mark: str, options: RenderOptions) -> StagedRender | None:
        """Stage the render of another source of the same content; None where there is none that serves."""
        if options.keep_top > 1 or options.control or options.page:  # there is more than one render to copy
            return None
        for other in self.queue.duplicates(sha256, mark):
            if other.id != self.claim.id and other.state is JobState.DONE and other.duplicate_of is None:
                entry = job_entry(self.claim.path, mark, other.path)
                made = self.publisher.copy_duplicate(other, target, Path(self.claim.path).name, entry)
                if made is not None:
                    return StagedRender(made, f"the same as {shown(Path(other.path))}", other.path)
        return None

    def _render(self, target: Path, options: RenderOptions, mark: str) -> StagedRender:
        """Have the file rendered."""
        refuse_without_disk(self.root, self.claim)
        policy = self.context.options.policy
        eased = ease(replace(options, device=policy.device), self.claim.crashes, policy.cpu)
        made: RenderDone = self.worker.render(RenderTask(self.source, target, eased), self._keep_lease)
        self.publisher.annotate(target, job_entry(self.claim.path, mark))
        return StagedRender(made.sha256, made.line)

    def _keep_lease(self, progress: WorkerProgress) -> bool:
        """Renew the lease while the worker says where it stands; returns whether to go on."""
        now = time.monotonic()
        if now - self.renewed > min(RENEW_SECONDS, self.queue.lease / 4):
            self.renewed = now
            values = {"stage": progress.stage, "done": progress.done, "total": progress.total}
            self._require(self.queue.renew(self.claim, json.dumps(values)))
        return not self.context.stop.overdue

    def _finish(self, place: Callable[[], None], duplicate_of: str | None = None) -> None:
        move = self.rule.finished == "move"
        self._require(self.queue.finish(self.claim, place, move=move, duplicate_of=duplicate_of))

    @staticmethod
    def _require(ours: bool) -> None:
        if not ours:
            raise EndedError(Outcome(Ending.LOST))

    def _changed(self) -> Outcome:
        """What comes of a job whose file is not what it was when it was taken."""
        seen = self.root.signature_of(self.claim.path)
        if seen is not None:
            self.queue.changed(self.claim, seen)
            return Outcome(Ending.CHANGED)
        if not self.root.available:
            return Outcome(Ending.RETRY, "the watched root is away; is its disk or share mounted?")
        return self._moved() or Outcome(Ending.FAILED, Reason.GONE)

    def _moved(self) -> Outcome | None:
        """Forget the file under its old path where it was moved within the root; None where it was not."""
        there = [path for path in self.queue.paths_of_same_file(self.claim) if self.root.signature_of(path)]
        if not there or not self.queue.hand_back(self.claim, None):
            return None
        self.queue.forget_moved({there[0]: self.claim.signature}, lambda path: self.root.signature_of(path) is None)
        return Outcome(Ending.MOVED, there[0])
