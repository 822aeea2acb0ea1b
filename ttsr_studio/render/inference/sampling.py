"""From starting noise to a finished candidate: what is random on the way, and addressed."""

import math

from torch import Tensor

from ttsr_studio.audio.windows import Window
from ttsr_studio.diffusion.model import Engine
from ttsr_studio.diffusion.noise import NoiseKey

EARLY_SIGMA = 0.4
"""Where the early x0-prediction is taken (Ma et al. 2025, "Self-Supervised Verifiers")."""


def stochastic_step(x: Tensor, x0: Tensor, sigma: float, sigma_next: float, eps: Tensor, eta: float) -> Tensor:
    """DDIM's stochastic step in EDM coordinates (Song et al. 2021, equation 16; "ancestral" for eta 1).

    The step goes down to the level sqrt(sigma_next² - up²) and noise brings it up again to sigma_next, with
    up = eta · sqrt(sigma_next² (sigma² - sigma_next²) / sigma²).
    """
    up = eta * math.sqrt(sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2)
    down = math.sqrt(sigma_next**2 - up**2)
    return x0 + (down / sigma) * (x - x0) + up * eps


def window_key(seed: int, window: Window, engine: Engine) -> NoiseKey:
    """The window's own key: noise is addressed by its absolute place in the file."""
    return NoiseKey(seed, position=window.render_start // engine.noise_hop() - engine.noise_lead())
