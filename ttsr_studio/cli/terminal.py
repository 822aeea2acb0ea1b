"""Tables on a terminal: names and numbers stay whole, texts wrap between words, paths lose their beginning."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ttsr_studio.errors import shown

LEAST_TEXT = 16
"""Columns that a text which wraps gets on the narrowest terminal."""

GAP = 2
"""Columns between two of a table."""

Cell = str | Path | Text


def shorten(text: str, width: int) -> str:
    """Return the end of a path, or of any text, that fits a width, with "…" for the beginning that is left out.

    A path goes on from one of its folders where that fits, else from its name, else from within its name.
    """
    if cell_len(text) <= width:
        return text
    starts = [at for at, letter in enumerate(text) if letter == os.sep and at]
    for ending in (f"…{text[at:]}" for at in starts):
        if cell_len(ending) <= width:
            return ending
    name = text[starts[-1] + 1 :] if starts else text
    if cell_len(name) <= width:
        return name
    while name and cell_len(name) >= width:
        name = name[1:]
    return f"…{name}" if width else ""


class ShortPath:
    """A path in a table: on one line, its own name whole as far as half of the terminal goes."""

    def __init__(self, path: Path) -> None:
        self.text = shown(path)

    def least(self, terminal: int) -> int:
        return min(cell_len(self.text.rpartition(os.sep)[2]), terminal // 2)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self.least(console.width), cell_len(self.text)).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(shorten(self.text, options.max_width), no_wrap=True, overflow="ignore")


class Prose:
    """A text that wraps between words; of a word that is longer than a line, as a path may be, the end is shown."""

    def __init__(self, text: str) -> None:
        self.words = text.split()

    def least(self, _terminal: int) -> int:
        return min(max(map(cell_len, self.words), default=0), LEAST_TEXT)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        whole = cell_len(" ".join(self.words))
        return Measurement(self.least(console.width), whole).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(" ".join(shorten(word, options.max_width) for word in self.words))


def print_table(
    titles: Sequence[str], rows: Sequence[Sequence[Cell]], *, right: Collection[str] = (), wrapped: str | None = None
) -> None:
    """Print a table to standard output, wider than the terminal only where nothing in it can give way.

    Args:
        titles: of the columns.
        rows: of cells; in none of them anything is read as markup.
        right: the columns, by title, that are flush right.
        wrapped: the column of texts that may take several lines.
    """
    terminal = Console()
    cells = [[_shown(cell, title == wrapped) for title, cell in zip(titles, row, strict=True)] for row in rows]
    table = Table(box=None, pad_edge=False)
    widths = []
    for number, title in enumerate(titles):
        column = [row[number] for row in cells]
        rigid = all(isinstance(cell, Text) for cell in column)
        widths.append(max(cell_len(title), *(_least(cell, terminal.width) for cell in column)))
        justify: Literal["left", "right"] = "right" if title in right else "left"
        table.add_column(title, justify=justify, no_wrap=rigid, min_width=widths[-1])
    for row in cells:
        table.add_row(*row)
    Console(width=max(terminal.width, sum(widths) + GAP * (len(widths) - 1))).print(table)


def _shown(cell: Cell, wrapped: bool) -> ShortPath | Prose | Text:
    if isinstance(cell, Path):
        return ShortPath(cell)
    if isinstance(cell, str):
        return Prose(cell) if wrapped else Text(cell)
    return cell


def _least(cell: ShortPath | Prose | Text, terminal: int) -> int:
    """The width that a cell cannot do without."""
    return cell.cell_len if isinstance(cell, Text) else cell.least(terminal)
