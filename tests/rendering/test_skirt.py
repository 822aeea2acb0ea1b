"""A gentle filter's skirt is lifted, a brick wall's edge and a file that asks to be left are not."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
from helpers import Ttsr, band, below, level_db, load, save, voice

from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.skirt.curve import Skirt, SkirtMap
from ttsr_studio.audio.skirt.estimate import Expected, find_skirt
from ttsr_studio.audio.skirt.lift import lifted
from ttsr_studio.rendering.beyond import louder_by

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


def test_it_is_told_how_much_louder_a_lift_makes_a_file() -> None:
    sound = np.random.default_rng(1).standard_normal((1, 2 * RATE)).astype(np.float32)
    with Scratch(1) as before, Scratch(1) as after:
        before.append(sound)
        after.append(sound * np.float32(10 ** (3 / 20)))
        assert louder_by(before, after, RATE) == pytest.approx(3.0, abs=0.02)


def test_each_stretch_has_its_own_curve() -> None:
    sound = np.random.default_rng(1).standard_normal((2, 2 * RATE)).astype(np.float32)
    out = through(sound, SkirtMap((0.0, 1.0), ((None, SKIRT), (None, None))))
    assert np.array_equal(out[1], sound[1])
    assert np.array_equal(out[0, : RATE - 480], sound[0, : RATE - 480])
    assert np.abs(out[0, RATE + 480 :] - sound[0, RATE + 480 :]).max() > 0.1


def test_a_map_knows_up_to_where_it_is_lifted() -> None:
    skirts = SkirtMap((0.0, 1.0), ((SKIRT, SKIRT), (None, None)))
    found = skirts.within(BandwidthMap((0.0, 1.0), ((5000.0, 9000.0), (7000.0, 7000.0))))
    assert found.edges_hz == ((5000.0, 8000.0), (7000.0, 7000.0))
    assert found.heard.edges_hz == ((8000.0, 9000.0), (7000.0, 7000.0))
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
    for name, more in (("a", ["--keep-skirt"]), ("b", [])):
        out = tmp_path / f"{name}.wav"
        result = ttsr("render", source, "-o", out, "--candidates", 1, *more)  # type: ignore[operator]
        assert result.exit_code == 0, result.output
        outputs.append(load(out))
        assert json.loads((tmp_path / f"{name}.ttsr.json").read_text())["input"]["skirts"] == []
    assert np.array_equal(*outputs)


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A voice through a Butterworth filter of order 5 at 3.8 kHz, and what it was."""
    truth = voice(2.0)
    heard = scipy.signal.sosfilt(scipy.signal.butter(5, 3800, fs=RATE, output="sos"), truth, axis=0)
    return save(tmp_path_factory.mktemp("skirt") / "filtered.wav", heard), truth


def rendered(ttsr: Ttsr, source: Path, out: Path, *more: object) -> tuple[np.ndarray, dict[str, Any]]:
    result = ttsr("render", source, "-o", out, "--candidates", 1, *more)
    assert result.exit_code == 0, result.output
    return load(out), json.loads(out.with_name(f"{out.stem}.ttsr.json").read_text())["input"]


@pytest.mark.golden
def test_a_lift_comes_nearer_to_the_truth_and_can_be_repeated(
    ttsr: Ttsr, tmp_path: Path, filtered: tuple[Path, np.ndarray]
) -> None:
    source, truth = filtered
    planned, kept = (ttsr("render", source, "--dry-run", *more).output for more in ((), ("--keep-skirt",)))
    assert re.search(
        r"to come: a filter's skirt lifted from 3\.\d to \d\.\d kHz by up to \d+ dB; --keep-skirt", planned
    )
    assert "a filter's skirt" not in kept
    edge = float(re.search(r"from (\d+) to \d+ Hz: would", kept)[1])  # type: ignore[index]
    assert f"rendered from {edge / 1000:.2f} kHz up" in kept, "one place is named, the same twice"
    _, untouched = rendered(ttsr, source, tmp_path / "kept.wav", "--keep-skirt", "--lift-skirt")
    lift, told = rendered(ttsr, source, tmp_path / "lift.wav")
    assert untouched["skirts"] == []
    assert untouched["lifted_lu"] is None
    assert told["skirts"][0]["channels"] == [1]
    assert told["lifted_lu"] == pytest.approx(0, abs=0.5), "of a voice's loudness little lies up there"
    low, high = 3500, told["skirts"][0]["hertz"][-1]
    off = [abs(level_db(band(audio, low, high)) - level_db(band(truth, low, high))) for audio in (load(source), lift)]
    assert off[1] < off[0], "nearer to the truth than what was heard"
    low = 5000  # up to where the lift ends what is there is kept
    off = [abs(level_db(band(audio, low, high)) - level_db(band(truth, low, high))) for audio in (load(source), lift)]
    assert off[1] < off[0] - 2.0, off
    assert level_db(band(lift, 200, 3000)) == pytest.approx(level_db(band(load(source), 200, 3000)), abs=0.1)
    again = ttsr("render", source, "-o", tmp_path / "again.wav", "--again", tmp_path / "lift.ttsr.json")
    assert again.exit_code == 0, again.output
    assert np.array_equal(load(tmp_path / "again.wav"), lift)


@pytest.mark.golden
def test_a_cutoff_ends_the_lift(ttsr: Ttsr, tmp_path: Path, filtered: tuple[Path, np.ndarray]) -> None:
    _, told = rendered(ttsr, filtered[0], tmp_path / "out.wav", "--cutoff", 5000)
    assert told["cutoff_hz"] == 5000
    assert told["skirts"][0]["hertz"][-1] <= 5000
    _, replaced = rendered(ttsr, filtered[0], tmp_path / "above.wav", "--remove", "above")
    assert replaced["skirts"] == []


@pytest.mark.golden
def test_a_dark_file_is_not_brightened(ttsr: Ttsr, tmp_path: Path) -> None:
    muffled = scipy.signal.sosfilt(scipy.signal.butter(1, 1500, fs=RATE, output="sos"), voice(2.0), axis=0)
    source = save(tmp_path / "dark.wav", muffled)
    plain, _ = rendered(ttsr, source, tmp_path / "a.wav", "--cutoff", 8000)
    asked, told = rendered(ttsr, source, tmp_path / "b.wav", "--cutoff", 8000, "--lift-skirt")
    assert told["skirts"] == []
    assert np.array_equal(plain, asked)


@pytest.mark.golden
def test_a_lift_is_no_duller_than_none_and_inspect_names_the_same_edges(ttsr: Ttsr, tmp_path: Path) -> None:
    rng, t = np.random.default_rng(9), np.arange(3 * RATE) / RATE
    truth = 0.05 * sum(np.sin(2 * np.pi * 98 * k * t + k) / k for k in range(1, 220))[:, None]
    truth += 0.2 * (np.exp(-12 * (t % (1 / 3))) * rng.standard_normal(len(t)))[:, None]
    filtered = scipy.signal.sosfilt(scipy.signal.butter(6, 4000, fs=RATE, output="sos"), truth, axis=0)
    source = save(tmp_path / "hits.wav", filtered)
    kept, _ = rendered(ttsr, source, tmp_path / "kept.wav", "--keep-skirt", "--loudness", "off")
    lift, told = rendered(ttsr, source, tmp_path / "lift.wav")
    thirds = [4000 * 2 ** (k / 3) for k in range(7)]
    off = [
        np.mean([abs(level_db(band(x, a, b)) - level_db(band(truth, a, b))) for a, b in pairwise(thirds)])
        for x in (kept, lift)
    ]
    assert off[1] < off[0] + 0.5, "third-octaves are about as near to the truth"
    assert level_db(band(lift, 5000, 16000)) > level_db(band(kept, 5000, 16000)) - 0.5
    heard = json.loads(ttsr("inspect", source, "--json", "--no-estimate").stdout)
    assert heard["cutoff_hz"] == pytest.approx(told["cutoff_hz"], abs=1)
    assert heard["skirts"][0]["hertz"] == told["skirts"][0]["hertz"]
    said = ttsr("inspect", source, "--no-estimate").output
    skirt = told["skirts"][0]
    assert f"from {skirt['hertz'][0] / 1000:.1f} to {skirt['hertz'][-1] / 1000:.1f} kHz by up to" in said
