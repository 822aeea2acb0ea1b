"""Weights between two of the same run or kin: `python -m ttsr_studio.training.average`.

Weights that were trained on from others keep much of what both know when they are averaged (Wortsman et al. 2022,
"Robust fine-tuning of zero-shot models").
"""

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from ttsr_studio.errors import InputError
from ttsr_studio.training.command import command, existing_file, one_line
from ttsr_studio.weights.checkpoint import read_header, read_weights

BEGUN_AT_ZERO = ".leave."
"""In the names of a context's layers whose weights are zero when training begins."""


def averaged(first: dict[str, Tensor], second: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """`share` (0 to 1) of the second's float32 tensors and the rest of the first's; half precision.

    A context that only the second has counts in the first as one that changes nothing yet. Raises InputError when
    they differ in anything else.
    """
    new = {name for name in second if name not in first and ".contexts." in name}
    if first.keys() != second.keys() - new or any(first[name].shape != second[name].shape for name in first):
        raise InputError("weights of networks of different sizes have no average; give two of one run")
    mixed = {name: (1 - share) * value + share * second[name] for name, value in first.items()}
    for name in new:
        mixed[name] = share * second[name] if BEGUN_AT_ZERO in name else second[name]
    return {name: mixed[name].half().contiguous() for name in second}


@one_line()
def main(arguments: Sequence[str] | None = None) -> None:
    """Write the average of two weights files, with the configuration of the second."""
    parser = command("average", "Write to OUT the weights between FIRST and SECOND, which was trained on from it.")
    parser.add_argument("out", type=Path)
    parser.add_argument("first", type=existing_file)
    parser.add_argument("second", type=existing_file)
    parser.add_argument("--share", type=float, default=0.5, help="of the second, 0 to 1")
    given = parser.parse_intermixed_args(arguments)
    if not 0 <= given.share <= 1:
        parser.error(f"--share {given.share:g}: it goes from 0 to 1")
    tensors = averaged(read_weights(given.first)[1], read_weights(given.second)[1], given.share)
    save_file(tensors, given.out, read_header(given.second))


if __name__ == "__main__":
    main()
