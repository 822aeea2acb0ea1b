"""Variance-preserving tables in EDM coordinates: a discrete-time model's timesteps as noise levels and back.

A model trained on x_t = sqrt(ᾱ_t) x0 + sqrt(1 - ᾱ_t) eps has sigma_t = sqrt((1 - ᾱ_t) / ᾱ_t) in x / sqrt(ᾱ_t)
= x0 + sigma eps (Karras et al. 2022, table 1).
"""

import math

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.diffusion.schedule_names import SPACINGS
from ttsr_studio.errors import OptionError, unknown

STEPS = 1000


def cosine_alphas(steps: int = STEPS, offset: float = 0.008) -> Tensor:
    """Return ᾱ of every timestep, float64 [steps]: Nichol and Dhariwal (2021), equation 17, betas not clipped.

    The last is 0 (up to rounding), so its noise level is infinite.
    """
    angle = (torch.arange(steps + 1, dtype=torch.float64) / steps + offset) / (1 + offset) * math.pi / 2
    alphas = torch.cos(angle) ** 2
    return alphas[1:] / alphas[0]


class TimeTable:
    """Timesteps 0 to steps - 2 of a VP model and their noise levels; the last one's, which is infinite, is left out.

    Attributes:
        sigmas: float64 [steps - 1], ascending.
    """

    def __init__(self, alphas: Tensor) -> None:
        kept = alphas[:-1].double()
        self.sigmas = ((1 - kept) / kept).sqrt()
        self._log = np.log(self.sigmas.numpy())

    def timesteps(self, sigma: Tensor) -> Tensor:
        """Noise levels [N] -> timesteps float64 [N], between the table's own where a level is between two.

        Interpolated in log sigma; beyond the table's ends, the ends.
        """
        levels = np.log(sigma.detach().cpu().double().numpy())
        return torch.from_numpy(np.interp(levels, self._log, np.arange(len(self._log), dtype=np.float64)))

    def schedule(self, spacing: str, steps: int) -> Tensor:
        """Return float64 [steps + 1]: evenly spaced timesteps as noise levels, descending, then 0.

        "leading" visits 1, 1 + c, 1 + 2c, ... with c = 1000 // steps, as the DDIM of the model's own package;
        "trailing" visits 999, 999 - 1000/steps, ... (Lin et al., "Common diffusion noise schedules and sample steps
        are flawed", 2024, table 2), its infinite first level replaced by the largest finite one.

        Raises OptionError for an unknown spacing or more steps than half the timesteps.
        """
        if spacing not in SPACINGS:
            raise unknown("spacing", spacing, SPACINGS)
        total = len(self.sigmas) + 1
        if not 1 <= steps <= total // 2:
            raise OptionError(f"spacing {spacing!r} takes 1 to {total // 2} steps, not {steps}")
        if spacing == "leading":
            visited = 1 + total // steps * torch.arange(steps)
        else:
            visited = (total - total / steps * torch.arange(steps, dtype=torch.float64)).round().long().flip(0) - 1
        levels = self.sigmas[visited.clamp(max=total - 2)].flip(0)
        return torch.cat([levels, torch.zeros(1, dtype=torch.float64)])
