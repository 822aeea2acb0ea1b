"""Fixtures for all tests."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from helpers import LONGEST, Ttsr

from ttsr_studio.cli.main import main

torch.set_num_threads(1)


@pytest.fixture
def ttsr() -> Ttsr:
    """`ttsr("render", path, "-o", out)`: the real command line, in this process."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments])

    return call


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
