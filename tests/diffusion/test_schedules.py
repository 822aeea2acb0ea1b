"""Schedules visit the levels that their papers say."""

import math

import pytest
import torch

from ttsr_studio.diffusion.schedule_names import SCHEDULES
from ttsr_studio.diffusion.schedules import sigmas
from ttsr_studio.errors import OptionError

LOW, HIGH = 0.002, 80.0


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_every_schedule_descends_from_sigma_max_to_zero(name, steps):
    levels = sigmas(name, steps, LOW, HIGH)
    assert levels.shape == (steps + 1,)
    assert levels.dtype == torch.float64
    assert levels[0] == HIGH
    assert levels[-1] == 0.0
    assert steps == 1 or levels[-2] == LOW
    assert (levels[1:] < levels[:-1]).all()


def test_edm_is_the_papers():
    """Karras et al. (2022), equation 5, as their released code evaluates it at 18 steps."""
    n = 18
    expected = [(HIGH ** (1 / 7) + i / (n - 1) * (LOW ** (1 / 7) - HIGH ** (1 / 7))) ** 7 for i in range(n)]
    assert sigmas("edm", n, LOW, HIGH).tolist() == pytest.approx([*expected, 0.0], rel=1e-12)
    assert float(sigmas("edm", n, LOW, HIGH)[1]) == pytest.approx(57.586, abs=1e-3)


def test_edm_is_that_of_diffusers():
    scheduler = pytest.importorskip("diffusers").EDMEulerScheduler(sigma_min=LOW, sigma_max=HIGH, rho=5.0)
    scheduler.set_timesteps(23)
    assert torch.allclose(sigmas("edm", 23, LOW, HIGH, rho=5.0).float(), scheduler.sigmas, rtol=1e-5, atol=0)


def constant(values):
    return torch.allclose(values, values[0].expand_as(values), rtol=1e-9, atol=1e-12)


def test_each_schedule_is_uniform_in_its_own_coordinate():
    def inner(name, **params):
        return sigmas(name, 30, LOW, HIGH, **params)[:-1]

    assert constant(inner("linear").diff())
    assert constant(inner("quadratic").sqrt().diff())
    assert constant(inner("edm", rho=3.0).pow(1 / 3).diff())
    assert constant((-2 * inner("linear-logsnr").log()).diff())
    assert constant(inner("cosine").atan().diff())
    assert constant((inner("cosine", shift=-2.0) / math.e).atan().diff())
    assert torch.equal(inner("log-linear"), inner("linear-logsnr"))


def test_cosine_shift_moves_levels_to_high_noise():
    plain, shifted = (sigmas("cosine", 20, LOW, HIGH, shift=shift) for shift in (0.0, -2.0))
    assert (shifted[1:-2] > plain[1:-2]).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: sigmas("edm", 0, LOW, HIGH),
        lambda: sigmas("edm", 5, 0.0, HIGH),
        lambda: sigmas("edm", 5, HIGH, LOW),
        lambda: sigmas("edm", 5, LOW, math.inf),
        lambda: sigmas("edm", 5, LOW, math.nan),
        lambda: sigmas("edm", 5, LOW, HIGH, rho=0.5),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(OptionError):
        call()


def test_unknown_names_list_the_known():
    with pytest.raises(OptionError, match=r"karras.*cosine.*edm"):
        sigmas("karras", 5, LOW, HIGH)
    with pytest.raises(OptionError, match=r"rho.*shift"):
        sigmas("cosine", 5, LOW, HIGH, rho=7.0)
