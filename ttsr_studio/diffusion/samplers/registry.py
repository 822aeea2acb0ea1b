"""Samplers: solvers of the probability flow by name. A new one is one file and one line in `SAMPLERS`."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from ttsr_studio.diffusion.samplers import dpmpp, euler, heun, unipc
from ttsr_studio.diffusion.samplers.base import Denoise, Sampler, State, Step, peek
from ttsr_studio.errors import OptionError
from ttsr_studio.plugins.plugin import type_in_words
from ttsr_studio.plugins.registry import Registry

__all__ = ["SAMPLERS", "Denoise", "Sampler", "State", "Step", "get_sampler", "nfe", "peek"]

BUILT_IN = {
    "euler": Sampler(euler.step, order=1),
    "heun": Sampler(heun.step, order=2, evaluations=2),
    "dpmpp-1": Sampler(dpmpp.step_1, order=1),
    "dpmpp-2m": Sampler(dpmpp.step_2m, order=2),
    "dpmpp-3m": Sampler(dpmpp.step_3m, order=3),
    "dpmpp-3m-published": Sampler(dpmpp.step_3m_published, order=2),
    "unipc": Sampler(unipc.step_2, order=3),
    "unipc-3": Sampler(unipc.step_3, order=4),
}


def sampler_misfit(entry: Any) -> str | None:
    """Why something is no sampler, None when it is one."""
    if not isinstance(entry, Sampler):
        return "it is no `Sampler`"
    counts = {"order": entry.order, "evaluations": entry.evaluations}
    odd = [f"{name}={value!r}" for name, value in counts.items() if type(value) is not int or value < 1]
    return f"whole numbers of 1 or more are wanted, not {', '.join(odd)}" if odd else None


SAMPLERS: Registry[Sampler] = Registry("sampler", BUILT_IN, sampler_misfit)


def get_sampler(name: str) -> Sampler:
    """Return a sampler by name. Raises OptionError for an unknown one."""
    sampler, plugin = SAMPLERS[name], SAMPLERS.plugin(name)
    return replace(sampler, step=plugin.around(sampler.step, no_step)) if plugin else sampler


def no_step(given: Any, _denoise: Denoise, x: Tensor, *_: Any) -> str | None:
    """Why something is not what a step from x [N, ...] comes to."""
    if not isinstance(given, tuple) or len(given) != 2:
        return f"{type_in_words(given)} in place of (x, state)"
    reached, state = given
    if not isinstance(reached, Tensor) or reached.shape != x.shape:
        return f"{type_in_words(reached)} in place of a tensor of shape {tuple(x.shape)}, that of x"
    if not isinstance(state, State) or not state.denoised or not state.sigmas:
        return "a state without the x0-prediction of the step: State((sigma,), (denoised,)) is the least"
    return None


def nfe(name: str, steps: int, to_zero: bool = True) -> int:
    """Return the network evaluations of a run, per row and without guidance (which doubles them).

    `to_zero`: whether the last step ends at noise level 0, where it is a single evaluation: Heun takes
    2·steps - 1 then, and 2·steps otherwise.

    Raises OptionError for an unknown name, or fewer than 1 step.
    """
    if steps < 1:
        raise OptionError(f"a run needs at least 1 step, not {steps}")
    evaluations = get_sampler(name).evaluations
    return evaluations * steps - (evaluations - 1 if to_zero else 0)
