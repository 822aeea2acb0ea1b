"""Names as other file systems take them, pretended here: a disk that ignores case, and Windows."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import Ttsr, below, save, voice

from ttsr_studio.errors import OptionError
from ttsr_studio.storage.atomic import rename
from ttsr_studio.storage.names import FileKeys, for_libsndfile, refuse_impossible
from ttsr_studio.watch.filesystem import root as watched
from ttsr_studio.watch.filesystem.root import Root

QUICK = ("--candidates", "1", "--steps", "1", "--device", "cpu", "--no-report")


@pytest.fixture
def ignoring_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which files are found by their names in any letters, as on macOS and Windows."""
    folder = tmp_path / "disk"
    folder.mkdir()
    real = {name: getattr(os, name) for name in ("stat", "lstat", "replace", "rename", "unlink", "link")}

    def there(path: object) -> object:
        """The path with the letters that the file was given."""
        if not isinstance(path, str | Path) or folder not in Path(path).parents:
            return path
        have = {name.casefold(): name for name in os.listdir(folder)}
        name = Path(path).name
        return folder / have.get(name.casefold(), name) if Path(path).parent == folder else path

    def pretended(name: str) -> Callable[..., object]:
        return lambda path, *rest, **more: real[name](there(path), *map(there, rest), **more)

    for name in real:
        monkeypatch.setattr(os, name, pretended(name))
    return folder


def test_a_render_does_not_replace_its_source_in_other_letters(ttsr: Ttsr, ignoring_case: Path) -> None:
    source = save(ignoring_case / "take.wav", below(voice(0.3), 5000))
    content = source.read_bytes()
    refused = ttsr("render", source, "-o", ignoring_case / "TAKE.wav", "--overwrite", *QUICK)
    assert refused.exit_code == 2
    assert "an input would be overwritten" in refused.stderr
    assert source.read_bytes() == content
    assert os.listdir(ignoring_case) == ["take.wav"]


def test_outputs_in_other_letters_are_one(ttsr: Ttsr, ignoring_case: Path, tmp_path: Path) -> None:
    (ignoring_case / "there.txt").touch()
    sources = [save(tmp_path / name, below(voice(0.3, seed=n), 5000)) for n, name in enumerate(("a.wav", "A.wav"))]
    refused = ttsr("render", *sources, "-o", f"{ignoring_case}/", *QUICK, "--dry-run")
    assert refused.exit_code == 2
    assert "would be written here" in refused.stderr
    job = ignoring_case / "job.json"
    job.write_text('{"job_version": "1", "inputs": ["a.wav"], "progress": "Note.json", "result": "note.json"}')
    assert "give each a file of its own" in ttsr("render", "--job", job).stderr


def test_a_disk_that_tells_letters_apart_keeps_both(ttsr: Ttsr, tmp_path: Path) -> None:
    for n, name in enumerate(("a.wav", "A.wav")):
        save(tmp_path / name, below(voice(0.3, seed=n), 5000))
    planned = ttsr("render", tmp_path, "-o", f"{tmp_path}/out/", "--dry-run")
    assert planned.exit_code == 0, planned.output
    keys = FileKeys()
    assert keys.of(tmp_path / "x/../a.wav") == keys.of(tmp_path / "a.wav") != keys.of(tmp_path / "A.wav")
    (tmp_path / "link").symlink_to(tmp_path)
    assert keys.of(tmp_path / "link/new.wav") == keys.of(tmp_path / "new.wav")


@pytest.mark.parametrize("name", ["aux.wav", "out/CON.flac", "com1", "take:1.wav", "what?.wav", "take./a.wav", "a .."])
def test_names_that_windows_takes_for_something_else_are_refused(name: str) -> None:
    with pytest.raises(OptionError, match="choose another -o"):
        refuse_impossible(Path(name), windows=True)
    refuse_impossible(Path(name), windows=False)


@pytest.mark.parametrize(
    "name", ["auxiliary.wav", "C:\\stems\\..\\a.wav", "\\\\server\\share\\a.b.wav", "./console.wav"]
)
def test_names_that_windows_takes_as_they_are_pass(name: str) -> None:
    refuse_impossible(Path(name), windows=True)


def test_a_file_that_is_open_for_a_moment_is_replaced_all_the_same(tmp_path: Path) -> None:
    class Held(type(tmp_path)):  # type: ignore[misc]
        held = 2

        def replace(self, target: Path) -> Path:
            Held.held -= 1
            if Held.held >= 0:
                raise PermissionError(13, "Access is denied", str(target))
            return Path(super().replace(target))

    (tmp_path / "new").write_text("new")
    rested: list[float] = []
    rename(Held(tmp_path / "new"), tmp_path / "old", windows=True, pause=rested.append)
    assert (tmp_path / "old").read_text() == "new"
    assert len(rested) == 2
    (tmp_path / "new").write_text("newer")
    Held.held = 99
    with pytest.raises(PermissionError):
        rename(Held(tmp_path / "new"), tmp_path / "old", windows=True, pause=rested.append)
    assert (tmp_path / "old").read_text() == "new"


def test_a_listing_without_inodes_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows every file would seem to be another one whenever it is looked at by itself."""
    root = Root(tmp_path)
    root.make()
    (tmp_path / "a.wav").write_bytes(b"x")
    scandir = os.scandir

    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.entry, self.name, self.path, self.is_dir = entry, entry.name, entry.path, entry.is_dir

        def stat(self, *, follow_symlinks: bool) -> os.stat_result:
            status = list(self.entry.stat(follow_symlinks=follow_symlinks))
            status[1], status[6] = 0, 0  # no inode, and the size of a while ago
            return os.stat_result(status)

    @contextmanager
    def windows(path: Path) -> Iterator[list[Entry]]:
        with scandir(path) as entries:
            yield [Entry(entry) for entry in entries]

    monkeypatch.setattr(watched.os, "scandir", windows)
    assert root.scan().files["a.wav"] == root.signature_of("a.wav")


def test_soundfile_gets_a_text_on_windows() -> None:
    assert for_libsndfile(Path("ä.wav"), windows=True) == "ä.wav"
    assert for_libsndfile(Path(os.fsdecode(b"\xe9.wav")), windows=False) == b"\xe9.wav"
