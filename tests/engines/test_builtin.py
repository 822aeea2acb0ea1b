"""The built-in engine: the shipped weights, candidates that differ, silence, windows that join."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import Ttsr, voice
from scipy import signal
from torch import Tensor

from ttsr_studio.diffusion.noise import NoiseKey, draw
from ttsr_studio.engines.builtin import carriers
from ttsr_studio.engines.builtin import engine as builtin
from ttsr_studio.engines.builtin.image import ImageNetwork, over_fast_frames, pair_powers, runs, wider
from ttsr_studio.engines.builtin.levels import LevelNetwork, corrected, heard_levels, level_cutoffs
from ttsr_studio.engines.builtin.networks import CONTEXT_FRAMES, BuiltinNetwork, HeardContext, NetworkConfig
from ttsr_studio.engines.registry import load_engine
from ttsr_studio.errors import MissingError, OptionError
from ttsr_studio.weights.checkpoint import export, verified

RATE, HOP = 48000, 512


@pytest.fixture(scope="module")
def engine() -> builtin.BuiltinEngine:
    return load_engine("builtin", "cpu")  # type: ignore[return-value]


def band_limited(samples: int, seed: int = 0) -> Tensor:
    """Noise bursts below 4 kHz, RMS about 0.1."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum[np.fft.rfftfreq(samples, 1 / RATE) > 3900] = 0
    audio = np.fft.irfft(spectrum, samples) * (0.3 + np.sin(np.arange(samples) / 9000) ** 2)
    return torch.from_numpy(0.1 * audio / audio.std()).float()


def render(
    engine: builtin.BuiltinEngine,
    lr: Tensor,
    position: int,
    candidates: list[int],
    cutoff: float = 4000.0,
    around: bool = False,
) -> Tensor:
    """lr is [samples], or [lookaround + samples + lookaround] where `around` says so."""
    key = NoiseKey(3, position=position - engine.noise_lead())
    heard = lr if around else torch.nn.functional.pad(lr, (engine.lookaround, engine.lookaround))
    conditioning = engine.condition(heard[None, None], torch.tensor([[cutoff]]), [key])
    shape = engine.noise_shape(heard.numel() - 2 * engine.lookaround)
    x = engine.start(torch.stack([draw(key.child("draw", i), shape) for i in candidates]), engine.sigma_range[1])
    rows = conditioning.rows(torch.zeros(len(candidates), dtype=torch.int64))
    for sigma, following in [(12.0, 1.0), (1.0, 0.2), (0.2, 0.0)]:
        x0 = engine.denoise(x, torch.full((len(x),), sigma), rows)
        x = x0 + (x - x0) * (following / sigma)
    return engine.decode(x, rows)


def band_power(audio: Tensor, low: float, high: float) -> Tensor:
    hz = torch.fft.rfftfreq(audio.shape[-1], 1 / RATE)
    return (
        torch.fft.rfft(audio * torch.hann_window(audio.shape[-1]))
        .abs()
        .square()[..., (hz >= low) & (hz < high)]
        .sum(-1)
    )


def test_new_energy_above_the_cutoff_and_the_input_below(engine: builtin.BuiltinEngine) -> None:
    lr = band_limited(96 * HOP)
    out = render(engine, lr, 0, [0])[0]
    assert out.shape == lr.shape
    assert band_power(out, 5000, 20000) > 1e3 * band_power(lr, 5000, 20000)
    inner = slice(4 * HOP, -4 * HOP)
    assert band_power((out - lr)[inner], 100, 2500) < 1e-4 * band_power(lr[inner], 100, 2500)


def test_candidates_differ_and_keys_make_them_again(engine: builtin.BuiltinEngine) -> None:
    lr = band_limited(64 * HOP)
    first, again = render(engine, lr, 0, [0, 1]), render(engine, lr, 0, [1])
    assert (first[0] - first[1]).square().mean() > 0.01 * band_power(first[0], 5000, 24000) / lr.numel() ** 2
    assert (first[1] - again[0]).abs().max() < 1e-5


def test_silence_in_silence_out(engine: builtin.BuiltinEngine) -> None:
    assert render(engine, torch.zeros(32 * HOP), 0, [0]).abs().max() == 0
    lr = band_limited(96 * HOP)
    lr[40 * HOP : 64 * HOP] = 0
    assert render(engine, lr, 0, [0])[0, 46 * HOP : 58 * HOP].abs().max() < 1e-6


def test_what_is_heard_around_a_frame_does_not_hang_on_where_a_window_begins() -> None:
    torch.manual_seed(0)
    context, frames = HeardContext(8, 4).eval(), torch.randn(1, 6 * CONTEXT_FRAMES, 8)
    torch.nn.init.normal_(context.leave.weight)
    whole, part = context(frames), context(frames[:, CONTEXT_FRAMES : 5 * CONTEXT_FRAMES])
    inner = slice(2 * CONTEXT_FRAMES, 4 * CONTEXT_FRAMES)
    torch.testing.assert_close(part[:, CONTEXT_FRAMES : 3 * CONTEXT_FRAMES], whole[:, inner])
    assert (whole - frames).std() > 1e-3


def levels_of(network: LevelNetwork, audio: Tensor, cutoff: float = 4000.0) -> Tensor:
    heard = heard_levels(audio)
    return network(heard, level_cutoffs(torch.full((1, audio.shape[-1] // HOP + 1), cutoff), heard.gap.shape[-1]))


@pytest.fixture
def network() -> LevelNetwork:
    """Random weights, none of them zero."""
    torch.manual_seed(0)
    made = LevelNetwork(32).eval().requires_grad_(False)
    for weight in made.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.1)
    return made


def test_levels_go_by_what_is_under_the_cutoff_alone(network: LevelNetwork) -> None:
    low = band_limited(200 * HOP)[None]
    spectrum = torch.fft.rfft(torch.randn_like(low))
    spectrum[:, torch.fft.rfftfreq(low.shape[-1], 1 / RATE) < 5000] = 0
    full = low + 0.1 * torch.fft.irfft(spectrum, low.shape[-1]) * torch.hann_window(low.shape[-1])
    torch.testing.assert_close(levels_of(network, full), levels_of(network, low), atol=0.02, rtol=0)
    assert (levels_of(network, full, 8000.0) - levels_of(network, low, 8000.0)).abs().max() > 0.2


def test_levels_follow_the_level_of_the_input(network: LevelNetwork) -> None:
    audio = band_limited(200 * HOP)[None]
    louder = levels_of(network, 2 * audio) - levels_of(network, audio)
    torch.testing.assert_close(louder, torch.full_like(louder, math.log(4)), atol=0.05, rtol=0)


def test_levels_do_not_hang_on_where_a_window_begins(network: LevelNetwork) -> None:
    audio = band_limited(900 * HOP)[None]
    whole, part = levels_of(network, audio), levels_of(network, audio[:, 200 * HOP : 800 * HOP])
    torch.testing.assert_close(part[..., 20:-20], whole[..., 40:-30], atol=0.01, rtol=0)


def test_levels_are_drawn_towards_the_level_networks() -> None:
    location, levels = torch.randn(1, 64, 401), torch.full((1, 64, 21), 5.0)
    off = corrected(location, levels, 0.25)
    assert off.shape == location.shape
    assert abs(float((location + off).mean()) - 1.25) < 0.1
    assert off.diff(dim=-1).abs().max() < 0.02


def on_threads(made: Callable[[], Tensor]) -> list[Tensor]:
    """The same on one, two and three threads."""
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(made())
    finally:
        torch.set_num_threads(threads)
    return found


def test_what_is_heard_around_a_frame_does_not_hang_on_threads() -> None:
    torch.manual_seed(0)
    context, frames = HeardContext(448, 96).eval(), torch.randn(1, 877, 448)
    torch.nn.init.normal_(context.leave.weight)
    heard = on_threads(lambda: context(frames))
    assert torch.equal(heard[0], heard[1])
    assert torch.equal(heard[0], heard[2])


def test_levels_do_not_hang_on_threads() -> None:
    torch.manual_seed(0)
    network, audio = LevelNetwork(288).eval(), band_limited(880 * HOP)[None]
    for weight in network.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.1)
    with torch.no_grad():
        levels = on_threads(lambda: levels_of(network, audio))
    assert torch.equal(levels[0], levels[1])
    assert torch.equal(levels[0], levels[2])


@pytest.fixture
def image() -> ImageNetwork:
    """Random weights, none of them zero."""
    torch.manual_seed(0)
    made = ImageNetwork(32).eval().requires_grad_(False)
    torch.nn.init.normal_(made.leave.weight, std=0.2)
    return made


def image_of(image: ImageNetwork, pair: Tensor, cutoff: float = 4000.0) -> Tensor:
    heard = pair_powers(pair[:1], pair[1:])
    return image(heard, torch.full((1, heard.cross.shape[-1]), cutoff))


def half_alike(samples: int) -> Tensor:
    """Two channels that share half of their power."""
    both, one, two = (band_limited(samples, seed) for seed in range(3))
    return torch.stack([both + one, both + two])


def test_an_image_goes_by_what_is_alike_under_the_cutoff(image: ImageNetwork) -> None:
    pair = half_alike(200 * HOP)
    found = image_of(image, pair)
    assert found.abs().max() > 0.1
    torch.testing.assert_close(image_of(image, pair[[1, 0]]), found)
    torch.testing.assert_close(image_of(image, pair * torch.tensor([[1.0], [-1.0]])), -found)
    spectrum = torch.fft.rfft(torch.randn(2, pair.shape[1]))
    spectrum[:, torch.fft.rfftfreq(pair.shape[1], 1 / RATE) < 6000] = 0
    with_treble = pair + 0.1 * torch.fft.irfft(spectrum, pair.shape[1])
    torch.testing.assert_close(image_of(image, with_treble), found, atol=0.02, rtol=0)
    assert (image_of(image, with_treble, 12000.0) - image_of(image, pair, 12000.0)).abs().max() > 0.1


def test_an_image_does_not_hang_on_where_a_window_begins_or_on_threads(image: ImageNetwork) -> None:
    pair = half_alike(900 * HOP)
    whole, part = image_of(image, pair), image_of(image, pair[:, 200 * HOP : 800 * HOP])
    torch.testing.assert_close(part[..., 20:-20], whole[..., 40:-30], atol=1e-3, rtol=0)
    with torch.no_grad():
        found = on_threads(lambda: image_of(image, pair))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_what_is_next_to_the_cutoff_is_changed_and_alike_stays_alike() -> None:
    near = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])
    assert torch.equal(wider(near, torch.full((5,), -3.0))[[0, 4]], near[[0, 4]])
    assert (wider(near, torch.full((5,), -1.0))[1:4] < near[1:4]).all()
    torch.testing.assert_close(wider(near, torch.zeros(5)), near)
    by = over_fast_frames(torch.tensor([[[0.0, 2.0]]]), 40, 0)[0, 0]
    assert torch.equal(by[[0, 9, 30, 39]], torch.tensor([0.0, 0.0, 2.0, 2.0]))
    assert float(by[20]) == pytest.approx(1.05)
    assert runs([1, 1, 2, 2, 1], 1, 5) == [slice(1, 2), slice(2, 4), slice(4, 5)]


def test_a_window_with_context_is_the_same_as_the_whole(engine: builtin.BuiltinEngine) -> None:
    """The seam a user would hear if position-addressed noise or the discarded context were wrong."""
    lr = band_limited(900 * HOP)
    whole = render(engine, lr, 0, [2])[0]
    context = int(engine.context_seconds * RATE) // HOP * HOP
    start, stop = 400 * HOP, 500 * HOP
    wide = context + engine.lookaround
    heard = lr[start - wide : stop + wide]
    part = render(engine, heard, (start - context) // HOP, [2], around=True)[0, context:-context]
    error = (part - whole[start:stop]).square().mean() / whole[start:stop].square().mean()
    assert 10 * torch.log10(error) <= -50


def test_any_batch_gives_the_same_audio(engine: builtin.BuiltinEngine) -> None:
    lr = band_limited(64 * HOP)
    together = render(engine, lr, 0, list(range(6)))
    for i in range(6):
        alone = render(engine, lr, 0, [i])[0]
        assert 20 * torch.log10((together[i] - alone).abs().max() / alone.abs().max()) < -100


def test_a_stereo_window_has_the_same_bits_beside_others(engine: builtin.BuiltinEngine) -> None:
    """A farm searches windows alone that one machine searches together."""
    windows, channels, samples = 3, 2, 48 * HOP
    around = 2 * engine.lookaround + samples
    heard = torch.stack([band_limited(around, seed) for seed in range(windows * channels)]).unflatten(0, (windows, -1))
    edges, keys = torch.full((windows, channels), 4000.0), [NoiseKey(3, position=48 * i) for i in range(windows)]
    drawn = 0.3 * torch.stack([draw(key, engine.noise_shape(samples)) for key in keys]).repeat_interleave(channels, 0)
    x0 = engine.start(drawn, 1.0)
    together = engine.decode(x0, engine.condition(heard, edges, keys)).split(channels)
    for i, window in enumerate(x0.split(channels)):
        alone = engine.decode(window, engine.condition(heard[i : i + 1], edges[i : i + 1], keys[i : i + 1]))
        assert torch.equal(alone, together[i])


def test_weights_are_the_ones_that_were_shipped(tmp_path: Path) -> None:
    path = tmp_path / "builtin.safetensors"
    with pytest.raises(MissingError, match="weights are missing"):
        builtin.load_file("cpu", path)
    tiny = NetworkConfig(cells=4, patches=4, width=32, depth=1, draw_cells=4, draw_patches=4, draw_width=16)
    export(BuiltinNetwork(tiny), tiny.to_dict(), path, {"steps": 0})
    with pytest.raises(MissingError, match="not the weights that were shipped"):
        builtin.load_file("cpu", path)
    assert builtin.load_file("cpu", path, expected=None).config == tiny


def test_weights_of_ones_own_are_rendered_with_and_named(ttsr: Ttsr, tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = NetworkConfig(4, 8, 16, 2, 4, 4, 16, 2)
    export(BuiltinNetwork(config), config.to_dict(), tmp_path / "mine.safetensors", {})
    soundfile.write(tmp_path / "a.wav", voice(0.5, 16000), 16000)
    render = ("render", tmp_path / "a.wav", "--candidates", 1, "--engine-weights", tmp_path / "mine.safetensors")
    assert ttsr(*render, "-o", tmp_path / "b.wav").exit_code == 0
    tool = json.loads((tmp_path / "b.ttsr.json").read_text())["tool"]
    assert tool["options"]["engine_weights"] == "mine.safetensors"
    assert tool["weights"]["mine.safetensors"] == verified(tmp_path / "mine.safetensors", None)
    again = ttsr(*render, "-o", tmp_path / "c.wav", "--again", tmp_path / "b.ttsr.json")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "c.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    for other, said in (("a.wav", "a.wav: not a weights file of ttsr-studio"), ("none.st", "none.st' does not exist")):
        refused = ttsr(*render[:-1], tmp_path / other, "-o", tmp_path / "d.wav")
        assert refused.exit_code != 0
        assert said in refused.output
    audiosr = ttsr(*render, "-o", tmp_path / "d.wav", "--engine", "audiosr-basic")
    assert "engine 'audiosr-basic' has no --engine-weights" in audiosr.output


def test_odd_windows_are_refused(engine: builtin.BuiltinEngine) -> None:
    heard = torch.zeros(1, 1, 1000 + 2 * engine.lookaround)
    with pytest.raises(OptionError, match="not a multiple of the engine's hop 512"):
        engine.condition(heard, torch.tensor([[4000.0]]), [NoiseKey(0)])


def several(engine: builtin.BuiltinEngine, lr: Tensor, cutoff: Tensor | float = 4000.0) -> Tensor:
    """lr [channels, samples] -> one candidate of all channels, [channels, samples]; cutoff by channel, or all alike."""
    key = NoiseKey(3, position=-engine.noise_lead())
    channels = lr.shape[0]
    heard = torch.nn.functional.pad(lr, (engine.lookaround, engine.lookaround))
    edges = cutoff if isinstance(cutoff, Tensor) else torch.full((1, channels), cutoff)
    rows = engine.condition(heard[None], edges, [key])
    noise = draw(key.child("draw", 0), engine.noise_shape(lr.shape[-1]))
    x = engine.start(noise.expand(channels, *noise.shape), engine.sigma_range[1])
    for sigma, following in [(8.0, 1.0), (1.0, 0.2), (0.2, 0.0)]:
        x0 = engine.denoise(x, torch.full((channels,), sigma), rows)
        x = x0 + (x - x0) * (following / sigma)
    return engine.decode(x, rows)


def high(audio: Tensor, low_hz: float, top_hz: float = 20000.0) -> Tensor:
    spectrum = torch.fft.rfft(audio)
    hz = torch.fft.rfftfreq(audio.shape[-1], 1 / RATE)
    return torch.fft.irfft(spectrum * ((hz >= low_hz) & (hz <= top_hz)), audio.shape[-1])


def test_equal_channels_stay_equal_and_opposite_ones_opposite(engine: builtin.BuiltinEngine) -> None:
    lr = band_limited(96 * HOP)
    left, right = several(engine, torch.stack([lr, lr]))
    assert torch.equal(left, right)
    left, right = several(engine, torch.stack([lr, -lr]))
    # The conditioner sees powers, which are the same; what is made is the negative but for rounding.
    assert (left + right).abs().max() < 1e-5 * left.abs().max()


def test_a_panned_source_stays_where_it_is(engine: builtin.BuiltinEngine) -> None:
    lr = band_limited(96 * HOP)
    left, right, third = several(engine, torch.stack([lr, -0.3 * lr, lr + 0.1 * band_limited(96 * HOP, seed=1)]))
    assert (right + 0.3 * left).abs().max() < 1e-3 * right.abs().max()
    assert (third - left).abs().max() > 0.1 * left.abs().max()
    edges = torch.full((1, 2, 96 + 1 + 2 * engine.lookaround // HOP), 4000.0)
    edges[0, 1] = 3000.0
    audio = torch.nn.functional.pad(torch.stack([lr, 0.5 * lr]), (engine.lookaround, engine.lookaround))[None]
    assert carriers.panned(audio, edges)[0].tolist() == [0, 1], "their bands end elsewhere"
    assert carriers.panned(audio, torch.full_like(edges, 4000.0))[0].tolist() == [0, 0]
    shares = on_threads(lambda: carriers.panned(audio, torch.full_like(edges, 4000.0))[1])
    assert torch.equal(shares[0], shares[1])
    assert torch.equal(shares[0], shares[2])


def test_channels_that_differ_get_a_band_as_wide_as_the_one_below(engine: builtin.BuiltinEngine) -> None:
    one, two, three = (band_limited(96 * HOP, seed=i) for i in range(3))
    for left, right, wanted in ((one, two, 0.0), (one + two, one + three, 0.5)):
        made = high(several(engine, torch.stack([left, right])), 6000)
        assert float(torch.corrcoef(made)[0, 1]) == pytest.approx(wanted, abs=0.15)


def test_nothing_sounds_before_a_hit_out_of_silence(engine: builtin.BuiltinEngine) -> None:
    """The ghost that frames leave: 12 to 2 ms before a hit, what is made is 40 dB or more under its first 5 ms."""
    at = 40 * HOP + 123
    time = torch.arange(96 * HOP - at) / RATE
    click = torch.zeros(96 * HOP)
    click[at:] = torch.exp(-time / 0.004) * torch.randn(len(time), generator=torch.Generator().manual_seed(1))
    taps = torch.from_numpy(signal.firwin(31, 5500, fs=RATE, window="hann")).float()
    lr = torch.nn.functional.conv1d(click[None, None], taps[None, None], padding=15)[0, 0]
    # A causal filter: it must not sound before the hit itself.
    sections = signal.butter(8, 8000, "highpass", fs=RATE, output="sos")
    made = torch.from_numpy(signal.sosfilt(sections, several(engine, lr[None], 6000.0)[0].numpy()))
    level = lambda a, b: 10 * made[at + int(a * RATE) : at + int(b * RATE)].square().mean().log10()  # noqa: E731
    hit = level(0, 0.005)
    assert hit > -70
    assert level(-0.012, -0.002) < hit - 40


def test_a_harmonic_tone_goes_on_in_partials(engine: builtin.BuiltinEngine) -> None:
    """Shaped noise has a tonal contrast of .55; a tone's band above the cutoff has to have lines."""
    time = torch.arange(192 * HOP) / RATE
    tone = sum((torch.sin(2 * torch.pi * 440.0 * k * time) / k for k in range(1, 10)), torch.zeros_like(time))
    made = several(engine, (0.1 * tone / tone.std())[None], 4200.0)[0, 24 * HOP : -24 * HOP]
    logs = torch.stft(made, 2048, 512, window=torch.hann_window(2048), return_complex=True).abs().square().log10()
    first = round(5000 / RATE * 2048)
    contrast = torch.stack([logs[first + 43 * i : first + 43 * (i + 1)].std(0) for i in range(4)]).mean()
    assert contrast > 0.8


def test_each_channel_and_each_moment_has_its_own_band(engine: builtin.BuiltinEngine) -> None:
    lr = torch.stack([band_limited(192 * HOP, seed=1), band_limited(192 * HOP, seed=2)])
    frames = 192 + 1 + 2 * engine.lookaround // HOP
    edges = torch.full((1, 2, frames), 4000.0)
    edges[0, 1] = 12000.0
    edges[0, 0, frames // 2 :] = 12000.0
    first, second = several(engine, lr, edges)
    middle = 96 * HOP
    before, after = (band_power(part, 5000, 9000) for part in (first[:middle], first[middle + 2 * HOP :]))
    assert after < 1e-3 * before
    assert band_power(second, 5000, 9000) < 1e-3 * before


def test_noise_is_mixed_to_the_correlation_that_is_asked_for() -> None:
    wanted = torch.tensor([[1.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 1.0]])
    keys = [NoiseKey(1)]
    made = carriers.correlated(carriers.noise(keys, 3, 200 * HOP, torch.device("cpu")), wanted[None, :, :, None, None])
    flat = torch.view_as_real(made[0]).flatten(1)
    assert (torch.corrcoef(flat) - wanted).abs().max() < 0.02


def test_every_band_gets_its_own_correlation() -> None:
    independent = carriers.noise([NoiseKey(1)], 2, 400 * HOP, torch.device("cpu"))
    wanted = torch.linspace(1, -1, 64)[None, None, None, :, None].repeat(1, 2, 2, 1, independent.shape[-1])
    wanted[:, 0, 0] = wanted[:, 1, 1] = 1
    made = torch.view_as_real(carriers.correlated(independent, wanted)[0])
    found = torch.stack([torch.corrcoef(made[:, bin].flatten(1))[0, 1] for bin in range(3, 257, 4)])
    torch.testing.assert_close(found, wanted[0, 0, 1, :, 0], atol=0.1, rtol=0)


def test_variety_makes_candidates_brighter_and_darker(ttsr: Ttsr, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice(2.0, 16000), 16000)
    render = ("render", tmp_path / "a.wav", "--candidates", 4, "--keep-top", 4, "--verifier", "continuity")
    levels, told = {}, {}
    for variety in (0, 1):
        out = tmp_path / str(variety)
        made = ttsr(*render, "--variety", variety, "--loudness", "off", "-o", out / "b.wav")
        assert made.exit_code == 0, made.output
        kept = [high(torch.from_numpy(soundfile.read(path)[0]).float(), 9000) for path in sorted(out.glob("b*.wav"))]
        levels[variety] = np.std([10 * float(audio.square().mean().log10()) for audio in kept])
        report = json.loads((out / "b.ttsr.json").read_text())
        told[variety] = np.nanmean(np.array(report["uncertainty"]["per_second_db"], dtype=float))
    assert levels[1] > 2 * levels[0]
    assert told[1] < 2 * told[0], "what the report tells of is what the model is unsure of, however much is shown"
    for wrong, said in ((("--variety", 1.5), "1.5"), (("--variety", 0.5, "--engine", "audiosr-basic"), "--variety")):
        refused = ttsr(*render, *wrong, "-o", tmp_path / "c.wav")
        assert refused.exit_code != 0
        assert said in refused.output


def test_hits_are_made_stronger_within_bounds(engine: builtin.BuiltinEngine) -> None:
    """A hit after silence lies far over the mean around it: it must not be raised by that distance."""
    energy = torch.full((1, 64, 100), -20.0)
    energy[..., 50:53] = -3.0
    always = torch.ones(1, 1, 100)
    spread = builtin.spread_over_time(energy, always)
    assert (spread - energy).abs().max() <= 1.8 + 1e-5
    gentle = -5 + torch.sin(torch.arange(100) / 3.0)[None, None]
    assert builtin.spread_over_time(gentle, always)[..., 20:80].std() > 1.3 * gentle[..., 20:80].std()
    steady, started = torch.full((1, 64, 100), -5.0), (torch.arange(100) >= 40).float()[None, None]
    start = torch.where(started > 0, steady, -20.0)
    assert torch.allclose(builtin.spread_over_time(start, started), start, atol=1e-5), "a start is no hit"
    lr = torch.zeros(96 * HOP)
    lr[40 * HOP :] = band_limited(56 * HOP)
    made = high(several(engine, lr[None])[0], 5000)
    start, later = made[40 * HOP : 41 * HOP], made[50 * HOP : 90 * HOP]
    assert start.square().mean() < 10 * later.square().mean()
