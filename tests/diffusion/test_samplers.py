"""Samplers on a Gaussian mixture, whose x0-prediction is known exactly: order, parity, resumption."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from ttsr_studio.diffusion.samplers.base import State, peek
from ttsr_studio.diffusion.samplers.registry import SAMPLERS, get_sampler, nfe
from ttsr_studio.diffusion.schedules import sigmas
from ttsr_studio.errors import OptionError

MEANS = torch.tensor([[-1.0, 0.5], [0.7, -0.4], [0.3, 1.2]], dtype=torch.float64)
VARIANCES = torch.tensor([0.3, 0.25, 0.4], dtype=torch.float64) ** 2
WEIGHTS = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)


def denoise(x, sigma):
    """Return the posterior mean E[x0 | x] for x = x0 + sigma·eps, in float64."""
    wide = VARIANCES + sigma.double()[:, None] ** 2
    away = x.double()[:, None] - MEANS
    logits = WEIGHTS.log() - wide.log() - away.pow(2).sum(-1) / (2 * wide)
    means = MEANS + (VARIANCES / wide)[..., None] * away
    return (logits.softmax(1)[..., None] * means).sum(1).to(x.dtype)


def start(sigma=20.0, n=32, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(n, 2, generator=generator, dtype=torch.float64) * sigma).to(dtype)


def smooth(steps):
    """Return an EDM schedule that ends at sigma_min, where the flow is smooth all the way."""
    return sigmas("edm", steps + 1, 0.02, 20.0)[:-1]


@pytest.fixture(scope="module")
def exact():
    """The flow from 20 to 0.02 by scipy's eighth-order method, in log sigma."""

    def slope(log_sigma, flat):
        x = torch.from_numpy(flat.reshape(-1, 2))
        level = torch.full((len(x),), math.exp(log_sigma), dtype=torch.float64)
        return (x - denoise(x, level)).numpy().ravel()

    span = (math.log(20.0), math.log(0.02))
    solved = solve_ivp(slope, span, start().numpy().ravel(), method="DOP853", rtol=1e-11, atol=1e-11)
    return torch.from_numpy(solved.y[:, -1].reshape(-1, 2))


ORDERS = {
    "euler": 1,
    "heun": 2,
    "dpmpp-1": 1,
    "dpmpp-2m": 2,
    "dpmpp-3m": 3,
    "dpmpp-3m-published": 2,
    "unipc": 3,
    "unipc-3": 4,
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_order_of_convergence(name, exact):
    """A slip in one coefficient costs an order, and with it most of what more steps should buy."""
    counts = [32, 64, 128]
    errors = [float((SAMPLERS[name](denoise, start(), smooth(n))[0] - exact).norm()) for n in counts]
    order = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert SAMPLERS[name].order == ORDERS[name]
    assert order == pytest.approx(ORDERS[name], abs=0.3), errors


def test_more_order_is_less_error(exact):
    error = {
        name: float((sampler(denoise, start(), smooth(64))[0] - exact).norm()) for name, sampler in SAMPLERS.items()
    }
    assert error["unipc-3"] < error["unipc"] < error["dpmpp-2m"] < error["euler"]
    assert error["dpmpp-3m"] < error["dpmpp-3m-published"]


def test_first_order_data_prediction_is_euler():
    x = start()
    euler, _ = SAMPLERS["euler"](denoise, x, sigmas("edm", 9, 0.02, 20.0))
    data, _ = SAMPLERS["dpmpp-1"](denoise, x, sigmas("edm", 9, 0.02, 20.0))
    assert torch.allclose(euler, data, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("schedule", [sigmas("edm", 7, 0.02, 20.0), smooth(7)], ids=["to zero", "to sigma_min"])
def test_a_run_cut_anywhere_is_the_whole_run(name, dtype, schedule):
    """A search that stops to look, and goes on, must end with the render that its report can regenerate."""
    sampler, x = SAMPLERS[name], start(dtype=dtype)
    whole, _ = sampler(denoise, x, schedule)
    assert whole.dtype == dtype
    for cut in range(1, 7):
        half, state = sampler(denoise, x, schedule[: cut + 1])
        rest, _ = sampler(denoise, half, schedule[cut:], state=state)
        assert torch.equal(rest, whole), cut


@pytest.mark.parametrize("name", SAMPLERS)
def test_pruned_and_joined_runs_go_on_as_they_were(name):
    sampler, x, schedule = SAMPLERS[name], start(), sigmas("edm", 7, 0.02, 20.0)
    whole, _ = sampler(denoise, x, schedule)
    half, state = sampler(denoise, x, schedule[:5])
    keep = torch.tensor([4, 1, 7])
    kept, _ = sampler(denoise, half[keep], schedule[4:], state=state.rows(keep))
    assert torch.allclose(kept, whole[keep], rtol=1e-12, atol=1e-12)
    parts = [sampler(denoise, x[rows], schedule[:5]) for rows in (slice(0, 10), slice(10, None))]
    joined = State.cat([state for _, state in parts])
    rest, _ = sampler(denoise, torch.cat([x for x, _ in parts]), schedule[4:], state=joined)
    assert torch.allclose(rest, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_look_changes_nothing_and_costs_nothing_more(name):
    sampler, x, schedule = SAMPLERS[name], start(), sigmas("edm", 6, 0.02, 20.0)
    calls = []

    def counted(x, sigma):
        calls.append(float(sigma[0]))
        return denoise(x, sigma)

    whole, _ = sampler(counted, x, schedule)
    alone = list(calls)
    calls.clear()
    half, state = sampler(counted, x, schedule[:4])
    look, state = peek(counted, half, float(schedule[3]), state)
    again, state = peek(counted, half, float(schedule[3]), state)
    assert torch.equal(look, denoise(half, schedule[3].expand(32)))
    assert torch.equal(again, look)
    rest, _ = sampler(counted, half, schedule[3:], state=state)
    assert torch.equal(rest, whole)
    assert calls == alone


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_nfe_is_what_a_run_takes(name, steps):
    calls = []

    def counted(x, sigma):
        assert sigma.shape == (len(x),)
        calls.append(sigma)
        return denoise(x, sigma)

    SAMPLERS[name](counted, start(), sigmas("edm", steps, 0.02, 20.0))
    assert len(calls) == nfe(name, steps)
    calls.clear()
    SAMPLERS[name](counted, start(), smooth(steps))
    assert len(calls) == nfe(name, steps, to_zero=False)


def test_nfe_of_heun():
    assert (nfe("heun", 18), nfe("heun", 18, to_zero=False), nfe("unipc", 18)) == (35, 36, 18)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_last_step_returns_the_prediction(name):
    x = start()
    one, _ = SAMPLERS[name](denoise, x, torch.tensor([20.0, 0.0]))
    assert torch.equal(one, denoise(x, torch.full((32,), 20.0, dtype=torch.float64)))


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_step_is_handed_out(name):
    schedule = sigmas("edm", 6, 0.02, 20.0)
    seen = list(SAMPLERS[name].steps(denoise, start(), schedule))
    assert len(seen) == 6
    for k, (x, state) in enumerate(seen):
        assert state.sigmas[0] == float(schedule[k])
        expected, _ = SAMPLERS[name](denoise, start(), schedule[: k + 2])
        assert torch.equal(x, expected)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_run_starts_at_any_level(name):
    """From 1 on, in the steps below it, the mixture's samples stay samples of the mixture."""
    generator = torch.Generator().manual_seed(1)
    which = torch.multinomial(WEIGHTS, 4000, replacement=True, generator=generator)
    noise = torch.randn(2, 4000, 2, generator=generator, dtype=torch.float64)
    x0 = MEANS[which] + VARIANCES[which].sqrt()[:, None] * noise[0]
    levels = sigmas("edm", 24, 0.02, 20.0)
    schedule = torch.cat([torch.ones(1, dtype=levels.dtype), levels[levels < 1.0]])
    back, _ = SAMPLERS[name](denoise, x0 + noise[1], schedule)
    assert torch.allclose(back.mean(0), x0.mean(0), atol=0.04)
    assert torch.allclose(back.std(0), x0.std(0), rtol=0.06)


@pytest.mark.parametrize("levels", [[1.0], [1.0, 1.0], [1.0, 2.0], [1.0, -0.5], []])
def test_levels_that_do_not_descend_are_refused(levels):
    with pytest.raises(OptionError, match="descend"):
        SAMPLERS["euler"](denoise, start(), torch.tensor(levels))


def test_what_does_not_fit_is_refused():
    with pytest.raises(OptionError, match=r"plms.*dpmpp-2m.*euler"):
        get_sampler("plms")
    with pytest.raises(OptionError, match="at least 1 step"):
        nfe("euler", 0)
    x, state = SAMPLERS["dpmpp-2m"](denoise, start(), torch.tensor([20.0, 5.0]))
    with pytest.raises(OptionError, match="descend"):
        SAMPLERS["dpmpp-2m"](denoise, x, torch.tensor([30.0, 5.0]), state=state)
    _, other = SAMPLERS["dpmpp-2m"](denoise, start(), torch.tensor([20.0, 5.0, 4.0]))
    with pytest.raises(OptionError, match="same step"):
        State.cat([state, other])


# Parity with diffusers: the same denoiser, in each scheduler's own coordinates, on its own levels.


def close(ours, theirs):
    """Relative to the largest value; diffusers computes its coefficients in float32."""
    error = float((ours - theirs).abs().max() / theirs.abs().max())
    assert error <= 1e-5, error


def run_edm(scheduler, steps, x):
    """Run a scheduler with EDM preconditioning: it wants the raw network output F."""
    scheduler.set_timesteps(steps)
    x = x.clone()
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        level = float(sigma)
        data = scheduler.config.sigma_data
        skip = data**2 / (level**2 + data**2)
        out = level * data / math.sqrt(level**2 + data**2)
        scheduler.scale_model_input(x, t)
        raw = (denoise(x, torch.full((len(x),), level)) - skip * x) / out
        x = scheduler.step(raw, t, x).prev_sample
    return x, scheduler.sigmas.double()


def run_sigma(scheduler, steps, x):
    """Run a scheduler on sigmas that is told x0 (prediction type "sample")."""
    scheduler.set_timesteps(steps)
    levels, x = [], x.clone()
    for t in scheduler.timesteps:
        scheduler.scale_model_input(x, t)
        levels.append(float(scheduler.sigmas[scheduler.step_index]))
        x = scheduler.step(denoise(x, torch.full((len(x),), levels[-1])), t, x).prev_sample
    return x, torch.tensor(sorted({*levels, 0.0}, reverse=True), dtype=torch.float64)


def run_vp(scheduler, steps, x):
    """Run a variance-preserving scheduler that is told x0: x_vp = x / sqrt(1 + sigma²)."""
    scheduler.set_timesteps(steps)
    levels = scheduler.sigmas.double()
    shrink = (1 + levels**2).rsqrt()
    y = x * shrink[0]
    for k, t in enumerate(scheduler.timesteps):
        x0 = denoise(y / shrink[k], torch.full((len(y),), float(levels[k])))
        y = scheduler.step(x0, t, y).prev_sample
    return y / shrink[-1], levels


def test_euler_is_that_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    theirs, levels = run_edm(diffusers.EDMEulerScheduler(), 20, start(80.0, dtype=torch.float32))
    close(SAMPLERS["euler"](denoise, start(80.0), levels)[0], theirs)


@pytest.mark.parametrize(("name", "order"), [("dpmpp-1", 1), ("dpmpp-2m", 2), ("dpmpp-3m-published", 3)])
@pytest.mark.parametrize(("steps", "lower"), [(20, True), (8, False)])
def test_dpmpp_is_that_of_diffusers(name, order, steps, lower):
    """Below 15 steps diffusers may also lower the order of the last but one step; ours never does."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(solver_order=order, lower_order_final=lower)
    theirs, levels = run_edm(scheduler, steps, start(80.0))
    close(SAMPLERS[name](denoise, start(80.0), levels)[0], theirs)


def test_heun_is_that_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.HeunDiscreteScheduler(prediction_type="sample", use_karras_sigmas=True)
    theirs, levels = run_sigma(scheduler, 20, start(14.0))
    assert len(levels) == 21
    close(SAMPLERS["heun"](denoise, start(14.0), levels)[0], theirs)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unipc", {"solver_order": 2}),
        ("unipc", {"solver_order": 2, "final_sigmas_type": "sigma_min", "lower_order_final": False}),
        ("unipc-3", {"solver_order": 3, "final_sigmas_type": "sigma_min", "lower_order_final": False}),
    ],
)
@pytest.mark.parametrize("steps", [6, 20])
def test_unipc_is_that_of_diffusers(name, options, steps):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="sample", solver_type="bh2", predict_x0=True, **options
    )
    theirs, levels = run_vp(scheduler, steps, start(100.0))
    close(SAMPLERS[name](denoise, start(100.0), levels)[0], theirs)


def test_euler_is_ddim():
    """DDIM with eta = 0, told eps, in variance-preserving coordinates."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(25)
    kept = scheduler.alphas_cumprod[scheduler.timesteps].double()
    levels = torch.cat([((1 - kept) / kept).sqrt(), kept.new_zeros(1)])
    x = start(float(levels[0]))
    y = x * kept[0].sqrt()
    for t, a, sigma in zip(scheduler.timesteps, kept, levels, strict=False):
        x0 = denoise(y / a.sqrt(), sigma.expand(len(y)))
        y = scheduler.step((y / a.sqrt() - x0) / sigma, t, y, eta=0.0).prev_sample
    close(SAMPLERS["euler"](denoise, x, levels)[0], y)
