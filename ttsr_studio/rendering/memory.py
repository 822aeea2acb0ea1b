"""Renders from memory to memory: no file is read or written but temporary ones."""

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ttsr_studio.audio.decode import MAX_CHANNELS, RATES
from ttsr_studio.errors import InputError
from ttsr_studio.rendering.inference.progress import CancellationToken, Progress, Watch
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.mixing import mix_of
from ttsr_studio.rendering.output import Outputs, finish
from ttsr_studio.rendering.pipeline import rerank_renders, search_file
from ttsr_studio.rendering.request import RenderRequest, RunningRender
from ttsr_studio.rendering.source import analyse_array
from ttsr_studio.rendering.summary import build_report
from ttsr_studio.report.schema import MetadataInfo, Report
from ttsr_studio.verifiers.protocol import Annotations

NAME = Path("array")
"""What reports and errors call audio in memory."""


@dataclass(frozen=True)
class Waveform:
    """Audio in memory: float32 [channels, samples], full scale 1.0, and its rate in Hz."""

    samples: NDArray[np.float32]
    rate: int

    @classmethod
    def of(cls, samples: ArrayLike, rate: int) -> "Waveform":
        """Floating-point samples, [samples] or [channels, samples]. Raises InputError for what is no audio."""
        array = np.asarray(samples)
        if not np.issubdtype(array.dtype, np.floating):
            raise InputError(f"{NAME}: samples of type {array.dtype}; give floating-point ones, full scale 1.0")
        if array.ndim not in (1, 2) or not array.size:
            raise InputError(f"{NAME}: of shape {array.shape}; give [samples] or [channels, samples]")
        array = np.ascontiguousarray(np.atleast_2d(array), np.float32)
        if len(array) > MAX_CHANNELS:
            raise InputError(f"{NAME}: has {len(array)} channels, at most {MAX_CHANNELS}; give [channels, samples]")
        if not RATES[0] <= rate <= RATES[1]:
            raise InputError(f"{NAME}: has a rate of {rate} Hz; give one from {RATES[0]} to {RATES[1]} Hz")
        if not np.isfinite(array).all():
            raise InputError(f"{NAME}: has samples that are not finite")
        return cls(array, rate)


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
        material = analyse_array(run, waveform.samples, waveform.rate)
        renders, recorder = search_file(run, material, stop)
        reranking = rerank_renders(run, material, renders, recorder)
        with run.stages.timed("write"):
            mix = mix_of(session.options, recorder)
            done = finish(run, material, renders[reranking.chosen], mix)
            samples = done.audio.read(0, done.audio.frames) * done.factor
        digest = hashlib.sha256(samples.T.tobytes()).hexdigest()
        info = done.described(NAME.name, digest, "FLOAT", MetadataInfo())
        report = build_report(run, material, reranking, recorder, Outputs(info, [], None, None, mix))
        run.progress.end(material.seconds)
        return Waveform(samples, done.rate), report
