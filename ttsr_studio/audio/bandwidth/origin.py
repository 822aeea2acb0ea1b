"""What seems to have ended a file's band: a codec, a rate, a telephone line, by where and how it ends.

A place alone is a hint. A lossy codec leaves more: holes, cells of time and frequency below the edge that are empty
though their neighbours are not. Edges are those that LAME, AAC and Opus encoders choose by themselves.
"""

from ttsr_studio.audio.bandwidth.detector import Bandwidth
from ttsr_studio.audio.decode import SourceInfo

_STEEP = 1.12
HOLES = 0.005
"""Share of cells that lossy codecs leave empty below their edge, at least."""

PLACES = (
    (3200, 3800, "a telephone line (3.4 kHz)"),
    (3800, 4100, "a rate of 8 kHz, or Opus narrowband"),
    (5300, 5600, "a rate of 11.025 kHz"),
    (7300, 8100, "a rate of 16 kHz, or Opus wideband"),
    (10400, 11100, "a rate of 22.05 kHz"),
    (11700, 12150, "a rate of 24 kHz, or Opus super-wideband"),
    (14600, 15250, "FM radio (15 kHz)"),
    (15250, 16250, "MP3 below its highest band (sfb21, 16 kHz), AAC, or a rate of 32 kHz"),
    (16250, 17350, "MP3 or AAC at about 128 kbit/s"),
    (17350, 18300, "MP3 at about 160 kbit/s"),
    (18300, 19300, "MP3 at about 192 kbit/s"),
    (19300, 20000, "MP3 at 256 kbit/s or more, AAC, or Opus (20 kHz)"),
)
"""From, to (Hz), and what ends there."""

CODED = {"MP3": "MP3", "VORBIS": "Vorbis", "OPUS": "Opus"}


def band_origin(info: SourceInfo, band: Bandwidth) -> str | None:
    """What seems to have ended the band, in words; None where nothing says so."""
    own = next((name for key, name in CODED.items() if key in (info.container, info.subtype)), None)
    if own:
        return f"{own}: the file itself is coded"
    if not band.limited or band.bottom_hz is None or band.bottom_hz > _STEEP * band.cutoff_hz:
        return None
    place = next((words for low, high, words in PLACES if low <= band.cutoff_hz < high), None)
    if band.holes >= HOLES:
        where = f"; its edge is that of {place}" if place else ""
        return f"a lossy codec: {100 * band.holes:.0f} % of the cells below the edge are empty{where}"
    return f"ends as {place} does" if place else None
