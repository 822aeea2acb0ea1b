"""Files of one run overlap: the next is read and the last is written while one is searched."""

import threading
from pathlib import Path
from typing import Any

import pytest
from helpers import Ttsr, below, load, save, voice

from ttsr_studio.batch.in_hand import FilesInHand
from ttsr_studio.cli.run_output import RunOutput
from ttsr_studio.rendering.inference.progress import CancellationToken
from ttsr_studio.rendering.pipeline import FileRender
from ttsr_studio.storage.checksum import sha256

WRITE_BESIDE = FilesInHand.write_beside
QUICK = ("--candidates", 1, "--steps", 2, "--no-report")
PATIENCE = 100


@pytest.fixture
def stems(tmp_path: Path) -> list[Path]:
    (tmp_path / "in").mkdir()
    return [save(tmp_path / "in" / f"{n}.wav", below(voice(0.3 + 0.1 * n), 5000)) for n in range(4)]


class Spy:
    """Holds every part of a render until what should go on beside it has begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = {f"{part} {n}": threading.Event() for part in ("read", "search", "write") for n in range(4)}
        self.threads: dict[str, str] = {}
        self.beside: dict[str, str] = {}
        self.broken: dict[str, BaseException] = {}
        self.stop_in = ""
        for part in ("read", "search", "write"):
            monkeypatch.setattr(FileRender, part, self.spied(part, getattr(FileRender, part)))

    def spied(self, part: str, real: Any) -> Any:
        def run(render: FileRender) -> Any:
            name = f"{part} {render.run.request.source.stem}"
            self.threads[name] = threading.current_thread().name.split("_")[0]
            self.begun[name].set()
            if other := self.beside.get(name):
                assert self.begun[other].wait(PATIENCE), f"{other} does not go on beside {name}"
            if name in self.broken:
                raise self.broken[name]
            if name == self.stop_in:
                assert isinstance(render.stop, CancellationToken)
                render.stop.asked = True
            return real(render)

        return run


def test_reading_and_writing_go_on_beside_a_search(
    ttsr: Ttsr, stems: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [
        sha256(tmp_path / "one" / path.name) for path in stems if ttsr("render", path, "-o", tmp_path / "one/", *QUICK)
    ]
    spy = Spy(monkeypatch)
    spy.beside = {f"search {n}": f"read {n + 1}" for n in range(3)} | {
        f"write {n}": f"search {n + 1}" for n in range(3)
    }
    done = ttsr("render", *stems, "-o", tmp_path / "all/", *QUICK)
    assert done.exit_code == 0, done.output
    assert [sha256(tmp_path / "all" / path.name) for path in stems] == alone
    assert {spy.threads[f"search {n}"] for n in range(4)} == {"MainThread"}
    assert spy.threads["read 1"] == spy.threads["write 0"] == "ttsr-file"
    places = [done.output.index(f"all/{n}.wav") for n in range(4)]
    assert places == sorted(places)


def test_a_file_is_told_of_while_the_next_one_is_searched(
    ttsr: Ttsr, stems: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    searched = FileRender.search
    monkeypatch.setattr(FilesInHand, "write_beside", written_at_once)
    monkeypatch.setattr(RunOutput, "result", lambda out, data, line: told.append(Path(data["output"]).stem))

    def search(render: FileRender) -> None:
        searched(render)
        told.append(f"searched {render.run.request.source.stem}")

    monkeypatch.setattr(FileRender, "search", search)
    assert ttsr("render", *stems[:3], "-o", tmp_path / "out/", *QUICK).exit_code == 0
    assert told == ["searched 0", "0", "searched 1", "1", "searched 2", "2"]


def written_at_once(hand: FilesInHand) -> None:
    """As `write_beside`, done before the next search begins."""
    WRITE_BESIDE(hand)
    assert hand.last
    hand.last.result()


def test_an_error_belongs_to_its_file(
    ttsr: Ttsr, stems: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    spy.broken = {"read 1": ValueError("unread"), "write 2": OSError(28, "No space left on device")}
    done = ttsr("render", *stems, "-o", tmp_path / "out/", *QUICK)
    assert done.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.wav", "3.wav"]
    assert "1.wav: unexpected ValueError: unread" in done.output
    assert "2.wav" in next(line for line in done.output.splitlines() if "No space left" in line)
    assert "2 rendered" in done.output


def test_an_output_that_appears_when_its_input_is_read_already_is_left_and_the_others_are_rendered(
    ttsr: Ttsr, stems: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy, out = Spy(monkeypatch), tmp_path / "out"
    spy.beside = {"search 0": "read 1"}
    searched = FileRender.search

    def search(render: FileRender) -> None:
        searched(render)
        (out / "1.wav").write_bytes(b"somebody's")

    monkeypatch.setattr(FileRender, "search", search)
    done = ttsr("render", *stems[:3], "-o", f"{out}/", *QUICK, "--skip-existing")
    assert done.exit_code == 0, done.output
    assert "out/1.wav (exists)" in done.output
    assert "2 rendered, 1 skipped, 0 failed" in done.output
    assert (out / "1.wav").read_bytes() == b"somebody's"
    assert len(load(out / "2.wav")) == len(load(stems[2]))


def test_ctrl_c_leaves_what_is_written_whole(
    ttsr: Ttsr, stems: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    spy.beside, spy.broken = {"search 1": "write 0"}, {"search 1": KeyboardInterrupt()}
    done = ttsr("render", *stems, "-o", tmp_path / "out/", *QUICK)
    assert done.exit_code == 130
    assert "interrupted in" in done.output
    assert "1 of 4 files done, 3 left" in done.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.wav"]
    spy.beside, spy.broken, spy.stop_in = {}, {}, "search 2"
    done = ttsr("render", *stems, "-o", tmp_path / "out/", *QUICK, "--skip-existing")
    assert done.exit_code == 130
    assert "1 left" in done.output
    assert sorted(path.name for path in (tmp_path / "out").glob("*.wav")) == ["0.wav", "1.wav", "2.wav"]


def test_a_file_that_is_left_before_its_report_is_not_taken_for_finished(
    ttsr: Ttsr, stems: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left(*_: Any) -> None:
        raise KeyboardInterrupt

    options = (stems[0], "-o", tmp_path / "out.wav", "--candidates", 1, "--steps", 2)
    with monkeypatch.context() as patched:
        patched.setattr("ttsr_studio.rendering.pipeline.write_reports", left)
        assert ttsr("render", *options).exit_code == 130
    assert not (tmp_path / "out.wav").exists()
    assert ttsr("render", *options, "--skip-existing").exit_code == 0
    assert (tmp_path / "out.ttsr.json").exists()


def test_a_file_whose_picture_is_missing_does_not_pass_for_finished(
    ttsr: Ttsr, stems: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left(*_: Any) -> None:
        raise KeyboardInterrupt

    out, options = tmp_path / "out", ("--candidates", 1, "--steps", 2)
    wanted = ("render", stems[0], stems[1], "-o", f"{out}/", *options)
    assert ttsr(*wanted[:2], *wanted[3:]).exit_code == 0
    whole = (out / "0.wav").read_bytes()
    for path in out.iterdir():
        path.unlink()
    with monkeypatch.context() as patched:
        patched.setattr("ttsr_studio.report.figures.draw_report", left)
        done = ttsr(*wanted[:2], *wanted[3:])
    assert done.exit_code == 130
    assert "0.wav: written, but not its 0.ttsr.png" in done.output
    assert sorted(path.name for path in out.iterdir()) == ["0.ttsr.json", "0.ttsr.npz", "0.wav"]
    assert "(exists)" in ttsr(*wanted[:2], *wanted[3:], "--skip-existing", "--no-report").output
    again = ttsr(*wanted, "--skip-existing")
    assert again.exit_code == 0, again.output
    assert "0.wav (exists; picture drawn anew)" in again.output
    assert "1 rendered, 1 skipped, 0 failed" in again.output
    assert "2 skipped" in ttsr(*wanted, "--skip-existing").output
    (out / "0.ttsr.npz").unlink()
    assert "0.wav: rendered anew, as 0.ttsr.npz is missing" in ttsr(*wanted, "--skip-existing").output
    assert (out / "0.wav").read_bytes() == whole


def test_what_another_run_makes_meanwhile_is_skipped(
    ttsr: Ttsr, stems: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = list[str]()

    def other_makes(stem: str, part: str) -> None:
        real = getattr(FileRender, part)

        def run(render: FileRender) -> Any:
            before, name = part == "write", render.run.request.source.stem
            searched.extend([name] * (part == "search"))
            done = None if before else real(render)
            if name == stem:
                save(tmp_path / "out" / f"{stem}.wav", voice(0.1))
            return real(render) if before else done

        monkeypatch.setattr(FileRender, part, run)

    (tmp_path / "out").mkdir()
    for stem, part in enumerate(("read", "search", "write")):
        other_makes(str(stem), part)
    done = ttsr("render", *stems[:3], "-o", tmp_path / "out/", *QUICK, "--skip-existing")
    assert done.exit_code == 0, done.output
    assert "0.wav (exists)" in done.output
    assert [f"{n}.wav (another run made it meanwhile)" in done.output for n in (1, 2)] == [True, True]
    assert searched == ["1", "2"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.wav", "1.wav", "2.wav"]
    (tmp_path / "out" / "2.wav").unlink()
    assert "something else has made it meanwhile" in ttsr("render", stems[2], "-o", tmp_path / "out/", *QUICK).output
