"""What the tests of other programs share."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No app of whoever runs the tests is asked."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
