"""A gentle filter's skirt is lifted, a brick wall's edge and a file that asks to be left are not."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from helpers import below, load, save, voice

from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.skirt.curve import Skirt, SkirtMap
from ttsr_studio.audio.skirt.estimate import Expected, find_skirt
from ttsr_studio.audio.skirt.lift import lifted

RATE = 48000
SKIRT = Skirt((4000.0, 6000.0, 8000.0), (0.0, 6.0, 20.0), 9.0)


def through(audio: np.ndarray, skirts: SkirtMap) -> np.ndarray:
    with Scratch(len(audio)) as source:
        source.append(audio)
        return np.concatenate(list(lifted(source, skirts, RATE)), axis=1)


def test_the_lift_is_exact_in_length_place_and_gain() -> None:
    click = np.zeros((1, 400001), np.float32)
    click[0, 262144] = 1.0  # where two blocks meet
    out = through(click, SkirtMap((0.0,), ((SKIRT,),)))
    assert out.shape == click.shape
    assert int(out[0].argmax()) == 262144
    around = out[0, 262144 - 2400 : 262144 + 2400]
    gain = 20 * np.log10(np.abs(np.fft.rfft(around)))
    for hz, expected in ((1000, 0.0), (3500, 0.0), (6000, 6.0), (8000, 20.0), (12000, 0.0)):
        assert gain[hz // 10] == pytest.approx(expected, abs=0.2), hz


def test_each_stretch_has_its_own_curve() -> None:
    sound = np.random.default_rng(1).standard_normal((2, 2 * RATE)).astype(np.float32)
    out = through(sound, SkirtMap((0.0, 1.0), ((None, SKIRT), (None, None))))
    assert np.array_equal(out[1], sound[1])
    assert np.array_equal(out[0, : RATE - 480], sound[0, : RATE - 480])
    assert np.abs(out[0, RATE + 480 :] - sound[0, RATE + 480 :]).max() > 0.1


def test_the_band_ends_where_the_lift_does() -> None:
    ends = SkirtMap((0.0,), ((SKIRT,), (None,))).ends(BandwidthMap((0.0,), ((5000.0,), (7000.0,))))
    assert ends.edges_hz == ((8000.0,), (7000.0,))
    assert SKIRT.up_to(3000.0) is None
    assert SKIRT.up_to(6000.0).hertz[-1] == 6000.0  # type: ignore[union-attr]


def estimated(sos: np.ndarray, expected_tilt: float = 0.0) -> Skirt | None:
    """Of noise through a filter, with an expectation that knows its tilt."""
    noise = np.random.default_rng(2).standard_normal(4 * RATE)
    heard = scipy.signal.sosfilt(sos, noise).astype(np.float32)
    hertz = 375.0 * (np.arange(64) + 0.5)

    def expect(_parts: object, _looked: float) -> Expected:
        power = np.abs(np.fft.rfft(heard[: 256 * 750].reshape(-1, 512) * np.hanning(512))) ** 2
        levels = 10 * np.log10(power[:, 1:].reshape(len(power), 64, 4).mean(axis=2).T + 1e-9)
        flat = 10 * np.log10(512 * 0.375) + expected_tilt * np.log2(hertz / 1000)
        return Expected(hertz, levels, np.repeat(flat[:, None], levels.shape[1], axis=1))

    return find_skirt([heard], RATE, 6000.0, 21600.0, expect)


def test_a_filter_is_found_and_its_fall_is_near_to_what_it_is() -> None:
    sos = scipy.signal.butter(5, 5000, fs=RATE, output="sos")
    found = estimated(sos)
    assert found is not None
    places = np.array([4000.0, 5000.0, 6000.0, 7000.0])
    truth = -20 * np.log10(np.abs(scipy.signal.sosfreqz(sos, places, fs=RATE)[1]))
    assert found.gain_db(places) == pytest.approx(truth, abs=3.0)


def test_what_is_no_gentle_filter_is_left_alone() -> None:
    assert estimated(scipy.signal.ellip(10, 0.3, 80, 6000, fs=RATE, output="sos")) is None
    assert estimated(scipy.signal.butter(1, 5000, fs=RATE, output="sos")) is None
    assert estimated(np.array([[1.0, 0, 0, 1.0, 0, 0]])) is None


def test_a_brick_wall_comes_out_the_same_with_and_without(ttsr: object, tmp_path: Path) -> None:
    source = save(tmp_path / "brick.wav", below(voice(2.0), 6000))
    outputs = []
    for name, more in (("a", []), ("b", ["--keep-skirt"])):
        out = tmp_path / f"{name}.wav"
        result = ttsr("render", source, "-o", out, "--candidates", 1, *more)  # type: ignore[operator]
        assert result.exit_code == 0, result.output
        outputs.append(load(out))
        assert json.loads((tmp_path / f"{name}.ttsr.json").read_text())["input"]["skirts"] == []
    assert np.array_equal(*outputs)
