"""Heun's second-order method on the probability flow: Karras et al. (2022), algorithm 1 (deterministic)."""

from torch import Tensor

from ttsr_studio.diffusion.samplers.base import Denoise, Sampler, State, arrive, evaluate


def step(denoise: Denoise, x: Tensor, sigma: float, sigma_next: float, state: State) -> tuple[Tensor, State]:
    """Euler's step, then the mean slope of its two ends. Two evaluations, one for the step to 0."""
    denoised = arrive(denoise, x, sigma, state)
    after = State((sigma,), (denoised,))
    if sigma_next == 0.0:
        return denoised, after
    d = (x - denoised) / sigma
    x_euler = x + (sigma_next - sigma) * d
    d_next = (x_euler - evaluate(denoise, x_euler, sigma_next)) / sigma_next
    return x + (sigma_next - sigma) * (0.5 * d + 0.5 * d_next), after


HEUN = Sampler(step, order=2, evaluations=2)
