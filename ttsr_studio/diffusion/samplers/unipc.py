"""UniPC: a multistep predictor whose evaluation also corrects the point it was made at, predicting the data.

Zhao et al., "UniPC: a unified predictor-corrector framework for fast sampling of diffusion models" (2023),
with B(h) = e^-h - 1 ("bh2"). In EDM coordinates lambda = -log sigma and the signal's level is 1. UniPC-p is
of order p in the predictor and p + 1 with the corrector, at one evaluation a step.
"""

import math

import numpy as np
from torch import Tensor

from ttsr_studio.diffusion.samplers.base import Denoise, Sampler, State, arrive


def step_2(denoise: Denoise, x: Tensor, sigma: float, sigma_next: float, state: State) -> tuple[Tensor, State]:
    """UniPC-2: algorithms 5 (UniC) and 6 (UniP) of the paper in their multistep form."""
    return _step(denoise, x, sigma, sigma_next, state, order=2)


def step_3(denoise: Denoise, x: Tensor, sigma: float, sigma_next: float, state: State) -> tuple[Tensor, State]:
    """UniPC-3."""
    return _step(denoise, x, sigma, sigma_next, state, order=3)


def _step(
    denoise: Denoise, x: Tensor, sigma: float, sigma_next: float, state: State, *, order: int
) -> tuple[Tensor, State]:
    denoised = arrive(denoise, x, sigma, state)
    if state.left is not None:
        x = _update(state.left, sigma, state, arrived=denoised)
    sigmas = (sigma, *state.sigmas)[:order]
    after = State(sigmas, (denoised, *state.denoised)[:order], left=x, order=len(sigmas))
    if sigma_next == 0.0:
        return denoised, after
    return _update(x, sigma_next, after, arrived=None), after


def _update(x: Tensor, sigma_next: float, state: State, arrived: Tensor | None) -> Tensor:
    """Return x at sigma_next, from x at state.sigmas[0].

    Predicts from the history alone (UniP), or corrects with the x0-prediction made on arrival (UniC).
    """
    sigma, m0 = state.sigmas[0], state.denoised[0]
    h = math.log(sigma / sigma_next)
    b_h = math.expm1(-h)
    ratios = [-math.log(past / sigma) / h for past in state.sigmas[1 : state.order]]
    differences = [(past - m0) / r for past, r in zip(state.denoised[1 : state.order], ratios, strict=True)]
    if arrived is not None:
        ratios.append(1.0)
        differences.append(arrived - m0)
    x_next = (sigma_next / sigma) * x - b_h * m0
    for weight, difference in zip(_weights(ratios, h), differences, strict=True):
        x_next = x_next - b_h * weight * difference
    return x_next


def _weights(ratios: list[float], h: float) -> list[float]:
    """Return the weights of the differences: theorem 3.1, R(h) a = b(h)/B(h).

    One difference takes 1/2 whatever h is, which the paper allows (section 3.3) and its code does.
    """
    if len(ratios) < 2:
        return [0.5] * len(ratios)
    matrix = np.vander(ratios, increasing=True).T
    phi = math.expm1(-h) / -h - 1.0
    right = []
    factorial = 1.0
    for k in range(1, len(ratios) + 1):
        right.append(phi * factorial / math.expm1(-h))
        factorial *= k + 1
        phi = phi / -h - 1.0 / factorial
    return [float(weight) for weight in np.linalg.solve(matrix, np.array(right))]


UNIPC = Sampler(step_2, order=3)
UNIPC_3 = Sampler(step_3, order=4)
