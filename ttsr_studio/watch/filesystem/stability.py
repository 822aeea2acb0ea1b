"""Which files have stopped changing. A file is stable when nothing of it changed for a while, by a steady clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ttsr_studio.watch.filesystem.root import Signature

EMPTY = 12.0
"""A file without a byte waits so many times longer: most of them are the first moment of a copy."""


@dataclass
class StabilityTracker:
    """Files on their way in.

    Attributes:
        quiet: seconds without a change, or an event, after which a file counts as complete.
        known: signatures that were handed on before.
    """

    quiet: float
    known: dict[str, Signature] = field(default_factory=dict)
    _since: dict[str, tuple[Signature, float]] = field(default_factory=dict)

    def update(self, files: Mapping[str, Signature], now: float) -> None:
        """Take a scan: what is new or another begins its wait, what is gone is forgotten."""
        for path in [path for path in self._since if path not in files]:
            del self._since[path]
        for path in [path for path in self.known if path not in files]:
            del self.known[path]
        for path, signature in files.items():
            if self.known.get(path) == signature:
                self._since.pop(path, None)
            elif path not in self._since or self._since[path][0] != signature:
                self._since[path] = signature, now

    def is_new(self, path: str, signature: Signature) -> bool:
        """Whether a file was not seen like this before."""
        return self.known.get(path) != signature and (path not in self._since or self._since[path][0] != signature)

    def touch(self, path: str, now: float) -> None:
        """Take an event of a file: its wait begins anew."""
        if path in self._since:
            self._since[path] = self._since[path][0], now

    def stable(self, signature_of: Callable[[str], Signature | None], now: float) -> dict[str, Signature]:
        """Files that are complete now, each read from the disk once more."""
        ready = {}
        for path, (signature, since) in list(self._since.items()):
            if now < self._due(signature, since):
                continue
            seen = signature_of(path)
            if seen is None:
                del self._since[path]
            elif seen != signature:
                self._since[path] = seen, now
            else:
                ready[path] = signature
        return ready

    def handed_on(self, files: Mapping[str, Signature]) -> None:
        """Note that files were handed on: they are no longer waited for until they change."""
        for path, signature in files.items():
            self.known[path] = signature
            self._since.pop(path, None)

    def next_due(self) -> float | None:
        """When the next file can be complete, None when none is on its way."""
        return min((self._due(signature, since) for signature, since in self._since.values()), default=None)

    def _due(self, signature: Signature, since: float) -> float:
        return since + self.quiet * (1.0 if signature.size else EMPTY)

    def __len__(self) -> int:
        return len(self._since)
