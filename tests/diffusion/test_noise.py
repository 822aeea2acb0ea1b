"""Noise is addressed: what a key names never depends on who asks, in which order, or for how much."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from ttsr_studio.diffusion import noise
from ttsr_studio.diffusion.noise import (
    NoiseKey,
    cosine_to_stride,
    draw,
    normal,
    renoise,
    stride_to_cosine,
)
from ttsr_studio.errors import OptionError

KEY = NoiseKey(seed=7)


def forget():
    noise._POINTS = noise._Points(32)


def test_draws_are_standard_normal():
    x = draw(KEY.child("draw", 0), (16, 4096)).double()
    n = x.numel()
    assert x.mean().abs() < 4 / math.sqrt(n)
    assert (x.var() - 1).abs() < 4 * math.sqrt(2 / n)
    assert (x.pow(3).mean()).abs() < 4 * math.sqrt(15 / n)
    assert (x.pow(4).mean() - 3).abs() < 4 * math.sqrt(96 / n)


@pytest.mark.parametrize(
    "other",
    [
        NoiseKey(8).child("draw", 0),
        NoiseKey(7, group=1).child("draw", 0),
        KEY.child("draw", 1),
        KEY.child("draw", 1).child("draw", 0),
        NoiseKey(7, position=65536).child("draw", 0),
    ],
)
def test_other_keys_are_independent(other):
    """Correlated candidates would make a search see fewer than it pays for."""
    shape = (8, 4096)
    a, b = draw(KEY.child("draw", 0), shape).double(), draw(other, shape).double()
    assert not torch.equal(a, b)
    assert (a * b).mean().abs() < 4 / math.sqrt(a.numel())


def test_rows_blocks_and_tags_are_independent():
    x = normal(KEY, "a", (2, 4096)).double()
    assert (x[0] * x[1]).mean().abs() < 4 / 64
    assert (x[:, :-64] * x[:, 64:]).mean().abs() < 4 / 89
    assert (x * normal(KEY, "b", (2, 4096))).mean().abs() < 4 / 90


def test_same_key_same_noise_in_any_order():
    keys = [KEY.child("draw", i).child("near", j, 0.9) for i in range(3) for j in range(2)]
    first = [draw(key, (3, 100)) for key in keys]
    forget()
    again = [draw(key, (3, 100)) for key in reversed(keys)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_the_stream_is_the_published_one():
    """A report from an earlier version must still regenerate its render."""
    x = draw(NoiseKey(2024, 100, 1).child("draw", 5), (2, 3))
    expected = [
        [0.8556108474731445, 0.9631361961364746, -2.1440634727478027],
        [0.9682224988937378, 0.16925999522209167, 1.2196552753448486],
    ]
    assert torch.equal(x, torch.tensor(expected))


@given(position=st.integers(-300, 1000), length=st.integers(1, 300))
@example(position=-64, length=64)
@example(position=63, length=130)
def test_overlapping_windows_share_their_overlap(position, length):
    """Otherwise the cross-fade of two windows fades between two different textures."""
    whole = draw(NoiseKey(7, -300).child("draw", 2), (2, 3, 1600))
    window = draw(NoiseKey(7, position).child("draw", 2), (2, 3, length))
    assert torch.equal(window, whole[..., position + 300 : position + 300 + length])


@given(cosine=st.floats(-1.0, 1.0))
@example(cosine=0.99)
def test_neighbour_is_at_the_stated_distance(cosine):
    shape = (4, 500)
    parent, key = KEY.child("draw", 0), KEY.child("draw", 0).child("near", 3, cosine)
    n, m = noise._point(parent, shape), noise._point(key, shape)
    norm = np.linalg.norm(n)
    assert n.dtype == m.dtype == np.float64
    assert np.linalg.norm(m) == pytest.approx(norm, rel=1e-12)
    assert np.sum(n * m) / norm**2 == pytest.approx(cosine, rel=1e-12, abs=1e-12)
    # Near a cosine of 1 the stride is the root of a small difference.
    assert np.linalg.norm(m - n) / norm == pytest.approx(cosine_to_stride(cosine), rel=1e-12, abs=1e-7)


def test_neighbours_differ_and_are_normal():
    parent = KEY.child("draw", 0)
    a, b = (draw(parent.child("near", j, 0.9), (8, 2048)).double() for j in range(2))
    assert (a * b).mean() == pytest.approx(0.81, abs=0.04)
    assert a.var() == pytest.approx(1.0, abs=0.05)


def test_long_lineage_keeps_the_norm_and_costs_one_step(monkeypatch):
    shape = (2, 128)
    key = KEY.child("draw", 0)
    norm = np.linalg.norm(noise._point(key, shape))
    forget()
    blocks = []
    original = noise._block
    monkeypatch.setattr(noise, "_block", lambda *a: blocks.append(a) or original(*a))
    for j in range(1500):
        key = key.child("near", j, 0.99)
        noise._point(key, shape)
    assert len(blocks) == 2 * 1501
    walked = noise._point(key, shape)
    assert np.linalg.norm(walked) == pytest.approx(norm, rel=1e-11)
    forget()
    assert np.array_equal(noise._point(key, shape), walked)


def test_cache_is_bounded():
    for i in range(100):
        draw(KEY.child("draw", i), (1, 8))
    assert len(noise._POINTS._points) == 32


def test_returned_noise_is_the_callers_own():
    key = KEY.child("draw", 0)
    x = draw(key, (2, 8))
    kept = x.clone()
    x.zero_()
    assert torch.equal(draw(key, (2, 8)), kept)


@given(stride=st.floats(1e-3, 2.0))
@example(stride=2.0)
def test_stride_and_cosine_are_inverse(stride):
    assert cosine_to_stride(stride_to_cosine(stride)) == pytest.approx(stride, abs=1e-9)
    assert cosine_to_stride(0.99) == pytest.approx(0.1414, abs=1e-4)
    assert cosine_to_stride(0.95) == pytest.approx(0.3162, abs=1e-4)


@pytest.mark.parametrize(
    "call",
    [
        lambda: stride_to_cosine(2.1),
        lambda: cosine_to_stride(-1.1),
        lambda: KEY.child("near", 1),
        lambda: KEY.child("near", 1, 1.5),
        lambda: KEY.child("near", -1, 0.9),
        lambda: KEY.child("draw", 0.5),
        lambda: KEY.child(),
        lambda: draw(KEY, ()),
        lambda: draw(KEY.child("draw", 0).child("near", 0, 0.9), (1,)),
        lambda: NoiseKey.from_json({"position": 3}),
        lambda: renoise(torch.zeros(1), 2.0, 1.0, torch.zeros(1)),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(OptionError):
        call()


def test_unknown_names_list_the_known():
    with pytest.raises(OptionError, match=r"jump.*draw.*near"):
        KEY.child("jump", 1)
    with pytest.raises(OptionError, match=r"jump.*draw.*near"):
        draw(NoiseKey(0, lineage=(("jump", 1),)), (1, 2))
    with pytest.raises(OptionError, match=r"window.*position"):
        NoiseKey.from_json({"seed": 0, "window": 1})


MOVES = st.one_of(
    st.tuples(st.just("draw"), st.integers(0, 2**40)),
    st.tuples(st.just("near"), st.integers(0, 99), st.floats(-1.0, 1.0)),
)


@given(seed=st.integers(0, 2**63), position=st.integers(-(2**40), 2**40), moves=st.lists(MOVES, max_size=4))
def test_json_round_trip(seed, position, moves):
    key = NoiseKey(seed, position, 2)
    for move in moves:
        key = key.child(*move)
    back = NoiseKey.from_json(json.loads(json.dumps(key.to_json())))
    assert back == key
    forget()
    there = draw(key, (2, 9))
    forget()
    assert torch.equal(draw(back, (2, 9)), there)


def test_renoising_has_the_marginal_of_its_level():
    x0 = 2.0
    eps = [normal(KEY, str(i), (1, 100_000)).double() for i in range(2)]
    x = renoise(x0 + 0.5 * eps[0], 0.5, 2.0, eps[1])
    assert x.mean() == pytest.approx(x0, abs=0.03)
    assert x.std() == pytest.approx(2.0, abs=0.02)
    assert torch.equal(renoise(x, 1.0, 1.0, eps[0]), x)
