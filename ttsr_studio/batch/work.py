"""How much there is to do in a file, from its header alone."""

from pathlib import Path

from ttsr_studio.errors import TtsrError

BYTES_A_SECOND = 96000.0
"""Of a channel, where a file's length is not in a header."""


def work_of(path: Path) -> float:
    """About how much there is to do in a file: seconds of all of its channels."""
    if not path.is_file():  # a pipe would be waited for
        return 0.1
    from ttsr_studio.audio.container.sound import sound_file  # no help of a command waits for it

    try:
        with sound_file(path) as file:
            return max(0.1, float(file.frames / file.samplerate * file.channels))
    except (RuntimeError, OSError, TtsrError):  # one for FFmpeg, or unreadable: its render will say so
        return max(0.1, path.stat().st_size / BYTES_A_SECOND)
