"""The picture of a render, `<name>.ttsr.png`: input, output and what was added, uncertainty, scores, the choice.

The same arguments give the same bytes: nothing is drawn at random and no date is stored.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from PIL import Image

from ttsr_studio.errors import shown
from ttsr_studio.report.choice import UNITS, how_chosen, stopped_early
from ttsr_studio.report.drawn_maps import STEP_DB, VARIANCE_STEPS, DrawnMaps
from ttsr_studio.report.schema import Report
from ttsr_studio.storage.atomic import write_atomic

SIZE_INCHES, DPI = (16.0, 12.0), 100
RANGE_DB = 100.0
TOP_KHZ = 24.0
MOST_ROWS = 6
COLUMNS = (0.0, 0.33, 0.42, 0.52, 0.62, 0.72, 0.80, 0.82)
"""Where the columns of the table of scores are, in shares of its width; those between name and last end there."""
CLOCK_STEPS = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
INK, QUIET, CHOSEN = "#1d2733", "#5b6673", "#b83c0a"
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
    """How values become colours; `empty` is the colour of what a rate too low leaves empty.

    Values of a variance are shares of one whose level is `top_db`.
    """

    unit: str
    colours: str
    low: float
    high: float
    empty: str
    top_db: float | None = None


LEVELS = _Scale("dB, the loudest is 0", "magma", -RANGE_DB, 0.0, "black")
VARIANCE = _Scale("spread, dBFS a bin", "viridis", 0.0, 1.0, "#440154")


@dataclass(frozen=True)
class _Map:
    """Values [rows, columns] that span 0 to half the rate and the whole file."""

    title: str
    values: np.ndarray
    rate: int
    scale: _Scale


def draw_report(path: Path, report: Report, cells: DrawnMaps) -> None:
    """Draw a render as a PNG of 1600 x 1200 pixels, written whole or not at all.

    Args:
        path: where to.
        report: titles, the band's edge, scores and the choice.
        cells: what is drawn over time.

    Raises OutputError when the file cannot be written.
    """
    # The defaults first: a user's own matplotlibrc must not change the picture.
    with style.context(["default", STYLE]):
        figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor="white")
        canvas: Any = FigureCanvasAgg(figure)
        _draw(figure, report, _panels(report, cells), cells.seconds)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a name in a script that the font has not
            canvas.draw()
    # Smaller and much sooner than by `savefig`: a palette is enough for two colour scales and text.
    buffer = BytesIO()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    palette = pixels.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette.save(buffer, "PNG", compress_level=6, dpi=(DPI, DPI))
    write_atomic(path, buffer.getvalue())


def _panels(report: Report, cells: DrawnMaps) -> list[_Map]:
    """The pictures from the top down."""
    titles = {
        "input": "Input",
        "output": _output_title(report),
        "added": "What was added: output less input",
        "uncertainty": _uncertainty_title(report),
    }
    panels = []
    for (name, steps), rate in zip(cells.steps.items(), cells.rates, strict=True):
        shades, scale = steps.astype(np.float32) * np.float32(STEP_DB), LEVELS
        if name == "uncertainty":
            shades, scale = steps.astype(np.float32) / VARIANCE_STEPS, replace(VARIANCE, top_db=cells.top_db)
        panels.append(_Map(titles[name], shades, rate, scale))
    return panels


def _uncertainty_title(report: Report) -> str:
    mean_db = report.uncertainty.mean_db
    title = "Uncertainty: where candidates differ"
    return title if mean_db is None else f"{title}, by {mean_db:.1f} dB on average above the cutoff"


def _output_title(report: Report) -> str:
    holes = report.codec_holes
    if holes is None or not holes.cells:
        return "Output"
    return f"Output: {holes.cells:,} cells that a codec emptied are filled, {100 * holes.share:.2g} % below the edge"


def _draw(figure: Figure, report: Report, panels: Sequence[_Map], seconds: float) -> None:
    place: dict[str, Any] = {"left": 0.06, "right": 0.93, "top": 0.845, "hspace": 0.33, "wspace": 0.02}
    rows = min(MOST_ROWS + 1, len(report.scores))
    grid = GridSpec(len(panels), 2, figure, bottom=0.075 + 0.022 * (rows + 2.6), width_ratios=(1.0, 0.012), **place)
    levels = sum(each.scale is LEVELS for each in panels)
    axes = [figure.add_subplot(grid[row, 0]) for row in range(len(panels))]
    images = [_draw_map(axis, each, seconds) for axis, each in zip(axes, panels, strict=True)]
    bars = [(LEVELS, images[0], grid[:levels, 1])]
    bars += [(panels[-1].scale, images[-1], grid[levels, 1])] if levels < len(panels) else []
    for scale, image, where in bars:
        _draw_colours(figure, figure.add_subplot(where), image, scale)
    for axis in axes:
        _draw_edge(axis, report, seconds, labelled=axis is axes[0])
    _draw_skirts(axes[0], report)
    _finish_time(axes, seconds)
    _draw_title(figure, report)
    _draw_scores(figure, report, 0.022 * (rows + 2) + 0.02)


def _draw_map(axis: Axes, each: _Map, seconds: float) -> AxesImage:
    """Draw a map on the frequency axis that all have."""
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
        interpolation="nearest",
    )
    axis.set_ylim(0.0, TOP_KHZ)
    axis.set_yticks([0, 4, 8, 12, 16, 20, 24])
    axis.set_ylabel("kHz")
    axis.set_title(each.title, **TITLE)
    return image


def _draw_colours(figure: Figure, axis: Axes, image: AxesImage, scale: _Scale) -> None:
    """Draw a colour scale, one for all panels that have it."""
    colourbar = figure.colorbar(image, cax=axis)
    colourbar.set_label(scale.unit, fontsize=10.5, color=QUIET)
    colourbar.outline.set_visible(False)
    colourbar.locator = MaxNLocator(5 if scale is LEVELS else 1)
    colourbar.update_ticks()
    if scale.top_db is not None:
        labels = {share: f"{scale.top_db + 10 * np.log10(share):.0f}" for share in (0.25, 0.5, 1.0)}
        shares = {0.0: "same"} | {share: text.replace("-", "−") for share, text in labels.items()}
        shares[1.0] = f"≥{shares[1.0]}"
        colourbar.set_ticks(list(shares), labels=list(shares.values()))


def _draw_edge(axis: Axes, report: Report, seconds: float, labelled: bool) -> None:
    """Draw where the band of the input ends: over time where that is known, of the lowest channel."""
    cutoff = report.input.cutoff_hz
    if cutoff is None:
        return
    bands = report.input.bandwidth
    starts = [band.start_s for band in bands] or [0.0]
    edges = [min(band.edges_hz) / 1000 for band in bands] or [cutoff / 1000]
    times, heights = [*starts, seconds], [*edges, edges[-1]]
    line: dict[str, Any] = {"where": "post", "linestyle": (0, (6, 4)), "linewidth": 1.3, "alpha": 0.9}
    axis.step(times, heights, color="white", **line)
    if not labelled:
        return
    moves = max(edges) - min(edges) > 0.1
    under = edges[-1] > TOP_KHZ - 5
    axis.annotate(
        f"the band ends at {min(edges):.1f} to {max(edges):.1f} kHz" if moves else f"cutoff {cutoff / 1000:.1f} kHz",
        (0.995, edges[-1]),
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


def _draw_scores(figure: Figure, report: Report, top: float) -> None:
    """Write a table of what every verifier says of input, first draw, mean and choice."""
    left, width, line = 0.06, 0.87, 0.022

    def row(y: float, words: Sequence[str], colour: str = INK, bold: int | None = None) -> None:
        for i, (share, text) in enumerate(zip(COLUMNS, words, strict=False)):
            strong: dict[str, Any] = {"color": CHOSEN, "fontweight": "bold"} if i == bold else {"color": colour}
            side = "left" if i in (0, len(COLUMNS) - 1) else "right"
            figure.text(left + width * share, y, text, ha=side, va="top", fontsize=11.5, **strong)

    if not report.scores:
        figure.text(left, top, "Nothing was scored.", va="top", fontsize=12, color=QUIET)
        return
    heads = ["Scores, higher is better", "", "input", "first draw", "mean", "chosen", "gain", "chosen is worse than"]
    row(top, heads, QUIET)
    for i, (name, score) in enumerate(list(report.scores.items())[:MOST_ROWS]):
        info = report.verifiers[_verifier(name)]
        role = "" if info.role == "search" else "; held out: chose nothing"
        figures = [_figure(value) for value in (score.input, score.first, score.mean, score.chosen)]
        gain = "–" if score.gain_sd is None else f"{score.gain_sd:+.1f} σ".replace("-", "−")
        worse = ", ".join(text.replace("below ", "") for text in score.harm) or "neither"
        label = f"{name}, {UNITS.get(info.unit, info.unit)}{role}"
        row(top - line * (i + 1), [label, "", *figures, gain, worse], bold=5)
    rows = min(MOST_ROWS, len(report.scores))
    if len(report.scores) > rows:
        figure.text(left, top - line * (rows + 1), f"and {len(report.scores) - rows} more in the JSON", va="top")
        rows += 1
    note = "First draw: one render without a search. Mean: of all candidates, a random pick on average. "
    note += "Gain: the chosen over the mean; σ is the standard deviation over candidates."
    figure.text(left, top - line * (rows + 1), note, va="top", fontsize=10.5, color=QUIET)


def _figure(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.3f}".replace("-", "−")


def _verifier(column: str) -> str:
    """The verifier of a column: "name", or "name/scale" of a verifier of several scales."""
    return column.split("/")[0]


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
    figure.text(0.06, 0.965, name if len(name) <= 90 else f"{name[:60]}…{name[-28:]}", fontsize=19, fontweight="bold")
    speed = report.timing.times_real_time
    facts = [
        f"{tool.engine} engine",
        f"preset {tool.preset}" if tool.preset else "no preset",
        f"{report.timing.nfe:,} network evaluations",
        f"{_loudness(report.input.lufs)} → {_loudness(report.output.lufs)} LUFS",
        f"seed {tool.seed}",
    ]
    if speed is not None:
        facts.append(f"{_seconds(1 / speed)} s for a second of audio")
    figure.text(0.06, 0.938, "   ·   ".join(facts), fontsize=12, color=QUIET)
    content = report.to_json()
    lines = wrap(" ".join(filter(None, [how_chosen(content), stopped_early(content)])), 170)
    for i, text in enumerate(lines[:2]):
        figure.text(0.06, 0.914 - 0.022 * i, text + ("…" if i == 1 and len(lines) > 2 else ""), fontsize=12)


def _seconds(value: float) -> str:
    """Two digits, as people write them."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _loudness(lufs: float | None) -> str:
    return "–" if lufs is None or not np.isfinite(lufs) else f"{lufs:.1f}".replace("-", "−")
