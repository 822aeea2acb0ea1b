"""Layers as CPUs are quickest at them; the same mathematics, to rounding, as torch's own.

torch gives float32 products on a CPU to MKL, which leaves half of what AMD's cores can do, and takes ten times as long
for GELU as for a sigmoid. oneDNN, which comes with torch, does the product and the GELU in one. Autograd does not know
it, so training takes torch's own layers, and so does every other device.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TYPES = (torch.float32, torch.bfloat16)
FUSED = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether this build of torch has what is used here."""


def fused(x: Tensor) -> bool:
    """Whether something is computed here in the quick way."""
    return (
        FUSED and x.device.type == "cpu" and not torch.is_grad_enabled() and x.dtype in (torch.float32, torch.bfloat16)
    )


def dense(layer: nn.Linear, x: Tensor) -> Tensor:
    """`layer(x)`, [..., in] -> [..., out]."""
    if not fused(x):
        return F.linear(x, layer.weight, layer.bias)
    return _pointwise(layer, x, "none")


def dense_gelu(layer: nn.Linear, x: Tensor) -> Tensor:
    """GELU, by tanh, of `layer(x)`."""
    if not fused(x):
        return F.gelu(F.linear(x, layer.weight, layer.bias), approximate="tanh")
    return _pointwise(layer, x, "gelu")


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x [..., in] by weight [out, in], [..., out]."""
    return _product(x, weight, None) if fused(x) else F.linear(x, weight)


def _pointwise(layer: nn.Linear, x: Tensor, after: str) -> Tensor:
    return _product(x, layer.weight, layer.bias, after)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, after: str = "none") -> Tensor:
    """x [..., in] by weight [out, in]; in bfloat16 under autocast, of which oneDNN's own calls know nothing."""
    if torch.is_autocast_enabled("cpu"):
        half = torch.bfloat16
        x, weight, bias = x.to(half), weight.to(half), None if bias is None else bias.to(half)
    made: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, after, [], "tanh")
    return made


def pointwise(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """`layer(x)` for a 1x1 layer, [B, C, H, W] -> [B, out, H, W]; x channels last."""
    if not fused(x):
        made: Tensor = layer(x)
        return made
    return _product(x.permute(0, 2, 3, 1), layer.weight.flatten(1), layer.bias).permute(0, 3, 1, 2).contiguous()


def gelu_(x: Tensor) -> Tensor:
    """GELU by tanh, as x·sigmoid(2u) with u = sqrt(2/pi)·(x + .044715 x³); x itself may be overwritten."""
    if not fused(x):
        return F.gelu(x, approximate="tanh")
    gate = x * x
    return x.mul_(gate.mul_(0.0713548162726).add_(1.5957691216057).mul_(x).sigmoid_())


def gated_onto(x: Tensor, gate: Tensor, made: Tensor) -> Tensor:
    """x + gate·made, to the last bit; what was made may be overwritten."""
    if not fused(x) or not x.dtype == gate.dtype == made.dtype:
        added: Tensor = x + gate * made
        return added
    return made.mul_(gate).add_(x)


def convolved_onto(layer: nn.Conv2d, x: Tensor, onto: Tensor) -> Tensor:
    """`layer(x) + onto` for a 3x3 layer from one channel, without bias: [B, 1, H, W] onto [B, C, H, W]."""
    if not fused(x):
        added: Tensor = layer(x) + onto
        return added
    padded = F.pad(x[:, 0], (1, 1, 1, 1))
    height, width = x.shape[2:]
    near = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    columns, weight = torch.stack(near, dim=-1), layer.weight.flatten(1)
    if torch.is_autocast_enabled("cpu"):
        return _product(columns, weight, None).permute(0, 3, 1, 2) + onto
    onto = onto.permute(0, 2, 3, 1).contiguous()
    made: Tensor = torch.ops.mkldnn._linear_pointwise.binary(columns, onto, weight, None, "add")
    return made.permute(0, 3, 1, 2)


def convolved_to_one(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """`layer(x)` for a 3x3 layer to one channel, [B, C, H, W] -> [B, 1, H, W]; x channels last."""
    if not fused(x):
        made: Tensor = layer(x)
        return made
    height, width = x.shape[2:]
    weight = layer.weight[0].flatten(1).T.contiguous()
    parts = _product(x.permute(0, 2, 3, 1), weight, None).float()
    parts = F.pad(parts.permute(0, 3, 1, 2).contiguous(), (1, 1, 1, 1))
    total = parts[:, 4, 1:-1, 1:-1] + (0.0 if layer.bias is None else layer.bias)
    for at in (0, 1, 2, 3, 5, 6, 7, 8):
        total += parts[:, at, at // 3 : at // 3 + height, at % 3 : at % 3 + width]
    return total[:, None]
