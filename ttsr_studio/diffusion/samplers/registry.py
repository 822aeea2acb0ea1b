"""Samplers: solvers of the probability flow by name. One more is a file and a line in `BUILT_IN`; imported on use."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ttsr_studio.errors import OptionError
from ttsr_studio.plugins.registry import Registry

if TYPE_CHECKING:
    from ttsr_studio.diffusion.samplers.base import Sampler

BUILT_IN = {
    "euler": "ttsr_studio.diffusion.samplers.euler:EULER",
    "heun": "ttsr_studio.diffusion.samplers.heun:HEUN",
    "dpmpp-1": "ttsr_studio.diffusion.samplers.dpmpp:DPMPP_1",
    "dpmpp-2m": "ttsr_studio.diffusion.samplers.dpmpp:DPMPP_2M",
    "dpmpp-3m": "ttsr_studio.diffusion.samplers.dpmpp:DPMPP_3M",
    "dpmpp-3m-published": "ttsr_studio.diffusion.samplers.dpmpp:DPMPP_3M_PUBLISHED",
    "unipc": "ttsr_studio.diffusion.samplers.unipc:UNIPC",
    "unipc-3": "ttsr_studio.diffusion.samplers.unipc:UNIPC_3",
}


def sampler_misfit(entry: Any) -> str | None:
    """Why something is no sampler, None when it is one."""
    from ttsr_studio.diffusion.samplers.base import Sampler

    if not isinstance(entry, Sampler):
        return "it is no `Sampler`"
    counts = {"order": entry.order, "evaluations": entry.evaluations}
    odd = [f"{name}={value!r}" for name, value in counts.items() if type(value) is not int or value < 1]
    return f"whole numbers of 1 or more are wanted, not {', '.join(odd)}" if odd else None


SAMPLERS: "Registry[Sampler]" = Registry("sampler", BUILT_IN, sampler_misfit)


def get_sampler(name: str) -> "Sampler":
    """Return a sampler by name. Raises OptionError for an unknown one."""
    from ttsr_studio.diffusion.samplers.base import no_step

    sampler, plugin = SAMPLERS[name], SAMPLERS.plugin(name)
    return replace(sampler, step=plugin.around(sampler.step, no_step)) if plugin else sampler


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
