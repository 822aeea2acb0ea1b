"""Where decoded audio belongs: timestamps against samples, so that what is missing in between becomes silence."""

from dataclasses import dataclass
from fractions import Fraction

LONGEST_GAP = 3600
"""Seconds of silence that a file may ask for at once; more is a broken timestamp."""
LONGEST_BREAK = 10
"""Seconds by which the clock of a broadcast may jump where its audio goes on (FFmpeg's `-dts_delta_threshold`)."""


class TimestampError(ValueError):
    """A timestamp that cannot be right."""


@dataclass
class Timeline:
    """Places one frame of audio after another.

    Attributes:
        rate: Hz.
        tick: seconds that a timestamp is rounded to.
        broken_clock: whether the format's clock may jump where nothing is missing, as a broadcast's does.
        samples: those placed so far, silence included.
        gaps: (second of the output, seconds) of the silence put in.
        jumps: seconds of the output where the clock went back, or jumped where nothing is missing.
    """

    rate: int
    tick: Fraction
    broken_clock: bool = False
    samples: int = 0

    def __post_init__(self) -> None:
        self.gaps: list[tuple[float, float]] = []
        self.jumps: list[float] = []
        self._end: Fraction | None = None  # of the last frame, on the file's clock

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    def silence(self, samples: int) -> int:
        """Put silence in, and note it. Raises TimestampError for more than `LONGEST_GAP`."""
        if samples > LONGEST_GAP * self.rate:
            raise TimestampError(f"its timestamps jump by {samples / self.rate:.0f} s")
        if samples:
            self.gaps.append((self.seconds, samples / self.rate))
            self.samples += samples
        return samples

    def place(self, time: Fraction | None, samples: int, lenient: bool = False) -> int:
        """Place a frame that starts at a time on the file's clock, in seconds -> samples of silence before it.

        Only what lies between two neighbours counts: a clock that drifts puts nothing in. Raises TimestampError for
        a jump that cannot be right, unless `lenient`.
        """
        silence = 0
        if time is not None and self._end is not None:
            missing = (time - self._end) * self.rate
            least = max(Fraction(samples, 2), 3 * self.tick * self.rate, Fraction(self.rate, 200))
            if missing > least:
                silence = self._missing(missing, samples, lenient)
            elif missing < -least:
                self.jumps.append(self.seconds)
        if time is not None:
            self._end = time + Fraction(samples, self.rate)
        elif self._end is not None:
            self._end += Fraction(samples, self.rate)
        self.samples += samples
        return silence

    def _missing(self, missing: Fraction, frame: int, lenient: bool) -> int:
        """Samples of silence for so many that seem to be missing: whole frames, where it is these but for rounding."""
        if (self.broken_clock and missing > LONGEST_BREAK * self.rate) or (
            lenient and missing > LONGEST_GAP * self.rate
        ):
            self.jumps.append(self.seconds)
            return 0
        whole = round(missing / frame) * frame
        near = abs(missing - whole) <= 2 * self.tick * self.rate
        return self.silence(whole if near else round(missing))
