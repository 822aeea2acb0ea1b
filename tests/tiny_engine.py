"""The built-in engine with few channels and random weights, in a file as the shipped one."""

from pathlib import Path

import torch

from ttsr_studio.engines.builtin.networks import BuiltinNetwork, NetworkConfig
from ttsr_studio.weights import checkpoint

TINY = NetworkConfig(
    cells=4, patches=8, width=16, depth=2, draw_cells=4, draw_patches=4, draw_width=16, draw_depth=2, dropout=0.0
)


def write_engine(folder: Path) -> tuple[Path, Path]:
    """Write the weights and, beside them, their checksum -> both paths. The same bytes every time.

    It draws about 40 dB below white noise above the cutoff, and candidates differ by what they are drawn from.
    """
    path = folder / "builtin.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = BuiltinNetwork(TINY)
        with torch.no_grad():
            # What leaves the networks is 0 at first: every candidate would be the same.
            for layer, spread in (
                (network.conditioner.leave, 0.03),
                (network.denoiser.leave, 0.3),
                (network.denoiser.tonality, 0.3),
            ):
                torch.nn.init.normal_(layer.weight, std=spread)
            assert network.conditioner.leave.bias is not None
            network.conditioner.leave.bias[:2] = torch.tensor([1.2, 0.9])
    checkpoint.export(network, TINY.to_dict(), path, {})
    expected = path.with_name(f"{path.name}.sha256")
    expected.write_text(f"{checkpoint.verified(path, None)}  {path.name}\n")
    return path, expected
