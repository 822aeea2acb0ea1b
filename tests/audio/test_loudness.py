"""Loudness equals the standard's, however the audio is cut, and a gain never makes new clipping."""

from dataclasses import replace

import numpy as np
import pyloudnorm
import pytest
import soxr

from ttsr_studio.audio.loudness import Loudness, LoudnessMeter, decibels, match_gain
from ttsr_studio.errors import OptionError


def _measure(audio: np.ndarray, rate: int, step: int = 4097) -> Loudness:
    meter = LoudnessMeter(rate, audio.shape[0])
    for start in range(0, audio.shape[1], step):
        meter.update(audio[:, start : start + step])
    return meter.result()


def _music(rate: int, channels: int, seconds: float) -> np.ndarray:
    """Noise with a loud, a soft and a silent part, so that both gates act."""
    rng = np.random.default_rng(channels)
    audio = rng.standard_normal((channels, round(rate * seconds))) * 0.1
    audio[:, audio.shape[1] // 2 :] *= 0.02
    audio[:, -audio.shape[1] // 5 :] = 0.0
    return audio.astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_equals_pyloudnorm(rate: int, channels: int) -> None:
    audio = _music(rate, channels, 2.37)
    expected = pyloudnorm.Meter(rate).integrated_loudness(audio.T.astype(np.float64))
    assert _measure(audio, rate).lufs == pytest.approx(expected, abs=0.01)


def test_the_cut_into_blocks_does_not_matter() -> None:
    audio = _music(44100, 2, 1.5)
    whole, cut = _measure(audio, 44100, 10**6), _measure(audio, 44100, 333)
    assert cut.lufs == pytest.approx(whole.lufs, abs=1e-6)
    assert cut.true_peak == pytest.approx(whole.true_peak, abs=1e-6)
    assert cut.rms == pytest.approx(whole.rms, abs=1e-9)


def test_more_than_five_channels_have_weight_one() -> None:
    quiet = np.zeros((7, 48000), np.float32)
    tone = np.sin(np.arange(48000) * 0.13).astype(np.float32) * 0.1
    first, seventh = quiet.copy(), quiet.copy()
    first[0], seventh[6] = tone, tone
    assert _measure(seventh, 48000).lufs == pytest.approx(_measure(first, 48000).lufs, abs=1e-9)


@pytest.mark.parametrize("rate", [8000, 48000, 96000, 192000])
def test_true_peak_between_samples(rate: int) -> None:
    time = np.arange(rate // 2)
    tone = np.sin(2 * np.pi * time * 0.25 + np.pi / 4) * np.hanning(len(time))
    audio = tone[None].astype(np.float32)
    reference = np.abs(soxr.resample(tone, rate, rate * 16, quality="VHQ")).max()
    heard = _measure(audio, rate)
    assert heard.sample_peak == pytest.approx(np.sqrt(0.5), rel=1e-3)
    if rate < 192000:
        assert decibels(heard.true_peak) == pytest.approx(decibels(reference), abs=0.1)
    else:
        assert heard.true_peak == heard.sample_peak


@pytest.mark.parametrize("audio", [np.zeros((2, 48000)), np.full((1, 30000), 1e-30), np.zeros((1, 0))])
def test_silence_has_no_loudness_and_gets_no_gain(audio: np.ndarray) -> None:
    silence = _measure(audio.astype(np.float32), 48000)
    assert silence.silent
    assert silence.lufs is None
    assert match_gain(silence, silence, "match").db == 0.0


def test_short_files_match_by_rms() -> None:
    audio = _music(48000, 1, 0.3)
    source, render = _measure(audio, 48000), _measure(audio * 0.5, 48000)
    assert source.lufs is None
    gain = match_gain(source, render, "match")
    assert gain.db == pytest.approx(6.02, abs=0.01)
    assert "RMS" in gain.reason


def _loudness(lufs: float | None, true_peak_db: float) -> Loudness:
    peak = 10 ** (true_peak_db / 20)
    return Loudness(lufs, peak, peak, 0.1, False)


@pytest.mark.parametrize(
    ("source", "render", "target", "db"),
    [
        (_loudness(-20.0, -6.0), _loudness(-23.0, -9.0), "match", 3.0),
        (_loudness(-20.0, -6.0), _loudness(-20.04, -6.0), "match", 0.0),
        (_loudness(-20.0, -6.0), _loudness(-23.0, -2.0), "match", 1.0),
        (_loudness(-20.0, 0.5), _loudness(-20.0, 1.5), "match", -1.0),
        (_loudness(-20.0, -6.0), _loudness(-20.0, -3.0), "off", 0.0),
        (_loudness(-20.0, -6.0), _loudness(-20.0, 1.0), "off", -2.0),
        (_loudness(-20.0, -6.0), _loudness(-20.0, -6.0), -16.0, 4.0),
        (_loudness(-20.0, -6.0), _loudness(-20.0, -3.0), -14.0, 2.0),
    ],
)
def test_gain(source: Loudness, render: Loudness, target: str | float, db: float) -> None:
    gain = match_gain(source, render, target, -1.0)
    assert gain.db == pytest.approx(db, abs=1e-9)
    lowered = decibels(render.true_peak) + gain.db == pytest.approx(max(-1.0, decibels(source.true_peak)))
    assert ("lowered" in gain.reason) == lowered


@pytest.mark.parametrize(
    ("render_lufs", "peak_db", "level_db", "db", "lowered", "held"),
    [
        (-20.3, -9.0, 0.0, 0.3, 0.0, 0.0),
        (-14.0, -9.0, 0.0, -0.5, 0.0, 5.5),
        (-26.0, -9.0, 0.0, 0.5, 0.0, -5.5),
        (-14.0, -9.0, -6.0, -6.0, 0.0, 0.0),  # effects made all of it louder by 6 dB
        (-9.0, -9.0, -6.0, -6.5, 0.0, 4.5),
        (-14.0, 2.0, 0.0, -3.0, 2.5, 3.0),
        (-14.0, 9.0, 0.0, -10.0, 9.5, 0.0),  # as soft as the source, and softer, by its peaks alone
    ],
)
def test_what_was_there_keeps_its_level(
    render_lufs: float, peak_db: float, level_db: float, db: float, lowered: float, held: float
) -> None:
    render = _loudness(render_lufs, peak_db)
    gain = match_gain(_loudness(-20.0, -6.0), render, "keep", -1.0, level_db=level_db)
    assert (gain.db, gain.lowered_db, gain.held_db) == pytest.approx((db, lowered, held), abs=1e-9)


@pytest.mark.parametrize(
    ("bits", "source_db", "peaks_db", "db"),
    [
        (24, 6.0, (5.0, 6.0), -7.0),  # a hot float input: down to the ceiling
        (None, 6.0, (5.0, 6.0), 0.0),  # which floating point holds as it is
        (24, 0.8, (-0.2, 0.8), 0.0),  # only between samples, as in the input
        (24, 0.8, (1.4, 1.5), -2.5),  # the same, but a sample does not fit
        (24, -3.0, (-1.0, 0.5), -1.5),  # no room is taken that there was not
    ],
)
def test_what_integers_cannot_hold_is_lowered_to_the_ceiling(
    bits: int | None, source_db: float, peaks_db: tuple[float, float], db: float
) -> None:
    sample, true = (10 ** (peak / 20) for peak in peaks_db)
    render = Loudness(-20.0, sample, true, 0.1, False)
    source = replace(_loudness(-20.0, source_db), sample_peak=min(1.0, 10 ** (source_db / 20)) if source_db < 1 else 2)
    gain = match_gain(source, render, "match", -1.0, bits)
    assert gain.db == pytest.approx(db, abs=1e-6)
    assert gain.lowered_db == pytest.approx(-db, abs=1e-6)
    assert ("bits hold nothing above" in gain.reason) == (bits is not None and source_db > 0 and db < 0)


def test_a_full_scale_input_is_lowered_by_a_hair_for_the_dither_of_16_bits() -> None:
    full = Loudness(-10.0, 1.0, 1.3, 0.1, False)
    assert -0.001 < match_gain(full, full, "match", -1.0, 16).db < 0
    assert match_gain(full, full, "match", -1.0).db == 0


def test_unknown_targets_are_refused() -> None:
    with pytest.raises(OptionError, match="known: keep, match, off"):
        match_gain(_loudness(-20.0, -6.0), _loudness(-20.0, -6.0), "loud")
