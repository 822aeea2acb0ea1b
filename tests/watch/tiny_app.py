"""`ttsr app` in a process that has everything loaded, with the tiny engine; its workers are forks of it."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path

ordinary = multiprocessing.get_context


def serve(words: Sequence[str], said: Path) -> None:
    """Run a command line, what it says in a file."""
    import preloaded  # noqa: F401

    from ttsr_studio.cli.main import main

    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.environ["OMP_NUM_THREADS"] = "1"
    multiprocessing.get_context = lambda name=None: ordinary("fork" if name == "spawn" else name)  # type: ignore[assignment, return-value]
    main(list(words))
