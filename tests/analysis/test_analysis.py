"""The numbers and maps that tell a user how sure the render is, and where to listen."""

import math

import numpy as np
import pytest
import torch

from ttsr_studio.analysis.search_range import search_range
from ttsr_studio.analysis.spectra import lsd, power_spectrogram
from ttsr_studio.analysis.spectrogram_map import SpectrogramMap
from ttsr_studio.analysis.uncertainty import UncertaintyMap
from ttsr_studio.errors import OptionError

RATE = 48000


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tone(hz: float, seconds: float = 1.0, level: float = 0.5) -> torch.Tensor:
    time = torch.arange(int(seconds * RATE), dtype=torch.float64) / RATE
    return (level * torch.sin(2 * math.pi * hz * time)).float()


def test_lsd_is_the_definition_written_out() -> None:
    x, y = noise(5000), noise(5000, seed=1)
    frames = []
    for signal in (x, y):
        padded = np.pad(signal.numpy().astype(np.float64), 1024, mode="reflect")
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
        columns = [np.fft.rfft(padded[i : i + 2048] * window) for i in range(0, len(padded) - 2047, 512)]
        frames.append(np.log10(np.maximum(np.abs(np.array(columns)) ** 2, 1e-8)))
    expected = np.sqrt(((frames[0] - frames[1]) ** 2).mean(1)).mean()
    assert lsd(x, y).item() == pytest.approx(expected, abs=1e-5)


def test_lsd_of_a_gain_is_the_gain_in_bels() -> None:
    x = noise(3, 2, 9000)
    distance = lsd(x, x * torch.tensor([1.0, 10.0, 0.1])[:, None, None])
    assert distance.shape == (3, 2)
    torch.testing.assert_close(distance[:, 0], torch.tensor([0.0, 2.0, 2.0]).double(), atol=2e-2, rtol=0)
    assert torch.equal(lsd(x, x[:1])[0], torch.zeros(2).double()), "leading axes broadcast"


def test_lsd_between_limits_sees_only_that_band() -> None:
    low, high = tone(2000), tone(12000)
    quiet = 0.001 * noise(RATE)
    x, y = low + high + quiet, low + 0.5 * high + quiet
    assert lsd(x, y, hi_hz=8000).item() < 0.05
    assert lsd(x, y, lo_hz=11980, hi_hz=12020).item() == pytest.approx(2 * math.log10(2), abs=0.05)


def test_lsd_refuses_what_it_cannot_compare() -> None:
    with pytest.raises(OptionError, match="equal lengths"):
        lsd(noise(4000), noise(4001))
    with pytest.raises(OptionError, match="no spectrum between"):
        lsd(noise(4000), noise(4000), lo_hz=23000, hi_hz=22000)


@pytest.mark.parametrize("samples", [1, 1024, 1025, 5000])
def test_lsd_takes_any_length(samples: int) -> None:
    assert lsd(noise(samples), noise(samples)).item() == 0
    assert power_spectrogram(noise(samples)).shape[0] == 1025


def test_search_range_is_equation_4_written_out() -> None:
    candidates = noise(3, 2, 6000)
    magnitude = power_spectrogram(candidates).double().sqrt()
    mean = magnitude.mean(0)
    difference = 2 * (magnitude.clamp_min(1e-4).log10() - mean.clamp_min(1e-4).log10())
    expected = difference.square().mean(-2).sqrt().mean().item()
    assert search_range(candidates) == pytest.approx(expected, rel=1e-6)


def test_search_range_grows_with_what_differs() -> None:
    same = noise(1, 1, 9000).repeat(4, 1, 1)
    assert search_range(same) == pytest.approx(0.0, abs=1e-6)
    assert search_range(same[:1]) == pytest.approx(0.0, abs=1e-6)
    near = search_range(same + 0.1 * noise(4, 1, 9000, seed=1))
    assert 0 < near < search_range(noise(4, 1, 9000, seed=2))


def feed(spectrogram: SpectrogramMap, audio: torch.Tensor, block: int) -> SpectrogramMap:
    for start in range(0, audio.shape[-1], block):
        spectrogram.update(start, audio[:, start : start + block])
    return spectrogram


@pytest.mark.parametrize("rate", [8000, 48000, 96000])
def test_spectrogram_shows_a_full_scale_tone_at_0_db_and_its_frequency(rate: int) -> None:
    time = torch.arange(rate) / rate
    spectrogram = feed(SpectrogramMap(rate, rate), torch.sin(2 * math.pi * 1500 * time)[None], 4000)
    levels = spectrogram.decibels()
    row = levels.max(1).argmax()
    assert levels.max() == pytest.approx(0.0, abs=1.5)
    assert (row + 0.5) / len(levels) * rate / 2 == pytest.approx(1500, abs=rate / 2 / len(levels) * 1.5)
    assert levels[row].min() > -3, "the tone sounds from the first column to the last"


@pytest.mark.parametrize("frames", [1, 300, 14400, 100_000])
def test_spectrogram_does_not_depend_on_the_blocks(frames: int) -> None:
    audio = noise(2, frames)
    whole = feed(SpectrogramMap(RATE, frames), audio, frames).power
    pieces = feed(SpectrogramMap(RATE, frames), audio, max(1200, frames // 7)).power
    np.testing.assert_array_equal(whole, pieces)
    assert (whole.max(0) > 0).all() or frames == 1, "no empty column"


def test_spectrogram_of_a_long_file_is_small_and_keeps_a_click() -> None:
    frames = 60 * RATE
    audio = torch.zeros(1, frames)
    audio[0, 30 * RATE] = 1.0
    levels = feed(SpectrogramMap(RATE, frames, columns=200, rows=64), audio, 10 * RATE).decibels()
    assert levels.shape == (64, 200)
    assert abs(int(levels.max(0).argmax()) - 100) <= 1
    assert levels.max() > -70


def test_spectrogram_mirrors_the_ends() -> None:
    audio = tone(1000, 0.3)[None] + 0.5
    levels = feed(SpectrogramMap(RATE, audio.shape[-1]), audio, 5000).decibels()
    assert levels[200:].max() < -70, "a file that begins in mid-sound shows no false burst"


def test_spectrogram_refuses_blocks_out_of_order() -> None:
    spectrogram = SpectrogramMap(RATE, 5000)
    spectrogram.update(0, noise(1, 2000))
    with pytest.raises(OptionError, match="expected sample 2000"):
        spectrogram.update(3000, noise(1, 2000))
    with pytest.raises(OptionError, match="5000"):
        spectrogram.update(2000, noise(1, 4000))


def candidates(spread_db: float, *, count: int = 8, seconds: float = 1.0) -> torch.Tensor:
    """A low tone that all share and a high one whose level differs, [count, 1, samples]."""
    gains = torch.linspace(-1, 1, count)
    gains = gains / gains.std() * spread_db
    return torch.stack([tone(1000, seconds) + tone(10000, seconds, 0.1) * 10 ** (g / 20) for g in gains])[:, None]


def test_the_scale_of_the_map_goes_with_the_level() -> None:
    noise, tops = torch.randn(4, 1, RATE, generator=torch.Generator().manual_seed(0)), []
    for gain in (0.01, 0.1):
        uncertainty = UncertaintyMap(RATE, RATE)
        uncertainty.update(0, gain * noise, 4000)
        tops.append(uncertainty.display_top_db())
    assert tops[1] - tops[0] == pytest.approx(20, abs=0.1)
    assert -60 < tops[1] < -20


def test_uncertainty_map_is_bright_where_candidates_differ() -> None:
    uncertainty = UncertaintyMap(RATE, 2 * RATE)
    uncertainty.update(0, candidates(6.0), 4000)
    uncertainty.update(RATE, candidates(0.0), 4000)
    scaled = uncertainty.map()
    assert scaled.min() == 0
    assert scaled.max() == pytest.approx(1.0, abs=1e-6)
    row, column = np.unravel_index(scaled.argmax(), scaled.shape)
    assert (row + 0.5) / len(scaled) * 24000 == pytest.approx(10000, abs=60)
    assert column < scaled.shape[1] / 2
    assert scaled[: int(5000 / 24000 * len(scaled))].max() < 0.01
    assert uncertainty.display().max() == 1.0


def test_uncertainty_equals_equation_5_where_nothing_is_pooled() -> None:
    audio = noise(4, 1, 20 * 512)
    uncertainty = UncertaintyMap(RATE, 20 * 512, rows=1024)
    uncertainty.update(0, audio, 4000)
    variance = power_spectrogram(audio)[:, 0].double().sqrt().var(0, correction=0)[1:, :20].numpy()
    expected = (variance - variance.min()) / (variance.max() - variance.min())
    np.testing.assert_allclose(uncertainty.map(), expected, atol=1e-6)


def test_uncertainty_in_db_is_the_spread_whatever_the_level() -> None:
    band = noise(RATE)
    gains = torch.linspace(-1, 1, 8)
    gains = 10 ** (gains / gains.std() * 3 / 20)
    for level in (1.0, 0.1):
        uncertainty = UncertaintyMap(RATE, RATE)
        window = uncertainty.update(0, level * band * gains[:, None, None], 4000)
        assert window == pytest.approx(3.0, abs=0.05)
        assert uncertainty.summary().mean_db == pytest.approx(3.0, abs=0.05)


def test_uncertainty_by_second_follows_the_windows() -> None:
    uncertainty = UncertaintyMap(RATE, int(2.5 * RATE))
    audio = noise(2, 1, RATE)
    uncertainty.update(RATE, audio, 4000)
    first, second, third = uncertainty.summary().per_second_db
    assert first is None
    assert third is None
    assert second is not None
    assert second > 0.2


def test_what_lies_before_the_file_is_not_counted() -> None:
    before = UncertaintyMap(RATE, RATE)
    before.update(-RATE // 2, noise(3, 1, RATE), 4000)
    assert before.map()[:, RATE // 512 // 2 + 2 :].max() == 0


def test_one_candidate_tells_nothing() -> None:
    uncertainty = UncertaintyMap(RATE, RATE)
    assert uncertainty.update(0, noise(1, 1, RATE), 4000) is None
    assert uncertainty.summary().mean_db is None
    assert uncertainty.map().max() == 0
    assert uncertainty.display().max() == 0
    assert uncertainty.update(0, noise(2, 1, RATE), 24000.0) is None


def test_silence_is_certain() -> None:
    uncertainty = UncertaintyMap(RATE, RATE)
    assert uncertainty.update(0, torch.zeros(4, 2, RATE), 4000) == 0
    assert uncertainty.summary().per_second_db == (0.0,)


def test_uncertainty_of_hours_fits_in_memory() -> None:
    uncertainty = UncertaintyMap(RATE, 5 * 3600 * RATE)
    uncertainty.update(3 * 3600 * RATE, candidates(6.0), 4000)
    assert uncertainty.map().shape == (512, 2000)
    assert uncertainty.map().max(0).argmax() == 1200
