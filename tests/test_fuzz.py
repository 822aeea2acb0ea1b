"""Broken headers: refused with one line, or read to the announced length. `benchmarks/fuzz.py` does many more."""

import importlib
import sys
from pathlib import Path

import psutil
import pytest
from helpers import LONGEST

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))  # the children import it by name, too
fuzz, fuzz_media = importlib.import_module("fuzz"), importlib.import_module("fuzz_media")

KINDS = tuple(fuzz.SUBTYPES)


def test_broken_headers_are_refused_or_read_whole() -> None:
    verdicts = list(fuzz.fuzz(200, 0, KINDS))
    wrong = {n: f"{broken.kind}: {found}" for n, (broken, v) in enumerate(verdicts) if (found := fuzz.finding(v))}
    assert not wrong
    assert {kind for _, verdict in verdicts for kind in verdict} == {"read", "refused"}


def test_the_same_seed_breaks_the_same_bytes() -> None:
    first, again, other = (list(fuzz.mutants(30, seed, KINDS)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("least", [0, 2001])
def test_a_file_that_reads_shorter_than_it_was_is_a_finding(tmp_path: Path, least: int) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(fuzz.valid_file("wav", "PCM_16", 1))
    assert fuzz.verdict(path, False, least) == ("2000 of 2001 samples, no error" if least else "read")


def test_a_child_that_hangs_or_dies_is_a_finding_and_is_replaced() -> None:
    broken = fuzz.Broken("wav", fuzz.valid_file("wav", "PCM_16", 1), 2000)
    with fuzz.Reader(seconds=LONGEST) as reader:
        assert reader.read(broken) == ("read", "read")
        psutil.Process(reader.process.pid).suspend()
        reader.seconds = 0.1
        assert fuzz.finding(reader.read(broken)) == "hang: more than 0.1 s"
        reader.seconds = LONGEST
        assert reader.read(broken) == ("read", "read")
        reader.process.kill()
        reader.process.join()
        assert fuzz.finding(reader.read(broken)) == "crash: exit code -9"
        assert reader.read(broken) == ("read", "read")


def test_broken_containers_of_ffmpeg_are_refused_or_read_with_a_note() -> None:
    verdicts = list(fuzz.fuzz(40, 3, tuple(fuzz_media.CODECS)))
    wrong = {n: f"{broken.kind}: {found}" for n, (broken, v) in enumerate(verdicts) if (found := fuzz.finding(v))}
    assert not wrong
    assert {kind for _, verdict in verdicts for kind in verdict} == {"read", "refused"}
    whole = fuzz_media.media_file("mkv", "flac", 1)
    assert whole == fuzz_media.media_file("mkv", "flac", 1), "the same bytes every time"
    with fuzz.Reader(seconds=LONGEST) as reader:
        assert reader.read(fuzz.Broken("mkv", whole, fuzz_media.FRAMES, fuzz_media.FRAMES)) == ("read", "read")
        short = fuzz.Broken("mkv", whole, 0, 99 * fuzz_media.FRAMES)
        assert fuzz.finding(reader.read(short)) == f"{fuzz_media.FRAMES} samples, no note"
