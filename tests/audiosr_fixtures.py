"""A tiny AudioSR for tests: the whole graph with few channels, random weights in the official file's format."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ttsr_studio.engines.audiosr.models import AUDIOSR_MODELS
from ttsr_studio.weights import store
from ttsr_studio.weights.install import install

NAME = "audiosr-basic"


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the official format. Tests do not change it."""
    from audiosr_dummy import TINY, write_checkpoint  # which take seconds to import

    path = tmp_path_factory.mktemp("official") / "pytorch_model.bin"
    write_checkpoint(path, TINY)
    return path


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory, official: Path) -> Iterator[Path]:
    """A models folder with the tiny AudioSR in it, in fp32. Tests do not change it."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.VARIABLE, str(folder))
        install(AUDIOSR_MODELS[NAME], official, "fp32", lambda line: None)
        yield folder


@pytest.fixture
def models(imported: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, in force for this test."""
    monkeypatch.setenv(store.VARIABLE, str(imported))
    return imported
