"""Judges with weights of others take all candidates at once on a GPU, with the CPU's scores."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from helpers import voice
from tiny_models import install_every_model
from torch import Tensor, nn

from tests.pretend_device import pretend
from ttsr_studio.verifiers.pretrained.loading import by_rows
from ttsr_studio.verifiers.protocol import Context, score_columns
from ttsr_studio.verifiers.registry import load_verifier

for package in ("transformers", "audiobox_aesthetics", "whisper", "jiwer", "xls_r_sqa"):
    pytest.importorskip(package)

JUDGES = ("speaker", "clap", "aesthetics", "distillmos", "wer")
SECONDS = 2.0

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A models folder with all of them, tiny."""
    with pytest.MonkeyPatch.context() as patch:
        install_every_model(tmp_path_factory.mktemp("models"), patch)
        yield


@pytest.fixture(scope="module")
def takes() -> Tensor:
    """Three voices at 16 kHz, the second of which is broken, [3, 1, samples]."""
    audio = np.stack([voice(SECONDS, 16000, seed=seed).T for seed in range(3)])
    audio[1, 0, 100] = np.nan
    return torch.from_numpy(audio).float()


def judged(name: str, takes: Tensor, device: str) -> tuple[dict[str, list[float]], list[int]]:
    """Scores by column, and the rows of every call of its network that was given candidates."""
    verifier: Any = load_verifier(name, device)
    rows: list[int] = []
    model = verifier._recogniser.network._model.encoder if name == "wer" else verifier._model
    network: nn.Module = model.audio_model if name == "clap" else model

    def called(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        given = (*arguments, *named.values())[0]
        rows.append(len(given["wav"] if isinstance(given, dict) else given))

    network.register_forward_pre_hook(called, with_kwargs=True)
    return score_columns(verifier, takes.to(device), Context(16000, 4000.0, takes[0].to(device))), rows


@pytest.mark.parametrize("name", JUDGES)
def test_a_gpu_hears_all_candidates_at_once(name: str, takes: Tensor) -> None:
    here, alone = judged(name, takes, "cpu")
    assert set(alone) == {1}
    for device in ("cuda:0", "mps:0"):
        with pretend(device):
            there, together = judged(name, takes, device)
        assert max(together) == 2, "candidates were taken one by one on the card"
        assert len(together) == len(alone) - 1
        for column, scores in here.items():
            assert np.isnan(scores).tolist() == [False, True, False]
            assert np.nanstd(scores) > 0, "a judge that says the same of everything proves nothing here"
            assert there[column] == pytest.approx(scores, abs=1e-4, nan_ok=True)


def test_batches_are_bounded() -> None:
    given: list[int] = []

    def run(rows: Tensor) -> Tensor:
        given.append(len(rows))
        return 2 * rows

    rows = torch.arange(35.0)[:, None]
    for device, wanted in (("cuda:0", [16, 16, 3]), ("cpu", [1] * 35)):
        given.clear()
        assert torch.equal(by_rows(rows, device, run), 2 * rows)
        assert given == wanted
