"""Below the crossover the output is the input; above it is the render; together they are not delayed."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import signal

from ttsr_studio.audio.crossover import Crossover, transition_hz
from ttsr_studio.errors import OptionError

RATE = 48000


def _noise(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * 0.1)


def _level_db(audio: np.ndarray, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(audio.astype(np.float64) * signal.windows.blackmanharris(len(audio))))
    hertz = np.fft.rfftfreq(len(audio), 1 / RATE)
    return float(20 * np.log10(np.sqrt(np.mean(spectrum[(hertz >= low) & (hertz < high)] ** 2))))


def _band(audio: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """What lies between two frequencies, by FFT."""
    spectrum = torch.fft.rfft(audio.double())
    hertz = torch.fft.rfftfreq(audio.shape[-1], 1 / RATE)
    return torch.fft.irfft(spectrum * ((hertz >= low) & (hertz < high)), audio.shape[-1]).float()


@given(cutoff=st.floats(1000.0, 24000.0), keep=st.booleans())
@example(cutoff=4000.0, keep=True)
@example(cutoff=24000.0, keep=True)
@example(cutoff=4000.0, keep=False)
def test_residual_below_is_inaudible_and_above_is_the_render(cutoff: float, keep: bool) -> None:
    crossover = Crossover(cutoff, RATE, keep)
    lr, generated = _band(_noise(1, (16384,)), 0, cutoff), _noise(2, (16384,))
    out = crossover.merge(lr, generated)
    inner = slice(crossover.pad, -crossover.pad)
    low = cutoff - transition_hz(cutoff)
    residual = (out - lr).numpy()[inner]
    assert _level_db(residual, 0, low) - _level_db(lr.numpy()[inner], 0, low) <= -90
    if cutoff < 20000:
        changed, margin = (out - generated).numpy()[inner], 300 if keep else 0
        apart = _level_db(changed, cutoff + margin, 24000) - _level_db(generated.numpy()[inner], cutoff + margin, 24000)
        assert apart <= (-40 if keep else -90)
    assert crossover.taps % 2 == 1
    assert crossover.pad == (crossover.taps - 1) // 2


def test_what_the_input_has_above_the_edge_stays_and_is_not_doubled() -> None:
    crossover = Crossover(4000.0, RATE)
    at = torch.arange(RATE) / RATE
    partial = 0.05 * torch.sin(2 * torch.pi * 9000 * at)
    lr, generated = _band(_noise(1, (RATE,)), 0, 4000) + partial, 0.1 * _noise(2, (RATE,))
    out = crossover.merge(lr, generated)
    assert _level_db(out.numpy(), 8950, 9050) == pytest.approx(_level_db(lr.numpy(), 8950, 9050), abs=0.3)
    assert _level_db(out.numpy(), 10000, 20000) == pytest.approx(_level_db(generated.numpy(), 10000, 20000), abs=0.3)
    full = _noise(8, (RATE,))
    assert (
        _level_db((crossover.merge(full, 0.5 * full) - full).numpy(), 5000, 20000)
        < _level_db(full.numpy(), 5000, 20000) - 60
    )


def test_the_bands_own_top_is_not_thinned() -> None:
    lr, generated = _band(_noise(1, (RATE,)), 0, 4000), 0.2 * _noise(2, (RATE,))
    out = Crossover(4000.0, RATE).merge(lr, generated)
    assert _level_db(out.numpy(), 3100, 3900) == pytest.approx(_level_db(lr.numpy(), 3100, 3900), abs=0.2)


def test_stopband() -> None:
    hertz, response = signal.freqz(Crossover(8000.0, RATE).low, worN=8192, fs=RATE)
    assert 20 * np.log10(np.abs(response[hertz >= 8000]).max()) <= -96


@given(cutoff=st.floats(1000.0, 24000.0), samples=st.integers(1, 4000))
def test_equal_inputs_come_back_equal(cutoff: float, samples: int) -> None:
    audio = _noise(3, (2, samples))
    assert (Crossover(cutoff, RATE).merge(audio, audio) - audio).abs().max() < 1e-6
    assert torch.equal(Crossover(cutoff, RATE, keep=False).merge(audio, audio), audio)


def test_batches_match_single_rows_and_numpy() -> None:
    crossover = Crossover(5000.0, RATE)
    lr, generated = _noise(4, (2, 3, 3000)), _noise(5, (2, 3, 3000))
    merged = crossover.merge(lr, generated)
    assert merged.shape == lr.shape
    torch.testing.assert_close(merged[1, 2], crossover.merge(lr[1, 2], generated[1, 2]), atol=1e-6, rtol=0)
    np.testing.assert_array_equal(crossover.merge(lr.numpy(), generated.numpy()), merged.numpy())


def test_accuracy_against_double_precision() -> None:
    crossover = Crossover(9000.0, RATE, keep=False)
    lr, generated = _noise(6, (8000,)), _noise(7, (8000,))
    exact = generated.double() + torch.from_numpy(
        np.convolve((lr.double() - generated.double()).numpy(), crossover.low, "same")
    )
    error = (crossover.merge(lr, generated).double() - exact).abs().max()
    assert 20 * torch.log10(error / 0.1) <= -110


@pytest.mark.parametrize("cutoff", [0.0, -1.0, 24001.0])
def test_cutoffs_beyond_the_rate_are_refused(cutoff: float) -> None:
    with pytest.raises(OptionError, match="does not fit"):
        Crossover(cutoff, RATE)


def test_what_is_generated_does_not_cancel_a_partial_above_the_edge() -> None:
    at, rng = np.arange(RATE) / RATE, np.random.default_rng(7)
    partial = 10 ** (-60 / 20) * np.sin(2 * np.pi * 8000 * at)
    generated = (3e-3 * rng.standard_normal((1, RATE))).astype(np.float32)
    merged = Crossover(4000.0, RATE).merge(partial[None].astype(np.float32), generated)[0]
    window = np.hanning(8192)
    for start in range(4096, RATE - 12288, 2048):
        line = [np.abs(np.fft.rfft(audio[start : start + 8192] * window))[round(8000 * 8192 / RATE)]
                for audio in (merged, partial)]  # fmt: skip
        assert 20 * np.log10(line[0] / line[1]) == pytest.approx(0, abs=0.5)
    assert np.std(merged) > 0.5 * np.std(generated)
