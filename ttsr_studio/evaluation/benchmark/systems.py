"""What is evaluated: the input itself, replication, the ceiling, renders, and finished audio of other systems."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from ttsr_studio.config.annotations import read_annotations
from ttsr_studio.diagnostics.memory import peak_rss_mb
from ttsr_studio.errors import MissingError, OptionError, shown, unknown
from ttsr_studio.evaluation.benchmark.baselines import replicate
from ttsr_studio.evaluation.benchmark.ceiling import ceiling
from ttsr_studio.evaluation.benchmark.dataset import (
    RATE,
    Audio,
    Clip,
    find_output,
    output_folder,
    read_clip,
    write_float_wav,
)
from ttsr_studio.evaluation.benchmark.degradation import Item
from ttsr_studio.evaluation.benchmark.names import PLAIN_SYSTEMS
from ttsr_studio.evaluation.benchmark.system_spec import Spec
from ttsr_studio.options import RenderOptions
from ttsr_studio.plugins.registry import imported
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.storage.checksum import sha256


@dataclass(frozen=True)
class SystemOutput:
    """A system's output [channels, samples] at 48 kHz, in the truth's shape, and what it took; NaN where unknown.

    Attributes:
        held_out: what the first held-out verifier of a render gives the choice.
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

    def make(self, item: Item) -> SystemOutput: ...


@dataclass
class Cost:
    seconds: float = math.nan
    peak_rss_mb: float = math.nan


@contextmanager
def metered() -> Iterator[Cost]:
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


@dataclass(frozen=True)
class Plain:
    """A system without a model."""

    name: str
    answer: Callable[[Item], Audio]
    settings: dict[str, Any] = field(default_factory=dict)

    def identity(self, clip: Clip, cutoff_hz: float) -> dict[str, Any]:
        return {"plain": self.name}

    def make(self, item: Item) -> SystemOutput:
        with metered() as cost:
            audio = self.answer(item)
        return SystemOutput(audio, 0.0, cost.seconds, cost.peak_rss_mb)


def replication(item: Item) -> Audio:
    """The input with copies of its highest octave."""
    return replicate(item.lr_wide(), item.kept_hz)


def own_ceiling(item: Item) -> Audio:
    """The input with noise under the truth's own envelope."""
    return ceiling(item.lr_wide(), item.truth, item.kept_hz)


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
class RenderSystem:
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
    def load(cls, spec: Spec, tell_cutoff: bool) -> "RenderSystem":
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

    def make(self, item: Item) -> SystemOutput:
        audio, summary, cost = render_item(self.session(item.cutoff_hz), item)
        held_out = [of["chosen"] for of in summary["judged"].values() if of["role"] == "held-out"]
        score = next((float(score) for score in held_out if score is not None), math.nan)
        nfe, cutoff_hz = float(summary["nfe"]), summary.get("cutoff_hz")
        return SystemOutput(audio, nfe, cost.seconds, cost.peak_rss_mb, cutoff_hz, score)


def render_item(session: Session, item: Item) -> tuple[Audio, dict[str, Any], Cost]:
    """Render an item's input: the output in the truth's shape, the render's summary, and what it took."""
    from ttsr_studio.rendering.pipeline import render
    from ttsr_studio.rendering.request import RenderRequest

    source, target, truth = (item.folder / name for name in ("input.wav", "output.wav", "truth.wav"))
    write_float_wav(source, item.lr, item.lr_rate)
    if session.options.reference:
        write_float_wav(truth, item.truth, RATE)
    reference = truth if session.options.reference else None
    with metered() as cost:
        known = read_annotations(source, session.options, session.engine.sample_rate)
        done = render(session, RenderRequest(source, target, known, reference, report=False))
    return item.fitted(read_clip(target), item.clip.name), done.summary, cost


@dataclass(frozen=True)
class FinishedSystem:
    """Another system's finished audio, found by the clips' stems."""

    name: str
    folders: dict[float, Path]
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def find(cls, name: str, folder: Path, cutoffs: list[float]) -> "FinishedSystem":
        """Raises OptionError when there is no folder for a cutoff."""
        if not folder.is_dir():
            raise OptionError(f"--outputs {shown(folder)}: no such folder")
        return cls(name, {cutoff: output_folder(folder, cutoff, len(cutoffs)) for cutoff in cutoffs})

    def identity(self, clip: Clip, cutoff_hz: float) -> dict[str, Any]:
        path = find_output(self.folders[cutoff_hz], clip)
        return {"finished": self.name, "audio": sha256(path)}

    def make(self, item: Item) -> SystemOutput:
        path = find_output(self.folders[item.cutoff_hz], item.clip)
        return SystemOutput(item.fitted(read_clip(path), str(path)))


def plan_systems(
    plain: Sequence[str],
    finished: Sequence[tuple[str, Path]],
    specs: Sequence[Spec],
    cutoffs: Sequence[float],
    tell_cutoff: bool = False,
    baseline: str | None = None,
) -> list[System]:
    """All systems in the order of the tables, checked before anything runs.

    Args:
        plain: names of `PLAIN_SYSTEMS`.
        finished: names and folders of other systems' audio.
        baseline: name of the one that the others are compared with.

    Raises OptionError or MissingError for one that cannot run here, and for names that clash.
    """
    plain = list(dict.fromkeys(plain))
    names = [*plain, *(name for name, _ in finished), *(spec.name for spec in specs)]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"two systems are named {name!r}")
    if baseline is not None and baseline not in names:
        raise unknown("--baseline", baseline, names)
    return [
        *(Plain(name, imported(PLAIN_SYSTEMS[name])) for name in plain),
        *(FinishedSystem.find(name, folder, list(cutoffs)) for name, folder in finished),
        *(RenderSystem.load(spec, tell_cutoff) for spec in specs),
    ]
