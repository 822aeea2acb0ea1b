"""A pretend accelerator: tensors that say they are on "cuda:0" or "mps:0" and hold CPU data.

What is done to them is done on the CPU. A function that is given tensors of several devices raises as CUDA does (single
numbers of the CPU may be mixed in, and CPU tensors that index), as does `numpy()`; float64 on "mps" raises as there.
Inside of `steps`, whatever makes the caller wait for the device raises, too. Its memory is counted, as large as told.
"""

import math
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.checkpoint import checkpoint

INDEXING = ("__getitem__", "__setitem__")
UNUSED = ("multi_head_attention_forward",)
"""Functions that are given an empty tensor, of any device, for what they do not use."""
WIDE = (torch.float64, torch.complex128)
WAITS = ("item", "tolist", "cpu", "__bool__", "__float__", "__int__", "__index__", "nonzero", "unique", "masked_select")
"""Functions that read a tensor back, or whose result's size depends on what is in one."""


class MixedDevicesError(RuntimeError):
    """What CUDA and MPS say of an operation on tensors of several devices, or on numbers they do not have."""


class WaitedError(RuntimeError):
    """Something waits for the device where it should not."""


class Pretending(Tensor):
    """A CPU tensor, `held`, that says it is elsewhere."""

    held: Tensor
    shown: torch.device

    @staticmethod
    def __new__(cls, held: Tensor, shown: torch.device) -> "Pretending":
        made: Pretending = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            layout=held.layout, device=torch.device("meta"),
        )  # fmt: skip
        made.held, made.shown = held, shown
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.shown

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return self.shown.type == "cuda"

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        return False

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        return False

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Pretending({self.shown}, {tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any) -> Any:
        raise MixedDevicesError(f"{func} on a pretending tensor, outside of what pretends")


def held(x: Any) -> Any:
    if isinstance(x, slice):
        return slice(held(x.start), held(x.stop), held(x.step))
    return x.held if isinstance(x, Pretending) else x


class Pretence(TorchFunctionMode):
    """Runs functions that are given pretending tensors on what they hold."""

    def __init__(self, device: torch.device, memory: float = math.inf) -> None:
        super().__init__()
        self.pretended, self.stepping = device, False
        self.memory, self.blocks = memory, dict[int, list[int]]()
        self.allocated = self.peak = self.emptied = 0

    @contextmanager
    def steps(self) -> Iterator[None]:
        """Inside, whatever waits for the device raises WaitedError."""
        self.stepping = True
        try:
            yield
        finally:
            self.stepping = False

    def refuse_waiting(self, what: str) -> None:
        """Raise WaitedError between steps."""
        if self.stepping:
            raise WaitedError(f"{what} waits for {self.pretended}")

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given, name = dict(kwargs or {}), getattr(func, "__name__", "")
        first = args[0] if args else None
        if name == "to" and isinstance(first, Tensor):
            return self.moved(func, first, list(args[1:]), given)
        tensors = [x for x in tree_flatten((args, given))[0] if isinstance(x, Tensor)]
        mine = [x for x in tensors if isinstance(x, Pretending)]
        if not mine and not self.here(given.get("device")):
            return func(*args, **given)
        if mine and (name in WAITS or (name in INDEXING and by_mask(args[1]))):
            self.refuse_waiting(name)
        if isinstance(first, Pretending):
            if name == "cpu":
                return first.held
            if name in ("numpy", "__array__"):
                raise MixedDevicesError(f"numpy() of a tensor on {first.device}")
        if func is torch.autograd.grad:
            return self.differentiated(*args, **given)
        if mine:
            self.refuse_mixed(name, args, tensors)
        if given.get("device") is not None:
            given["device"] = "cpu"
        out = func(*tree_map(held, args), **tree_map(held, given))
        same = {id(x.held): x for x in mine}
        return tree_map(lambda x: same[id(x)] if id(x) in same else self.shown(x), out)

    def differentiated(
        self, outputs: Sequence[Tensor], inputs: Sequence[Tensor], grad_outputs: Any = None, **given: Any
    ) -> tuple[Tensor | None, ...]:
        """What `torch.autograd.grad` gives: ends of a graph may be anywhere, gradients are where their tensors are."""
        self.refuse_mixed("grad", (), [x for x in tree_flatten((outputs, grad_outputs))[0] if x is not None])
        found = torch.autograd.grad(*tree_map(held, (outputs, inputs, grad_outputs)), **given)
        return tuple(self.shown(x) if isinstance(end, Pretending) else x for x, end in zip(found, inputs, strict=True))

    def here(self, device: Any) -> bool:
        return device is not None and torch.device(device).type == self.pretended.type

    def shown(self, x: Any) -> Any:
        """A result as a tensor of the device. Raises MixedDevicesError for one that the device cannot hold."""
        if not isinstance(x, Tensor) or isinstance(x, Pretending):
            return x
        if self.pretended.type == "mps" and x.dtype in WIDE:
            raise MixedDevicesError(f"MPS has no {x.dtype}")
        made = Pretending(x, self.pretended)
        self.allocate(x, made)
        return made

    def allocate(self, x: Tensor, holder: Pretending) -> None:
        """Count what a tensor takes until its last holder is gone. Raises OutOfMemoryError where it does not fit."""
        size, place = x.untyped_storage().nbytes(), x.untyped_storage().data_ptr()
        if self.memory == math.inf or not size:
            return
        if place not in self.blocks:
            if self.allocated + size > self.memory:
                raise torch.cuda.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes")
            self.allocated += size
            self.peak = max(self.peak, self.allocated)
            self.blocks[place] = [size, 0]
        self.blocks[place][1] += 1
        weakref.finalize(holder, self.give_back, place)

    def empty(self) -> None:
        self.emptied += 1

    def forget_peak(self, *_: Any) -> None:
        self.peak = self.allocated

    def give_back(self, place: int) -> None:
        self.blocks[place][1] -= 1
        if not self.blocks[place][1]:
            self.allocated -= self.blocks.pop(place)[0]

    def refuse_mixed(self, name: str, args: Sequence[Any], tensors: Sequence[Tensor]) -> None:
        """Raise MixedDevicesError where CUDA would."""
        others = [x for x in tensors if not isinstance(x, Pretending) and x.dim() > 0]
        if name in UNUSED:
            others = [x for x in others if x.numel()]
        if name in INDEXING and isinstance(args[0], Pretending):
            places = tree_flatten(args[1])[0]
            others = [x for x in others if not any(x is place for place in places)]
        if others:
            raise MixedDevicesError(f"{name}: tensors on {', '.join(sorted({str(x.device) for x in tensors}))}")

    def moved(self, func: Any, x: Tensor, rest: list[Any], given: dict[str, Any]) -> Tensor:
        """What `x.to(…)` gives."""
        device = given.pop("device", None)
        if rest and isinstance(rest[0], str | torch.device):
            device = rest.pop(0)
        elif rest and isinstance(rest[0], Tensor):
            device, rest[0] = rest[0].device, rest[0].dtype
        rest = [one for one in rest if one is not None and not isinstance(one, bool)]
        given = {name: value for name, value in given.items() if value is not None}
        made: Tensor = func(held(x), *rest, **given) if rest or given else held(x)
        there = isinstance(x, Pretending) if device is None else self.here(device)
        if isinstance(x, Pretending) and not there:
            self.refuse_waiting("to")
        if there and isinstance(x, Pretending) and made is x.held:
            return x
        shown: Tensor = self.shown(made) if there else made
        return shown


def by_mask(places: Any) -> bool:
    """Whether an index is a mask on the device, whose hits have to be counted."""
    return any(isinstance(x, Pretending) and x.dtype == torch.bool for x in tree_flatten(places)[0])


class PretendEvent:
    """An event of a device that is as fast as the CPU."""

    def __init__(self, pretence: Pretence) -> None:
        self.pretence, self.at = pretence, 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        self.pretence.refuse_waiting("synchronize")

    def elapsed_time(self, other: "PretendEvent") -> float:
        return 1000 * (other.at - self.at)


@contextmanager
def pretend(name: str, memory: float = math.inf) -> Iterator[Pretence]:
    """A machine with such a device, "cuda:0" or "mps:0", of so many bytes, for what runs inside."""
    pretence = Pretence(torch.device(name), memory)
    to: Callable[..., nn.Module] = nn.Module.to

    def moved(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        if not (args and isinstance(args[0], str | torch.device) and pretence.here(args[0])):
            return to(module, *args, **kwargs)
        for part in module.modules():
            for own in (part._parameters, part._buffers):
                for key, value in list(own.items()):
                    if value is not None:
                        own[key] = pretence.shown(held(value).detach())
        return module

    def again(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As `checkpoint`, which calls a function anew from within autograd, where nothing pretends."""

        def pretending(*given: Any) -> Any:
            with pretence:
                return function(*given)

        return checkpoint(pretending, *args, **kwargs)

    there = {"cuda": torch.cuda, "mps": torch.backends.mps}[pretence.pretended.type]
    patches: list[Any] = [
        patch.object(nn.Module, "to", moved),
        patch("ttsr_studio.diffusion.denoiser.checkpoint", again),
        patch.object(there, "is_available", lambda: True),
        patch.object(torch.cuda, "device_count", lambda: 1),
        patch.object(torch.cuda, "Event", lambda **_: PretendEvent(pretence)),
        patch("torch.mps.event.Event", lambda **_: PretendEvent(pretence)),
        patch.object(torch.cuda, "synchronize", lambda *_: pretence.refuse_waiting("synchronize")),
        patch.object(torch.cuda, "empty_cache", pretence.empty),
        patch.object(torch.cuda, "memory_allocated", lambda *_: pretence.allocated),
        patch.object(torch.cuda, "memory_reserved", lambda *_: pretence.allocated),
        patch.object(torch.cuda, "max_memory_allocated", lambda *_: pretence.peak),
        patch.object(torch.cuda, "reset_peak_memory_stats", pretence.forget_peak),
        patch.object(torch.cuda, "mem_get_info", lambda *_: (memory - pretence.allocated, memory)),
        patch.object(torch.mps, "synchronize", lambda: pretence.refuse_waiting("synchronize")),
    ]
    with ExitStack() as stack, pretence:
        for each in patches:
            stack.enter_context(each)
        yield pretence
