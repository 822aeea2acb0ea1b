"""The process that decodes, seen from here: started, watched, and ended; a crash or a hang of it is one error."""

import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil

STALLED_CPU = 8.0
"""Seconds of computing without a sign of life after which a decoder hangs."""
STALLED = 120.0
"""Seconds of waiting for one: disks and networks may be slow."""
_CHILD = "ttsr_studio.audio.libav.child"


class DecoderDiedError(Exception):
    """The decoder crashed, or was ended because it hung; says which."""


class DecoderProcess:
    """Decodes a stream of a file; `messages` gives what it says.

    Args:
        stream: index among all streams of the file; -1 only lists them.
        mode: see `child`.
    """

    def __init__(self, path: Path, stream: int, mode: str) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        places = os.pathsep.join(os.path.abspath(each) for each in sys.path if each)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", _CHILD, os.fsencode(path.absolute()), str(stream), mode],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=os.environ | {"PYTHONPATH": places},
        )
        assert self._process.stdout
        self._pipe = self._process.stdout
        self._reads, self._waiting, self._hung = 0, False, False
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._end_when_hung, daemon=True)
        self._watch.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._process.kill()
        self._process.wait()
        self._watch.join()
        self._pipe.close()
        self._log.close()

    def messages(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (kind, content) up to the last one. Raises DecoderDiedError."""
        kind = b""
        while kind not in (b"E", b"L", b"R"):
            kind, size = struct.unpack("<cI", self._read(5))
            yield kind, self._read(size)

    def _read(self, size: int) -> bytes:
        self._reads += 1
        self._waiting = True
        data = self._pipe.read(size)
        self._waiting = False
        if len(data) < size:
            raise DecoderDiedError(self._death(self._process.wait()))
        return data

    def _death(self, code: int) -> str:
        """How the process ended, in words."""
        if self._hung:
            return "hangs"
        if code < 0:
            return f"crashes (signal {-code})"
        self._log.seek(0)
        said = self._log.read().decode("utf-8", "replace").strip().splitlines() or [""]
        return f"fails (exit code {code}: {said[-1][:200]})"

    def _end_when_hung(self) -> None:
        """Kill the process when it computes, or says nothing, for too long while somebody waits for it."""
        try:
            process = psutil.Process(self._process.pid)
            seen, computed, since = -1, 0.0, time.monotonic()
            while not self._over.wait(0.5):
                times = process.cpu_times()
                if self._reads != seen or not self._waiting:
                    seen, computed, since = self._reads, times.user + times.system, time.monotonic()
                elif times.user + times.system - computed > STALLED_CPU or time.monotonic() - since > STALLED:
                    self._hung = True
                    self._process.kill()
                    return
        except psutil.Error:
            return  # it is over
