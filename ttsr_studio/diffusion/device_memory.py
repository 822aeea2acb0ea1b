"""How many rows a device's memory holds: measured on a few, and remembered."""

from collections.abc import Callable

import torch

from ttsr_studio.diffusion.batch_limit import is_out_of_memory

USUAL = 32
"""Rows of a batch where nothing is known of a device's memory."""

FIRST, MOST = 8, 512
"""Rows that are measured, and the most that a batch grows to: beyond, a card is no faster."""

SHARE = 0.5
"""Of the free memory, for batches: judges, allocations that do not fit together and other programs take the rest."""

FOUND: dict[tuple[str, ...], int] = {}
"""Rows that were found in this process, by device, engine and what else they depend on."""


def fitting_rows(device: torch.device, remembered: tuple[str, ...], run: Callable[[int], object]) -> int:
    """Rows of a batch that fit in a device's memory, a power of two from 1 to `MOST`; `USUAL` where nobody can say.

    Args:
        remembered: what they depend on besides the device; measured once a process.
        run: does all that is done to so many rows; it is run on `FIRST`, fewer where these do not fit.
    """
    key = (str(device), *remembered)
    if key not in FOUND:
        FOUND[key] = _measured(device, run) if device.type == "cuda" else USUAL
    return FOUND[key]


def _measured(device: torch.device, run: Callable[[int], object]) -> int:
    rows = FIRST
    while rows:
        before, free = torch.cuda.memory_allocated(device), _free(device)
        torch.cuda.reset_peak_memory_stats(device)
        if _ran(run, rows):
            taken = torch.cuda.max_memory_allocated(device) - before
            fit = int(SHARE * free * rows / taken) if taken > 0 else USUAL
            return 1 << (max(1, min(MOST, fit)).bit_length() - 1)
        torch.cuda.empty_cache()
        rows //= 2
    return 1


def _ran(run: Callable[[int], object], rows: int) -> bool:
    """Whether so many rows fit. Raises whatever else befalls them."""
    try:
        run(rows)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def _free(device: torch.device) -> int:
    """Bytes that may still be allocated: what nobody holds, and what torch holds and does not use."""
    unused, _ = torch.cuda.mem_get_info(device)
    return unused + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
