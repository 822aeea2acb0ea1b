"""An edge read too high leaves a hole in the render; one read too low throws real audio away."""

from collections.abc import Callable

import numpy as np
import pytest
import soxr
from scipy import signal

from ttsr_studio.audio.bandwidth.detector import Bandwidth, BandwidthMeter, Verdict
from ttsr_studio.audio.bandwidth.images import ImageMeter, Images

RATE = 48000


def _music(rate: int = RATE, seconds: float = 2.0, tilt_db: float = -9.0, seed: int = 1) -> np.ndarray:
    """Noise that swells, with a tilt in dB an octave above 1 kHz; float64 ``[samples]``."""
    rng = np.random.default_rng(seed)
    count = int(rate * seconds)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(count, 1 / rate), 1000.0) / 1000.0)
    audio = np.fft.irfft(spectrum * 10 ** (tilt_db * octaves / 20), count)
    swell = 0.1 + np.abs(np.sin(np.arange(count) * 9.0 / rate))
    return audio * swell * 0.1 / np.std(audio)


def _detect(audio: np.ndarray, rate: int = RATE) -> Bandwidth:
    meter = BandwidthMeter(rate)
    meter.update(np.atleast_2d(audio).astype(np.float32))
    return meter.result()


def _brick(audio: np.ndarray, cutoff: float) -> np.ndarray:
    spectrum = np.fft.rfft(audio)
    spectrum[np.fft.rfftfreq(len(audio), 1 / RATE) > cutoff] = 0.0
    return np.fft.irfft(spectrum, len(audio))


def _iir(sos: Callable[[float], np.ndarray]) -> Callable[[np.ndarray, float], np.ndarray]:
    return lambda audio, cutoff: signal.sosfiltfilt(sos(cutoff), audio)


FILTERS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "brick": _brick,
    "cheby": _iir(lambda hertz: signal.cheby1(8, 0.5, hertz, fs=RATE, output="sos")),
    "elliptic": _iir(lambda hertz: signal.ellip(8, 0.5, 60, hertz, fs=RATE, output="sos")),
    "butter": _iir(lambda hertz: signal.butter(8, hertz, fs=RATE, output="sos")),
    "resampler": lambda audio, hertz: soxr.resample(soxr.resample(audio, RATE, 2 * hertz), 2 * hertz, RATE),
}


@pytest.mark.parametrize("cutoff", [2000.0, 4000.0, 8000.0, 12000.0, 16000.0])
@pytest.mark.parametrize("name", list(FILTERS))
def test_low_passes(name: str, cutoff: float) -> None:
    found = _detect(FILTERS[name](_music(), cutoff))
    assert found.cutoff_hz == pytest.approx(cutoff, rel=0.07)
    assert found.limited
    assert found.map.flat


@pytest.mark.parametrize("hiss_db", [-98.0, -75.0])
@pytest.mark.parametrize("cutoff", [4000.0, 12000.0])
def test_hiss_above_the_edge_is_not_audio(cutoff: float, hiss_db: float) -> None:
    hiss = np.random.default_rng(2).standard_normal(2 * RATE) * 10 ** (hiss_db / 20)
    found = _detect(_brick(_music(), cutoff) + hiss)
    assert found.cutoff_hz == pytest.approx(cutoff, rel=0.05)


@pytest.mark.parametrize("tilt_db", [0.0, -6.0, -11.0])
def test_full_band_audio_is_left_alone(tilt_db: float) -> None:
    found = _detect(_music(tilt_db=tilt_db))
    assert found.verdict is Verdict.FULL
    assert found.cutoff_hz == 24000.0


def test_full_band_at_44100() -> None:
    assert _detect(_music(44100), 44100).verdict is Verdict.FULL


def test_a_dark_sound_without_an_edge_is_left_alone() -> None:
    found = _detect(_music(tilt_db=-20.0))
    assert found.verdict is Verdict.UNSURE
    assert found.cutoff_hz == 24000.0


def test_a_codec_shelf_with_rare_energy_above_it() -> None:
    audio = _brick(_music(seconds=6.0), 16000.0)
    audio[RATE : RATE + 2000] += (_music(seconds=6.0) - audio)[RATE : RATE + 2000] * 0.2
    assert _detect(audio).cutoff_hz == pytest.approx(16000.0, rel=0.05)


def test_a_few_full_band_moments_do_not_decide_for_a_file() -> None:
    audio = _brick(_music(seconds=6.0), 5000.0)
    hat = _music(seconds=0.25, tilt_db=0.0) * np.hanning(RATE // 4)
    for start in (RATE, 2 * RATE, 4 * RATE):
        audio[start : start + len(hat)] += hat
    found = _detect(audio)
    assert found.limited
    assert found.cutoff_hz == pytest.approx(5000.0, rel=0.07)


def test_a_click_does_not_count() -> None:
    audio = _brick(_music(), 5000.0)
    audio[RATE] += 0.9
    assert _detect(audio).cutoff_hz == pytest.approx(5000.0, rel=0.05)


def test_every_channel_has_its_own_edge() -> None:
    found = _detect(np.stack((_brick(_music(), 4000.0), _brick(_music(seed=3), 9000.0), _music(seed=4))))
    assert found.limited
    assert found.map.at(1.0) == pytest.approx((4000.0, 9000.0, 24000.0), rel=0.06)


@pytest.mark.parametrize(("first", "second"), [(4000.0, 16000.0), (11000.0, 3400.0), (6000.0, None)])
def test_a_splice_has_two_edges(first: float, second: float | None) -> None:
    audio, other = _brick(_music(seconds=4.0), first), _music(seconds=4.0, seed=5)
    audio[2 * RATE :] = (_brick(other, second) if second else other)[2 * RATE :]
    found = _detect(audio)
    assert found.limited
    assert found.map.at(0.7)[0] == pytest.approx(first, rel=0.1)
    assert found.map.at(3.3)[0] == pytest.approx(second or 24000.0, rel=0.1)
    assert any(1.4 < start < 2.6 for start in found.map.starts_s)


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_low_rates_end_just_below_half_the_rate(rate: int) -> None:
    found = _detect(_music(rate), rate)
    assert 0.9 * rate / 2 <= found.cutoff_hz < rate / 2
    assert found.limited


def test_blocks_give_the_same_as_the_whole() -> None:
    audio = np.atleast_2d(_brick(_music(), 7000.0)).astype(np.float32)
    meter = BandwidthMeter(RATE)
    for start in range(0, audio.shape[1], 1234):
        meter.update(audio[:, start : start + 1234])
    assert meter.result() == _detect(audio)


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_silence(rate: int) -> None:
    for audio in (np.zeros((2, 5000)), np.zeros((1, 0))):
        found = _detect(audio, rate)
        assert found.silent
        assert not found.limited
        assert found.cutoff_hz == min(rate / 2, 20000.0)


ODD = {
    "one sample": np.array([0.5]),
    "a few samples": np.array([0.5, -0.2, 0.1]),
    "half a frame": _music(seconds=0.04),
    "dc": np.full(20000, 0.5),
    "bass": np.sin(np.arange(40000) * 2 * np.pi * 60 / RATE) * 0.5,
    "tone": np.sin(np.arange(40000) * 2 * np.pi * 3000 / RATE) * 0.5,
    "click": np.eye(1, 30000, 9000)[0],
    "loud": _music() * 1e5,
    "quiet": _music() * 1e-4,
}


@pytest.mark.parametrize("name", list(ODD))
@pytest.mark.parametrize("rate", [8000, 48000, 384000])
def test_the_edge_is_always_usable(name: str, rate: int) -> None:
    found = _detect(ODD[name], rate)
    assert 1000.0 <= found.cutoff_hz <= rate / 2
    assert found.reason


def _note(pitch: float, fall_db: float, seconds: float = 2.0) -> np.ndarray:
    """A tone whose partials fall by so much from one to the next, float64 ``[samples]``."""
    at = np.arange(int(RATE * seconds)) / RATE
    partials = np.arange(1, int(20000 / pitch) + 1)
    return sum(10 ** (-fall_db * (k - 1) / 20) * np.sin(2 * np.pi * pitch * k * at) for k in partials) * 0.2


@pytest.mark.parametrize("hiss_db", [None, -98.0, -70.0])
@pytest.mark.parametrize(
    ("pitch", "fall_db"), [(110.0, 6.0), (262.0, 12.0), (523.0, 18.0), (1046.0, 20.0), (2093.0, 30.0)]
)
def test_notes_without_upper_partials_are_not_band_limited(pitch: float, fall_db: float, hiss_db: float | None) -> None:
    note = _note(pitch, fall_db)
    if hiss_db is not None:
        note = note + np.random.default_rng(2).standard_normal(len(note)) * 10 ** (hiss_db / 20)
    assert not _detect(note).limited


def test_a_row_of_partials_that_stops_is_band_limited() -> None:
    found = _detect(_brick(_note(200.0, 0.3), 6100.0))
    assert found.limited
    assert found.cutoff_hz == pytest.approx(6100.0, rel=0.05)


def test_a_single_hit_is_enough() -> None:
    hit = _brick(np.pad(_music(seconds=0.3) * np.exp(-np.arange(int(0.3 * RATE)) / 2000), (RATE // 2, RATE)), 6000.0)
    found = _detect(hit)
    assert found.limited
    assert found.cutoff_hz == pytest.approx(6000.0, rel=0.07)


def _butter(audio: np.ndarray, cutoff: float) -> np.ndarray:
    return np.asarray(signal.sosfilt(signal.butter(8, cutoff, fs=RATE, output="sos"), audio))


@pytest.mark.parametrize("low_pass", [_brick, _butter])
@pytest.mark.parametrize(("first", "second"), [(4000.0, 16000.0), (12000.0, 5000.0), (6000.0, None)])
def test_parts_of_less_than_a_second_have_their_own_edges(
    low_pass: Callable[[np.ndarray, float], np.ndarray], first: float, second: float | None
) -> None:
    audio, other = _music(seconds=1.5), _music(seconds=1.5, seed=5)
    half = len(audio) // 2
    end = low_pass(other, second) if second else other
    found = _detect(np.concatenate((low_pass(audio, first)[:half], end[half:])))
    assert found.map.at(0.3)[0] == pytest.approx(first, rel=0.16)
    assert found.map.at(1.2)[0] == pytest.approx(second or 24000.0, rel=0.16)


def test_a_string_that_decays_after_its_pluck_is_not_spliced() -> None:
    rng = np.random.default_rng(3)
    start = np.r_[rng.standard_normal(300), np.zeros(2 * RATE)]
    pluck = np.asarray(signal.lfilter([1], np.r_[1, np.zeros(299), -0.498, -0.498], start))
    assert not _detect(pluck + 1e-5 * rng.standard_normal(len(pluck))).limited


def test_a_constant_level_is_nothing_to_judge() -> None:
    for noise in (0.0, 1e-5):
        found = _detect(0.3 + noise * np.random.default_rng(1).standard_normal(RATE))
        assert found.nothing_to_add
        assert "nothing to judge" in found.reason
    assert _detect(0.3 + _brick(_music(), 6000.0)).cutoff_hz == pytest.approx(6000.0, rel=0.05)


def test_some_milliseconds_are_too_short_to_be_sure() -> None:
    for seconds in (0.003, 0.01, 0.04):
        found = _detect(_brick(_music(), 6000.0)[: int(seconds * RATE)])
        assert found.verdict is Verdict.UNSURE
        assert "too short to be sure" in found.reason
    assert _detect(_brick(_music(), 6000.0)[: RATE // 16]).limited


def _upsampled(kind: str, factor: int) -> np.ndarray:
    low = np.round(_music(RATE // factor, 1.0) * 300) / 1024
    if kind == "held samples":
        return np.repeat(low, factor)
    if kind == "zeros between samples":
        return np.where(np.arange(factor * len(low)) % factor == 0, np.repeat(low, factor), 0.0)
    return np.interp(np.arange(factor * len(low)) / factor, np.arange(len(low)), low)


@pytest.mark.parametrize("kind", ["held samples", "samples joined by lines", "zeros between samples"])
@pytest.mark.parametrize("factor", [2, 4, 6])
def test_images_of_naive_upsampling_are_recognised(kind: str, factor: int) -> None:
    meter, audio = ImageMeter(RATE), _upsampled(kind, factor)[None].astype(np.float32)
    for start in range(0, audio.shape[1], 1001):
        meter.update(audio[:, start : start + 1001])
    assert meter.result() == Images(RATE / factor, kind)


def test_sounds_are_no_images() -> None:
    square = np.sign(np.sin(np.arange(RATE) * 2 * np.pi * 441 / RATE))
    slow = np.sign(np.sin(np.arange(RATE) * 2 * np.pi * 1000 / RATE + 0.1))
    for audio in (_music(), _brick(_music(), 3000.0), square, slow, np.zeros(RATE), np.eye(1, 3000, 900)[0]):
        meter = ImageMeter(RATE)
        meter.update(np.atleast_2d(audio).astype(np.float32))
        assert meter.result() is None


def _hissing(edge: float | None, hiss_db: float, crackle: float = 0.0) -> np.ndarray:
    """Programme that swells up to an edge, with hiss and crackle of a record or a radio over it."""
    rng = np.random.default_rng(7)
    audio = _music(seconds=4.0) if edge is None else _brick(_music(seconds=4.0), edge)
    hiss = rng.standard_normal(len(audio)) * 10 ** (hiss_db / 20)
    clicks = crackle * rng.standard_normal(len(audio)) * (rng.random(len(audio)) < 8 / RATE)
    return np.asarray(audio + hiss + np.convolve(clicks, np.exp(-np.arange(40) / 9), "same"))


def test_an_edge_under_steady_hiss_is_heard() -> None:
    for edge, hiss_db, crackle in ((4500.0, -50.0, 0.0), (7000.0, -60.0, 0.05)):
        found = _detect(_hissing(edge, hiss_db, crackle))
        assert found.limited
        assert found.cutoff_hz == pytest.approx(edge, rel=0.07)
        assert found.map.flat


def test_hiss_that_hides_the_edge_is_no_evidence_of_a_full_band() -> None:
    for edge in (4500.0, None):
        found = _detect(_hissing(edge, -32.0))
        assert found.verdict is Verdict.UNSURE
        assert "steady hiss" in found.reason
    steady = np.random.default_rng(8).standard_normal(4 * RATE) * 0.1
    assert _detect(steady).verdict is Verdict.FULL
    assert not _detect(0.8 * _brick(steady, 6000.0) + 0.2 * steady).limited


def test_noise_above_24_khz_hides_no_edge() -> None:
    audio = soxr.resample(_brick(_music(seconds=3.0), 8000.0), RATE, 2 * RATE)
    shaped = signal.butter(6, 28000.0, "high", fs=2 * RATE, output="sos")
    noise = signal.sosfilt(shaped, np.random.default_rng(9).standard_normal(len(audio))) * 0.01
    assert _detect(audio + noise, 2 * RATE).cutoff_hz == pytest.approx(8000.0, rel=0.07)
    assert _detect(audio, 2 * RATE).cutoff_hz == pytest.approx(8000.0, rel=0.07)


def test_a_bass_note_says_nothing_of_the_top() -> None:
    at = np.arange(3 * RATE) / RATE
    drop = 0.7 * np.sin(2 * np.pi * np.cumsum(50 + 30 * np.exp(-20 * at)) / RATE) * np.exp(-at)
    assert _detect(drop).verdict is Verdict.UNSURE


def test_a_dark_sound_that_sinks_out_of_hearing_has_no_edge() -> None:
    synth = sum(np.sin(2 * np.pi * 110.3 * k * np.arange(2 * RATE) / RATE + k) / k for k in range(1, 180))
    muffled = signal.sosfilt(signal.butter(2, 1200, fs=RATE, output="sos"), synth) * 0.1
    assert not _detect(muffled).limited
    assert not _detect(_music(tilt_db=-16.0)).limited
