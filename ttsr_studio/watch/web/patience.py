"""Connections that are limited in number, and in how long a client may take for what it sends and reads."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CLIENTS = 64
LOOK_SECONDS = 1.0
"""Between two looks at a connection."""

HEAD_SECONDS = 10.0
"""For the head of a request, from its first byte or from the connection on."""

SILENT_SECONDS = 10.0
"""A client may send nothing, or read nothing, for so long."""

LEAST_RATE, RATE_SECONDS = 16_000, 30.0
"""Bytes a second that a client has to send or read on the average, from so many seconds on."""


class PatientProtocol(H11Protocol):
    """HTTP for clients that may be slow, but not for ever. For one connection."""

    began = heard = stuck = 0.0
    received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.began = self.heard = self.loop.time()
        if len(self.connections) > MOST_CLIENTS:
            transport.abort()
            return
        self.loop.call_later(LOOK_SECONDS, self.look)

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        self.received += len(data)
        super().data_received(data)

    def on_response_complete(self) -> None:
        self.began, self.received = self.loop.time(), 0
        super().on_response_complete()

    def resume_writing(self) -> None:
        """Take note that the client reads on."""
        self.stuck = 0.0
        super().resume_writing()

    def look(self) -> None:
        """Close the connection where its client takes too long."""
        gone = self.transport.is_closing() and not self.transport.get_write_buffer_size()
        if not gone and self.is_late(self.loop.time()):
            self.transport.abort()
        elif not gone:
            self.loop.call_later(LOOK_SECONDS, self.look)

    def is_late(self, now: float) -> bool:
        """Whether the client took too long for what it has to do next."""
        waits = self.flow.write_paused or self.transport.is_closing()
        self.stuck = self.stuck + LOOK_SECONDS if waits else 0.0
        if self.stuck > SILENT_SECONDS:
            return True
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            return now - self.began > HEAD_SECONDS
        if not cycle.more_body or self.flow.read_paused:
            return False
        slow = now - self.began > RATE_SECONDS and self.received < LEAST_RATE * (now - self.began)
        return slow or now - self.heard > SILENT_SECONDS
