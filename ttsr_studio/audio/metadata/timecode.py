"""A film's timecode as a WAV holds it: bext's TimeReference, samples since midnight (EBU Tech 3285)."""

import re
import struct
from fractions import Fraction

from ttsr_studio.audio.container.contents import Chunk

_RATES = [Fraction(each) for each in (24, 25, 30, 48, 50, 60)]
_RATES += [Fraction(1000 * each, 1001) for each in (24, 30, 48, 60)]


def time_reference(timecode: str, rate: int) -> Chunk:
    """The bext chunk for a first frame of so much, e.g. "01:00:00;00@30000/1001", with its frames a second.

    A ";" says drop-frame: numbers 0 and 1 (at 60 frames 0 to 3) are left out of each minute but every tenth.
    Raises ValueError for what is no timecode, or says nothing of its frames.
    """
    found = re.fullmatch(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)@(\d+(?:/\d+)?)", timecode)
    if found is None:
        raise ValueError("it says no frames a second")
    hours, minutes, seconds, frame = (int(found[place]) for place in (1, 2, 3, 5))
    told = Fraction(found[6])
    fps = min(_RATES, key=lambda each: abs(each - told))
    nominal, minute = round(fps), 60 * hours + minutes
    dropped = (minute - minute // 10) * (nominal // 15) if found[4] != ":" else 0
    frames = nominal * (60 * minute + seconds) + frame - dropped
    return Chunk("bext", struct.pack("<338xQH254x", round(frames / fps * rate), 1), early=True)
