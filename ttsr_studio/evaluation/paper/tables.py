"""The paper's Table 1, Table 2 and Figure 2 from the rows of `run`: means over clips with 95 % bootstrap intervals.

Marks are those of the paper: bold for the best, underlined for the second, italics for worse than the input. What is
equal in the digits shown shares its mark; the input and the oracle take no part in the first two.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ttsr_studio.evaluation.paper.plan import ALGORITHMS, DRAW, LR_INPUT, ORACLE_LSD, PaperPlan, notes, settings_line
from ttsr_studio.evaluation.reporting.bootstrap import RESAMPLES, Estimate, bootstrap, paired
from ttsr_studio.evaluation.reporting.figures import plain_style
from ttsr_studio.evaluation.reporting.tables import csv_table, interval, markdown_table, write_text
from ttsr_studio.evaluation.sweep import Row

Who = tuple[str, str]
"""Guide and algorithm."""


@dataclass(frozen=True)
class TableColumn:
    """A metric of finished audio.

    Attributes:
        scores: columns of the verifier, whose mean it is; none for a key of the row itself.
        better: 1 when higher is better, -1 when lower is.
        negated: the score is minus the metric.
        main: in Table 1 itself, not only in the tables with intervals.
    """

    title: str
    digits: int
    scores: tuple[str, ...] = ()
    key: str = ""
    better: int = 1
    negated: bool = False
    main: bool = True

    @property
    def headline(self) -> str:
        return f"{self.title} {'↑' if self.better > 0 else '↓'}"

    def value(self, row: Row) -> float:
        """A row's value, NaN where there is none."""
        parts = [row["scores"].get(name) for name in self.scores] if self.scores else [row[self.key]]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return math.nan
        return float(np.mean(known)) * (-1 if self.negated else 1)


AES_SCALES = ("CE", "CU", "PC", "PQ")
TABLE1_COLUMNS = (
    TableColumn("AES", 2, tuple(f"aesthetics/{scale}" for scale in AES_SCALES)),
    *(TableColumn(f"AES {scale}", 2, (f"aesthetics/{scale}",), main=False) for scale in AES_SCALES),
    TableColumn("SpkSim", 3, ("speaker",)),
    TableColumn("WER", 3, ("wer/WER",), better=-1, negated=True),
    TableColumn("CLAP", 3, ("clap",)),
    TableColumn("DNSMOS", 2, ("dnsmos",)),
    TableColumn("critic", 3, ("critic",)),
    TableColumn("LSD", 3, key="lsd", better=-1),
    TableColumn("LSD to edge", 3, key="lsd_edge", better=-1),
)


@dataclass(frozen=True)
class TableCell:
    """One value of Table 1."""

    kind: str
    cutoff_hz: float
    who: Who
    column: TableColumn
    estimate: Estimate


def table1_cells(rows: Sequence[Row], seed: int) -> list[TableCell]:
    """Every column of every line that has a value, by kind and cutoff."""
    cells = []
    for kind, cutoff in places(rows):
        part = [row for row in rows if (row["kind"], row["cutoff_hz"]) == (kind, cutoff)]
        for who in everyone(part):
            mine = [row for row in part if (row["guide"], row["algorithm"]) == who]
            for column in TABLE1_COLUMNS:
                estimate = bootstrap(np.array([column.value(row) for row in mine]), seed)
                if estimate.n:
                    cells.append(TableCell(kind, cutoff, who, column, estimate))
    return cells


def places(rows: Sequence[Row]) -> Iterator[tuple[str, float]]:
    """Kinds in order of appearance, their cutoffs from low to high."""
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for cutoff in sorted({row["cutoff_hz"] for row in rows if row["kind"] == kind}):
            yield kind, cutoff


def everyone(rows: Sequence[Row]) -> list[Who]:
    """Guides and algorithms, in order of appearance."""
    return list(dict.fromkeys((row["guide"], row["algorithm"]) for row in rows))


def table1_csv(cells: Sequence[TableCell]) -> str:
    """All values in full precision, one line each; empty where there is no interval."""
    titles = ["kind", "cutoff_hz", "verifier", "search", "metric", "better", "n", "mean", "low", "high"]
    rows = []
    for cell in cells:
        e, column = cell.estimate, cell.column
        better = "higher" if column.better > 0 else "lower"
        head = [cell.kind, f"{cell.cutoff_hz:g}", *cell.who, column.title, better]
        rows.append([*head, e.n, e.mean, e.low, e.high])
    return csv_table(titles, rows)


def marked(cells: Sequence[TableCell]) -> dict[Who, str]:
    """The cells of one column at one cutoff as Markdown, with the paper's marks."""
    if not cells:
        return {}
    column = cells[0].column
    shown = {cell.who: f"{cell.estimate.mean:.{column.digits}f}" for cell in cells}
    values = {who: column.better * float(text) for who, text in shown.items()}
    ranked = sorted({value for who, value in values.items() if who[0] not in (LR_INPUT, ORACLE_LSD)}, reverse=True)
    least = values.get((LR_INPUT, ""), -math.inf)
    found = {}
    for who, text in shown.items():
        value, ranks = values[who], who[0] not in (LR_INPUT, ORACLE_LSD)
        text = f"*{text}*" if value < least else text
        if ranks and value == ranked[0]:
            text = f"**{text}**"
        elif ranks and len(ranked) > 1 and value == ranked[1]:
            text = f"<u>{text}</u>"
        found[who] = text
    return found


def khz(cutoff_hz: float) -> str:
    return f"{cutoff_hz / 1000:g} kHz"


def table1(plan: PaperPlan, cells: Sequence[TableCell], title: str) -> list[str]:
    """Markdown: lines down, cutoffs and metrics across, kind after kind; then the same with intervals."""
    lines = [
        "# Table 1",
        "",
        title,
        "",
        f"{settings_line(plan)}. Means over clips. Bold: the best of the renders; underlined: the second; italics: "
        "worse than the LR input. What is equal in the digits shown shares its mark. LSD is over the full band, or to "
        "the clip's own edge.",
    ]
    kinds = list(dict.fromkeys(cell.kind for cell in cells))
    for kind in kinds:
        mine = [cell for cell in cells if cell.kind == kind]
        heads = [
            (cutoff, column)
            for cutoff in sorted({cell.cutoff_hz for cell in mine})
            for column in TABLE1_COLUMNS
            if column.main and any(cell.column == column for cell in mine)
        ]
        columns = [marked([c for c in mine if (c.cutoff_hz, c.column) == head]) for head in heads]
        lines += ["", f"## {kind}", "", *grid([f"{khz(f)}: {c.headline}" for f, c in heads], whos(mine), columns)]
    lines += [
        "",
        *(f"- {note}" for note in notes(plan)),
        "",
        "# With intervals",
        "",
        f"Mean [95 % bootstrap interval over clips, {RESAMPLES:,} resamples] (clips).",
    ]
    for kind, cutoff in dict.fromkeys((cell.kind, cell.cutoff_hz) for cell in cells):
        mine = [cell for cell in cells if (cell.kind, cell.cutoff_hz) == (kind, cutoff)]
        present = [column for column in TABLE1_COLUMNS if any(cell.column == column for cell in mine)]
        columns = [
            {c.who: f"{interval(c.estimate, column.digits)} ({c.estimate.n})" for c in mine if c.column == column}
            for column in present
        ]
        lines += ["", f"## {kind}, {khz(cutoff)}", "", *grid([c.headline for c in present], whos(mine), columns)]
    return lines


def whos(cells: Sequence[TableCell]) -> list[Who]:
    return list(dict.fromkeys(cell.who for cell in cells))


def grid(heads: Sequence[str], lines: Sequence[Who], columns: Sequence[Mapping[Who, str]]) -> list[str]:
    """Lines of a Markdown table of guides and algorithms; a dash where there is no value."""
    rows = [[who[0], ALGORITHMS.get(who[1], ""), *(column.get(who, "–") for column in columns)] for who in lines]
    return markdown_table(["verifier", "search", *heads], rows, left=("verifier", "search"))


def table2(plan: PaperPlan, rows: Sequence[Row], title: str, seed: int) -> list[str]:
    """Markdown: the search range (equation 4) by algorithm and verifier, kinds and cutoffs across, and their mean."""
    searched = [row for row in rows if row["algorithm"]]
    heads = list(places(searched))
    whos = [who for who in everyone(searched) if who[1] != "random"]
    lines = [
        "# Table 2",
        "",
        title,
        "",
        f"{settings_line(plan)}. Search range: mean LSD between every candidate and the mean spectrogram of all "
        "(equation 4), mean over windows and clips with 95 % bootstrap intervals. Random search draws the same "
        "candidates whoever scores them, so that its range does not depend on the verifier.",
        "",
    ]
    shown = []
    groups: list[tuple[str, str, list[Who]]] = [
        ("Random", "any", [who for who in everyone(searched) if who[1] == "random"]),
        ("Zero-Order", "mean of all", whos),
        *(("Zero-Order", who[0], [who]) for who in whos),
    ]
    for search, verifier, members in groups:
        found = [bootstrap(ranges(searched, place, members), seed) for place in heads]
        known = [estimate.mean for estimate in found if estimate.n]
        mean = f"{np.mean(known):.3f}" if len(known) == len(heads) else "–"
        shown.append([search, verifier, *(interval(e, 3) for e in found), mean])
    titles = ["search", "verifier", *(f"{kind}, {khz(cutoff)}" for kind, cutoff in heads), "mean"]
    return lines + markdown_table(titles, shown, left=("search", "verifier"))


def ranges(rows: Sequence[Row], place: tuple[str, float], members: Sequence[Who]) -> NDArray[np.float64]:
    """Search range of every clip of a kind at a cutoff, mean over some guides, [clips]."""
    by_clip: dict[str, list[float]] = {}
    for row in rows:
        here = (row["kind"], row["cutoff_hz"]) == place and (row["guide"], row["algorithm"]) in members
        if here and row["search_range"] is not None:
            by_clip.setdefault(row["clip"], []).append(row["search_range"])
    return np.array([np.mean(values) for values in by_clip.values()], np.float64)


def enhancement(rows: Sequence[Row], who: Who, column: TableColumn, seed: int) -> Estimate:
    """How much better than the input on the same clips, in % of its mean, with the 95 % interval of the difference."""
    values: dict[Who, dict[str, float]] = {(LR_INPUT, ""): {}, who: {}}
    for row in rows:
        name = (row["guide"], row["algorithm"])
        if name in values:
            values[name][row["clip"]] = column.value(row)
    clips = [clip for clip in values[who] if clip in values[LR_INPUT, ""]]
    made, before = (np.array([values[name][clip] for clip in clips], np.float64) for name in (who, (LR_INPUT, "")))
    difference = paired(column.better * made, column.better * before, seed)
    e, percent = difference.estimate, difference.percent
    scale = percent / e.mean if e.mean else math.nan
    return Estimate(percent, scale * e.low, scale * e.high, e.n)


def figure2(rows: Sequence[Row], seed: int) -> Figure:
    """Enhancement over the input by one draw and by random search with every verifier, at the lowest cutoff.

    A panel for each kind; every metric has an axis of its own.
    """
    lowest = min(row["cutoff_hz"] for row in rows)
    rows = [row for row in rows if row["cutoff_hz"] == lowest]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    shown = [who for who in everyone(rows) if who == (DRAW, "") or (who[1] == "random" and who[0] != ORACLE_LSD)]
    names = list(dict.fromkeys(short(who) for who in shown))
    palette = matplotlib.colormaps["tab10" if len(names) <= 10 else "tab20"]
    colours = {name: palette(number) for number, name in enumerate(names)}
    with plain_style():
        figure = Figure(figsize=(12, 2.5 * len(kinds) + 0.6), dpi=120, layout="constrained")
        handles = {}
        for panel, kind in zip(figure.subfigures(len(kinds), 1, squeeze=False)[:, 0], kinds, strict=True):
            mine = [row for row in rows if row["kind"] == kind]
            guides = [who for who in everyone(mine) if who in shown]
            columns = [c for c in TABLE1_COLUMNS if c.main and any(math.isfinite(c.value(row)) for row in mine)]
            panel.suptitle(f"{kind}, {khz(lowest)}")
            panel.supylabel("better than the input by, %", fontsize=8)
            for axis, column in zip(panel.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
                for number, who in enumerate(guides):
                    e = enhancement(mine, who, column, seed)
                    spread = [[e.mean - e.low], [e.high - e.mean]]
                    handles[short(who)] = axis.bar(number, e.mean, 0.9, yerr=spread, color=colours[short(who)])
                axis.set_axisbelow(True)
                axis.set_xticks([])
                axis.set_xlabel(column.headline)
                axis.axhline(0, color="black", linewidth=0.6)
                axis.grid(axis="y", alpha=0.3)
        columns_shown = min(6, len(handles))
        figure.legend(
            list(handles.values()), list(handles), loc="outside upper center", ncols=columns_shown, frameon=False
        )
    return figure


def short(who: Who) -> str:
    """A guide without what its name has in brackets."""
    return who[0].split(" (")[0]


def write_paper(folder: Path, plan: PaperPlan, rows: Sequence[Row], seed: int, title: str) -> list[Path]:
    """Write table1.md, table1.csv, table2.md and figure2.png; returns the files, none without rows."""
    if not rows:
        return []
    cells = table1_cells(rows, seed)
    written = [
        write_text(folder / "table1.md", table1(plan, cells, title)),
        write_text(folder / "table1.csv", table1_csv(cells)),
        write_text(folder / "table2.md", table2(plan, rows, title, seed)),
    ]
    figure2(rows, seed).savefig(folder / "figure2.png")
    return [*written, folder / "figure2.png"]
