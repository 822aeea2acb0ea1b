"""Renders from memory to memory: no file is read or written but temporary ones."""

import hashlib
import numbers
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ttsr_studio.audio.decode import MAX_CHANNELS, RATE_RANGE
from ttsr_studio.errors import InputError
from ttsr_studio.rendering.finish import finish
from ttsr_studio.rendering.holes import with_holes_filled
from ttsr_studio.rendering.inference.progress import CancellationToken, Progress, Watch
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.mixing import mix_of
from ttsr_studio.rendering.output import Outputs
from ttsr_studio.rendering.pipeline import rerank_renders, search_file
from ttsr_studio.rendering.request import RenderRequest, RunningRender
from ttsr_studio.rendering.source import analyse_array
from ttsr_studio.rendering.summary import build_report
from ttsr_studio.report.file_records import MetadataInfo
from ttsr_studio.report.schema import Report
from ttsr_studio.verifiers.protocol import Annotations

NAME = Path("array")
"""What reports and errors call audio in memory."""


@dataclass(frozen=True)
class Waveform:
    """Audio in memory: float32 [channels, samples], full scale 1.0, and its rate in Hz.

    Attributes:
        flat: whether it came without an axis for channels.
    """

    samples: NDArray[np.float32]
    rate: int
    flat: bool = False

    @classmethod
    def of(cls, samples: Any, rate: Any) -> "Waveform":
        """Floating-point samples, [samples] or [channels, samples]. Raises InputError for what is no audio."""
        hertz, array = whole_rate(rate), samples_of(samples)
        if array.ndim not in (1, 2) or not array.size:
            raise InputError(f"{NAME}: of shape {array.shape}; give [samples] or [channels, samples], not empty")
        flat, array = array.ndim == 1, np.atleast_2d(array)
        if len(array) > MAX_CHANNELS:
            turned = "its transpose, waveform.T, " if array.shape[1] <= MAX_CHANNELS else ""
            raise InputError(
                f"{NAME}: has {len(array)} channels, at most {MAX_CHANNELS}; give {turned}[channels, samples]"
            )
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, np.float32)
        odd = np.argwhere(~np.isfinite(array))
        if len(odd):
            channel, sample = odd[0]
            raise InputError(
                f"{NAME}: has {len(odd)} samples that are not finite, the first is sample {sample} of channel "
                f"{channel}; mend them before"
            )
        return cls(array, hertz, flat)


def whole_rate(rate: Any) -> int:
    """A sample rate as a number of Hz. Raises InputError for what is none, or out of range."""
    rate = rate.item() if isinstance(rate, torch.Tensor | np.ndarray | np.generic) and np.size(rate) == 1 else rate
    whole = isinstance(rate, numbers.Real) and not isinstance(rate, bool) and float(rate).is_integer()
    if not whole or not RATE_RANGE[0] <= rate <= RATE_RANGE[1]:
        low, high = RATE_RANGE
        raise InputError(f"{NAME}: has a rate of {rate!r} Hz; give a whole number from {low} to {high} Hz")
    return int(rate)


def samples_of(samples: Any) -> NDArray[np.floating[Any]]:
    """Floating-point samples of anything that numpy or torch takes for an array. Raises InputError."""
    if isinstance(samples, torch.Tensor):
        tensor = samples.detach().cpu()
        samples = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    try:
        array = np.asarray(samples)
    except (TypeError, ValueError) as error:
        raise InputError(f"{NAME}: no array of samples ({error}); give [samples] or [channels, samples]") from error
    if not np.issubdtype(array.dtype, np.floating):
        bits = {np.int16: 15, np.int32: 31}.get(array.dtype.type)
        remedy = f": divide by {2**bits}" if bits else ""
        raise InputError(f"{NAME}: samples of type {array.dtype}; give floating-point ones, full scale 1.0{remedy}")
    return array


def render_array(
    session: Session,
    waveform: Waveform,
    annotations: Annotations,
    progress: Watch = lambda event: None,
    stop: CancellationToken | None = None,
) -> tuple[Waveform, Report]:
    """Render audio from memory: the chosen render, and everything about it.

    Raises InputError for audio that is full-band already.
    """
    request = RenderRequest(NAME, NAME, annotations, report=False)
    with ExitStack() as files:
        run = RunningRender(session, request, files, Progress(progress))
        material, holes = with_holes_filled(run, analyse_array(run, waveform.samples, waveform.rate))
        renders, recorder = search_file(run, material, stop)
        reranking = rerank_renders(run, material, renders, recorder)
        with run.stages.timed("write"):
            mix = mix_of(session.options, recorder)
            done = finish(run, material, renders[reranking.chosen], mix)
            samples = done.audio.read(0, done.audio.frames) * done.factor
        digest = hashlib.sha256(samples.T.tobytes()).hexdigest()
        info = done.described(NAME.name, digest, "FLOAT", MetadataInfo())
        report = build_report(run, material, reranking, recorder, Outputs(info, [], None, None, mix), holes)
        run.progress.end(material.seconds)
        return Waveform(samples, done.rate), report
