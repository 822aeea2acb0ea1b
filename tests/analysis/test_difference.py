"""In what renders differ: by sounds that were made brighter, noisier, harder."""

import numpy as np
import torch

from ttsr_studio.analysis.difference import band_distances, character, spread_out


def hiss(seed: int = 0, seconds: float = 1.0) -> torch.Tensor:
    drawn = np.random.default_rng(seed).standard_normal((1, round(48000 * seconds)))
    return torch.from_numpy(0.03 * drawn).float()


def test_words_say_what_was_done_to_a_sound() -> None:
    plain = character(hiss(), 6000, 48000)
    time = torch.arange(48000) / 48000
    partials = sum(0.02 * torch.sin(2 * torch.pi * hz * time) for hz in range(6500, 20000, 700))
    hits = hiss() * (0.2 + 3 * ((time * 8) % 1 < 0.1))
    assert character(2 * hiss(), 6000, 48000).beside(plain) == "brighter"
    assert character(0.5 * hiss(), 6000, 48000).beside(plain) == "darker"
    assert "more tone" in character(0.3 * hiss() + partials, 6000, 48000).beside(plain)
    assert "more breath" in plain.beside(character(0.3 * hiss() + partials, 6000, 48000))
    assert "harder hits" in character(hits, 6000, 48000).beside(plain)
    assert plain.beside(plain) == "hardly different"
    assert np.isfinite(character(torch.zeros(2, 9000), 6000, 48000).level_db)
    assert np.isfinite(character(hiss(seconds=0.02), 23999, 48000).onset)


def test_distances_hear_what_lies_above_the_cutoff_alone() -> None:
    low = 0.5 * torch.sin(2 * torch.pi * 300 * torch.arange(48000) / 48000)
    distance = band_distances(torch.stack([hiss(), hiss() + low, 2 * hiss(), hiss(1)]), 6000, 48000)
    assert distance[0, 1] < 0.1
    assert abs(distance[0, 2] - 6.02) < 0.2
    assert (distance == distance.T).all()
    assert distance[0, 3] > 1


def test_a_group_is_good_and_differs() -> None:
    """The two best are alike; the third in rank is far from them; one that could not be scored comes last."""
    quality, place = np.array([3.0, 2.9, 2.5, 0.0, -np.inf]), np.array([0.0, 0.1, 5.0, 5.1, 20.0])
    distance = np.abs(place[:, None] - place[None])
    assert spread_out(quality, distance, 0, 2) == [0, 2]
    assert spread_out(quality, distance, 0, 9)[-1] == 4
    assert sorted(spread_out(quality, distance, 0, 5)) == [0, 1, 2, 3, 4]
    assert spread_out(np.zeros(3), np.zeros((3, 3)), 1, 2) == [1, 0]
