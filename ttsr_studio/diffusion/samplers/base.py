"""What all samplers share: their state, and the loop from one noise level to the next.

EDM coordinates: x = x0 + sigma·eps, and the probability flow is dx/dsigma = (x - x0(x, sigma)) / sigma
(Karras et al. 2022, equation 1 with sigma(t) = t). Coefficients are Python floats, computed from the noise
levels of single steps, so a run does not depend on the batch or on where it was interrupted.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ttsr_studio.errors import OptionError
from ttsr_studio.plugins.plugin import type_in_words

Denoise = Callable[[Tensor, Tensor], Tensor]
"""denoise(x [N, ...], sigma [N], best on the CPU) -> x0-prediction [N, ...]."""


@dataclass(frozen=True)
class State:
    """Where a run stands: what the next step needs to know of the past. Without one, a run starts afresh.

    Attributes:
        sigmas: noise levels of the past evaluations, newest first.
        denoised: their x0-predictions [N, ...], newest first; `denoised[0]` is a preview of the result that
            costs nothing and is one step old.
        left: the point [N, ...] that the last step left from; what a corrector goes back to.
        order: of the last step.
        ahead: the x0-prediction at the present x, when `peek` has made it already.
    """

    sigmas: tuple[float, ...] = ()
    denoised: tuple[Tensor, ...] = ()
    left: Tensor | None = None
    order: int = 0
    ahead: Tensor | None = None

    def rows(self, index: Tensor) -> "State":
        """Return the state of some rows of the batch: index [M], int64, for `x[index]`."""
        return replace(
            self,
            denoised=tuple(past[index] for past in self.denoised),
            left=None if self.left is None else self.left[index],
            ahead=None if self.ahead is None else self.ahead[index],
        )

    def detached(self) -> "State":
        """Return the same without the graphs that its tensors carry."""
        left, ahead = (None if x is None else x.detach() for x in (self.left, self.ahead))
        return replace(self, denoised=tuple(past.detach() for past in self.denoised), left=left, ahead=ahead)

    @classmethod
    def cat(cls, states: Sequence["State"]) -> "State":
        """Join the states of batches that stand at the same step, for `torch.cat` of their x.

        Raises OptionError when they do not.
        """
        first = states[0]
        if len({(s.sigmas, s.order, s.left is None, s.ahead is None) for s in states}) > 1:
            raise OptionError("only runs that stand at the same step of one schedule can be joined")
        return replace(
            first,
            denoised=tuple(torch.cat(past) for past in zip(*(s.denoised for s in states), strict=True)),
            left=_cat([s.left for s in states]),
            ahead=_cat([s.ahead for s in states]),
        )


def _cat(parts: list[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None


Step = Callable[[Denoise, Tensor, float, float, State], tuple[Tensor, State]]
"""step(denoise, x, sigma, sigma_next, state) -> x at sigma_next, state."""


def evaluate(denoise: Denoise, x: Tensor, sigma: float) -> Tensor:
    """Return the x0-prediction of x [N, ...], all rows at one noise level."""
    dtype = x.dtype if x.dtype == torch.float64 else torch.float32
    # Levels stay on the CPU, where guidance and tables read them: a device would have to be waited for.
    return denoise(x, torch.full((len(x),), sigma, dtype=dtype))


def arrive(denoise: Denoise, x: Tensor, sigma: float, state: State) -> Tensor:
    """Return the x0-prediction that opens a step: the one that `peek` made, or a new evaluation."""
    return evaluate(denoise, x, sigma) if state.ahead is None else state.ahead


def peek(denoise: Denoise, x: Tensor, sigma: float, state: State | None = None) -> tuple[Tensor, State]:
    """Return the x0-prediction [N, ...] at the present x and a state that remembers it.

    One evaluation, which the next step then saves: a preview is free for a run that goes on.
    """
    state = state or State()
    ahead = arrive(denoise, x, sigma, state)
    return ahead, replace(state, ahead=ahead)


@dataclass(frozen=True)
class Sampler:
    """An algorithm by name: `sampler(denoise, x, sigmas, state=None) -> x, state`.

    Attributes:
        step: the algorithm.
        order: of convergence.
        evaluations: of the network in a step that does not end at 0; one that does takes one.
    """

    step: Step
    order: int
    evaluations: int = 1

    def __call__(
        self, denoise: Denoise, x: Tensor, sigmas: Tensor, *, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Take x [N, ...] (any device and float type) from noise level sigmas[0] down to sigmas[-1].

        A run may start and stop at any level. One cut in two, `sigmas[: k + 1]` and then `sigmas[k:]` with
        the state of the first part, is bit for bit the whole run. After re-noising, start without a state.

        Args:
            denoise: x0-prediction, called with float32 sigmas (float64 for x in float64).
            sigmas: [steps + 1], strictly descending, at least 0, best float64 on the CPU.
            state: of the run that ended at sigmas[0].

        Raises:
            OptionError: a schedule that does not descend or does not follow the state's.
        """
        # A queue of one: keeping every step's x would fill the device.
        return deque(self.steps(denoise, x, sigmas, state=state), maxlen=1).pop()

    def steps(
        self, denoise: Denoise, x: Tensor, sigmas: Tensor, *, state: State | None = None
    ) -> Iterator[tuple[Tensor, State]]:
        """As a call, but yields (x, state) after every step."""
        state = state or State()
        levels = [float(sigma) for sigma in sigmas]
        run = [*state.sigmas[:1], *levels]
        if len(levels) < 2 or levels[-1] < 0.0 or any(a <= b for a, b in pairwise(run)):
            raise OptionError(f"noise levels must be two or more that descend, none below 0: {run}")
        for sigma, sigma_next in pairwise(levels):
            x, state = self.step(denoise, x, sigma, sigma_next, state)
            yield x, state


def no_step(given: Any, _denoise: Denoise, x: Tensor, *_: Any) -> str | None:
    """Why something is not what a step from x [N, ...] comes to."""
    if not isinstance(given, tuple) or len(given) != 2:
        return f"{type_in_words(given)} in place of (x, state)"
    reached, state = given
    if not isinstance(reached, Tensor) or reached.shape != x.shape:
        return f"{type_in_words(reached)} in place of a tensor of shape {tuple(x.shape)}, that of x"
    if not isinstance(state, State) or not state.denoised or not state.sigmas:
        return "a state without the x0-prediction of the step: State((sigma,), (denoised,)) is the least"
    return None
