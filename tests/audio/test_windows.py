"""Windows cover the file once: a gap or a wrong weight would be heard as a click or a dip."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ttsr_studio.audio.windows import CrossFader, even_core, even_fade, plan_windows
from ttsr_studio.errors import OptionError


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    """frames, core, context, fade and hop that fit one another."""
    core = draw(st.integers(1, 120))
    return (
        draw(st.integers(1, 3000)),
        core,
        draw(st.integers(0, 60)),
        draw(st.integers(0, core // 2)),
        draw(st.integers(1, 32)),
    )


@given(plan=plans())
@example(plan=(100, 100, 20, 20, 10))
@example(plan=(181, 100, 33, 50, 16))
def test_windows_cover_the_file_and_renders_batch(plan: tuple[int, int, int, int, int]) -> None:
    frames, core, context, fade, hop = plan
    windows = plan_windows(frames, core, context, fade, hop)
    times = np.zeros(frames)
    for window in windows:
        times[window.start : window.stop] += 1
        times[window.stop - window.fade_out : window.stop] -= 0.5
        times[window.start : window.start + window.fade_in] -= 0.5
        assert window.render_start % hop == 0
        assert (window.render_stop - window.render_start) % hop == 0
        assert window.start - window.render_start >= context, "an edge that is wrong would be kept"
        assert window.render_stop - window.stop >= context
    assert np.all(times == 1)
    assert len({window.render_stop - window.render_start for window in windows}) == 1
    assert [window.index for window in windows] == list(range(len(windows)))
    assert windows[-1].stop == frames
    for left, right in itertools.pairwise(windows):
        assert left.stop - right.start == left.fade_out == right.fade_in == fade


@given(plan=plans())
def test_identity_render_is_rebuilt_from_its_windows(plan: tuple[int, int, int, int, int]) -> None:
    rng = np.random.default_rng(1)
    audio, lr = (rng.standard_normal((2, plan[0])).astype(np.float32) for _ in range(2))
    fader, parts = CrossFader(), []
    for window in plan_windows(*plan):
        span = slice(window.start, window.stop)
        parts.append(fader.add(window, audio[:, span], lr[:, span]))
    np.testing.assert_allclose(np.concatenate(parts, axis=1), audio, atol=2e-6)


def test_two_takes_fade_without_a_dip() -> None:
    rng = np.random.default_rng(2)
    one, other = (rng.standard_normal((2, 4000)).astype(np.float32) for _ in range(2))
    np.testing.assert_allclose(even_fade(one, one), one, atol=1e-6)
    for right in (other, 0.6 * one + 0.8 * other):
        power = (even_fade(one, right) ** 2).reshape(2, 8, 500).mean(axis=(0, 2))
        assert np.abs(10 * np.log10(power)).max() < 0.4, "a dip or a bump at the join"
    silence = np.zeros_like(one)
    assert not even_fade(silence, silence).any()
    assert np.abs(even_fade(one, silence)[:, -1]).max() < 1e-2


def test_a_length_that_an_engine_insists_on_is_kept() -> None:
    for frames in (100, 5000, 200_000):
        windows = plan_windows(frames, 48000, 480, 480, 480, 96000)
        assert {window.render_stop - window.render_start for window in windows} == {96000}


def test_sizes_that_divide_need_no_extra_render() -> None:
    window = plan_windows(100000, 4800 + 480, 960, 480, 480)[0]
    assert window.render_stop - window.render_start == 4800 + 480 + 2 * 960


def test_fades_wider_than_half_a_core_are_refused() -> None:
    with pytest.raises(OptionError, match="fades of 60"):
        plan_windows(1000, 100, 10, 60, 1)


def test_even_core_takes_no_more_windows_and_wastes_little() -> None:
    for frames in (1, 5000, 245759, 245760, 310560, 1_000_003, 8_640_000):
        core = even_core(frames, 245760, 3840)
        plan, greedy = (plan_windows(frames, c, 30720, 3840, 512) for c in (core, 245760))
        assert core <= 245760
        assert len(plan) == len(greedy)
        assert len(plan) * core <= frames + len(plan) * (3840 + 1) + 2 * 3840
