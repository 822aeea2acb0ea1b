"""The Python API: files and arrays rendered by what is loaded once. `import ttsr_studio as ttsr` offers all of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ttsr_studio.batch.plan import plan_jobs, refuse_existing
from ttsr_studio.config.annotations import read_annotations, stated_annotations
from ttsr_studio.config.option_fields import FIELDS
from ttsr_studio.config.resolve import resolve, with_sidecar
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
    """A file that was rendered.

    Attributes:
        path: the output.
        report: everything about the render: input, output, candidates and their scores, what was chosen and why, cost.
        report_path, figure_path, page_path: what was written beside it; None where it was not wanted.
        line: what was done, as the command line says it.
    """

    path: Path
    report: Report
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

    Args:
        preset: name or path of a preset, as for `ttsr render --preset`.
        options: options of `ttsr render` by name, with "_" for "-": `candidates=16`, `device="cuda"`, `rate=44100`,
            `verifier=["critic", "consensus"]`. What is given wins over the preset.

    Raises OptionError for options that are unknown, wrong or do not fit together, and MissingError for what is not
    installed.
    """

    def __init__(self, preset: str = "general", **options: Any) -> None:
        self._given = by_name(options)
        self.options: RenderOptions = resolve(preset, self._given)
        self._sessions = Sessions(Session(self.options))

    def render(
        self,
        source: str | Path,
        out: str | Path,
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
        if Path(source).is_dir():
            raise InputError(f"{shown(Path(source))}: is a folder; render its files one by one, or use `ttsr render`")
        job = plan_jobs((Path(source),), str(out), self.options)[0]
        options = with_sidecar(job.source, self.options, set(self._given))
        if not overwrite:
            refuse_existing([job], options, "pass overwrite=True or name another")
        session = self._sessions.of(options)
        known = annotations or read_annotations(job.source, options, session.engine.sample_rate)
        request = RenderRequest(
            job.source, job.target, known, reference=job.reference, report=report, replace=overwrite
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
            waveform: floating-point samples, [samples] or [channels, samples], full scale 1.0.
            sample_rate: Hz, of the waveform.
            annotations: what is known of it; None for what the options say.
            on_progress: see `render`.

        Returns:
            float32 audio of the input's number of axes, and everything about the render.

        Raises InputError for audio that cannot be rendered, or is full-band already.
        """
        given = Waveform.of(waveform, sample_rate)
        session = self._sessions.of(self.options)
        if self.options.reference:
            raise OptionError("reference: a file's ground truth; `enhance` takes none, render a file instead")
        known = annotations or stated_annotations(self.options, session.engine.sample_rate)
        done, report = render_array(session, given, known, on_progress or ignore)
        return done.samples[0] if np.ndim(waveform) == 1 else done.samples, report


def render(source: str | Path, out: str | Path, *, preset: str = "general", **options: Any) -> RenderResult:
    """Render one file: `Renderer(preset, **options).render(source, out)`.

    Args:
        source: an audio file.
        out: a file, a folder, or a template such as "{dir}/{stem}_48k.wav".
        preset, options: see `Renderer`; those of `Renderer.render` are taken, too.
    """
    own = {name: options.pop(name) for name in OF_ONE_RENDER if name in options}
    return Renderer(preset, **options).render(source, out, **own)


OF_ONE_RENDER = ("annotations", "report", "overwrite", "on_progress")


def ignore(_event: Event) -> None:
    """Nobody wants to know."""


def by_name(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as Python spells them -> by their names on the command line. Raises OptionError for unknown ones."""
    names = {spelt: name for name, field in FIELDS.items() for spelt in (field.field, name.replace("-", "_"))}
    for option in options:
        if option not in names:
            raise unknown("option", option, {name.replace("-", "_") for name in FIELDS})
    return {names[option]: value for option, value in options.items()}
