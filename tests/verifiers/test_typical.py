"""Which candidate is unlike the others: what pessimism goes by."""

import math

import numpy as np
import torch

from ttsr_studio.verifiers.protocol import Context
from ttsr_studio.verifiers.registry import load_verifier
from ttsr_studio.verifiers.signal.typical import typicality

RATE = 48000


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, round(seconds * RATE), generator=torch.Generator().manual_seed(seed))


def context(cutoff_hz: float = 6000.0) -> Context:
    return Context(RATE, cutoff_hz, torch.zeros(1, RATE))


def test_what_is_brighter_or_steadier_than_all_others_is_untypical() -> None:
    draws = [noise(1.0, i) for i in range(8)]
    time_s = torch.arange(RATE) / RATE
    beating = draws[6] * (1 + 0.9 * torch.sin(2 * torch.pi * 11 * time_s))
    audio = torch.stack([*draws[:6], beating, 1.3 * draws[7]])
    scores = load_verifier("typical").score(audio, context())
    assert set(scores.argsort()[:2].tolist()) == {6, 7}
    assert float(scores.max()) < 0
    order = torch.tensor([3, 7, 1, 6, 0, 2, 5, 4])
    torch.testing.assert_close(load_verifier("typical").score(audio[order], context()), scores[order])


def test_what_nothing_tells_apart_is_typical() -> None:
    verifier = load_verifier("typical")
    one = noise(0.5)[None]
    assert verifier.score(one.repeat(5, 1, 1), context()).tolist() == [0.0] * 5
    assert verifier.score(torch.zeros(4, 2, 9000), context()).tolist() == [0.0] * 4
    assert verifier.score(torch.cat([one, 0.5 * one]), context()).tolist() == [0.0, 0.0], "two tell nothing"
    broken = torch.cat([one, 0.5 * one, 0.7 * one, torch.full_like(one, math.nan)])
    scores = verifier.score(broken, context()).tolist()
    assert math.isnan(scores[3])
    assert all(score <= 0 for score in scores[:3])


def test_distance_is_in_the_candidates_own_deviations() -> None:
    rng = np.random.default_rng(0)
    described = rng.standard_normal((400, 6)) * [1, 10, 100, 1, 1, 1] + 5
    described[:, 3] = described[:, 2] / 100 + 0.05 * rng.standard_normal(400)
    scores = typicality(described)
    assert abs(float(np.sqrt(np.square(scores).mean())) - 1) < 0.15, "about 1 is usual"
    against = described[0] * 0 + 5
    against[2], against[3] = 105.0, 4.0  # each is usual, both together are not
    with_it = typicality(np.vstack([described, against]))
    assert with_it[-1] == with_it.min()
