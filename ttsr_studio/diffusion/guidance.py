"""Classifier-free guidance: Ho and Salimans (2022), in an interval of noise levels, with rescaling.

The interval is Kynkäänniemi et al., "Applying guidance in a limited interval improves sample and distribution
quality in diffusion models" (2024). The rescaling is Lin et al., "Common diffusion noise schedules and sample
steps are flawed" (2024), section 3.4. All in EDM coordinates, on x0-predictions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ttsr_studio.errors import OptionError

BothOutputs = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""pair(x [N, ...], sigma [N], index [M]) -> x0 [N, ...], and unconditional x0 of x[index] [M, ...]."""


@dataclass(frozen=True)
class Guidance:
    """How strongly, and where.

    Attributes:
        scale: weight of the conditional prediction: 1 is no guidance, 0 is unconditional.
        interval: (sigma_lo, sigma_hi); guided where sigma_lo < sigma <= sigma_hi, conditional elsewhere.
        rescale: phi of Lin et al., 0 (off) to 1; they suggest 0.7.

    Raises:
        OptionError: a scale below 0, an empty interval, or a rescale outside 0 to 1.
    """

    scale: float = 1.0
    interval: tuple[float, float] = (0.0, math.inf)
    rescale: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.scale < math.inf:
            raise OptionError(f"guidance scale {self.scale} is not a number from 0 (1 is no guidance)")
        if not 0.0 <= self.interval[0] < self.interval[1]:
            raise OptionError(f"guidance interval {self.interval} is empty; give sigma_lo < sigma_hi")
        if not 0.0 <= self.rescale <= 1.0:
            raise OptionError(f"guidance rescale {self.rescale} is not between 0 and 1")

    def rows(self, sigma: Tensor) -> Tensor:
        """Return the rows to guide at noise levels sigma [N]: int64 [M] on the CPU, empty when scale is 1."""
        if self.scale == 1.0:
            return torch.empty(0, dtype=torch.int64)
        low, high = self.interval
        levels = sigma.cpu()  # where samplers leave them
        return ((levels > low) & (levels <= high)).nonzero().flatten()


def guided_prediction(cond: Tensor, uncond: Tensor, guidance: Guidance) -> Tensor:
    """Return the guided x0-prediction of two [N, ...].

    uncond + scale·(cond - uncond); then for phi > 0 (Lin et al., equations 15 and 16) the share phi of it is
    brought to the standard deviation of cond, each row over all its values.
    """
    guided = uncond + guidance.scale * (cond - uncond)
    if guidance.rescale == 0.0:
        return guided
    axes = tuple(range(1, cond.ndim))
    wide = guided.std(axes, keepdim=True)
    ratio = torch.where(wide > 0, cond.std(axes, keepdim=True) / wide, torch.ones_like(wide))
    return guided * (guidance.rescale * ratio + (1.0 - guidance.rescale))


def guide(pair: BothOutputs, guidance: Guidance, x: Tensor, sigma: Tensor) -> Tensor:
    """Return the x0-prediction of x [N, ...] at sigma [N], guided in the rows whose level is in the interval.

    Rows outside it, and every row at scale 1, are asked for conditionally only.
    """
    index = guidance.rows(sigma)
    cond, uncond = pair(x, sigma, index)
    if len(index) == 0:
        return cond
    index = index.to(x.device)
    guided = cond.clone()
    guided[index] = guided_prediction(cond[index], uncond, guidance)
    return guided
