"""The process that decodes; at the second packet its decoder crashes, hangs or raises, as TTSR_TEST_DECODER says."""

import os
import signal
from typing import Any

from ttsr_studio.audio.libav import child, decoding

ordinary = decoding.Decoding._note


def hostile(self: decoding.Decoding, packet: Any) -> None:
    ordinary(self, packet)
    if self.packets == 2 and "bad" in self.container.name:
        what = os.environ["TTSR_TEST_DECODER"]
        if what == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif what == "raise":
            raise KeyError("no such packet")
        while True:
            pass


if __name__ == "__main__":
    decoding.Decoding._note = hostile  # type: ignore[method-assign]
    child.main()
