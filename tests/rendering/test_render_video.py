"""Video through the real command line: what comes back is the same video with more above in its audio."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import Ttsr, band, below, level_db, save, voice
from tiny_videos import RATE, Film, click, heard, make, packets

from ttsr_studio.audio.media import mux

QUICK = ("--candidates", 2, "--steps", 2)
MP4 = Film("libx264", "aac", options={"bf": "2"}, languages=("eng", "ger"), chapters=True, tags={"title": "T"})


def above(path: Path, number: int = 0) -> float:
    return level_db(band(heard(path, number)[1].T[4000:-4000], 9000, 20000))


def report_of(path: Path) -> dict:
    return json.loads(path.with_name(f"{path.stem}.ttsr.json").read_text())


def test_a_folder_of_videos_and_stems(ttsr: Ttsr, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    make(folder / "a.mp4", MP4)
    make(folder / "late.mov", Film("mpeg4", "pcm_s24le", late=0.25))
    make(folder / "v.webm", Film("libvpx", "libopus"))
    save(folder / "stem.wav", below(voice(1.0), 6000))
    (folder / "broken.mkv").write_bytes(b"\x1a\x45\xdf\xa3 nothing")
    result = ttsr("render", folder, "-o", out, *QUICK)
    assert result.exit_code == 1
    assert "broken.mkv" in result.output
    assert sorted(path.name for path in out.iterdir() if ".ttsr." not in path.name) == [
        "a.mp4", "late.mov", "stem.wav", "v.webm"]  # fmt: skip
    for name in ("a.mp4", "late.mov", "v.webm"):
        source, target = folder / name, out / name
        assert [each[0] for each in packets(target)] == [each[0] for each in packets(source)]
        assert abs(click(target) - click(source)) * RATE <= 1
        assert above(target) > above(source) + 6
    assert "lossy: OPUS 192 kbit/s, as .webm holds nothing lossless" in result.output
    told = report_of(out / "a.mp4")["output"]
    assert told["depth"] == "ALAC_24"
    assert {"picture h264", "2 chapters", "audio aac (ger)"} <= set(told["metadata"]["carried"])
    assert report_of(out / "late.mov")["output"]["depth"] == "PCM_24"


def test_an_mxf_comes_back_as_one(ttsr: Ttsr, tmp_path: Path) -> None:
    source = make(tmp_path / "a.mxf", Film("mpeg2video", "pcm_s16le"))
    result = ttsr("render", source, "-o", f"{tmp_path / 'out'}/", *QUICK)
    assert result.exit_code == 0, result.output
    assert packets(tmp_path / "out/a.mxf") == packets(source)
    assert click(tmp_path / "out/a.mxf") == click(source)
    assert above(tmp_path / "out/a.mxf") > above(source) + 6


def test_versions_the_page_and_the_same_again(ttsr: Ttsr, tmp_path: Path) -> None:
    source, target = make(tmp_path / "a.mp4", MP4), tmp_path / "out.mp4"
    asked = ("--keep-top", 2, "--control", "--page", "--keep-original-audio", "--stream", "ger")
    result = ttsr("render", source, "-o", target, *QUICK, *asked)
    assert result.exit_code == 0, result.output
    for name in ("out.mp4", "out_top2.mp4", "out_control.mp4"):
        assert packets(tmp_path / name) == packets(source)
        with av.open(str(tmp_path / name)) as file:
            told = [(each.metadata["language"], each.metadata.get("name")) for each in file.streams.audio]
        assert told == [("eng", "Track 1"), ("ger", "Track 2"), ("ger", "Track 2 (original)")]
        assert packets(tmp_path / name, "audio", 2) == packets(source, "audio", 1)
    assert (tmp_path / "out.ttsr.html").stat().st_size > 10_000
    refused = ttsr("render", source, "-o", target, *QUICK)
    assert refused.exit_code == 2
    assert "exists already" in refused.output
    before = target.read_bytes()
    again = ttsr("render", source, "--again", tmp_path / "out.ttsr.json", "-o", tmp_path / "again.mp4")
    assert "the same, bit for bit" in again.output
    assert (tmp_path / "again.mp4").read_bytes() == before
    assert ttsr("render", source, "-o", target, *QUICK, "--overwrite").exit_code == 0
    assert not (tmp_path / "out_top2.mp4").exists(), "belonged to what was replaced"
    assert not (tmp_path / "out_control.mp4").exists()


def test_audio_only_and_lossy_where_asked(ttsr: Ttsr, tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", MP4)
    for name, depth in (("w.wav", "PCM_24"), ("m.m4a", "AAC 256 kbit/s"), ("g.ogg", "VORBIS 256 kbit/s")):
        more = () if name == "w.wav" else ("--bitrate", "256k")
        result = ttsr("render", source, "-o", tmp_path / name, *QUICK, *more, "--overwrite")
        assert result.exit_code == 0, result.output
        assert report_of(tmp_path / name)["output"]["depth"] == depth
        assert ("lossy: " in result.output) == (name != "w.wav")
    stem = save(tmp_path / "stem.wav", below(voice(1.0, 44100), 6000, 44100), 44100)
    result = ttsr("render", stem, "-o", tmp_path / "s.opus", *QUICK, "--rate", "source")
    assert "at 48000 Hz, as OPUS in .opus does not take 44100 Hz" in result.output
    assert heard(tmp_path / "s.opus")[1].shape[1] == RATE


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("w.wav", ("--bitrate", "128k"), "--bitrate 128k: .wav is lossless; name the output .m4a"),
        ("o.mp3", ("--bitrate", "640k"), "--bitrate 640k: MP3 takes 32k to 320k"),
        ("o.mp3", ("--bitrate", "lots"), "--bitrate 'lots': bits a second, such as 256k"),
        ("o.mp4", ("--depth", "32f"), ".mp4 holds 16 or 24 bits"),
        ("o.mp3", ("--rate", "96000"), "--rate 96000: MP3 in .mp3 takes 32000, 44100, 48000 Hz"),
        ("o.webm", (), "webm cannot hold what is in it"),
        ("o.xyz", (), "unknown output suffix"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_search(
    ttsr: Ttsr, tmp_path: Path, name: str, options: tuple[str, ...], words: str
) -> None:
    source = make(tmp_path / "a.mp4", MP4)
    for dry in ((), ("--dry-run",)) if name == "o.webm" else (("--dry-run",),):
        result = ttsr("render", source, "-o", tmp_path / name, *QUICK, *options, *dry)
        assert result.exit_code in (1, 2)
        assert words in " ".join(result.output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_what_ends_in_the_middle_leaves_nothing(ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = make(tmp_path / "a.mp4", MP4), tmp_path / "out.mp4"
    target.write_bytes(b"the one before")
    whole = mux.Muxer._write

    def interrupted(*arguments: object) -> object:
        whole(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(mux.Muxer, "_write", interrupted)
    assert ttsr("render", source, "-o", target, *QUICK, "--overwrite").exit_code != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]
    assert target.read_bytes() == b"the one before"

    def full(*_: object) -> object:
        raise av.error.FFmpegError(28, "No space left on device")

    monkeypatch.setattr(mux.Muxer, "_write", full)
    result = ttsr("render", source, "-o", target, *QUICK, "--overwrite")
    assert result.exit_code == 1
    assert "out.mp4: could not be written (No space left on device" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]
    assert target.read_bytes() == b"the one before"


def test_low_band_of_a_video_is_that_of_its_source(ttsr: Ttsr, tmp_path: Path) -> None:
    source, target = make(tmp_path / "a.mov", Film("mpeg4", "pcm_s24le")), tmp_path / "out.mov"
    assert ttsr("render", source, "-o", target, *QUICK).exit_code == 0
    gain = 10 ** (report_of(target)["output"]["gain_db"] / 20)
    old, new = heard(source)[1].T, heard(target)[1].T
    assert old.shape == new.shape
    kept = report_of(target)["input"]["cutoff_hz"] - 1000
    rest = level_db(band(new - gain * old, 0, kept)) - level_db(band(old, 0, kept))
    assert rest <= -70
    assert np.isfinite(new).all()
