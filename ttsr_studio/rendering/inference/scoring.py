"""Decodes candidates and asks verifiers for their scores: of windows, of their segments, and on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ttsr_studio.analysis.spectra import power_spectrogram
from ttsr_studio.analysis.uncertainty import Disagreement, disagreement
from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.windows import Window
from ttsr_studio.diffusion.batch_limit import BatchLimit, in_batches
from ttsr_studio.diffusion.model import Conditioning
from ttsr_studio.rendering.inference.state import PreviewScores, SamplingConfig, Scores, WindowCandidates
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.verifiers.panel import Panel
from ttsr_studio.verifiers.protocol import (
    Annotations,
    Context,
    Preview,
    Previewing,
    Verifier,
    goes_by_input,
    score_columns,
    segment_scores,
)

Place = tuple[int, int]
"""A candidate: the window's number in its group, and its own number there."""


def needs_early(verifier: Verifier) -> bool:
    return "early" in verifier.needs


def compares(verifier: Verifier) -> bool:
    """Whether a score depends on the other candidates of the window."""
    return "others" in verifier.needs


def early_level(config: SamplingConfig) -> str | None:
    """The level at which x0-predictions on the way are scored; None where they are decoded."""
    return config.preview_level or config.engine.early_preview


def early_verifiers(config: SamplingConfig) -> list[Previewing]:
    """Who scores x0-predictions at the cheap level; nobody where they have to be decoded."""
    if early_level(config) is None:
        return []
    choosing = config.panel.choosing("window")
    return [v for v in choosing if not needs_early(v) and isinstance(v, Previewing)]


@dataclass(frozen=True)
class ScoringSetup:
    """What the scores of a window depend on besides its audio; the same for all windows of a file."""

    sample_rate: int
    bandwidth: BandwidthMap
    annotations: Annotations
    scale: float = 1.0
    """From the engine's level to the file's."""

    def cutoff_hz(self, window: Window) -> float:
        """The lowest edge within a window."""
        rate = self.sample_rate
        return min(self.bandwidth.lowest(window.start / rate, window.stop / rate), rate / 2)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"annotations": replace(self.annotations, cache={})}

    def context(
        self, window: WindowCandidates, raw: Tensor | None = None, early: tuple[Tensor, Tensor] | None = None
    ) -> Context:
        """What verifiers of a window's candidates may know.

        Args:
            raw: the engine's own output of the core, [N, channels, samples]; None when it is not at hand.
            early: early and final x0, [N, channels, ...] each.
        """
        return Context(
            sample_rate=self.sample_rate,
            cutoff_hz=self.cutoff_hz(window.window),
            lr=window.lr,
            raw=raw,
            expected=window.expected,
            reference=window.reference,
            early=early,
            annotations=self.annotations,
            cache=window.cache,
        ).on(window.lr.device if raw is None else raw.device)


def score_assembled(panel: Panel, setup: ScoringSetup, window: WindowCandidates, audio: Tensor) -> Scores:
    """Scores of a core [channels, samples] that was put together from several candidates, by column.

    Verifiers that need more than the result itself (trajectories, the engine's raw output) give none.
    """
    context = setup.context(window)
    verifiers = [
        v
        for v in panel.scoring("window")
        if not needs_early(v) and not compares(v) and getattr(v, "instead_of_input", "") != "nothing"
    ]
    return {name: values[0] for v in verifiers for name, values in score_columns(v, audio[None], context).items()}


class CandidateScorer:
    """Decodes and scores the candidates of several windows.

    Args:
        lr: their inputs, [W, channels, samples], render regions at the engine's level, on its device.
        pictures: the engine's mean predictions at the level of previews, [W, channels, ...]; None when not needed.
        stages: take the time that it took.
    """

    def __init__(
        self,
        config: SamplingConfig,
        windows: Sequence[WindowCandidates],
        lr: Tensor,
        pictures: Tensor | None,
        stages: Stages,
    ) -> None:
        self.config, self.windows, self.lr, self.pictures, self.stages = config, windows, lr, pictures, stages
        self.setup = ScoringSetup(
            config.engine.sample_rate, config.crossover.bandwidth, config.annotations, config.scale
        )
        self.verifiers = config.panel.scoring("window")

    def score_on_the_way(self, places: Sequence[Place], step: int, x0: Tensor, rows: Conditioning) -> None:
        """Note scores of x0-predictions at a step: at the engine's cheap level, or decoded where it has none."""
        with self.stages.timed("preview"):
            scores = self._previewed(places, x0, rows) or self._predicted(places, x0, rows)
        for (window, number), own in zip(places, scores, strict=True):
            self.windows[window].candidates[number].previews.append(PreviewScores(step, own))

    def _previewed(self, places: Sequence[Place], x0: Tensor, rows: Conditioning) -> list[Scores]:
        """Scores of x0-predictions by previews; none where nobody scores by those."""
        level, verifiers = early_level(self.config), early_verifiers(self.config)
        if level is None or not verifiers:
            return []
        pictures = by_window(self.config.engine.preview(x0, level, rows), self.lr.shape[1])
        previews = [self._preview(window, pictures[i : i + 1]) for i, (window, _) in enumerate(places)]
        return [{v.name: float(v.score_preview(preview)) for v in verifiers} for preview in previews]

    def _preview(self, window: int, picture: Tensor, early: tuple[Tensor, Tensor] | None = None) -> Preview:
        if self.pictures is None:
            raise RuntimeError("previews are scored beside the engine's mean prediction, which was not made")
        return Preview(picture, self.pictures[window], early)

    def _predicted(self, places: Sequence[Place], x0: Tensor, rows: Conditioning) -> list[Scores]:
        """Scores of x0-predictions that are decoded for it."""
        raw = by_window(self.config.engine.decode(x0, rows), self.lr.shape[1])
        asked = self.verifiers if self.config.trace_held_out else self.config.panel.choosing("window")
        verifiers = [v for v in asked if not needs_early(v) and not compares(v)]
        scores: list[Scores] = [{} for _ in places]
        for window, mine in places_by_window(places).items():
            own = self.windows[window]
            merged = self.merge(window, raw[mine])
            context = self.setup.context(own, raw[mine][..., own.window.core])
            for name, values in (pair for v in verifiers for pair in score_columns(v, merged, context).items()):
                for i, value in zip(mine, values, strict=True):
                    scores[i][name] = value
        return scores

    def score_undecoded(self, places: Sequence[Place], x0: Tensor, early: Tensor | None, rows: Conditioning) -> None:
        """Keep finished candidates undecoded and note their scores by what they look like as they are."""
        level, channels = early_level(self.config), self.lr.shape[1]
        verifiers = [verifier for verifier in self.verifiers if isinstance(verifier, Previewing)]
        with self.stages.timed("preview"):
            pictures = by_window(self.config.engine.preview(x0, level or "", rows), channels)
            parts = x0.unflatten(0, (len(places), channels))
            both = None if early is None else (by_window(early, channels), by_window(x0, channels))
            for i, (window, number) in enumerate(places):
                own = self.windows[window].candidates[number]
                own.x0 = parts[i]
                self.windows[window].previewed = tuple(verifier.name for verifier in verifiers)
                trajectory = None if both is None else (both[0][i : i + 1], both[1][i : i + 1])
                preview = self._preview(window, pictures[i : i + 1], trajectory)
                own.scores |= {v.name: float(v.score_preview(preview)) for v in verifiers}

    def score_decoded(self, places: Sequence[Place], x0: Tensor, early: Tensor | None, rows: Conditioning) -> None:
        """Decode finished candidates, merge them with their windows' input, keep the cores and their scores.

        Where memory runs out, fewer at once; and so from then on.
        """
        channels, limit = self.lr.shape[1], self.config.limit
        candidates = BatchLimit(max(1, (limit.rows or len(x0)) // channels))

        def some(start: int, stop: int) -> None:
            own = slice(start * channels, stop * channels)
            part = rows if stop - start == len(places) else rows.rows(torch.arange(own.start, own.stop))
            self._decoded(places[start:stop], x0[own], None if early is None else early[own], part)

        most = candidates.rows
        in_batches(len(places), candidates, some, f"decoding and scoring on {x0.device}")
        if candidates.rows != most:
            limit.rows = channels * (candidates.rows or 1)

    def _decoded(self, places: Sequence[Place], x0: Tensor, early: Tensor | None, rows: Conditioning) -> None:
        channels = self.lr.shape[1]
        with self.stages.timed("decode"):
            raw = by_window(self.config.engine.decode(x0, rows), channels)
        both = None if early is None else (by_window(early, channels), by_window(x0, channels))
        for window, mine in places_by_window(places).items():
            trajectory = None if both is None else (both[0][mine], both[1][mine])
            self._keep(window, [places[i][1] for i in mine], raw[mine], trajectory)

    def merge(self, window: int, raw: Tensor) -> Tensor:
        """The engine's output [N, channels, samples] with the input below the crossover: cores."""
        with self.stages.timed("assemble"):
            own = self.windows[window].window
            merged = self.config.crossover.merge(self.lr[window][None], raw, own.render_start)
            return merged[..., own.core].contiguous()

    def _keep(self, window: int, numbers: Sequence[int], raw: Tensor, early: tuple[Tensor, Tensor] | None) -> None:
        own = self.windows[window]
        merged = self.merge(window, raw)
        with self.stages.timed("verify"):
            context = self.setup.context(own, raw[..., own.window.core], early)
            if not own.audio:
                self._score_input(own, context)
            for verifier in self.verifiers:
                if verifier.name not in own.previewed and not compares(verifier):
                    self._score(own, numbers, verifier, merged, context)
        if len(numbers) == self.config.most:
            with self.stages.timed("observe"):
                own.apart = self._apart(context.power(merged))
        for number, audio in zip(numbers, merged.cpu(), strict=True):
            own.candidates[number].audio, own.candidates[number].x0 = audio, None
        with self.stages.timed("verify"):
            for verifier in filter(compares, self.verifiers):
                decoded = torch.stack(list(own.audio.values()))
                self._score(own, list(own.audio), verifier, decoded, replace(context, raw=None))

    def compare(self, window: int) -> None:
        """Say how far a window's candidates are apart, where that is not known of all of them."""
        own = self.windows[window]
        if own.audio and (own.apart is None or len(own.audio) > self.config.most):
            with self.stages.timed("observe"):
                device = self.config.engine.device
                own.apart = self._apart([power_spectrogram(core.to(device)) for core in own.audio.values()])

    def _apart(self, powers: Sequence[Tensor] | Tensor) -> Disagreement:
        """Of candidates' power spectrograms at the engine's level, as at the file's."""
        setup = self.setup
        return disagreement([x * setup.scale**2 for x in powers], setup.bandwidth.lowest(), setup.sample_rate)

    def _score(
        self, own: WindowCandidates, numbers: Sequence[int], verifier: Verifier, merged: Tensor, context: Context
    ) -> None:
        """Note one verifier's scores of candidates, and of their segments where it may choose those."""
        if len(own.edges) > 2 and (verifier in self.config.panel.search or self.config.trace_held_out):
            for name, parts in segment_scores(verifier, merged, context, own.edges).items():
                for number, part in zip(numbers, parts, strict=True):
                    own.candidates[number].segments[name] = part
        for name, values in score_columns(verifier, merged, context).items():
            for number, value in zip(numbers, values, strict=True):
                own.candidates[number].scores[name] = value

    def _score_input(self, own: WindowCandidates, context: Context) -> None:
        """Ask those that can score the window's input itself, to tell whether a render is worse than nothing."""
        given = context.lr[None]
        same = replace(context, raw=given, early=None, _mono={}, _powers=[])
        for verifier in self.verifiers:
            known = verifier.name in own.previewed or goes_by_input(verifier, context.annotations)
            if not needs_early(verifier) and not compares(verifier) and not known:
                own.input_scores |= {name: values[0] for name, values in score_columns(verifier, given, same).items()}


def by_window(rows: Tensor, channels: int) -> Tensor:
    """[W x channels, ...] -> [W, channels, ...]."""
    split: Tensor = rows.unflatten(0, (-1, channels))
    return split


def places_by_window(places: Sequence[Place]) -> dict[int, list[int]]:
    """Which of the candidates belong to which window."""
    found: dict[int, list[int]] = {}
    for i, (window, _) in enumerate(places):
        found.setdefault(window, []).append(i)
    return found
