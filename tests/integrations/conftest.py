"""What the tests of other programs share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import quick_ttsr
from helpers import TTSR


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No app of whoever runs the tests is asked."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def program() -> Iterator[Path]:
    """`ttsr`, whose imports are made once; see `quick_ttsr`."""
    if not hasattr(os, "fork"):
        yield TTSR
        return
    with quick_ttsr.ready() as made:
        yield made
