"""Where scores rise: the gradient of what verifiers say, at the noise that a candidate starts from."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ttsr_studio.rendering.inference.sampling import CandidateSampler, Sampled
from ttsr_studio.rendering.inference.scoring import CandidateScorer
from ttsr_studio.rendering.inference.state import Slope
from ttsr_studio.search.scheduler import Task
from ttsr_studio.verifiers.protocol import Verifier, differentiable


class SlopeFinder:
    """Runs candidates from their noise and finds which turn of it makes the scores rise.

    One candidate at a time, since a graph takes many times the memory of a row; so it depends on no batch.
    """

    def __init__(self, sampler: CandidateSampler, scorer: CandidateScorer) -> None:
        self.sampler, self.scorer = sampler, scorer

    def run(self, tasks: Sequence[Task], noise: Tensor) -> tuple[Sampled, list[Slope]] | None:
        """Take tasks of one shape on from their noise [N, ...], as `CandidateSampler.run` does; None when given up."""
        parts, slopes = [], []
        essential = any(task.essential for task in tasks)
        for task, start in zip(tasks, noise, strict=True):
            found = self.sampler.climb(task, start, essential, partial(self.rise, task.window))
            if found is None:
                return None
            parts.append(found[0])
            slopes.append(Slope(start, found[1]))
        return Sampled.cat(parts), slopes

    def rise(self, window: int, x0: Tensor) -> Tensor:
        """Where scores rise from the x0 [channels, ...] of one candidate: a direction of the same shape.

        Of several verifiers each has a part of the length of its weight, for their units have nothing in common.
        """
        scorer, own = self.scorer, self.scorer.windows[window]
        panel, config = scorer.config.panel, scorer.config
        direction = torch.zeros_like(x0)
        with scorer.stages.timed("gradient"), torch.enable_grad():
            x0 = x0.requires_grad_()
            raw = config.engine.decode(x0, self.sampler.rows([window]))[None]
            merged = scorer.merge(window, raw)
            context = scorer.setup.context(own, raw[..., own.window.core])
            for verifier in panel.choosing("window"):
                weight = panel.weights.get(verifier.name, 1.0)
                if weight and differentiable(verifier):
                    slope = self._slope(verifier, merged, context, x0)
                    size = float(slope.norm())
                    direction += slope * (weight / size) if 0 < size < float("inf") else 0
        return direction

    def _slope(self, verifier: Verifier, merged: Tensor, context: object, x0: Tensor) -> Tensor:
        scores = verifier.score(merged, context)  # type: ignore[arg-type]
        total = scores.sum() if isinstance(scores, Tensor) else torch.stack([*scores.values()]).sum()
        if not total.requires_grad:  # nothing to score here: the same for all candidates
            return torch.zeros_like(x0)
        (slope,) = torch.autograd.grad(total, x0, retain_graph=True)
        return slope
