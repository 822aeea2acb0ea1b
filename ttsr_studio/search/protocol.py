"""What searches and the scheduler exchange.

A search is a generator: it yields requests and receives their results, and returns the winner. It knows no engine and
no verifier; the scheduler merges the requests of all windows into device batches.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from ttsr_studio.diffusion.denoiser import BACKWARD
from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.errors import OptionError


@dataclass(frozen=True)
class SamplingPlan:
    """A run of the sampler from noise to result, and what its parts cost: evaluations of one row, guidance included.

    Attributes:
        sigmas: noise levels, descending, the last one 0; a candidate "at step s" stands at sigmas[s].
        evaluations: of a step that does not end at 0; one that does takes one.
        each: what one evaluation counts, 2 with guidance.
    """

    sigmas: tuple[float, ...]
    evaluations: int = 1
    each: int = 1

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    @property
    def run(self) -> int:
        """Cost of a whole run."""
        return self.cost(0, self.steps)

    def cost(self, start: int, stop: int, ahead: bool = False) -> int:
        """Cost from one step to a later one; `ahead` saves the first evaluation."""
        if start == stop:
            return 0
        last = self.evaluations - 1 if stop == self.steps else 0
        return self.each * (self.evaluations * (stop - start) - last - ahead)

    def preview_cost(self, steps: int) -> int:
        """Cost of a preview: 0 steps (the last x0-prediction), 1 (a new one) or a coarse run of more."""
        return self.each * (self.evaluations * (steps - 1) + 1) if steps else 0

    def step_at(self, sigma: float) -> int:
        """The step nearest to a noise level, by its logarithm; the last one for a level at or below half the lowest."""
        lowest = self.sigmas[-2]
        if sigma <= lowest / 2:
            return self.steps
        levels = np.log(np.array(self.sigmas[:-1]))
        return int(np.abs(levels - math.log(sigma)).argmin())


@dataclass(frozen=True)
class Candidate:
    """One render of one window, finished or on its way.

    Attributes:
        index: its number in that window, from 0, in order of request.
        key: its noise, and the re-noisings on its way.
        step: of the sampling plan that it has reached; the last one when it is finished.
        ahead: whether the x0-prediction at that step is made already, so that going on costs one less.
    """

    index: int
    key: NoiseKey
    step: int
    ahead: bool = False

    @property
    def began(self) -> int:
        """The step from which its solver has run on without a turn: what the solver remembers goes back to there."""
        name, *values = self.key.lineage[-1] if self.key.lineage else ("draw",)
        return int(values[2]) if name == "renoise" else int(values[1]) + 1 if name == "walk" else 0


@dataclass(frozen=True)
class Rollout:
    """One way to go: from its noise, or from where another candidate stands.

    With the origin's own key it goes on; with a key one move further it is a new candidate that starts from a noisier
    version of the origin ("renoise"), from the next step by a stochastic one ("walk"), or from the origin's starting
    noise, turned towards higher scores ("ascend"; the origin was solved with its gradient).
    """

    key: NoiseKey
    origin: Candidate | None = None

    @property
    def kind(self) -> str:
        """ "draw", "resume", "renoise", "walk" or "ascend"."""
        if self.origin is None:
            return "draw"
        return "resume" if self.key == self.origin.key else str(self.key.lineage[-1][0])

    @property
    def start(self) -> int:
        """Step from which the solver takes over."""
        if self.origin is None or self.kind == "ascend":
            return 0
        if self.kind == "renoise":
            return int(self.key.lineage[-1][3])
        return self.origin.step + (self.kind == "walk")

    def price(self, plan: SamplingPlan, until: int, preview: int, gradient: bool = False) -> int:
        """Evaluations of a row that it takes to reach a step and be previewed there, with the gradient if wanted."""
        origin = None if self.kind == "ascend" else self.origin
        ahead = origin is not None and origin.ahead
        walked = plan.each * (not ahead) if self.kind == "walk" else 0
        known = ahead and self.kind == "resume"
        seen = plan.preview_cost(preview) - plan.each * (preview > 0 and known and self.start == until)
        there = walked + plan.cost(self.start, until, known) + seen
        return with_gradient(there, plan.each) if gradient else there


def with_gradient(evaluations: int, each: int = 1) -> int:
    """What evaluations in a row cost with the way back through them, all but the last of them made twice for it."""
    return (2 + BACKWARD) * evaluations - each


@dataclass(frozen=True)
class Solve:
    """Request: run these rollouts. The answer is a list of candidates in their order.

    The list is shorter when time ran out; the first `essential` ones are always there.

    Attributes:
        until: step to stop at; None for the end.
        preview: how an unfinished candidate is previewed where it stops, for `Score`: 0 takes the x0-prediction of its
            last step, which is free; 1 a new one at where it stands, which the next step saves; more is a coarse run
            of so many steps from there, of which the first evaluation is kept.
        gradient: also find, for every rollout, which turn of its starting noise makes the scores of what it comes to
            rise, so that others may "ascend" from it; rollouts from a starting noise only.
    """

    rollouts: tuple[Rollout, ...]
    until: int | None = None
    preview: int = 0
    essential: int = 0
    gradient: bool = False


@dataclass(frozen=True)
class Score:
    """Request: compare these candidates, all finished or all previewed. The answer is float64 [len(candidates)].

    Higher is better. Ensembles rank, so a score means something only beside the others of its request.
    """

    candidates: tuple[Candidate, ...]


Request = Solve | Score
Answer = list[Candidate] | np.ndarray
Search = Generator[Request, Answer, Candidate]


@dataclass(frozen=True)
class Problem:
    """One window to search: its own noise key, from which candidates descend, and the sampling plan of a run."""

    key: NoiseKey
    plan: SamplingPlan

    def draws(self, count: int, first: int = 0) -> tuple[Rollout, ...]:
        """Independent noises."""
        return tuple(Rollout(self.key.child("draw", first + i)) for i in range(count))


@dataclass(frozen=True)
class Budget:
    """The most that a search may spend on one window and channel, in network evaluations."""

    nfe: int

    def __post_init__(self) -> None:
        if self.nfe < 1:
            raise OptionError(f"a search needs at least 1 evaluation, not {self.nfe}")

    def runs(self, plan: SamplingPlan) -> int:
        """Whole runs within it. Raises OptionError when there is not even one."""
        count = self.nfe // plan.run
        if count < 1:
            raise too_small("a search", self, plan.run)
        return count


def too_small(what: str, budget: Budget, needed: int) -> OptionError:
    return OptionError(
        f"{what} needs at least {needed} evaluations of a window here, not {budget.nfe}; "
        f"allow --budget {needed}nfe, or fewer --steps"
    )


def best(candidates: Sequence[Candidate], scores: np.ndarray) -> Candidate:
    """The highest score; the earliest of equals."""
    return candidates[int(np.argmax(scores))]


def top(candidates: Sequence[Candidate], scores: np.ndarray, count: int) -> list[Candidate]:
    """The `count` highest scores, best first; the earliest of equals."""
    return [candidates[int(i)] for i in np.argsort(-scores, kind="stable")[:count]]


Asking = Generator[Request, Answer, list[Candidate]]
Scoring = Generator[Request, Answer, np.ndarray]


def solve(
    rollouts: Sequence[Rollout], until: int | None = None, preview: int = 0, essential: int = 0, gradient: bool = False
) -> Asking:
    """`yield from` it: the candidates that came of a `Solve`."""
    answer = yield Solve(tuple(rollouts), until, preview, essential, gradient)
    assert isinstance(answer, list)
    return answer


def score(candidates: Sequence[Candidate]) -> Scoring:
    """`yield from` it: the answer to a `Score`."""
    answer = yield Score(tuple(candidates))
    assert isinstance(answer, np.ndarray)
    return answer


def resume(candidates: Sequence[Candidate]) -> list[Rollout]:
    """Rollouts that go on from where candidates stand."""
    return [Rollout(candidate.key, candidate) for candidate in candidates]


def choose(finished: Sequence[Candidate]) -> Search:
    """`yield from` it: the best of finished candidates."""
    scores = yield from score(finished)
    return best(finished, scores)
