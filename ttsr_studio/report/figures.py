"""The picture of a render, `<name>.ttsr.png`: input and output, where the candidates disagree, and their scores.

The same arguments give the same bytes: nothing is drawn at random and no date is stored.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from PIL import Image

from ttsr_studio.analysis.spectrogram_map import SpectrogramMap
from ttsr_studio.analysis.uncertainty import UncertaintyMap
from ttsr_studio.errors import shown
from ttsr_studio.report.schema import Report, WindowRecord
from ttsr_studio.storage.atomic import write_atomic

SIZE_INCHES, DPI = (16.0, 12.0), 100
RANGE_DB = 100.0
TOP_KHZ = 24.0
MOST_STRIPS = 4
CLOCK_STEPS = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
INK, QUIET, CANDIDATE, CHOSEN = "#1d2733", "#6b7785", "#8fa3b8", "#d9480f"
STYLE: dict[str, Any] = {
    "text.parse_math": False,  # file names may hold dollar signs
    "font.family": "DejaVu Sans",
    "font.size": 12.0,
    "text.color": INK,
    "axes.edgecolor": "#c3cbd4",
    "axes.labelcolor": QUIET,
    "axes.labelsize": 11.0,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
}
TITLE: dict[str, Any] = {
    "loc": "left",
    "fontsize": 13,
    "fontweight": "bold",
    "pad": 6,
    "y": 1.0,  # the default, said so that no time is spent on looking for it
}


@dataclass(frozen=True)
class _Scale:
    """How values become colours; `empty` is the colour of what a rate too low leaves empty."""

    unit: str
    colours: str
    low: float
    high: float
    empty: str


LEVELS = _Scale("dB re loudest", "magma", -RANGE_DB, 0.0, "black")
VARIANCE = _Scale("variance, relative", "viridis", 0.0, 1.0, "#440154")


@dataclass(frozen=True)
class _Map:
    """Values [rows, columns] that span 0 to half the rate and the whole file."""

    title: str
    values: np.ndarray
    rate: int
    scale: _Scale


def draw_report(
    path: Path,
    report: Report,
    *,
    before: SpectrogramMap,
    after: SpectrogramMap,
    uncertainty: UncertaintyMap | None = None,
) -> None:
    """Draw a render as a PNG of 1600 x 1200 pixels, written whole or not at all.

    Args:
        path: where to.
        report: titles, cutoff and scores; with up to four search verifiers each gets a strip of its raw scores.
        before, after: complete maps of input and output; both are shown relative to the loudest cell of either.
        uncertainty: None, or a map that saw a single candidate a window, leaves its panel out.

    Raises OutputError when the file cannot be written.
    """
    # The defaults first: a user's own matplotlibrc must not change the picture.
    with style.context(["default", STYLE]):
        figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor="white")
        canvas: Any = FigureCanvasAgg(figure)
        _draw(figure, report, _maps(report, before, after, uncertainty), after.frames / after.rate)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a name in a script that the font has not
            canvas.draw()
    # Smaller and much sooner than by `savefig`: nothing is transparent, and noise cannot be compressed.
    buffer = BytesIO()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    pixels.save(buffer, "PNG", compress_level=4, dpi=(DPI, DPI))
    write_atomic(path, buffer.getvalue())


def _maps(
    report: Report, before: SpectrogramMap, after: SpectrogramMap, uncertainty: UncertaintyMap | None
) -> list[_Map]:
    """The pictures from the top down."""
    levels = [spectrogram.decibels() for spectrogram in (before, after)]
    loudest = max(float(level.max()) for level in levels)
    maps = [
        _Map(title, level - loudest, spectrogram.rate, LEVELS)
        for title, level, spectrogram in zip(("Input", _output_title(report)), levels, (before, after), strict=True)
    ]
    disagreement = None if uncertainty is None else uncertainty.display()
    if uncertainty is not None and disagreement is not None and disagreement.any():
        mean_db = report.uncertainty.mean_db
        title = "Uncertainty" if mean_db is None else f"Uncertainty: candidates differ by {mean_db:.1f} dB on average"
        maps.append(_Map(title, disagreement, uncertainty.rate, VARIANCE))
    return maps


def _output_title(report: Report) -> str:
    holes = report.codec_holes
    if holes is None or not holes.cells:
        return "Output"
    return f"Output: {holes.cells:,} cells that a codec emptied are filled, {100 * holes.share:.2g} % below the edge"


def _draw(figure: Figure, report: Report, maps: Sequence[_Map], seconds: float) -> None:
    strips = _strips(report)
    rows = len(maps) + len(strips)
    grid = GridSpec(
        rows,
        2,
        figure,
        left=0.07,
        right=0.935,
        top=0.872,
        bottom=0.055,
        hspace=0.34,
        wspace=0.02,
        width_ratios=(1.0, 0.012),
        height_ratios=[3.0] * len(maps) + [3.0 if len(strips) == 1 else 1.15] * len(strips),
    )
    axes = [figure.add_subplot(grid[row, 0]) for row in range(rows)]
    bars = [figure.add_subplot(grid[row, 1]) for row in range(len(maps))]
    for axis, bar, each in zip(axes, bars, maps, strict=False):
        _draw_map(axis, bar, each, seconds)
        if report.input.cutoff_hz is not None:
            _draw_cutoff(axis, report.input.cutoff_hz / 1000, labelled=each is maps[0])
    _draw_skirts(axes[0], report)
    for axis, name in zip(axes[len(maps) :], strips, strict=True):
        _draw_scores(axis, report, name)
    _finish_time(axes, seconds)
    _draw_title(figure, report)


def _draw_map(axis: Axes, bar: Axes, each: _Map, seconds: float) -> None:
    """Draw a map on the frequency axis that all have, and its colour scale."""
    scale = each.scale
    axis.set_facecolor(scale.empty)
    image = axis.imshow(
        each.values,
        extent=(0.0, seconds, 0.0, each.rate / 2000),
        origin="lower",
        aspect="auto",
        cmap=scale.colours,
        vmin=scale.low,
        vmax=scale.high,
    )
    axis.set_ylim(0.0, TOP_KHZ)
    axis.set_yticks([0, 4, 8, 12, 16, 20, 24])
    axis.set_ylabel("kHz")
    axis.set_title(each.title, **TITLE)
    colourbar = axis.figure.colorbar(image, cax=bar)
    colourbar.set_label(scale.unit, fontsize=10.5, color=QUIET)
    colourbar.outline.set_visible(False)
    colourbar.locator = MaxNLocator(5)
    colourbar.update_ticks()


def _draw_cutoff(axis: Axes, cutoff_khz: float, labelled: bool) -> None:
    axis.axhline(cutoff_khz, color="white", linestyle=(0, (6, 4)), linewidth=1.3, alpha=0.9)
    if not labelled:
        return
    under = cutoff_khz > TOP_KHZ - 3
    axis.annotate(
        f"cutoff {cutoff_khz:.1f} kHz",
        (0.995, cutoff_khz),
        xycoords=axis.get_yaxis_transform(),
        xytext=(0, -8 if under else 8),
        textcoords="offset points",
        ha="right",
        va="top" if under else "bottom",
        color="white",
        fontsize=11.5,
        bbox={"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 3.0},
    )


def _draw_skirts(axis: Axes, report: Report) -> None:
    """Draw by how much skirts were lifted, from the left edge of the picture on: a fifth of it is 40 dB."""
    for skirt in report.input.skirts:
        share = [0.2 * db / 40 for db in skirt.lift_db]
        khz = [hz / 1000 for hz in skirt.hertz]
        axis.plot([*share, 0.0], [*khz, khz[-1]], color="white", linewidth=1.6, transform=axis.get_yaxis_transform())
    if report.input.skirts:
        most = max(report.input.skirts, key=lambda skirt: max(skirt.lift_db))
        axis.annotate(
            f"skirt lifted by up to {max(most.lift_db):.0f} dB",
            (0.005, most.hertz[-1] / 1000),
            xycoords=axis.get_yaxis_transform(),
            xytext=(0, 6),
            textcoords="offset points",
            color="white",
            fontsize=11.5,
            bbox={"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 3.0},
        )


def _strips(report: Report) -> list[str | None]:
    """The columns of scores that get a strip; None stands for the combined score."""
    columns = dict.fromkeys(name for w in report.windows for candidate in w.candidates for name in candidate.scores)
    names = sorted(columns, key=lambda name: report.verifiers[_verifier(name)].role != "search")
    if len(names) == 1:
        return list(names)
    return [None, *names] if len(names) <= MOST_STRIPS else [None]


def _verifier(column: str) -> str:
    """The verifier of a column: "name", or "name/scale" of a verifier of several scales."""
    return column.split("/")[0]


def _draw_scores(axis: Axes, report: Report, name: str | None) -> None:
    """Draw one score of all candidates, spread over their window, the chosen one on top."""
    every: list[tuple[float, float]] = []
    chosen: list[tuple[float, float]] = []
    for window in report.windows:
        points = _points(window, name)
        every += points
        for part in window.segments:
            axis.hlines(points[part.candidate][1], part.start_s, part.stop_s, color=CHOSEN, linewidth=2.5, zorder=3)
        chosen += [] if window.chosen is None or window.segments else [points[window.chosen]]
    crowd = max((len(window.candidates) for window in report.windows), default=0)
    size = float(np.clip(1600 / max(1, len(every)), 1.2, 6.0))
    axis.plot(*_columns(every), "o", color=CANDIDATE, markersize=size, alpha=0.55, markeredgewidth=0, clip_on=False)
    big = float(np.clip(900 / max(1, len(chosen)), 3.5, 9.0))
    axis.plot(*_columns(chosen), "o", color=CHOSEN, markersize=big, markeredgewidth=0, clip_on=False)
    info = None if name is None else report.verifiers[_verifier(name)]
    unit = info.unit if info else ""
    title = name or "Combined score"
    title += " (held out: watches, chooses nothing)" if info and info.role != "search" else ""
    for window in report.windows[1:]:
        axis.axvline(window.start_s, color="#e6eaee", linewidth=0.8, zorder=0)
    axis.set_title(title, **TITLE)
    axis.set_ylabel(unit)
    axis.yaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2))
    axis.grid(axis="y", color="#e6eaee", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.margins(y=0.12)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    if name is None or len(_strips(report)) == 1:
        legend = f"{crowd} candidates side by side in each window, higher is better  ·"
        axis.text(0.94, 1.03, legend, transform=axis.transAxes, ha="right", va="bottom", fontsize=11, color=QUIET)
        axis.text(
            0.945,
            1.03,
            "▬ segments" if any(window.segments for window in report.windows) else "● chosen",
            transform=axis.transAxes,
            ha="left",
            va="bottom",
            fontsize=11,
            color=CHOSEN,
        )


def _points(window: WindowRecord, name: str | None) -> list[tuple[float, float]]:
    """(seconds, score) of each candidate; what has no score gets NaN, which is not drawn."""
    scores = [c.combined if name is None else c.scores.get(name) for c in window.candidates]
    width = (window.stop_s - window.start_s) / max(1, len(scores))
    values = [np.nan if s is None or not np.isfinite(s) else float(s) for s in scores]
    return [(window.start_s + (i + 0.5) * width, value) for i, value in enumerate(values)]


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _finish_time(axes: Sequence[Axes], seconds: float) -> None:
    """Give all panels one time axis, labelled below the last."""
    for axis in axes:
        axis.set_xlim(0.0, seconds)
        axis.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 3, 5, 6, 10]))
        if seconds > 120:
            step = next((step for step in CLOCK_STEPS if seconds <= 10 * step), CLOCK_STEPS[-1])
            axis.xaxis.set_major_locator(MultipleLocator(step))
            axis.xaxis.set_major_formatter(FuncFormatter(_clock))
        axis.tick_params(length=3, labelbottom=axis is axes[-1])
    axes[-1].set_xlabel("time, s" if seconds <= 120 else "time, min:s" if seconds <= 5400 else "time, h:min:s")


def _clock(seconds: float, _: int | None) -> str:
    """Seconds as min:s, or h:min:s from 90 minutes on."""
    whole = round(seconds)
    if whole <= 5400:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _draw_title(figure: Figure, report: Report) -> None:
    """Write the file's name and one line of what was done to it."""
    tool = report.tool
    name = shown(Path(report.input.name))
    figure.text(0.07, 0.965, name if len(name) <= 90 else f"{name[:60]}…{name[-28:]}", fontsize=19, fontweight="bold")
    count = max((len(window.candidates) for window in report.windows), default=0)
    speed = report.timing.times_real_time
    facts = [
        f"{tool.engine} engine",
        f"preset {tool.preset}" if tool.preset else "no preset",
        f"N = {count}",
        f"{report.timing.nfe:,} network evaluations",
        f"{_loudness(report.input.lufs)} → {_loudness(report.output.lufs)} LUFS",
        f"seed {tool.seed}",
    ]
    if len(report.windows) == 1 and report.windows[0].chosen is not None:
        facts.append(f"chose candidate {report.windows[0].chosen}")
    if speed is not None:
        facts.append(f"{1 / speed:.2g} s for a second of audio")
    figure.text(0.07, 0.938, "   ·   ".join(facts), fontsize=12, color=QUIET)
    figure.text(0.07, 0.914, _verdict(report), fontsize=12, color=QUIET)


def _verdict(report: Report) -> str:
    """Gains of the choice over a random pick, by verifiers that chose and those held out, and harm."""
    parts = []
    if report.gains.searched is not None:
        parts.append(f"verifiers: {report.gains.searched:+.1f} sd over a random pick")
    if report.gains.held_out is not None:
        ratio = "" if report.gains.ratio is None else f" (ratio {report.gains.ratio:.2f})"
        parts.append(f"held out: {report.gains.held_out:+.1f} sd{ratio}")
    parts += [f"{name} {' and '.join(record.harm)}" for name, record in report.scores.items() if record.harm]
    line = "   ·   ".join(parts).replace("-", "−")
    return line if len(line) <= 165 else f"{line[:162]}…"


def _loudness(lufs: float | None) -> str:
    return "–" if lufs is None or not np.isfinite(lufs) else f"{lufs:.1f}".replace("-", "−")
