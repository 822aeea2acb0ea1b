"""A verifier that prefers the wrong candidate costs a user the better render."""

import re
import sys
from importlib import import_module

import numpy as np
import pytest
import soundfile
import torch
from helpers import below
from scipy.signal import butter, sosfiltfilt
from torch import Tensor

from ttsr_studio.errors import InputError, MissingError, OptionError
from ttsr_studio.verifiers.critic.network import DETAIL, CriticConfig, CriticNetwork
from ttsr_studio.verifiers.protocol import Context, Verifier
from ttsr_studio.verifiers.registry import BUILT_IN, VERIFIERS, load_verifier, load_verifiers

RATE = 48000
ELSEWHERE = {
    "self_consistency",
    "speaker",
    "wer",
    "aesthetics",
    "clap",
    "medoid",
    "medoid_zimtohrli",
    "typical",
    "distillmos",
    "sigmos",
}
"""Tested in files of their own: they need weights, a trajectory or other candidates, or take long."""
CUTOFF = 6000.0


def bands(seed: int, seconds: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Below and above the cutoff of a falling noise with syllables at 4 Hz, [samples] each."""
    samples = int(seconds * RATE)
    time = np.arange(samples) / RATE
    noise = np.random.default_rng(seed).standard_normal(samples)
    spectrum = np.fft.rfft(noise) / np.maximum(np.fft.rfftfreq(samples, 1 / RATE), 200.0)
    envelope = 10 ** (1.2 * (np.sin(2 * np.pi * 4 * time) - 1))
    whole = np.fft.irfft(spectrum, samples)
    whole *= 0.1 * envelope / whole.std()
    low = sosfiltfilt(butter(8, CUTOFF, fs=RATE, output="sos"), whole).copy()
    return low, whole - low


def context(audio: np.ndarray, **kwargs: Tensor) -> Context:
    return Context(RATE, CUTOFF, torch.from_numpy(audio).float()[None], **kwargs)


def stack(*audio: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(audio)).float()[:, None]


def installed() -> list[str]:
    """Names of the verifiers that work here."""
    try:
        import onnxruntime  # noqa: F401
        import speechmos  # noqa: F401
    except ImportError:
        return [name for name in VERIFIERS if name not in {"dnsmos", *ELSEWHERE}]
    return [name for name in VERIFIERS if name not in ELSEWHERE]


@pytest.fixture(params=installed())
def verifier(request: pytest.FixtureRequest) -> Verifier:
    return load_verifier(request.param)


@pytest.mark.parametrize("name", VERIFIERS)
def test_every_verifier_says_what_its_contract_is(name: str) -> None:
    said = import_module(BUILT_IN[name].split(":")[0]).__doc__ or ""
    found = re.findall(r"^(Band|Needs|Shape and rate|Unit, range, direction|Silence|Weights and licence): ", said, re.M)
    assert found == ["Band", "Needs", "Shape and rate", "Unit, range, direction", "Silence", "Weights and licence"]
    assert "higher is better" in said


def test_every_verifier_keeps_the_contract(verifier: Verifier) -> None:
    low, high = bands(0, 0.5)
    audio = stack(low, low + high, low + 2 * high).repeat(1, 2, 1)
    known = Context(RATE, CUTOFF, audio[0], expected=audio[1], reference=audio[1])
    before = audio.clone()
    scores = verifier.score(audio, known)
    assert scores.shape == (3,)
    assert scores.dtype == torch.float64
    assert torch.isfinite(scores).all()
    assert torch.equal(audio, before), "a verifier must not change the audio that is rendered"
    alone = torch.cat([verifier.score(audio[i : i + 1], known) for i in range(3)])
    assert torch.equal(scores, alone), "a score must not depend on the other candidates"
    assert verifier.unit
    assert verifier.licence
    files = {"dnsmos": {"model_v8.onnx"}, "critic": {"critic.safetensors"}, "probe": {"probe.safetensors"}}
    assert set(verifier.weights) == files.get(verifier.name, set())


@pytest.mark.parametrize("samples", [1, 600, 3000])
def test_silence_and_very_short_audio_get_a_finite_score(verifier: Verifier, samples: int) -> None:
    audio = torch.zeros(2, 1, samples)
    scores = verifier.score(audio, Context(RATE, CUTOFF, audio[0], expected=audio[0], reference=audio[0]))
    assert torch.isfinite(scores).all()
    assert scores[0] == scores[1]


def test_broken_audio_is_never_scored(verifier: Verifier) -> None:
    low, _ = bands(0, 0.5)
    audio = stack(low, low)
    audio[1, 0, 100] = float("nan")
    score = verifier.score(audio, Context(RATE, CUTOFF, audio[0], expected=audio[0], reference=audio[0]))
    assert not score[1].isfinite()


def test_lsd_is_the_distance_to_the_reference() -> None:
    low, high = bands(1)
    truth = low + high
    known = context(low, reference=torch.from_numpy(truth).float()[None])
    scores = load_verifier("lsd").score(stack(truth, low + 1.2 * high, low), known)
    assert scores[0] == 0
    assert 0 > scores[1] > scores[2]
    gained = load_verifier("lsd").score(stack(truth * 10), known)
    assert gained.item() == pytest.approx(-2.0, abs=0.01), "20 dB are two units of log10 power"


def test_lsd_refuses_to_work_without_a_fitting_reference() -> None:
    with pytest.raises(MissingError, match="--reference"):
        load_verifiers(["lsd"], frozenset())
    audio = torch.zeros(1, 1, 4000)
    with pytest.raises(MissingError, match="--reference"):
        load_verifier("lsd").score(audio, Context(RATE, CUTOFF, audio[0]))
    with pytest.raises(InputError, match="does not fit"):
        load_verifier("lsd").score(audio, Context(RATE, CUTOFF, audio[0], reference=audio[0, :, 1:]))


def test_lowband_hears_the_raw_output_below_the_cutoff_only() -> None:
    low, high = bands(2)
    other, _ = bands(3)
    audio = stack(low, low, low, low)
    raw = stack(low, low + 5 * high, 0.9 * low, other)
    scores = load_verifier("lowband").score(audio, context(low, raw=raw))
    assert scores[0] == 60
    assert scores[1] > 25, "what is above the cutoff is not its business"
    assert scores[2].item() == pytest.approx(20.0, abs=0.5), "an error of a tenth is 20 dB down"
    assert scores[3] < 10
    assert load_verifier("lowband").score(audio, context(low))[0] == 60


def test_lowband_punishes_sound_out_of_silence() -> None:
    low, _ = bands(2)
    raw = stack(0 * low, low)
    scores = load_verifier("lowband").score(raw, context(0 * low, raw=raw))
    assert scores.tolist() == [60.0, -20.0]


def damage(kind: str, high: np.ndarray, seed: int) -> np.ndarray:
    """The upper band, damaged the way engines do it."""
    rng = np.random.default_rng(seed)
    samples = len(high)
    if kind == "louder":
        return 4 * high
    if kind == "quieter":
        return high / 4
    if kind == "late":
        return np.roll(high, int(0.06 * RATE))
    if kind == "hole":
        spectrum = np.fft.rfft(high)
        hz = np.fft.rfftfreq(samples, 1 / RATE)
        spectrum[(hz > CUTOFF) & (hz < 1.1 * CUTOFF)] *= 0.03
        return np.fft.irfft(spectrum, samples)
    if kind == "hiss":
        hiss = sosfiltfilt(butter(8, CUTOFF, "high", fs=RATE, output="sos"), rng.standard_normal(samples))
        return high + 0.5 * high.std() * hiss
    gains = np.interp(np.arange(samples), np.linspace(0, samples, 25), rng.normal(0, 6, 25))
    return high * 10 ** (gains / 20)


@pytest.mark.parametrize("kind", ["louder", "quieter", "late", "hole", "hiss", "pumping"])
def test_continuity_prefers_the_band_that_belongs(kind: str) -> None:
    verifier = load_verifier("continuity")
    for seed in range(3):
        low, high = bands(seed)
        real, damaged = verifier.score(stack(low + high, low + damage(kind, high, seed)), context(low))
        assert real > damaged + 1.0, f"{kind} {seed}: {real:.1f} against {damaged:.1f} dB"


def test_continuity_has_no_opinion_where_nothing_is_generated() -> None:
    audio = torch.randn(2, 1, 4000, generator=torch.Generator().manual_seed(0))
    assert load_verifier("continuity").score(audio, Context(RATE, 20000.0, audio[0])).tolist() == [0.0, 0.0]
    assert load_verifier("continuity").score(0 * audio, Context(RATE, CUTOFF, audio[0])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("cutoff_hz", [100.0, 1000.0, 18500.0])
def test_continuity_takes_any_cutoff(cutoff_hz: float) -> None:
    low, high = bands(0)
    known = Context(RATE, cutoff_hz, torch.from_numpy(low).float()[None])
    assert torch.isfinite(load_verifier("continuity").score(stack(low + high), known)).all()


def voice(samples: int) -> np.ndarray:
    """Harmonics of a wandering 120 Hz in syllables over a little noise, at 16 kHz."""
    time = np.arange(samples) / 16000
    phase = 2 * np.pi * np.cumsum(120 * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))) / 16000
    buzz = sum(np.cos(k * phase) / k for k in range(1, 30))
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time), 0, None) ** 2
    noise = np.random.default_rng(0).standard_normal(samples)
    return (0.1 * buzz * syllables + 0.002 * noise).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "published"),
    [
        (8000, 2.3595035076141357),
        (96000, 2.2698259353637695),
        (160000, 2.2928075790405273),
        (320000, 2.292900562286377),
    ],
)
def test_dnsmos_equals_the_published_package(samples: int, published: float) -> None:
    """`speechmos.dnsmos.run(voice(samples), 16000)["p808_mos"]` with speechmos 0.0.1.1 and librosa 0.11.0."""
    pytest.importorskip("speechmos")
    pytest.importorskip("onnxruntime")
    audio = torch.from_numpy(voice(samples))[None, None]
    score = load_verifier("dnsmos").score(audio, Context(16000, 4000.0, audio[0]))
    assert score.item() == pytest.approx(published, abs=1e-4)


def test_dnsmos_hears_a_voice_get_worse() -> None:
    """The bundled voice: narrower, noisier or clipped scores lower, by its real weights."""
    pytest.importorskip("speechmos")
    pytest.importorskip("onnxruntime")
    voiced, rate = soundfile.read("examples/voice_7k_band.flac", always_2d=True)
    voiced = voiced[:, :1]
    noise = np.random.default_rng(0).standard_normal(voiced.shape)
    takes = {
        "as it is": voiced,
        "4 kHz": below(voiced, 4000, rate),
        "2 kHz": below(voiced, 2000, rate),
        "noisy": voiced + 0.5 * voiced.std() * noise,
        "clipped": np.clip(voiced, -0.3 * voiced.std(), 0.3 * voiced.std()),
    }
    audio = stack(*(take[:, 0] for take in takes.values()))
    said = dict(zip(takes, load_verifier("dnsmos").score(audio, Context(rate, 7000.0, audio[0])).tolist(), strict=True))
    assert said["as it is"] > said["4 kHz"] + 0.1
    assert said["4 kHz"] > said["2 kHz"] + 0.05
    assert max(said["noisy"], said["clipped"]) < said["as it is"] - 0.5


def test_dnsmos_names_the_extra_when_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "speechmos", None)
    with pytest.raises(MissingError, match=r"pip install 'ttsr-studio\[speech\]'"):
        load_verifier("dnsmos")


def test_an_unknown_verifier_lists_the_known_ones() -> None:
    with pytest.raises(OptionError, match="continuity, critic, distillmos, dnsmos"):
        load_verifier("pesq")


def test_the_critic_hears_levels_above_the_cutoff_that_do_not_fit_the_input() -> None:
    right, chances = 0, 0
    for seed in range(4):
        low, high = bands(seed)
        audio = stack(low + high, low + 0.1 * high, low + 10 * high, low)
        scores = load_verifier("critic").score(audio, context(low))
        right += int((scores[0] > scores[1:]).sum())
        chances += 3
    assert right >= 0.9 * chances
    assert load_verifier("critic").score(audio, Context(RATE, 23500.0, audio[0])).tolist() == [0, 0, 0, 0]
    with pytest.raises(OptionError, match="takes 48000 Hz, not 44100"):
        load_verifier("critic").score(audio, Context(44100, CUTOFF, audio[0]))


def test_the_expected_distance_is_that_to_a_draw_from_the_prediction() -> None:
    generator = torch.Generator().manual_seed(0)
    net = CriticNetwork(CriticConfig(width=8, depth=1))
    mean, spread = torch.randn(1, sum(net.sizes), 200, generator=generator), 0.5
    near, far = mean + 0.1, mean + 1.0
    # Of the level's bands alone, which is what the log-spectral distance measures.
    mask = torch.zeros(1, sum(net.sizes), 1)
    mask[:, : net.sizes[0]] = 1
    expected = net.expected_distances(torch.cat([near, far]), mean, torch.full_like(mean, spread**2), mask).mean(-1)
    for candidate, predicted in zip((near, far), expected, strict=True):
        truth = mean + (spread**2 + DETAIL) ** 0.5 * torch.randn(mean.shape, generator=generator)
        apart = (candidate - truth)[:, : net.sizes[0]].square().mean(1).sqrt().mean().item()
        assert apart == pytest.approx(float(predicted), rel=0.03)


def test_the_critic_hears_when_a_hit_comes_and_whether_there_are_partials() -> None:
    """What its level over 43 ms does not tell: a click 8 ms away, and noise in the place of partials."""
    net = CriticNetwork(CriticConfig(width=8, depth=1))
    level, hits, tones = (slice(0, 60), slice(60, 188), slice(188, 210))
    clicks = torch.zeros(2, 48 * 1024)
    clicks[0, 24_000], clicks[1, 24_384] = 1.0, 1.0
    early, late = net.views(clicks)
    assert (early[hits] - late[hits]).abs().amax() > 3
    time = torch.arange(48 * 1024) / RATE
    partials = torch.stack([torch.sin(2 * torch.pi * 500.0 * k * time) for k in range(2, 46)]).sum(0)
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0)) * partials.std()
    tonal, flat = net.views(torch.stack([partials, noise]))
    assert tonal[tones].mean() > 2 * flat[tones].mean()
    assert flat[tones].mean() == pytest.approx(0.55, abs=0.03)
    assert (net.views(noise)[level] - flat[level]).abs().amax() < 1e-4
