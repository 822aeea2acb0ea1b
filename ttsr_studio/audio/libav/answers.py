"""What the process that decodes tells its parent."""

import json
import os
import struct
import time
from typing import Any

from av.audio.frame import AudioFrame


class Answers:
    """Writes messages; `count` writes no audio."""

    def __init__(self, count: bool) -> None:
        self.count = count
        self._pipe = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # libraries that print must not garble it
        self._last = time.monotonic()

    def send(self, kind: bytes, data: bytes = b"") -> None:
        self._pipe.write(struct.pack("<cI", kind, len(data)) + data)

    def tell(self, kind: bytes, told: dict[str, Any]) -> None:
        self.send(kind, json.dumps(told).encode())
        self._pipe.flush()

    def beat(self, samples: int) -> None:
        """Say that it goes on, some times a second."""
        if time.monotonic() - self._last > 0.2:
            self._last = time.monotonic()
            self.send(b"P", struct.pack("<Q", samples))
            self._pipe.flush()

    def silence(self, samples: int) -> None:
        if samples and not self.count:
            self.send(b"Z", struct.pack("<Q", samples))

    def audio(self, frame: AudioFrame, samples: int) -> None:
        """The first samples of a frame, channel by channel where the decoder gives them so."""
        if self.count or not samples:
            return
        width = samples * frame.format.bytes
        if frame.format.is_planar:
            self.send(b"A", b"".join(memoryview(plane)[:width] for plane in frame.planes))
        else:
            self.send(b"A", bytes(memoryview(frame.planes[0])[: width * frame.layout.nb_channels]))
