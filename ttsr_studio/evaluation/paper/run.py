"""The rows of the paper's tables: every clip at every cutoff, by every guide and algorithm, scored by every verifier.

A row of paper.jsonl holds, besides these four:

- scores: of the output by every verifier of the kind, higher is better, by column; without those that had nothing to go
  by, and null where one could not say. They score the finished clip whole, at the level that searches hold.
- lsd, lsd_edge: log-spectral distance to the truth, over the full band and to the clip's own edge.
- search_range: equation 4, mean over windows, as in the report; null with fewer than two candidates.
- nfe, seconds: network evaluations and wall-clock seconds of the render; null for the input.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ttsr_studio import __version__
from ttsr_studio.audio.resample import read_mono
from ttsr_studio.engines.device import resolve_device
from ttsr_studio.errors import MissingError, TtsrError
from ttsr_studio.evaluation.benchmark.dataset import RATE, Audio, Clip
from ttsr_studio.evaluation.benchmark.degradation import Item
from ttsr_studio.evaluation.benchmark.metrics import measure
from ttsr_studio.evaluation.benchmark.runner import MEASURES
from ttsr_studio.evaluation.benchmark.systems import render_item, session_for, weights_of
from ttsr_studio.evaluation.paper.plan import GOES_BY, PaperPlan, TableLine
from ttsr_studio.evaluation.sweep import EvaluationRun, Row, UnreadableError, all_cases, finite, sweep
from ttsr_studio.evaluation.verifier_study.score_files import score_finished
from ttsr_studio.options import RenderOptions
from ttsr_studio.verifiers.protocol import Annotations, Verifier

PAPER = 1
"""Raised when a row's meaning changes."""


@dataclass(frozen=True)
class LineStudy:
    """A line of Table 1, measured.

    Attributes:
        tell_cutoff: give renders the true cutoff instead of letting them detect one.
    """

    plan: PaperPlan
    line: TableLine
    tell_cutoff: bool

    @property
    def name(self) -> str:
        return self.line.name

    @property
    def verifiers(self) -> list[Verifier]:
        """Those of the columns of its kind."""
        return [self.plan.verifiers[name] for name in self.plan.scoring[self.line.kind]]

    def find(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> list[Row] | None:
        return run.results.find([self.key(clip, cutoff_hz, run)])

    def measure(self, item: Item, run: EvaluationRun) -> Iterable[Row]:
        """One row. Raises UnreadableError when the recording of the speaker cannot be read."""
        clip, line = item.clip, self.line
        try:
            speakers = () if clip.speaker is None else (read_mono(clip.speaker, RATE),)
        except (TtsrError, OSError) as error:
            raise UnreadableError(str(error)) from error
        audio, summary = item.lr_wide(), dict[str, Any]()
        if line.options is not None:
            audio, summary = self.render(line.options, item)
        annotations = Annotations(clip.transcript, clip.caption, speakers=speakers, rate=RATE)
        values = measure(item.truth, audio, item.cutoff_hz, clip.edge_hz)
        yield {
            "key": self.key(clip, item.cutoff_hz, run),
            "clip": clip.name,
            "kind": clip.kind,
            "cutoff_hz": item.cutoff_hz,
            "low_pass": item.low_pass,
            "edge_hz": clip.edge_hz,
            "guide": line.guide,
            "algorithm": line.algorithm,
            "scores": scores_of(self.verifiers, audio, item, annotations),
            "lsd": finite(values["lsd"]),
            "lsd_edge": finite(values["lsd_edge"]),
            **{name: summary.get(name) for name in ("search_range", "nfe", "seconds")},
            "version": __version__,
        }

    def key(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> str:
        """Raises UnreadableError for a clip or a recording that cannot be read."""
        line, options = self.line, self.line.options
        own: dict[str, Any] = {
            "paper": PAPER,
            "measures": MEASURES,
            "line": line.name,
            "files": [run.checksum(clip.path), None if clip.speaker is None else run.checksum(clip.speaker)],
            "texts": [clip.transcript, clip.caption],
            "judges": {verifier.name: verifier.weights for verifier in self.verifiers},
        }
        if options is not None:
            own["options"] = options.to_json() | {"device": resolve_device(options.device)}
            own |= {"weights": self.weights_known(options), "tell_cutoff": self.tell_cutoff}
        return run.row_key(clip, cutoff_hz, **own)

    def weights_known(self, options: RenderOptions) -> dict[str, str]:
        """sha256 of every weights file that a render uses, by name."""
        weights = dict(self.plan.weights[options.engine])
        for name in options.verifiers:
            weights |= self.plan.verifiers[name].weights if name in self.plan.verifiers else {}
        return weights

    def render(self, options: RenderOptions, item: Item) -> tuple[Audio, dict[str, Any]]:
        """Render an input with what is known of its clip: the output in the truth's shape, and the render's summary.

        Raises MissingError when weights are no longer those that the results are kept under.
        """
        session, clip = session_for(options), item.clip
        if weights_of(session) != self.weights_known(options):
            raise MissingError("a weights file was changed during the evaluation; run it again")
        known = replace(
            options,
            transcript=clip.transcript,
            caption=clip.caption,
            speakers=() if clip.speaker is None else (clip.speaker,),
            cutoff=item.cutoff_hz if self.tell_cutoff else None,
        )
        audio, summary, _ = render_item(session.with_options(known), item)
        return audio, summary


def run_paper(plan: PaperPlan, run: EvaluationRun, tell_cutoff: bool = False) -> list[Row]:
    """Measure every line on every clip of its kind at every cutoff: the rows, in the order of the lines.

    Line by line, so that one session at a time is in memory.

    Raises OutputError when the results cannot be written.
    """
    cases = {
        kind: all_cases([clip for clip in plan.clips if clip.kind == kind], run.conditions.cutoffs)
        for kind in plan.kinds
    }
    run.reporter.expect(sum(len(cases[line.kind]) for line in plan.lines))
    return [row for line in plan.lines for row in sweep(LineStudy(plan, line, tell_cutoff), cases[line.kind], run)]


def scores_of(
    verifiers: Sequence[Verifier], audio: Audio, item: Item, annotations: Annotations
) -> dict[str, float | None]:
    """Scores of finished audio by column, without those of verifiers that would have to go by the input."""
    unable = {name for name, (known, _, _) in GOES_BY.items() if not getattr(item.clip, known)}
    able = [verifier for verifier in verifiers if verifier.name not in unable]
    lr, output = (torch.from_numpy(x) for x in (item.lr_wide(), audio))
    scores = score_finished(able, output, lr, item.kept_hz, annotations)
    return {name: finite(score) for name, score in scores.items()}
