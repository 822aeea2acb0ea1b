"""The Python API: files and arrays rendered by what is loaded once. `import ttsr_studio as ttsr` offers all of it."""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ttsr_studio.batch.existing import is_replaced, refuse_existing
from ttsr_studio.batch.plan import plan_jobs
from ttsr_studio.batch.python_words import python_words
from ttsr_studio.config.annotations import read_annotations, stated_annotations
from ttsr_studio.config.option_fields import FIELDS
from ttsr_studio.config.resolve import refuse_without_effect, resolve, with_sidecar
from ttsr_studio.errors import InputError, OptionError, shown, unknown
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.progress import Event, Watch
from ttsr_studio.rendering.inference.session import Session, Sessions
from ttsr_studio.rendering.memory import Waveform, render_array
from ttsr_studio.rendering.pipeline import render as render_file
from ttsr_studio.rendering.request import RenderRequest
from ttsr_studio.report.schema import Report
from ttsr_studio.verifiers.protocol import Annotations


@dataclass(frozen=True)
class RenderResult:
    """A file that was rendered. It hashes by its paths and its line, and pickles.

    Attributes:
        path: the output.
        report: everything about the render: input, output, candidates and their scores, what was chosen and why, cost.
        report_path, figure_path, page_path: what was written beside it; None where it was not wanted.
        line: what was done, as the command line says it.
    """

    path: Path
    report: Report = field(hash=False)
    report_path: Path | None
    figure_path: Path | None
    page_path: Path | None
    line: str

    @property
    def sha256(self) -> str:
        """Checksum of the output."""
        return self.report.output.sha256

    @property
    def best(self) -> tuple[Path, ...]:
        """The best renders, best first; more than one with `keep_top`."""
        return tuple(self.path.with_name(each.name) for each in self.report.best)


class Renderer:
    """An engine and its verifiers, loaded once.

    It may be used from several threads, which then take turns: one render at a time is what the engine does. After an
    error, of a file or raised by `on_progress`, it is as good as before. It is a context manager, too: `with
    ttsr.Renderer() as renderer`.

    Args:
        preset: name or path of a preset, as for `ttsr render --preset`.
        options: options of `ttsr render` by name, with "_" for "-": `candidates=16`, `device="cuda"`, `rate=44100`,
            `verifier=["critic", "consensus"]`, `weight={"critic": 2}`. What is given wins over the preset.

    Raises OptionError for options that are unknown, wrong or do not fit together, and MissingError for what is not
    installed.
    """

    def __init__(self, preset: str | os.PathLike[str] = "general", **options: Any) -> None:
        self._turn = threading.RLock()
        with python_words():
            self._given = by_name(options)
            self.options: RenderOptions = resolve(text_of("preset", preset), self._given)
            refuse_without_effect(self.options, self._given)
            self._sessions = Sessions(Session(self.options))

    def __enter__(self) -> "Renderer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what is loaded, which takes memory; the next render loads it again."""
        with self._turn:
            self._sessions = Sessions()

    def render(
        self,
        source: str | os.PathLike[str],
        out: str | os.PathLike[str],
        *,
        annotations: Annotations | None = None,
        report: bool = True,
        overwrite: bool = False,
        on_progress: Watch | None = None,
    ) -> RenderResult:
        """Render a file. A sidecar beside it counts, as for `ttsr render`.

        Args:
            out: a file, a folder, or a template such as "{dir}/{stem}_48k.wav".
            annotations: what is known of the file; None for what its sidecar and the options say.
            report: write the report beside the output.
            overwrite: replace an output that exists.
            on_progress: told where the render stands, some times a second; an exception that it raises ends the render.

        Raises InputError for a source that cannot be rendered, OutputError for an output that cannot be written, and
        OptionError for one that exists or options of the sidecar that are wrong.
        """
        check_kinds(annotations, on_progress)
        with self._turn, python_words():
            path, target = Path(text_of("source", source)), text_of("out", out)
            if path.is_dir():
                raise InputError(f"{shown(path)}: is a folder; render its files one by one, or use `ttsr render`")
            job = plan_jobs((path,), target, self.options)[0]
            options = with_sidecar(job.source, self.options, set(self._given))
            replace = overwrite or is_replaced(job.target, report, skip_existing=False)
            if not overwrite:
                refuse_existing([job], options, "pass overwrite=True or name another")
            session = self._sessions.of(options)
            known = annotations or read_annotations(job.source, options, session.engine.sample_rate)
            request = RenderRequest(
                job.source, job.target, known, reference=job.reference, report=report, replace=replace
            )
            done = render_file(session, request, on_progress or ignore)
        written, figure = done.files or (None, None)
        return RenderResult(done.target, done.report, written, figure, done.page, done.line)

    def enhance(
        self,
        waveform: ArrayLike,
        sample_rate: int,
        *,
        annotations: Annotations | None = None,
        on_progress: Watch | None = None,
    ) -> tuple[NDArray[np.float32], Report]:
        """Render audio in memory -> (audio, report).

        The output is at the rate of the option `rate` (48000 Hz unless told otherwise, "source" for the input's own),
        ceil(samples · rate / sample_rate) samples long, and not limited to full scale where `loudness` is "off".

        Args:
            waveform: floating-point samples, [samples] or [channels, samples], full scale 1.0: an array, nested lists,
                or a torch tensor on any device. It is not changed.
            sample_rate: Hz, of the waveform, a whole number.
            annotations: what is known of it; None for what the options say.
            on_progress: see `render`.

        Returns:
            float32 audio of the input's number of axes, and everything about the render.

        Raises InputError for audio that cannot be rendered, or is full-band already.
        """
        check_kinds(annotations, on_progress)
        with self._turn, python_words():
            given = Waveform.of(waveform, sample_rate)
            if self.options.reference:
                raise OptionError("reference: a file's ground truth; `enhance` takes none, render a file instead")
            session = self._sessions.of(self.options)
            known = annotations or stated_annotations(self.options, session.engine.sample_rate)
            done, report = render_array(session, given, known, on_progress or ignore)
        return done.samples[0] if given.flat else done.samples, report


def render(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    preset: str | os.PathLike[str] = "general",
    **options: Any,
) -> RenderResult:
    """Render one file: `Renderer(preset, **options).render(source, out)`.

    Args:
        source: an audio file.
        out: a file, a folder, or a template such as "{dir}/{stem}_48k.wav".
        preset, options: see `Renderer`; those of `Renderer.render` are taken, too.
    """
    own = {name: options.pop(name) for name in OF_ONE_RENDER if name in options}
    with Renderer(preset, **options) as renderer:
        return renderer.render(source, out, **own)


OF_ONE_RENDER = ("annotations", "report", "overwrite", "on_progress")


def ignore(_event: Event) -> None:
    """Nobody wants to know."""


def by_name(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as Python spells them -> by their names on the command line, their values as those are written there.

    Raises OptionError for unknown ones.
    """
    names = {spelt: name for name, field in FIELDS.items() for spelt in (field.field, name.replace("-", "_"))}
    for option in options:
        if option not in names:
            raise unknown("option", option, {name.replace("-", "_") for name in FIELDS})
    given = [names[option] for option in options]
    if twice := {name for name in given if given.count(name) > 1}:
        raise OptionError(f"{', '.join(twice)}: given twice, as option and as field; leave one out")
    return {names[option]: plain_value(names[option], value) for option, value in options.items()}


def plain_value(name: str, value: Any) -> Any:
    """A value as the table of options takes it: numpy's numbers as Python's, one of several in a list."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, torch.device):
        return str(value)
    return several(name, value) if FIELDS[name].several else value


def several(name: str, value: Any) -> tuple[Any, ...]:
    """Values of an option that takes several: of a list, a mapping, or one alone. Raises OptionError."""
    items = (value,) if isinstance(value, str | os.PathLike) else value
    items = tuple(items.items()) if isinstance(items, Mapping) else items
    pairs = "=" in str(FIELDS[name].several)
    if not isinstance(items, list | tuple) or not all(
        isinstance(each, str)
        or (pairs and isinstance(each, list | tuple) and len(each) == 2)
        or (not pairs and isinstance(each, os.PathLike))
        for each in items
    ):
        taken = f"a list of {FIELDS[name].several}, or a dict" if pairs else f"a list of {FIELDS[name].several}"
        raise OptionError(f"--{name} {value!r}: {taken} is wanted")
    return tuple(items)


def text_of(name: str, path: str | os.PathLike[str]) -> str:
    """A path or name as a text. Raises OptionError for what is none."""
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise OptionError(f"{name}: a text or a path is wanted, not {path!r}") from None
    if not text or "\0" in text:
        raise OptionError(f"{name}: {text!r} names no file")
    return text


def check_kinds(annotations: Annotations | None, on_progress: Callable[[Event], None] | None) -> None:
    """Raise OptionError for arguments of another kind."""
    if annotations is not None and not isinstance(annotations, Annotations):
        raise OptionError(f"annotations: ttsr.Annotations is wanted, not {type(annotations).__name__}")
    if on_progress is not None and not callable(on_progress):
        raise OptionError(f"on_progress: a function of an event is wanted, not {on_progress!r}")
