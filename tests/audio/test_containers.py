"""Chunks and blocks of any bytes: what is read lies within the file, and nothing hangs or breaks."""

import struct
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ttsr_studio.audio.container.chunks import chunks, is_chunk_list
from ttsr_studio.audio.container.contents import Contents
from ttsr_studio.audio.container.flac import BLOCK_TYPES
from ttsr_studio.audio.container.read import read_contents

NAMES = (b"fmt ", b"data", b"ds64", b"LIST", b"bext", b"cue ", b"smpl", b"SSND", b"COMM", b"\0\0\0\0", b"\xff\1ab")
HEADS = {
    ">": (b"RIFX\0\0\0\0WAVE", b"FORM\0\0\0\0AIFF"),
    "<": (b"RIFF\0\0\0\0WAVE", b"RF64\xff\xff\xff\xffWAVE", b"BW64\xff\xff\xff\xffWAVE"),
}
LIES = st.sampled_from([0, 1, 2, 7, 40, 2**31, 2**32 - 1])


@st.composite
def lists(draw: st.DrawFn) -> bytes:
    """A chunk list whose sizes may lie and whose pad bytes may be missing."""
    order = draw(st.sampled_from("<>"))
    file = draw(st.sampled_from(HEADS[order]))
    for _ in range(draw(st.integers(0, 6))):
        content = draw(st.binary(max_size=64))
        size = draw(st.one_of(st.just(len(content)), LIES))
        file += draw(st.sampled_from(NAMES)) + struct.pack(f"{order}I", size) + content
        file += bytes(len(content) % 2 * draw(st.integers(0, 1)))
    return file + draw(st.binary(max_size=9))


@st.composite
def wide_lists(draw: st.DrawFn) -> bytes:
    """The same with sizes of 64 bits, below zero as well: W64, CAF."""
    w64 = draw(st.booleans())
    file = b"riff" + bytes(36) if w64 else b"caff" + bytes(4)
    for _ in range(draw(st.integers(0, 5))):
        content = draw(st.binary(max_size=40))
        size = draw(st.one_of(st.just(len(content) + 24 * w64), LIES, st.integers(-(2**63), 2**63 - 1)))
        name = draw(st.sampled_from(NAMES))
        file += (struct.pack("<4s12xq", name, size) if w64 else struct.pack(">4sq", name, size)) + content
    return file


@st.composite
def flacs(draw: st.DrawFn) -> bytes:
    """Metadata blocks of FLAC whose sizes may lie, perhaps behind an ID3 tag."""
    file = draw(st.sampled_from([b"fLaC", b"ID3\3\0\0\0\0\0\0fLaC", b"ID3\4\0\0\x7f\x7f\x7f\x7f"]))
    for _ in range(draw(st.integers(0, 6))):
        content = draw(st.binary(max_size=64))
        size = draw(st.one_of(st.just(len(content)), st.integers(0, 2**24 - 1)))
        file += bytes([draw(st.integers(0, 255))]) + size.to_bytes(3, "big") + content
    return file + draw(st.binary(max_size=9))


ANY = st.one_of(lists(), wide_lists(), flacs(), st.binary(max_size=200))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("containers") / "file"


@given(data=ANY)
@example(data=b"RIFF")
def test_the_walk_ends_and_starts_lie_within_the_file(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    found = list(chunks(path))
    starts = [start for name, start, _ in found if data[:4] != b".snd"]
    assert starts == sorted(starts)
    assert all(0 < start <= len(data) for start in starts)
    assert len(found) <= len(data)
    whole = found[:-1]  # whatever the last one promises, the walk ends there
    assert all(0 <= size <= len(data) - start for _, start, size in whole)


@given(data=ANY)
def test_what_is_read_is_in_the_file(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    contents = read_contents(path)
    kept = sum(len(chunk.data) for chunk in contents.chunks)
    assert kept <= len(data)
    assert Contents.room - len(data) <= contents.room <= Contents.room
    for chunk in contents.chunks:
        assert chunk.label
        if data[:4] != b"RIFX":  # whose numbers are turned round
            assert chunk.data in data
        assert chunk.name not in ("fmt ", "ds64", "JUNK", BLOCK_TYPES[0], BLOCK_TYPES[1])
    assert all(why for why in contents.left_out.values())


@given(data=st.binary(max_size=80), start=st.integers(0, 90), end=st.integers(0, 90))
@example(data=b"abcd\2\0\0\0xyabcd\0\0\0\0", start=0, end=18)
def test_a_stretch_is_chunks_or_is_not(path: Path, data: bytes, start: int, end: int) -> None:
    path.write_bytes(data)
    assert is_chunk_list(path, start, end) in (True, False)


def test_whole_chunks_are_a_list(path: Path) -> None:
    path.write_bytes(b"abcd\2\0\0\0xyefgh\1\0\0\0x\0")
    assert is_chunk_list(path, 0, 20)
    assert not is_chunk_list(path, 0, 19)
    assert not is_chunk_list(path, 1, 20)
