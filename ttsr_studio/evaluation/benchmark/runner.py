"""Systems over clips and cutoffs: every one is measured by the same code, and every result is kept."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttsr_studio import __version__
from ttsr_studio.evaluation.benchmark.dataset import RATE, Clip
from ttsr_studio.evaluation.benchmark.degradation import Item
from ttsr_studio.evaluation.benchmark.metrics import METRICS, measure
from ttsr_studio.evaluation.benchmark.names import INPUT
from ttsr_studio.evaluation.benchmark.perceptual import package_versions, perceived
from ttsr_studio.evaluation.benchmark.systems import RenderSystem, System, SystemOutput
from ttsr_studio.evaluation.sweep import EvaluationRun, Row, all_cases, finite, sweep

if TYPE_CHECKING:
    from ttsr_studio.evaluation.benchmark.pictures import ContactSheets

MEASURES = 3
"""Raised whenever a metric or a built-in system changes, so that old results are not mixed with new ones."""


@dataclass(frozen=True)
class SystemStudy:
    """A system, measured.

    Attributes:
        sheets: are given what they lack, for which a system has to answer again where its row is there already.
    """

    system: System
    sheets: "ContactSheets | None" = None

    @property
    def portable(self) -> bool:
        """Whether it may be measured on another machine: pictures stay here, and so does finished audio."""
        return self.sheets is None and isinstance(self.system, RenderSystem)

    @property
    def name(self) -> str:
        return self.system.name

    def find(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> list[Row] | None:
        key = self.key(clip, cutoff_hz, run)
        if self.sheets and self.sheets.lacks(*panel_keys(clip, cutoff_hz, run), *self.shown(key).values()):
            return None
        return run.results.find([key])

    def measure(self, item: Item, run: EvaluationRun) -> Iterable[Row]:
        key = self.key(item.clip, item.cutoff_hz, run)
        made = self.system.make(item)
        if self.sheets:
            keys = [*panel_keys(item.clip, item.cutoff_hz, run), *self.shown(key).values()]
            self.sheets.keep(dict(zip(keys, [item.lr_wide(), item.truth, made.audio], strict=False)))
        yield measured_row(key, self.system, item, made)

    def key(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> str:
        """What was measured without a perceptual package is measured again with it."""
        identity = self.system.identity(clip, cutoff_hz)
        measures = {"measures": MEASURES, "perceptual": package_versions()}
        return run.row_key(clip, cutoff_hz, system=self.name, identity=identity, **measures)

    def shown(self, key: str) -> dict[str, str]:
        """The picture of its output, by its name; none of the input's, which has one of its own."""
        return {} if self.name == INPUT else {self.name: key}


def evaluate_systems(
    systems: Sequence[System], clips: Sequence[Clip], run: EvaluationRun, sheets: "ContactSheets | None" = None
) -> list[Row]:
    """Measure every system on every clip at every cutoff: the rows of this run, found or computed, in order.

    System by system and cutoff by cutoff, so that one session at a time is in memory, and is loaded once.

    Raises OutputError when results or pictures cannot be written.
    """
    cases, by_name = all_cases(clips, run.conditions.cutoffs), {clip.name: clip for clip in clips}
    run.reporter.expect(len(systems) * len(cases))
    rows: list[Row] = []
    for system in systems:
        study = SystemStudy(system, sheets)
        for row in sweep(study, cases, run):
            rows.append(row)
            if sheets:
                clip, cutoff = by_name[row["clip"]], row["cutoff_hz"]
                sheets.show(clip, cutoff, *panel_keys(clip, cutoff, run), study.shown(row["key"]))
    return rows


def panel_keys(clip: Clip, cutoff_hz: float, run: EvaluationRun) -> tuple[str, str]:
    """The keys of the pictures of a clip's input and of itself."""
    return run.row_key(clip, cutoff_hz, panel="input"), run.row_key(clip, cutoff_hz, panel="truth")


def measured_row(key: str, system: System, item: Item, made: SystemOutput) -> Row:
    """One row: what a system made of an item, measured."""
    clip, seconds = item.clip, item.truth.shape[1] / RATE
    values = measure(item.truth, made.audio, item.cutoff_hz, clip.edge_hz) | perceived(item.truth, made.audio)
    values |= {
        "held_out": made.held_out,
        "nfe": made.nfe,
        "x_real_time": seconds / made.seconds if made.seconds else math.nan,
        "peak_rss_mb": made.peak_rss_mb,
    }
    return {
        "key": key,
        "clip": clip.name,
        "kind": clip.kind,
        "cutoff_hz": item.cutoff_hz,
        "low_pass": item.low_pass,
        "edge_hz": clip.edge_hz,
        "system": system.name,
        "settings": system.settings,
        "seconds": round(seconds, 3),
        "detected_cutoff_hz": made.detected_cutoff_hz,
        **{metric.key: finite(values[metric.key]) for metric in METRICS},
        "version": __version__,
    }
