"""ViSQOL (audio mode) and Zimtohrli: what a listener would say of an output beside the truth, from 1 to 5.

The columns that count first, since a log-spectral distance pays for cells that nobody hears as for loud ones. Both are
packages of the extra `evaluate`, neither brings a network's framework, and each scores only where it is installed.

Conventions: audio is float32 [channels, samples] at 48 kHz, full scale 1.0, of one shape, which is what both packages
ask for. Channels are scored alone; a channel that is silent in the truth is left out, the mean is over the others.
Higher is better.

visqol: visqol-python (Apache-2.0), a port of Google's ViSQOL 3 (Chinen et al., "ViSQOL v3: An Open Source Production
    Ready Objective Speech and Audio Metric", QoMEX 2020) with its support vector model for audio. MOS-LQO from 1 to
    4.73, which equal audio gets. It covers 50 Hz to 15 kHz, matches the level of the whole clip (so a loss of level
    goes unseen), aligns in time, and needs a second of audio (NaN for less).
zimtohrli: zimtohrli (Apache-2.0), Google's measure of just noticeable differences. MOS-like from 1 to 5, which equal
    audio gets. It takes a sine at full scale for 80 dB SPL and counts levels. The package writes past its memory when
    it is given less than about 80 ms: NaN for less than a tenth of a second.

A silent output of a sounding truth gets 1, the lowest, from ViSQOL, whose package has no answer to it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.errors import MissingError, pip_install
from ttsr_studio.evaluation.benchmark.dataset import RATE, Audio

LOWEST = 1.0

Opinion = Callable[[NDArray[np.float32], NDArray[np.float32]], float]
"""Mean opinion score of an output beside its truth, both mono [samples]."""


@dataclass(frozen=True)
class Listener:
    """A perceptual measure from a package.

    Attributes:
        column: of the results.
        package: that it comes from.
        shortest: seconds that it needs.
        load: imports the package and returns what scores; loaded once.
    """

    column: str
    package: str
    shortest: float
    load: Callable[[], Opinion]

    @property
    def version(self) -> str | None:
        """Of the package; None when it is not installed."""
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return None


@cache
def load_visqol() -> Opinion:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="audio")

    def score(truth: NDArray[np.float32], output: NDArray[np.float32]) -> float:
        return float(api.measure_from_arrays(truth, output, RATE).moslqo) if output.any() else LOWEST

    return score


@cache
def load_zimtohrli() -> Opinion:
    from zimtohrli import mos_from_signals

    return lambda truth, output: float(mos_from_signals(truth, output))


LISTENERS = (
    Listener("visqol", "visqol-python", 1.0, load_visqol),
    Listener("zimtohrli", "zimtohrli", 0.1, load_zimtohrli),
)


def package_versions() -> dict[str, str | None]:
    """The version of every package that is asked, by column; None where it is not installed."""
    return {listener.column: listener.version for listener in LISTENERS}


def missing_note() -> str | None:
    """One line that names what is not installed and how it comes; None when all is there."""
    missing = [listener for listener in LISTENERS if listener.version is None]
    if not missing:
        return None
    columns, packages = (" and ".join(names) for names in zip(*((x.column, x.package) for x in missing), strict=True))
    return f"no {columns}: not installed ({packages}); {pip_install('ttsr-studio[evaluate]')}"


def perceived(truth: Audio, output: Audio) -> dict[str, float]:
    """Every installed package's score of one output, by column; NaN for those that are not, and for short clips."""
    return {
        listener.column: math.nan if listener.version is None else opinion(listener, truth, output)
        for listener in LISTENERS
    }


def opinion(listener: Listener, truth: Audio, output: Audio) -> float:
    """A listener's mean over the channels that sound; NaN when none does, or the clip is too short for it.

    Raises MissingError when its package is installed and cannot be loaded.
    """
    if truth.shape[1] < listener.shortest * RATE:
        return math.nan
    try:
        score = listener.load()
    except (ImportError, OSError) as error:
        why = " ".join(str(error).split())[:160]
        raise MissingError(f"{listener.package} is installed and cannot be loaded ({why}); install it again") from error
    scores = [score(true, made) for true, made in zip(truth, output, strict=True) if true.any()]
    return float(np.mean(scores)) if scores else math.nan
