"""`ttsr app` in a process of its own; its workers have everything loaded, and the tiny engine; see `preloaded.py`."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing import forkserver
from pathlib import Path

ordinary = multiprocessing.get_context


def serve(words: Sequence[str], said: Path) -> None:
    """Run a command line, what it says in a file."""
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.environ["OMP_NUM_THREADS"] = "1"
    ordinary("forkserver").set_forkserver_preload(["preloaded"])
    forkserver.ensure_running()
    multiprocessing.get_context = lambda name=None: ordinary("forkserver" if name == "spawn" else name)  # type: ignore[assignment, return-value]
    from ttsr_studio.cli.main import main

    main(list(words))
