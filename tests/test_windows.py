"""Windows cover the file once: a gap or a wrong weight would be heard as a click or a dip."""

import itertools

import numpy as np
import pytest

from ttsr_studio.audio.windows import even_core, fade_weights, plan_windows
from ttsr_studio.errors import OptionError

LENGTHS = [1, 2, 99, 100, 101, 179, 180, 181, 260, 261, 1000, 4801]
SIZES = [(100, 20, 20, 10), (100, 33, 50, 16), (7, 3, 3, 4), (64, 0, 0, 8), (100, 50, 1, 1)]


@pytest.mark.parametrize(("frames", "sizes"), list(itertools.product(LENGTHS, SIZES)))
def test_weights_sum_to_one_and_renders_batch(frames: int, sizes: tuple[int, int, int, int]) -> None:
    core, context, fade, hop = sizes
    windows = plan_windows(frames, core, context, fade, hop)
    total = np.zeros(frames)
    for window in windows:
        total[window.start : window.stop] += fade_weights(window)
        assert window.render_start % hop == 0
        assert (window.render_stop - window.render_start) % hop == 0
        assert window.start - window.render_start >= context, "an edge that is wrong would be kept"
        assert window.render_stop - window.stop >= context
    assert np.abs(total - 1.0).max() <= 1e-7
    assert len({window.render_stop - window.render_start for window in windows}) == 1
    assert [window.index for window in windows] == list(range(len(windows)))
    assert windows[-1].stop == frames
    for left, right in itertools.pairwise(windows):
        assert left.stop - right.start == left.fade_out == right.fade_in == fade


def test_identity_render_is_rebuilt_from_its_windows() -> None:
    audio = np.random.default_rng(1).standard_normal(1234).astype(np.float32)
    out = np.zeros_like(audio)
    for window in plan_windows(len(audio), 300, 64, 40, 32):
        padded = np.zeros(window.render_stop - window.render_start, np.float32)
        low, high = max(window.render_start, 0), min(window.render_stop, len(audio))
        padded[low - window.render_start : high - window.render_start] = audio[low:high]
        out[window.start : window.stop] += fade_weights(window) * padded[window.core]
    np.testing.assert_allclose(out, audio, atol=1e-6)


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
