"""What a session says of a file, and the file."""

import os
from pathlib import Path

import pytest

from ttsr_studio.sessions.places import found_file, name_of, written_like

SAID = {
    "audio/a b.wav": "relative",
    "./audio/../audio/a b.wav": "relative with dots",
    "audio\\a b.wav": "Windows' slashes",
    "audio/a%20b.wav": "URL-encoded, without a URL",
    "{folder}/audio/a b.wav": "absolute",
    "file://{folder}/audio/a%20b.wav": "URL",
    "file://localhost{folder}/audio/a%20b.wav": "URL of Final Cut Pro 7",
    "FILE:{folder}/audio/a%20b.wav": "URL without a host",
}
MOVED = (
    "C:\\Users\\me\\Song\\audio\\a b.wav", "file:///C:/Users/me/audio/a%20b.wav", "/Volumes/old/audio/a b.wav",
    "\\\\server\\share\\audio\\a b.wav", "//server/share/audio/a b.wav",
)  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio/a b.wav").write_bytes(b"x")
    return tmp_path / "audio/a b.wav"


def test_every_way_of_writing_leads_to_the_file(file: Path, tmp_path: Path) -> None:
    for said in SAID:
        found, trouble, note = found_file(said.format(folder=tmp_path), tmp_path)
        assert found is not None, said
        assert (found.resolve(), trouble, note) == (file, "", ""), said


def test_what_was_moved_with_the_session_is_found_by_its_name_and_that_is_said(file: Path, tmp_path: Path) -> None:
    for said in MOVED:
        found, _, note = found_file(said, tmp_path)
        assert found == file, said
        assert "not where the session says" in note
        assert name_of(said) == "a b.wav"


def test_what_is_no_file_says_why(file: Path, tmp_path: Path) -> None:
    for said, why in {
        "https://example.org/a.wav": "not a file of this machine", "audio": "is a folder", "": "names no file",
        "a\0b": "names no file", "gone.wav": "there is no such file", "../../etc/gone": "there is no such file",
    }.items():  # fmt: skip
        found, trouble, _ = found_file(said, tmp_path)
        assert found is None
        assert why in trouble, said


def test_a_render_is_named_in_the_way_of_its_source(tmp_path: Path) -> None:
    render = tmp_path / "out" / "ä b.wav"
    url = render.as_uri()
    assert written_like("file:///x/a.wav", render, tmp_path) == url
    assert written_like("file://localhost/x/a.wav", render, tmp_path) == url.replace("file:///", "file://localhost/")
    assert written_like("audio/a.wav", render, tmp_path) == "out/ä b.wav"
    assert written_like("audio/a.wav", render, tmp_path / "other") == "../out/ä b.wav"
    assert written_like("C:\\x\\a.wav", render, tmp_path) == str(render)
    assert written_like(f"{os.sep}x{os.sep}a.wav", render, tmp_path) == str(render)
