"""What a render is asked for, and what one carries along while it runs."""

import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.rendering.inference.progress import Progress
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.verifiers.protocol import Annotations


@dataclass(frozen=True)
class RenderRequest:
    """One file to render.

    Attributes:
        target: final name of the output; its folder is made.
        annotations: what is known of the file.
        reference: ground truth for oracle verifiers.
        report: write `<target stem>.ttsr.json`, `.ttsr.png` and `.ttsr.npz` beside it.
        rewards: file to which every score of every candidate is appended.
        replace: whether an output of this name may be replaced, and then what belonged to it goes.
        inputs: other sources, which stay even if they belonged to it.
    """

    source: Path
    target: Path
    annotations: Annotations = field(default_factory=Annotations)
    reference: Path | None = None
    report: bool = True
    rewards: Path | None = None
    replace: bool = True
    inputs: Collection[Path] = ()


class Stopwatch:
    """Seconds that something took, without those in which it lay."""

    def __init__(self) -> None:
        self._before = 0.0
        self._since: float | None = time.perf_counter()

    def pause(self) -> None:
        self._before = self.seconds()
        self._since = None

    def go_on(self) -> None:
        self._since = time.perf_counter()

    def seconds(self) -> float:
        return self._before + (time.perf_counter() - self._since if self._since is not None else 0.0)


@dataclass(frozen=True)
class RunningRender:
    """A request in hand.

    Attributes:
        files: closes temporary files when the render is over.
        progress: told of every step.
        stages: take the time of every stage.
        watch: says how long it took.
    """

    session: Session
    request: RenderRequest
    files: ExitStack
    progress: Progress
    stages: Stages = field(default_factory=Stages)
    watch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def outputs(self) -> int:
        """Audio files that are written, at most."""
        options = self.session.options
        return max(1, options.keep_top) + (options.take > options.keep_top) + options.control

    def buffer(self, channels: int) -> Scratch:
        """A temporary file for audio of the input's length."""
        return self.files.enter_context(Scratch(channels))
