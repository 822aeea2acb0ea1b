"""How long a render would take on this machine: measured in seconds on two seconds of noise, and carried on."""

import time
from dataclasses import dataclass, replace

import numpy as np

from ttsr_studio.errors import TtsrError
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session, Sessions
from ttsr_studio.rendering.memory import Waveform, render_array
from ttsr_studio.report.numbers import roughly
from ttsr_studio.verifiers.protocol import Annotations

SECONDS, RATE = 2.0, 16000


@dataclass(frozen=True)
class Speed:
    """Seconds of work for a second of a channel, and what that was taken from."""

    seconds: float
    basis: str
    most: float | None = None

    def of(self, audio_s: float, channels: int) -> float:
        """Seconds that a file would take."""
        needed = self.seconds * audio_s * channels
        return needed if self.most is None else min(needed, self.most)

    def words(self, audio_s: float, channels: int) -> str:
        """The same for a person."""
        return f"{roughly(self.of(audio_s, channels))} here ({self.basis})"


@dataclass(frozen=True)
class TrialCost:
    """Seconds of work for a second of a channel: before any candidate is made, and for each of them."""

    before: float
    each: float

    def speed(self, session: Session) -> Speed:
        """What a session's candidates come to."""
        made = f"{session.candidates} candidate{'' if session.candidates == 1 else 's'}"
        basis = f"measured on {SECONDS:g} s of noise, {made}, {session.device}"
        return Speed(self.before + self.each * session.candidates, basis, session.options.budget_seconds)


def measured_speed(session: Session) -> Speed | None:
    """How fast a session is, by a trial; None where that cannot be done."""
    cost = measured_cost(session)
    return None if cost is None else cost.speed(session)


def measured_cost(session: Session) -> TrialCost | None:
    """Render noise once with one candidate and once with two; None where that cannot be done.

    What a candidate costs is the difference, and what goes before it the rest. Searches that spend their evaluations
    otherwise than on whole candidates come out about right, since the budget is the same.
    """
    try:
        one, two = (_seconds(session, _trial(session.options, count)) for count in (1, 2))
    except TtsrError:
        return None
    each = max(two - one, 0.1 * one)
    return TrialCost(max(one - each, 0.0) / SECONDS, each / SECONDS)


def _trial(options: RenderOptions, candidates: int) -> RenderOptions:
    """Of the options those that say what a candidate costs."""
    plain = RenderOptions(
        preset=options.preset, engine=options.engine, steps=options.steps, solver=options.solver,
        schedule=options.schedule, temperature=options.temperature, window=options.window, device=options.device,
        batch=options.batch, precision=options.precision, verifiers=options.verifiers, hold_out=options.hold_out,
        candidates=candidates, loudness="off", cutoff=RATE / 2 * 0.9,
    )  # fmt: skip
    return replace(plain, weights=options.weights)


def _seconds(session: Session, options: RenderOptions) -> float:
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, int(SECONDS * RATE))).astype(np.float32)
    trial = Sessions(session).of(options)
    began = time.perf_counter()
    render_array(trial, Waveform.of(noise, RATE), Annotations())
    return time.perf_counter() - began
