"""What is evaluated: the input itself, replication, the ceiling, renders, and finished audio of other systems."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from ttsr_studio.config.annotations import read_annotations
from ttsr_studio.errors import MissingError, OptionError
from ttsr_studio.evaluation.benchmark.baselines import replicate
from ttsr_studio.evaluation.benchmark.ceiling import ceiling
from ttsr_studio.evaluation.benchmark.dataset import (
    RATE,
    Audio,
    Clip,
    find_output,
    fit,
    output_folder,
    read_audio,
    resample,
    write_audio,
)
from ttsr_studio.evaluation.benchmark.degradation import LowPass, kept_hz, simulate
from ttsr_studio.evaluation.benchmark.system_spec import Spec
from ttsr_studio.options import RenderOptions
from ttsr_studio.render.inference.session import Session


@dataclass(frozen=True)
class Item:
    """One clip at one cutoff.

    Attributes:
        truth: [channels, samples] at 48 kHz.
        lr: the input made from it, at `lr_rate`.
        folder: for files that live as long as the item.
    """

    clip: Clip
    cutoff_hz: float
    low_pass: LowPass
    truth: Audio
    lr: Audio
    lr_rate: int
    folder: Path

    @classmethod
    def make(cls, clip: Clip, cutoff_hz: float, low_pass: LowPass, seconds: float | None, folder: Path) -> "Item":
        """Read a clip and simulate its input. Raises InputError when it cannot be read."""
        truth = read_audio(clip.path, seconds)
        return cls(clip, cutoff_hz, low_pass, truth, *simulate(truth, cutoff_hz, low_pass), folder)

    def fitted(self, audio: Audio, what: str) -> Audio:
        """Audio at 48 kHz in the truth's shape; see `corpus.fit`."""
        return fit(audio, self.truth.shape[0], self.truth.shape[1], what)

    def lr_wide(self) -> Audio:
        """The input at 48 kHz, in the truth's shape."""
        return self.fitted(resample(self.lr, self.lr_rate, RATE), self.clip.name)


@dataclass(frozen=True)
class Made:
    """A system's output [channels, samples] at 48 kHz, in the truth's shape, and what it took; NaN where unknown.

    Attributes:
        held_out: what the first held-out judge of a render said of the choice.
    """

    audio: Audio
    nfe: float = math.nan
    seconds: float = math.nan
    peak_rss_mb: float = math.nan
    detected_cutoff_hz: float | None = None
    held_out: float = math.nan


class System(Protocol):
    """Something that answers an input.

    Attributes:
        settings: what the results say of it, and what curves are drawn over.
    """

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> dict[str, Any]: ...

    def identity(self, clip: Clip, cutoff_hz: float) -> dict[str, Any]:
        """Everything besides clip, cutoff and low-pass that its output depends on, as plain data."""
        ...

    def make(self, item: Item) -> Made: ...


@dataclass
class Cost:
    seconds: float = math.nan
    peak_rss_mb: float = math.nan


@contextmanager
def measured() -> Iterator[Cost]:
    """Wall seconds, and the largest resident memory of the whole process meanwhile.

    Where the system cannot reset its high-water mark (only Linux can), memory is the largest since the start.
    """
    reset_peak()
    cost, began = Cost(), time.perf_counter()
    yield cost
    cost.seconds, cost.peak_rss_mb = time.perf_counter() - began, peak_rss_mb()


def reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # not Linux, or not allowed: documented above


def peak_rss_mb() -> float:
    """Largest resident memory, MB of 1e6 bytes; NaN on Windows."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return float(lines["VmHWM"].split()[0]) * 1024 / 1e6 if "VmHWM" in lines else math.nan
    if sys.platform == "win32":
        return math.nan
    import resource

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


@dataclass(frozen=True)
class Plain:
    """A system without a model."""

    name: str
    answer: Callable[[Item], Audio]
    settings: dict[str, Any] = field(default_factory=dict)

    def identity(self, clip: Clip, cutoff_hz: float) -> dict[str, Any]:
        return {"plain": self.name}

    def make(self, item: Item) -> Made:
        with measured() as cost:
            audio = self.answer(item)
        return Made(audio, 0.0, cost.seconds, cost.peak_rss_mb)


INPUT = "lr"
"""The system that answers with the input itself."""

PLAIN: dict[str, Callable[[Item], Audio]] = {
    INPUT: Item.lr_wide,
    "replication": lambda item: replicate(item.lr_wide(), kept_hz(item.cutoff_hz, item.low_pass)),
    "ceiling": lambda item: ceiling(item.lr_wide(), item.truth, kept_hz(item.cutoff_hz, item.low_pass)),
}


@lru_cache(maxsize=1)
def session_for(options: RenderOptions) -> Session:
    """A loaded session; only the latest is kept in memory."""
    return Session(options)


def weights_of(session: Session) -> dict[str, str]:
    """sha256 of every weights file in use, by name."""
    weights = dict(session.engine.weights())
    for verifier in session.panel.everyone:
        weights |= verifier.weights
    return weights


@dataclass(frozen=True)
class Render:
    """`ttsr render` with some options.

    Attributes:
        tell_cutoff: give it the true cutoff instead of letting it detect one.
        weights: sha256 of every weights file in use.
        settings: options with the device and the engine's own defaults filled in; with `window_nfe`, the evaluations
            of a window and channel.
    """

    name: str
    options: RenderOptions
    tell_cutoff: bool
    weights: dict[str, str]
    settings: dict[str, Any]

    @classmethod
    def load(cls, spec: Spec, tell_cutoff: bool) -> "Render":
        """Check that a system can run here. Raises OptionError or MissingError when it cannot."""
        session = session_for(spec.options)
        settings = spec.options.to_json() | {
            "solver": session.solver,
            "steps": session.steps,
            "schedule": session.schedule,
            "temperature": session.temperature,
            "device": session.device,
            "window_nfe": session.window_nfe,
        }
        return cls(spec.name, spec.options, tell_cutoff, weights_of(session), settings)

    def identity(self, clip: Clip, cutoff_hz: float) -> dict[str, Any]:
        return {"options": self.settings, "weights": self.weights, "tell_cutoff": self.tell_cutoff}

    def session(self, cutoff_hz: float) -> Session:
        """The session, told the cutoff or not.

        Raises MissingError when its weights are no longer those that the results are kept under.
        """
        options = replace(self.options, cutoff=cutoff_hz) if self.tell_cutoff else self.options
        session = session_for(options)
        if weights_of(session) != self.weights:
            raise MissingError("a weights file was changed during the evaluation; run it again")
        return session

    def make(self, item: Item) -> Made:
        from ttsr_studio.render.pipeline import render
        from ttsr_studio.render.request import RenderRequest

        session = self.session(item.cutoff_hz)
        source, target, truth = (item.folder / name for name in ("input.wav", "output.wav", "truth.wav"))
        write_audio(source, item.lr, item.lr_rate)
        if self.options.reference:
            write_audio(truth, item.truth, RATE)
        with measured() as cost:
            known = read_annotations(source, session.options, session.engine.sample_rate)
            reference = truth if self.options.reference else None
            request = RenderRequest(source, target, known, reference, report=False)
            done = render(session, request)
        audio = item.fitted(read_audio(target), f"{self.name}, {item.clip.name}")
        nfe = float(done.summary["nfe"])
        judged = done.summary["judged"].values()
        held_out = [judge["chosen"] for judge in judged if judge["role"] == "held-out" and judge["chosen"] is not None]
        heard = float(held_out[0]) if held_out else math.nan
        return Made(audio, nfe, cost.seconds, cost.peak_rss_mb, done.summary.get("cutoff_hz"), heard)


@dataclass(frozen=True)
class Finished:
    """Another system's finished audio, found by the clips' stems."""

    name: str
    folders: dict[float, Path]
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def find(cls, name: str, folder: Path, cutoffs: list[float]) -> "Finished":
        """Raises OptionError when there is no folder for a cutoff."""
        if not folder.is_dir():
            raise OptionError(f"--outputs {folder}: no such folder")
        return cls(name, {cutoff: output_folder(folder, cutoff, len(cutoffs)) for cutoff in cutoffs})

    def identity(self, clip: Clip, cutoff_hz: float) -> dict[str, Any]:
        path = find_output(self.folders[cutoff_hz], clip)
        return {"finished": self.name, "audio": Clip(path, path.name, "", None).digest()}

    def make(self, item: Item) -> Made:
        path = find_output(self.folders[item.cutoff_hz], item.clip)
        return Made(item.fitted(read_audio(path), str(path)))
