"""Judges with weights of others: loading what transformers read from a folder, and how many rows they take at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ttsr_studio.errors import MissingError, pip_install
from ttsr_studio.weights import store

ROWS = 16
"""Rows that a GPU takes at once."""


def by_rows(x: Tensor, device: str | torch.device, run: Callable[[Tensor], Tensor]) -> Tensor:
    """What `run` makes of [N, ...], N of 1 or more: of 16 rows at once on a GPU, of one at a time on a CPU.

    There more at once take longer (docs/use/devices.md), and a score has to be the same to the last bit whatever else
    is in the batch.
    """
    return torch.cat([run(rows) for rows in x.split(1 if torch.device(device).type == "cpu" else ROWS)])


@contextmanager
def loading(verifier: str, model: str) -> Iterator[tuple[Path, store.Manifest]]:
    """The folder and manifest of an installed model, to load it within.

    Raises MissingError when transformers or the weights are not installed, or the files cannot be loaded.
    """
    try:
        import transformers

        place, manifest = store.require(model)
        transformers.utils.logging.disable_progress_bar()
        yield place, manifest
    except ImportError as error:
        raise MissingError(
            f"verifier {verifier!r} needs the package {error.name!r}: {pip_install('ttsr-studio[judges]')}"
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:160]
        raise MissingError(f"{store.folder(model)}: cannot be loaded ({why}); {store.remedy(model)}") from error
