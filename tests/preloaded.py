"""What processes of tests have loaded when they start: the renderer, with the tiny engine and no picture."""

import os
from pathlib import Path

import torch

import ttsr_studio.rendering.inference.session
import ttsr_studio.rendering.pipeline  # noqa: F401
from ttsr_studio.engines.builtin import engine
from ttsr_studio.report import figures

torch.set_num_threads(1)
engine.WEIGHTS = Path(os.environ["TTSR_TEST_ENGINE"])
engine.CHECKSUM = engine.WEIGHTS.with_name(f"{engine.WEIGHTS.name}.sha256")
figures._draw = lambda *arguments: None
figures.DPI = 10
