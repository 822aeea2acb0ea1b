"""What can be asked for by name; what does it is imported on use."""

from typing import Literal, get_args

LowPass = Literal["brick", "resample"]
LOW_PASSES: tuple[LowPass, ...] = get_args(LowPass)

INPUT = "lr"
"""The system that answers with the input itself."""

PLAIN_SYSTEMS = {
    INPUT: "ttsr_studio.evaluation.benchmark.degradation:Item.lr_wide",
    "replication": "ttsr_studio.evaluation.benchmark.systems:replication",
    "ceiling": "ttsr_studio.evaluation.benchmark.systems:own_ceiling",
}
"""Systems without a model: functions of an `Item` that give audio."""
