"""Fixtures for all tests."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")  # here and beneath

import hypothesis
import psutil
import pytest
import quick_ttsr
import torch
from click.testing import CliRunner, Result
from helpers import LONGEST, TTSR, Ttsr
from tiny_engine import write_engine

from ttsr_studio.cli.main import main
from ttsr_studio.engines.builtin import engine
from ttsr_studio.evaluation.benchmark import systems
from ttsr_studio.evaluation.tuning import study
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering import estimate
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.report import figures

torch.set_num_threads(1)

# The same examples every time, on a slow machine as well.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None, max_examples=60, database=None)
hypothesis.settings.load_profile("steady")

WORKER_BYTES = 3e9
"""Memory that one worker may come to need."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Of `-n auto`: three for every two processors that may be used, where there is memory for them.

    Tests of services, of other programs and of the page wait for a good part of their time.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors + processors // 2, int(psutil.virtual_memory().total / WORKER_BYTES)))


SHIPPED = {(module, name): getattr(module, name) for module, name in (
    (engine, "WEIGHTS"), (engine, "CHECKSUM"), (figures, "_draw"), (figures, "DPI"),
)}  # fmt: skip
"""What is put aside in tests that are not golden, by module and name."""


SECONDS = estimate._seconds


@pytest.fixture(scope="session", autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """In this process the built-in engine is tiny, the report's picture stays empty, a speed is measured once."""
    measured: dict[tuple[str, str], float] = {}

    def seconds(session: Session, options: RenderOptions) -> float:
        trial = (str(engine.WEIGHTS), repr(options))
        if trial not in measured:
            measured[trial] = SECONDS(session, options)
        return measured[trial]

    weights, checksum = write_engine(tmp_path_factory.mktemp("engine"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "WEIGHTS", weights)
        patch.setattr(engine, "CHECKSUM", checksum)
        patch.setattr(figures, "_draw", lambda *arguments: None)
        patch.setattr(figures, "DPI", 10)
        patch.setattr(estimate, "_seconds", seconds)
        yield


@pytest.fixture(scope="module", autouse=True)
def golden_module(quick: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """In a module marked `golden` everything is as shipped, for fixtures of the module as well."""
    kept = (study.engine_for, systems.session_for)  # the latest engine, tiny or as shipped
    with pytest.MonkeyPatch.context() as patch:
        as_shipped(request, patch)
        for each in kept:
            each.cache_clear()
        yield
    for each in kept:
        each.cache_clear()


@pytest.fixture(autouse=True)
def golden(golden_module: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a test marked `golden` everything is as shipped."""
    as_shipped(request, monkeypatch)


def as_shipped(request: pytest.FixtureRequest, patch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("golden"):
        for (module, name), value in SHIPPED.items():
            patch.setattr(module, name, value)


@pytest.fixture
def ttsr() -> Ttsr:
    """`ttsr("render", path, "-o", out)`: the real command line, in this process."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments])

    return call


@pytest.fixture(scope="session")
def program(quick: None) -> Iterator[Path]:
    """`ttsr`, whose imports are made once; see `quick_ttsr`."""
    if not hasattr(os, "fork"):
        yield TTSR
        return
    with quick_ttsr.ready() as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, where it and its driver are installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on the PATH")
    # The name of a socket that it makes there has at most 107 bytes, whatever folder is for temporary files.
    short = {"TMPDIR": "/tmp"} if len(tempfile.gettempdir()) > 50 and Path("/tmp").is_dir() else {}
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(
            executable_path=program, env={**os.environ, **short}, timeout=1000 * LONGEST / 2
        )
        yield launched
        launched.close()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing here may ask the network, however quietly it would take a refusal."""
    tried = []

    def refuse(*arguments: object, **options: object) -> None:
        tried.append(arguments)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield
    assert not tried
