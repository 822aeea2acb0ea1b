"""The metered denoiser counts what runs, splits what does not fit, and guides in one batch."""

import math
from dataclasses import dataclass

import pytest
import torch

from ttsr_studio.diffusion.batch_limit import BatchLimit, is_out_of_memory
from ttsr_studio.diffusion.denoiser import Meter, MeteredDenoiser
from ttsr_studio.diffusion.guidance import Guidance, guide, guided_prediction
from ttsr_studio.diffusion.samplers.registry import SAMPLERS, nfe
from ttsr_studio.diffusion.schedules import sigmas
from ttsr_studio.errors import OptionError, TtsrError


@dataclass(frozen=True)
class Mean:
    """A conditioning: the mean of each row's Gaussian."""

    mean: torch.Tensor

    def __len__(self):
        return len(self.mean)

    def rows(self, index):
        return type(self)(self.mean[index])


class JoinableMean(Mean):
    def join(self, other):
        return JoinableMean(torch.cat([self.mean, other.mean]))


class Engine:
    """The exact denoiser of N(mean, 1), which fails above `memory` rows."""

    name = "fake"

    def __init__(self, memory=math.inf, error=None, guided=True):
        self.memory, self.guided = memory, guided
        self.error = error or RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.attempts = []

    def unconditional(self, conditioning):
        return type(conditioning)(torch.zeros_like(conditioning.mean))

    def denoise(self, x, sigma, conditioning):
        assert len(x) == len(sigma) == len(conditioning)
        self.attempts.append(len(x))
        if len(x) > self.memory:
            raise self.error
        wide = (sigma**2)[:, None]
        return (x + wide * conditioning.mean[:, None]) / (1 + wide)


class Second:
    """A span of one second."""

    def __init__(self, _device):
        self.ended = False

    def end(self):
        self.ended = True

    def seconds(self):
        assert self.ended
        return 1.0


def batch(n=6):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 8, generator=generator), torch.linspace(0.5, 3.0, n)


def make(engine, n=6, kind=JoinableMean, **options):
    return MeteredDenoiser(engine, kind(torch.arange(1.0, n + 1)), Meter(), clock=Second, **options)


def test_a_row_is_an_evaluation():
    x, sigma = batch()
    denoise = make(Engine())
    out = denoise(x, sigma)
    assert torch.equal(out, Engine().denoise(x, sigma, denoise.conditioning))
    assert denoise.meter == Meter(nfe=6, calls=1, seconds=1.0, largest_batch=6)


@pytest.mark.parametrize(("name", "evaluations"), [("euler", 5), ("heun", 9), ("unipc", 5), ("dpmpp-3m", 5)])
def test_a_run_costs_what_nfe_says(name, evaluations):
    denoise = make(Engine())
    SAMPLERS[name](denoise, batch()[0] * 10, sigmas("edm", 5, 0.1, 10.0))
    assert nfe(name, 5) == evaluations
    assert denoise.meter.nfe == 6 * evaluations
    assert denoise.meter.calls == denoise.meter.seconds == evaluations


def test_guidance_counts_twice_inside_its_interval_only():
    """Levels 10, 5.6, 3.2, 1.8, 1 and then 0: 5.6 and 3.2 are in (1.8, 9]."""
    schedule = sigmas("log-linear", 5, 1.0, 10.0)
    low = float(schedule[3]) * 1.001
    denoise = make(Engine(), guidance=Guidance(2.0, (low, 9.0)))
    SAMPLERS["euler"](denoise, batch()[0] * 10, schedule)
    assert denoise.engine.attempts == [6, 12, 12, 6, 6]
    assert denoise.meter.nfe == 42
    assert denoise.meter.largest_batch == 12
    heun = make(Engine(), guidance=Guidance(2.0, (low, 9.0)))
    SAMPLERS["heun"](heun, batch()[0] * 10, schedule)
    assert heun.engine.attempts == [6, 12, 12, 12, 12, 6, 6, 6, 6]


def test_scale_one_costs_nothing():
    denoise = make(Engine(guided=False), guidance=Guidance(1.0))
    denoise(*batch())
    assert denoise.engine.attempts == [6]


@pytest.mark.parametrize("kind", [Mean, JoinableMean])
def test_guidance_extrapolates_from_the_unconditional(kind):
    x, sigma = batch()
    denoise = make(Engine(), kind=kind, guidance=Guidance(3.0, (1.0, 2.5)))
    out = denoise(x, sigma)
    cond = make(Engine())(x, sigma)
    uncond = Engine().denoise(x, sigma, Mean(torch.zeros(6)))
    inside = (sigma > 1.0) & (sigma <= 2.5)
    assert inside.tolist() == [False, False, True, True, True, False]
    assert torch.allclose(out[inside], (uncond + 3.0 * (cond - uncond))[inside], atol=1e-6)
    assert torch.equal(out[~inside], cond[~inside])
    assert denoise.meter.nfe == 9
    assert denoise.engine.attempts == ([9] if kind is JoinableMean else [6, 3])


def test_guidance_of_a_gaussian_pair_is_that_of_its_score():
    """Guiding N(m, 1) against N(0, 1) by s is denoising N(s·m, 1), at every noise level."""
    x, sigma = batch()
    out = make(Engine(), guidance=Guidance(2.5))(x, sigma)
    assert torch.allclose(out, Engine().denoise(x, sigma, Mean(2.5 * torch.arange(1.0, 7.0))), atol=1e-5)


def test_guide_takes_any_pair():
    asked = []

    def pair(x, sigma, index):
        asked.append(index.tolist())
        return x, torch.zeros_like(x[index])

    x = torch.ones(3, 2)
    out = guide(pair, Guidance(2.0, (1.0, 3.0)), x, torch.tensor([1.0, 2.0, 4.0]))
    assert asked == [[1]]
    assert out.tolist() == [[1.0, 1.0], [2.0, 2.0], [1.0, 1.0]]


def test_rescale_restores_the_spread():
    """Full rescale gives each row the conditional's standard deviation; phi mixes linearly."""
    generator = torch.Generator().manual_seed(0)
    cond, uncond = torch.randn(2, 4, 3, 50, generator=generator, dtype=torch.float64)
    plain = guided_prediction(cond, uncond, Guidance(5.0))
    full = guided_prediction(cond, uncond, Guidance(5.0, rescale=1.0))
    half = guided_prediction(cond, uncond, Guidance(5.0, rescale=0.5))
    assert torch.allclose(full.std((1, 2)), cond.std((1, 2)))
    assert (plain.std((1, 2)) > 2 * cond.std((1, 2))).all()
    assert torch.allclose(half, (plain + full) / 2)
    silent = torch.zeros(1, 4)
    assert torch.equal(guided_prediction(silent, silent, Guidance(5.0, rescale=0.7)), silent)


@pytest.mark.parametrize(
    "options",
    [
        {"scale": -1.0},
        {"scale": math.nan},
        {"interval": (2.0, 1.0)},
        {"interval": (-1.0, 1.0)},
        {"rescale": 1.5},
    ],
)
def test_guidance_that_cannot_be_is_refused(options):
    with pytest.raises(OptionError):
        Guidance(**options)


def test_an_engine_without_guidance_refuses_it():
    with pytest.raises(OptionError, match=r"fake.*guided"):
        make(Engine(guided=False), guidance=Guidance(2.0))


def test_batches_stay_within_the_limit():
    x, sigma = batch(7)
    denoise = make(Engine(), 7, limit=BatchLimit(3))
    assert torch.equal(denoise(x, sigma), make(Engine(), 7)(x, sigma))
    assert denoise.engine.attempts == [3, 3, 1]
    assert denoise.meter == Meter(nfe=7, calls=3, seconds=3.0, largest_batch=3)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 18.0 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: you tried"),
        torch.cuda.OutOfMemoryError("no room"),
    ],
)
def test_batches_halve_when_memory_runs_out(error):
    """A render on a small card is slower, not lost; and the size that failed is not tried again."""
    x, sigma = batch(11)
    denoise = make(Engine(memory=3, error=error), 11)
    assert is_out_of_memory(error)
    assert torch.equal(denoise(x, sigma), make(Engine(), 11)(x, sigma))
    assert denoise.engine.attempts == [11, 5, 2, 2, 2, 2, 2, 1]
    assert denoise.limit.rows == 2
    assert (denoise.meter.nfe, denoise.meter.calls, denoise.meter.largest_batch) == (11, 6, 2)
    part = denoise.rows(torch.tensor([10, 0, 0]))
    denoise.engine.attempts.clear()
    assert torch.equal(part(x[[10, 0, 0]], sigma[[10, 0, 0]])[0], denoise(x, sigma)[10])
    assert denoise.engine.attempts[:2] == [2, 1]
    assert denoise.meter.nfe == 11 + 3 + 11


def test_one_row_that_does_not_fit_is_an_error():
    denoise = make(Engine(memory=0), 4)
    with pytest.raises(TtsrError, match=r"fake.*memory.*single"):
        denoise(*batch(4))
    assert denoise.engine.attempts == [4, 2, 1]
    assert denoise.meter.nfe == 0


def test_other_errors_pass_through():
    denoise = make(Engine(memory=0, error=RuntimeError("shape mismatch")), 4)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        denoise(*batch(4))
    assert denoise.engine.attempts == [4]


def test_no_gradient_is_kept():
    x, sigma = batch()
    assert not make(Engine())(x.requires_grad_(), sigma).requires_grad


def test_rows_must_fit():
    denoise = make(Engine(), 4)
    with pytest.raises(OptionError, match=r"6 rows.*4"):
        denoise(*batch(6))
    with pytest.raises(OptionError, match="at least 1"):
        BatchLimit(0)


def test_meters_add():
    assert Meter(1, 2, 3.0, 4) + Meter(10, 20, 30.0, 2) == Meter(11, 22, 33.0, 4)
