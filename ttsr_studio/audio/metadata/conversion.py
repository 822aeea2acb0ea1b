"""What a render made of its source: by this, every time and depth that is said of it changes."""

from dataclasses import dataclass

import numpy as np

from ttsr_studio.audio.formats import WIDTHS


@dataclass(frozen=True)
class Change:
    """What a render made of its source.

    Attributes:
        container, subtype: of the output.
        old_rate, rate: Hz.
        old_frames, frames: samples per channel.
        level_kept: the loudness is the source's within 0.1 LU.
    """

    container: str
    old_subtype: str
    subtype: str
    old_rate: int
    rate: int
    old_frames: int
    frames: int
    channels: int
    level_kept: bool = True

    @property
    def bits(self) -> int:
        return 8 * WIDTHS[self.subtype]

    @property
    def converted(self) -> bool:
        return (self.rate, self.subtype) != (self.old_rate, self.old_subtype)

    def scaled(self, samples: int, bits: int = 32) -> int:
        """A count of the source's samples as one of the render's, rounded; the most that ``bits`` hold if more."""
        return min((2 * samples * self.rate + self.old_rate) // (2 * self.old_rate), (1 << bits) - 1)

    def scaled_all(self, samples: np.ndarray) -> np.ndarray:
        """The same for counts of up to 33 bits, as uint64."""
        whole = samples.astype(np.uint64) * np.uint64(2 * self.rate) + np.uint64(self.old_rate)
        counts: np.ndarray = np.minimum(whole // np.uint64(2 * self.old_rate), np.uint64(0xFFFFFFFF))
        return counts
