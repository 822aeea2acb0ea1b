"""Euler's method on the probability flow, in EDM coordinates DDIM with eta = 0 (Song et al. 2021, eq. 13)."""

from torch import Tensor

from ttsr_studio.diffusion.samplers.base import Denoise, Sampler, State, arrive


def step(denoise: Denoise, x: Tensor, sigma: float, sigma_next: float, state: State) -> tuple[Tensor, State]:
    """x' = x + (sigma' - sigma)·d, d = (x - x0)/sigma: Karras et al. (2022), algorithm 1, lines 4 and 5."""
    denoised = arrive(denoise, x, sigma, state)
    after = State((sigma,), (denoised,))
    if sigma_next == 0.0:
        return denoised, after
    d = (x - denoised) / sigma
    return x + (sigma_next - sigma) * d, after


EULER = Sampler(step, order=1)
