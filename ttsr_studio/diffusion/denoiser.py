"""The metered denoiser: the only place that runs a network, and so the only place that counts.

One row of one network evaluation is one NFE; guidance counts twice because it evaluates twice. What a gradient takes
is counted too: a way back through an evaluation is `BACKWARD` of them, and one that is made again for it is one more.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from ttsr_studio.diffusion.batch_limit import BatchLimit, in_batches
from ttsr_studio.diffusion.clock import DeviceTime, WallClock, span
from ttsr_studio.diffusion.guidance import Guidance, guide
from ttsr_studio.errors import OptionError

if TYPE_CHECKING:
    from ttsr_studio.diffusion.model import Conditioning, Engine, Guided


BACKWARD = 2
"""Evaluations that the way back through one counts as: it multiplies by every layer's weights once for the gradient of
what went in, as an evaluation does, and besides that by what the layers between them hold."""


@runtime_checkable
class Joinable(Protocol):
    """A conditioning that can be joined to another, so that guidance is one batch instead of two."""

    def join(self, other: Any) -> Any:
        """Return the conditioning of self's rows followed by other's."""
        ...


@dataclass
class Meter:
    """What the network has cost so far. Add meters to sum stages.

    Attributes:
        nfe: rows evaluated.
        calls: batches evaluated.
        seconds: spent in the network, failed attempts included, up to the last `settle`.
        largest_batch: rows of the largest batch that went through.
        running: what a device may not have done yet.
    """

    nfe: int = 0
    calls: int = 0
    seconds: float = 0.0
    largest_batch: int = 0
    running: list[DeviceTime | WallClock] = field(default_factory=list, compare=False, repr=False)

    def settle(self) -> None:
        """Wait for what is running and count its seconds."""
        self.seconds += sum(each.seconds() for each in self.running)
        self.running.clear()

    def __add__(self, other: "Meter") -> "Meter":
        self.settle()
        other.settle()
        return Meter(
            self.nfe + other.nfe,
            self.calls + other.calls,
            self.seconds + other.seconds,
            max(self.largest_batch, other.largest_batch),
        )


class MeteredDenoiser:
    """`denoise(x, sigma)` for samplers: an engine with the conditioning of the batch, counted and split.

    Args:
        engine: whose `denoise` is called.
        conditioning: of the N rows of x.
        meter: to count on; shared by the denoisers of a render or of one of its stages.
        guidance: None for none. A guided engine has `unconditional(conditioning) -> Conditioning`.
        limit: of the batch size; shared, so that a size that failed once is not tried again.
        clock: starts a span of time on a device.

    Attributes:
        gradient: whether predictions carry a graph back to x; the way back is counted when it is taken.

    Raises:
        OptionError: guidance with an engine that has none.
    """

    def __init__(
        self,
        engine: "Engine",
        conditioning: "Conditioning",
        meter: Meter,
        *,
        guidance: Guidance | None = None,
        limit: BatchLimit | None = None,
        clock: Callable[[torch.device], DeviceTime | WallClock] = span,
    ) -> None:
        self.engine = engine
        self.conditioning = conditioning
        self.meter = meter
        self.guidance = guidance or Guidance()
        self.limit = BatchLimit() if limit is None else limit
        self.clock, self.gradient = clock, False
        if self.guidance.scale != 1.0 and not engine.guided:
            raise OptionError(f"engine {engine.name!r} cannot be guided; leave the guidance scale at 1")

    def rows(self, index: Tensor) -> "MeteredDenoiser":
        """Return the denoiser of rows index [M] (int64, repeats allowed), on the same meter and limit."""
        return MeteredDenoiser(
            self.engine,
            self.conditioning.rows(index),
            self.meter,
            guidance=self.guidance,
            limit=self.limit,
            clock=self.clock,
        )

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the x0-prediction [N, ...] of x [N, ...] at noise levels sigma [N].

        Raises OptionError when x and the conditioning differ in rows or have none, and TtsrError when one row
        alone runs out of memory.
        """
        rows = len(self.conditioning)
        if not len(x) == len(sigma) == rows > 0:
            raise OptionError(f"{len(x)} rows at {len(sigma)} noise levels, but a conditioning of {rows}")
        return guide(self._pair, self.guidance, x, sigma)

    def _pair(self, x: Tensor, sigma: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        if len(index) == 0:
            return self._evaluate(x, sigma, self.conditioning), x[:0]
        engine = cast("Guided", self.engine)
        uncond = engine.unconditional(self.conditioning.rows(index))
        at, sigma = index.to(x.device), sigma.cpu()
        if not isinstance(self.conditioning, Joinable):
            return self._evaluate(x, sigma, self.conditioning), self._evaluate(x[at], sigma[index], uncond)
        both = self._evaluate(torch.cat([x, x[at]]), torch.cat([sigma, sigma[index]]), self.conditioning.join(uncond))
        return both[: len(x)], both[len(x) :]

    def _evaluate(self, x: Tensor, sigma: Tensor, conditioning: "Conditioning") -> Tensor:
        """Evaluate all rows, in batches within the limit."""

        def attempt(start: int, stop: int) -> Tensor:
            return self._run(x[start:stop], sigma[start:stop], self._slice(conditioning, start, stop))

        parts = in_batches(len(x), self.limit, attempt, f"engine {self.engine.name!r} on {x.device}")
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    @staticmethod
    def _slice(conditioning: "Conditioning", start: int, stop: int) -> "Conditioning":
        whole = (start, stop) == (0, len(conditioning))
        return conditioning if whole else conditioning.rows(torch.arange(start, stop))

    def _run(self, x: Tensor, sigma: Tensor, conditioning: "Conditioning") -> Tensor:
        """Run the network on one batch and count it."""
        # An engine of another package is given levels where x is.
        level = sigma.cpu() if getattr(self.engine, "levels_on_cpu", False) else sigma.to(x.device)
        self.meter.running.append(self.clock(x.device))
        try:
            with torch.set_grad_enabled(self.gradient):
                x0 = self.engine.denoise(x, level, conditioning)
        finally:
            self.meter.running[-1].end()
            if x.device.type == "cpu":
                self.meter.settle()
        self.meter.nfe += len(x)
        self.meter.calls += 1
        self.meter.largest_batch = max(self.meter.largest_batch, len(x))
        if x0.requires_grad:
            x0.register_hook(self._count_back)
        return x0

    def _count_back(self, gradient: Tensor) -> None:
        self.meter.nfe += BACKWARD * len(gradient)


class OverdrawnError(RuntimeError):
    """A sampler that evaluates more often than it says."""


class Allowance:
    """A denoiser for a sampler that may run it so many times and no more.

    Args:
        rows: evaluations of a row that are left.
    """

    def __init__(self, denoiser: MeteredDenoiser, rows: int) -> None:
        self.denoiser, self.meter = denoiser, denoiser.meter
        self.most, self.allowed = self.meter.nfe + rows, rows

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """See `MeteredDenoiser`. Raises OverdrawnError where more is asked for than was said."""
        if self.meter.nfe + len(x) > self.most:
            raise OverdrawnError(
                f"it asks for more than the {self.allowed} evaluations that its `evaluations` (of a step) come to, "
                "or does not open its steps by `arrive`"
            )
        return self.denoiser(x, sigma)


class Checkpointed:
    """A denoiser with gradients that keeps no graph but the last evaluation's: others are made again on the way back.

    Args:
        evaluations: that there will be.
    """

    def __init__(self, denoiser: Allowance, evaluations: int) -> None:
        self.denoiser, self.left = denoiser, evaluations

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """See `MeteredDenoiser`."""
        self.left -= 1
        if self.left < 1:
            return self.denoiser(x, sigma)
        with set_checkpoint_early_stop(False):  # what is made again is counted when it is whole
            made: Tensor = checkpoint(self.denoiser, x, sigma, use_reentrant=False, preserve_rng_state=False)
        return made

    def gradient(self, x0: Tensor, noise: Tensor, direction: Tensor) -> Tensor:
        """The gradient at `noise`, which x0 was made from, of what has the gradient `direction` at x0."""
        meter = self.denoiser.meter
        meter.settle()
        spent, whole = meter.seconds, self.denoiser.denoiser.clock(x0.device)
        (gradient,) = torch.autograd.grad(x0, noise, direction)
        whole.end()
        # What was made again on the way is part of it.
        meter.running.clear()
        meter.seconds = spent + whole.seconds()
        return gradient
