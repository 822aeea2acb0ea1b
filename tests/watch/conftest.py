"""Workers of a service in this process start from one that has everything loaded, not from nothing."""

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from ttsr_studio.engines.builtin import engine

ordinary = multiprocessing.get_context


@pytest.fixture(scope="session")
def loaded(quick: None) -> Iterator[Any]:
    """What makes processes in which the renderer is imported and the engine is tiny; see `preloaded.py`.

    They are as new as those that the service makes: what forks is a process with one thread that does nothing else.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        yield ordinary("spawn")
        return
    context = ordinary("forkserver")
    context.set_forkserver_preload(["preloaded"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        patch.setenv("TTSR_TEST_ENGINE", str(engine.WEIGHTS))
        if len(tempfile.gettempdir()) > 50:  # the name of a socket that it makes there has at most 107 bytes
            patch.setattr(tempfile, "tempdir", "/tmp")
        forkserver.ensure_running()
    yield context
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture(scope="module", autouse=True)
def quick_workers(loaded: Any) -> Iterator[None]:
    """Services in this process take their workers from there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiprocessing, "get_context", lambda name=None: loaded if name == "spawn" else ordinary(name))
        yield


@pytest.fixture(autouse=True)
def golden_workers(quick_workers: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a test marked `golden` workers start as everywhere."""
    if request.node.get_closest_marker("golden"):
        monkeypatch.setattr(multiprocessing, "get_context", ordinary)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What services leave for other programs of their user goes to no real place of it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
