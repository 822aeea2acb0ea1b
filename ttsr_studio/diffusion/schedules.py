"""Sampling schedules: the noise levels that a sampler visits, in EDM coordinates (x = x0 + sigma·eps).

A schedule of N steps is N levels from sigma_max down to sigma_min and then 0: Karras et al., "Elucidating the
design space of diffusion-based generative models" (2022), equation 5. The names are those of Zhu et al., "A
review on score-based generative models for audio applications" (2025), section II-C2. They place its log-SNR
at -2 log sigma, since the signal's level is 1 in these coordinates.
"""

import math
from inspect import signature

import torch
from torch import Tensor

from ttsr_studio.diffusion.schedule_names import SCHEDULES
from ttsr_studio.errors import OptionError, unknown
from ttsr_studio.plugins.registry import imported


def edm(u: Tensor, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Return levels uniform in sigma^(1/rho): Karras et al. (2022), eq. 5. Higher rho favours low noise."""
    if rho < 1.0:
        raise OptionError(f"rho {rho} is below 1 (the paper's default is 7)")
    sigmas: Tensor = (sigma_max ** (1 / rho) + u * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    return sigmas


def linear(u: Tensor, sigma_min: float, sigma_max: float) -> Tensor:
    """Return levels uniform in sigma: EDM with rho = 1 (Zhu et al. 2025, below equation 14)."""
    return edm(u, sigma_min, sigma_max, rho=1.0)


def quadratic(u: Tensor, sigma_min: float, sigma_max: float) -> Tensor:
    """Return levels that are squares of equal steps, as the quadratic subsequence c·i² of DDIM.

    Song et al., "Denoising diffusion implicit models" (2021), appendix D.2, in sigma: EDM with rho = 2.
    """
    return edm(u, sigma_min, sigma_max, rho=2.0)


def cosine(u: Tensor, sigma_min: float, sigma_max: float, shift: float = 0.0) -> Tensor:
    """Return levels uniform in the angle of the cosine schedule, log-SNR = -2 log tan(angle) + shift.

    Nichol and Dhariwal (2021), as Hoogeboom et al., "simple diffusion" (2023), and table I of Zhu et al.
    (2025) write it: sigma = tan(angle)·exp(-shift/2). `shift` is in nats of log-SNR; below 0 favours high
    noise.
    """
    scale = math.exp(-shift / 2)
    low, high = math.atan(sigma_min / scale), math.atan(sigma_max / scale)
    return torch.tan(high + u * (low - high)) * scale


def linear_logsnr(u: Tensor, sigma_min: float, sigma_max: float) -> Tensor:
    """Return levels uniform in log-SNR, that is geometric in sigma.

    Lu et al., "DPM-Solver" (2022), section 4, where the solver's own time is half the log-SNR. "log-linear"
    (Permenter and Yuan, "Interpreting and improving diffusion models from an optimization perspective", 2024)
    is linear in log sigma, so it is the same schedule in these coordinates.
    """
    return torch.exp(math.log(sigma_max) + u * (math.log(sigma_min) - math.log(sigma_max)))


def sigmas(name: str, steps: int, sigma_min: float, sigma_max: float, **params: float) -> Tensor:
    """Return a schedule by name: float64 [steps + 1] on the CPU, strictly descending, the last one 0.

    The first is sigma_max and the last above 0 is sigma_min, both exactly (a single step goes from sigma_max
    to 0). `params` are the schedule's own: rho of "edm", shift of "cosine".

    Raises OptionError for an unknown name or parameter, steps below 1, or unless sigma_max > sigma_min > 0.
    """
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    schedule = imported(SCHEDULES[name])
    known = list(signature(schedule).parameters)[3:]
    for parameter in params:
        if parameter not in known:
            raise unknown(f"parameter of schedule {name!r}", parameter, known or ["none"])
    if steps < 1:
        raise OptionError(f"a schedule needs at least 1 step, not {steps}")
    if not 0.0 < sigma_min < sigma_max < math.inf:
        raise OptionError(f"a schedule needs sigma_max > sigma_min > 0, not {sigma_max} and {sigma_min}")
    levels: Tensor = schedule(torch.linspace(0, 1, steps, dtype=torch.float64), sigma_min, sigma_max, **params)
    levels[-1] = sigma_min
    levels[0] = sigma_max
    return torch.cat([levels, levels.new_zeros(1)])
