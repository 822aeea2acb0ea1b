"""Contact sheets: what went in, the truth, and what every system made of it, clip by clip on one scale.

A sheet is a page of up to 8 clips of a kind at a cutoff: spectrograms (n_fft 2048, hop 512, smaller for clips under
3.4 s; power averaged over channels), linear from 0 to 24 kHz, all from 100 dB under the loudest cell of the kind's
sheets up to it. Panels are kept beside the sheets, under the keys of the results, so that a later run draws its sheets
without rendering again.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from ttsr_studio.analysis.spectrogram_map import SpectrogramMap
from ttsr_studio.errors import OutputError
from ttsr_studio.evaluation.benchmark.dataset import RATE, Audio, Clip
from ttsr_studio.storage.atomic import write_atomic

CLIPS = 8
"""Of a page."""

ROWS, COLUMNS = 256, 320
"""Cells of a panel, at most; a cell shows the largest power in it."""

LOWEST_DB, STEP_DB = -120.0, 0.5
"""Cells are kept in 8 bits: from -120 to 7.5 dB."""

SHEET_RANGE_DB = 100.0
PANEL_INCHES = (2.6, 1.75)
MARGIN_INCHES, HEAD_INCHES, GAP_INCHES = 0.6, 0.75, 0.42
DPI = 120
SHEET_STYLE: dict[str, Any] = {"text.parse_math": False, "font.size": 8.0, "font.family": "DejaVu Sans"}

PictureCells = NDArray[np.uint8]


@dataclass
class Strip:
    """A clip's row of a sheet: the keys of its panels."""

    clip: Clip
    given: str
    truth: str
    systems: dict[str, str] = field(default_factory=dict)


@dataclass
class ContactSheets:
    """The panels of a run, kept in a folder, and the sheets that show them.

    Attributes:
        folder: of the sheets; panels are in `panels` below it.
        sheets: strips by clip name, by kind and cutoff, Hz.
    """

    folder: Path
    sheets: dict[tuple[str, float], dict[str, Strip]] = field(default_factory=dict)

    def path(self, key: str) -> Path:
        return self.folder / "panels" / f"{key}.npz"

    def lacks(self, *keys: str) -> bool:
        return not all(self.path(key).is_file() for key in keys)

    def keep(self, panels: Mapping[str, Audio]) -> None:
        """Keep the spectrograms of audio [channels, samples] at 48 kHz by key. Raises OutputError."""
        for key, audio in panels.items():
            content = BytesIO()
            np.savez_compressed(content, cells=quantised_picture(audio))
            try:
                self.path(key).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"{self.folder}: {error.strerror or error}") from error
            write_atomic(self.path(key), content.getvalue())

    def show(self, clip: Clip, cutoff_hz: float, given: str, truth: str, systems: Mapping[str, str]) -> None:
        """Place panels that are kept: of a clip's input at a cutoff, of its truth, and of systems by name."""
        strips = self.sheets.setdefault((clip.kind, cutoff_hz), {})
        strips.setdefault(clip.name, Strip(clip, given, truth)).systems.update(systems)

    def draw(self, seconds: Mapping[str, float]) -> list[Path]:
        """Draw all sheets and return their files. Raises OutputError when one cannot be written.

        Args:
            seconds: the length of every clip, by name.
        """
        written = []
        for (kind, cutoff), by_name in self.sheets.items():
            name, strips = re.sub(r"[^\w.-]+", "_", kind), list(by_name.values())
            systems = list(dict.fromkeys(system for strip in strips for system in strip.systems))
            keys = [key for strip in strips for key in (strip.given, strip.truth, *strip.systems.values())]
            loudest = max(float(panel_levels(self.panel(key)).max()) for key in keys)
            for first in range(0, len(strips), CLIPS):
                number = f"-{first // CLIPS + 1}" if first else ""
                page = f"{name}-{cutoff:g}{number}.png"
                with style.context(["default", SHEET_STYLE]):
                    content = self.page(strips[first : first + CLIPS], systems, cutoff, loudest, seconds)
                write_atomic(self.folder / page, content)
                written.append(self.folder / page)
        return written

    def panel(self, key: str) -> PictureCells:
        with np.load(self.path(key)) as kept:
            cells: PictureCells = kept["cells"]
        return cells

    def page(
        self,
        strips: Sequence[Strip],
        systems: Sequence[str],
        cutoff_hz: float,
        loudest: float,
        seconds: Mapping[str, float],
    ) -> bytes:
        """A sheet as PNG: clips down; input, truth and systems across; a gap where a system has failed."""
        (wide, high), columns, rows = PANEL_INCHES, len(systems) + 2, len(strips)
        width = 2 * MARGIN_INCHES + wide * columns
        height = HEAD_INCHES + (high + GAP_INCHES) * rows
        figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
        image = None
        for row, strip in enumerate(strips):
            keys = [strip.given, strip.truth, *(strip.systems.get(name) for name in systems)]
            bottom = height - HEAD_INCHES - (high + GAP_INCHES) * row - high
            for column, (title, key) in enumerate(zip(["input", "truth", *systems], keys, strict=True)):
                left = MARGIN_INCHES + wide * column
                axes = figure.add_axes((left / width, bottom / height, 0.97 * wide / width, high / height))
                if row == 0:
                    heading = "\n".join(textwrap.wrap(title, 34)[:2])
                    axes.annotate(
                        heading, (0.5, 1), (0, 15), "axes fraction", "offset points", ha="center", va="bottom"
                    )
                if column == 0:
                    axes.set_title(strip.clip.name, loc="left", fontsize=7, pad=3)
                if key is None:
                    axes.set_axis_off()
                    continue
                levels = panel_levels(self.panel(key)) - loudest
                image = draw_panel(axes, levels, seconds[strip.clip.name], cutoff_hz, strip.clip.edge_hz)
                if column:
                    axes.set_xticklabels([])
                    axes.set_yticklabels([])
        if image is not None:
            bar = figure.add_axes(
                ((MARGIN_INCHES + wide * columns) / width, bottom / height, 0.1 / width, high / height)
            )
            figure.colorbar(image, cax=bar).set_label(f"dB; 0 is {loudest:.0f} dB of full scale", fontsize=6)
            bar.tick_params(labelsize=6)
        content = BytesIO()
        figure.savefig(content, format="png", metadata={"Software": None})
        return content.getvalue()


def draw_panel(
    axes: Axes, levels: NDArray[np.float32], seconds: float, cutoff_hz: float, edge_hz: float | None
) -> AxesImage:
    """Draw levels [rows, columns], dB of the loudest, with lines at the cutoff and at the clip's edge."""
    image = axes.imshow(
        levels,
        extent=(0.0, seconds, 0.0, RATE / 2000),
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-SHEET_RANGE_DB,
        vmax=0.0,
    )
    for hertz, dashes in ((cutoff_hz, (6, 4)), (edge_hz, (1, 3))):
        if hertz is not None:
            axes.axhline(hertz / 1000, color="white", linestyle=(0, dashes), linewidth=0.7, alpha=0.8)
    axes.set_yticks([0, 8, 16, 24], ["0", "8", "16", "24 kHz"])
    axes.tick_params(labelsize=6, length=2, pad=1.5)
    return image


def quantised_picture(audio: Audio) -> PictureCells:
    """The spectrogram of audio [channels, samples] at 48 kHz as 8-bit levels [rows, columns]."""
    cells = SpectrogramMap(RATE, audio.shape[1], columns=COLUMNS, rows=ROWS)
    cells.update(0, audio)
    return np.clip(np.round((cells.decibels() - LOWEST_DB) / STEP_DB), 0, 255).astype(np.uint8)


def panel_levels(panel: PictureCells) -> NDArray[np.float32]:
    """Levels of a panel, dB of a sine at full scale."""
    return (panel * np.float32(STEP_DB) + np.float32(LOWEST_DB)).astype(np.float32)
