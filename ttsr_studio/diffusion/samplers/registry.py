"""Samplers: solvers of the probability flow by name. A new one is one file and one line in `SAMPLERS`."""

from ttsr_studio.diffusion.samplers import dpmpp, euler, heun, unipc
from ttsr_studio.diffusion.samplers.base import Denoise, Sampler, State, Step, peek
from ttsr_studio.errors import OptionError
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
SAMPLERS: Registry[Sampler] = Registry(
    "sampler",
    BUILT_IN,
    lambda entry: None if isinstance(entry, Sampler) else "it is no `Sampler`",
)


def get_sampler(name: str) -> Sampler:
    """Return a sampler by name. Raises OptionError for an unknown one."""
    return SAMPLERS[name]


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
