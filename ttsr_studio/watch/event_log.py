"""The log of a service: a JSON object a line, in files that are turned over before they grow large.

Scripts read names of events and their fields: both stay as they are.
"""

import json
import logging
import logging.handlers
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

BYTES = 10_000_000
FILES = 5

EventListener = Callable[[str, dict[str, Any]], None]
"""Told of every event: its name and its fields."""


class EventLog:
    """Writes events down, and tells whoever listens.

    Args:
        path: of the newest file; older ones have .1 to .5 at the end.
    """

    def __init__(self, path: Path, listener: EventListener) -> None:
        self.listener = listener
        self.handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=BYTES, backupCount=FILES, encoding="utf-8", errors="backslashreplace", delay=True
        )
        self.handler.setFormatter(logging.Formatter("%(message)s"))
        self.logger = logging.Logger(f"ttsr.watch.{path}")
        self.logger.addHandler(self.handler)
        logging.raiseExceptions = False  # a log that cannot be written must not end the service

    def __call__(self, event: str, **values: Any) -> None:
        """Write an event: what happened, and what there is to know of it, in plain JSON types."""
        at = datetime.now().astimezone().isoformat(timespec="milliseconds")
        self.logger.info(json.dumps({"at": at, "event": event, **values}, ensure_ascii=True, default=str))
        self.listener(event, values)

    def close(self) -> None:
        self.handler.close()
