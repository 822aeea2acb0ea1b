"""What the figures of all rooms share: their style, and an axis of doublings."""

from typing import Any

import matplotlib

LABEL_RATIO = 1.25
"""Neighbouring tick labels are at least this far apart; of two that are nearer the larger is shown."""


def plain_style() -> Any:
    """A context in which figures are drawn: small type, no box."""
    return matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def set_axis(panel: Any, ticks: list[int]) -> None:
    """A doubling axis with the values that were tried, as far as their labels fit beside each other; a light grid."""
    panel.set_xscale("log", base=2)
    shown = [tick for i, tick in enumerate(ticks) if i == len(ticks) - 1 or ticks[i + 1] > LABEL_RATIO * tick]
    panel.set_xticks(shown, [str(tick) for tick in shown])
    panel.minorticks_off()
    panel.grid(axis="y", alpha=0.3)


def legend_above(figure: Any, panel: Any, columns: int) -> None:
    """One legend for all panels, of what one of them shows."""
    handles, names = panel.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=min(columns, len(names)), frameon=False)
