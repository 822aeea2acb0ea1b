"""What a render's picture shows over time, in the steps that it is drawn in; kept in the report's arrays."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.analysis.spectrogram_map import SpectrogramMap
from ttsr_studio.analysis.uncertainty import UncertaintyMap

MOST_CELLS = 690, 128
"""Columns and rows of a drawn map: two pixels a cell, which is what can be seen and packed small."""
STEP_DB, VARIANCE_STEPS = 2.5, 24
NAMES = ("input", "output", "added", "uncertainty")
"""Of the maps, from the top down."""


@dataclass(frozen=True)
class Maps:
    """What is drawn over time; complete maps of the whole file.

    Attributes:
        before, after, added: input, output, and their difference; shown relative to the loudest cell of the first two.
        uncertainty: None, or a map that saw a single candidate a window, leaves its panel out.
    """

    before: SpectrogramMap
    after: SpectrogramMap
    added: SpectrogramMap | None = None
    uncertainty: UncertaintyMap | None = None


@dataclass(frozen=True)
class DrawnMaps:
    """What is drawn over time, in the steps that it is drawn in: the same cells give the same picture.

    Attributes:
        steps: of input, output, what was added and the uncertainty, from the top down, int16 [rows, columns].
        rates: Hz, of each; the maps span 0 to half of it.
        seconds: length of the file.
        top_db: the level that the highest step of the uncertainty stands for; NaN without one.
    """

    steps: Mapping[str, NDArray[np.int16]]
    rates: Sequence[int]
    seconds: float
    top_db: float = math.nan

    @classmethod
    def of(cls, maps: Maps) -> "DrawnMaps":
        """What of complete maps is drawn."""
        named = {"input": maps.before, "output": maps.after} | ({"added": maps.added} if maps.added else {})
        levels = {name: found.decibels() for name, found in named.items()}
        loudest = max(float(levels[name].max()) for name in ("input", "output"))
        steps = {name: np.round(_smaller(level - loudest) / STEP_DB) for name, level in levels.items()}
        rates, top_db = [found.rate for found in named.values()], math.nan
        disagreement = None if maps.uncertainty is None else maps.uncertainty.display()
        if maps.uncertainty is not None and disagreement is not None and disagreement.any():
            steps["uncertainty"] = np.round(_smaller(disagreement) * VARIANCE_STEPS)
            rates, top_db = [*rates, maps.uncertainty.rate], maps.uncertainty.display_top_db()
        whole = {name: each.astype(np.int16) for name, each in steps.items()}
        return cls(whole, rates, maps.after.frames / maps.after.rate, top_db)

    @classmethod
    def stored(cls, arrays: Mapping[str, NDArray[Any]]) -> "DrawnMaps":
        """Those of a report's arrays. Raises KeyError where they have none."""
        steps = {name: arrays[f"picture_{name}"] for name in NAMES if f"picture_{name}" in arrays}
        about = arrays["picture_about"]
        return cls(steps, [int(rate) for rate in about[2:]], float(about[0]), float(about[1]))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the `.npz` holds of them."""
        about = np.array([self.seconds, self.top_db, *self.rates])
        return {f"picture_{name}": each for name, each in self.steps.items()} | {"picture_about": about}


def _smaller(values: np.ndarray) -> np.ndarray:
    """[rows, columns] pooled to what can be seen, the largest of a cell, so that a click stays."""
    for axis, most in ((1, MOST_CELLS[0]), (0, MOST_CELLS[1])):
        count = values.shape[axis]
        if count > most:
            values = np.maximum.reduceat(values, np.arange(most) * count // most, axis=axis)
    return values
