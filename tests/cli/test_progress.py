"""Progress: one line on a terminal that clears itself, an honest time left, and a log of all that a run told."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from helpers import Ttsr, below, save, voice

from ttsr_studio.batch.work import work_of
from ttsr_studio.cli.time_left import TimeLeft
from ttsr_studio.rendering.inference.progress import Event
from ttsr_studio.report.numbers import roughly, time_words

FEW = ("--candidates", "2", "--steps", "1", "--no-report")


def frames(command: list[str], columns: int, stdout: int | None = None) -> tuple[list[str], list[str]]:
    """Run in a terminal of so many columns: every line that it showed at any time, and what it shows at the end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=stdout or theirs, stderr=theirs, env={k: v for k, v in environment.items() if v}
    )
    os.close(theirs)
    raw = b""
    while True:
        try:
            raw += (part := os.read(ours, 1 << 16))
        except OSError:  # Linux says so where the other side is closed
            break
        if not part:
            break
    os.close(ours)
    assert process.wait() == 0, raw
    shown, screen, row = [], [""], 0
    for token in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", raw.decode()):
        if token == "\n":
            row += 1
            screen += [""] * (row + 1 - len(screen))
        elif token.endswith("A") and token.startswith("\x1b["):
            row -= 1
        elif token == "\x1b[2K":
            screen[row] = ""
        elif token[0] not in "\x1b\r":
            screen[row] += token
            shown.append(screen[row])
    return shown, [line for line in screen if line]


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal")
def test_the_bar_says_percent_and_time_left_and_is_gone_at_the_end(tmp_path: Path) -> None:
    for name in ("a.wav", "a long name of a stem, the lead vocal of the second chorus.wav"):
        save(tmp_path / name, below(voice(3.0), 5000))
    command = [sys.executable, "-m", "ttsr_studio", "render", str(tmp_path), "-o", str(tmp_path / "out"), *FEW]
    log = tmp_path / "told.txt"
    shown, left = frames([*command, "--log", str(log)], 80)
    bars = [line.rstrip() for line in shown if "%" in line]
    assert max(map(len, bars)) <= 80, "it never takes a second line"
    assert any(re.search(r"\[1/2\] .*% .* left, .* for all$", line) for line in bars), bars[-5:]
    assert re.search(r"\[2/2\] a\.wav .*%", "\n".join(bars))
    assert " ".join(" ".join(left).split()).count("full band at") == 2, "results wrap between words"
    assert [line for line in left if "%" in line or "━" in line] == []
    assert left[-1] == "2 rendered, 0 skipped, 0 failed"
    told = log.read_text()
    assert told.count("full band at") == 2
    assert re.search(r"^[\d-]+ [\d:,]+ INFO ttsr 0\.\d", told)
    assert re.search(r"DEBUG time: .*network", told)


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal")
def test_results_that_go_into_a_file_are_not_shown_instead(tmp_path: Path, program: Path) -> None:
    stem = save(tmp_path / "a.wav", below(voice(0.5), 5000))
    with (tmp_path / "results.txt").open("w") as file:
        _, left = frames([str(program), "render", str(stem), *FEW], 110, stdout=file.fileno())
    assert left == []
    assert "full band at" in (tmp_path / "results.txt").read_text()


def test_time_left_follows_what_was_done_and_counts_down() -> None:
    now = [0.0]
    left = TimeLeft([10.0, 20.0], speed=2.0, clock=lambda: now[0])
    left.begin(0)
    left.see(Event("reading", 1, 10))
    assert (left.of_file(), left.of_all()) == (20.0, 60.0), "by the trial"
    left.see(Event("searching", 0, 100))
    now[0] = 10.0
    left.see(Event("searching", 25, 100))
    assert left.of_file() == pytest.approx(30 + 4), "three more quarters, and what comes after the search"
    now[0] = 14.0
    assert left.of_file() == pytest.approx(30)
    left.stop(candidates=4)
    assert left.of_file() == pytest.approx(7.5), "one candidate of four is made of what is left"
    now[0] = 20.0
    left.end(rendered=True)
    left.begin(1)
    left.see(Event("reading", 1, 20))
    assert left.of_all() == pytest.approx(40), "two seconds a second, as the first took"
    left.end(rendered=False)
    assert left.speed == pytest.approx(2.0), "a file that is skipped says nothing of others"


def test_work_is_known_from_headers_and_else_from_sizes(tmp_path: Path) -> None:
    assert work_of(save(tmp_path / "a.wav", voice(0.5, channels=2))) == pytest.approx(1.0)
    (tmp_path / "b.mp4").write_bytes(bytes(96000 * 3))
    assert work_of(tmp_path / "b.mp4") == pytest.approx(3.0)
    assert work_of(tmp_path / "missing.wav") > 0


@pytest.mark.parametrize(
    ("seconds", "exact", "guess"),
    [
        (0.42, "0.4 s", "a few seconds"),
        (9.3, "9.3 s", "about 9 s"),
        (45.2, "45 s", "about 45 s"),
        (99.6, "1 min 40 s", "about 1 min 40 s"),
        (180, "3 min", "about 3 min"),
        (3599, "1 h", "about 1 h"),
        (4800, "1 h 20 min", "about 1 h 20 min"),
        (3 * 86400, "3 days", "about 3 days"),
    ],
)
def test_times_are_written_as_people_do(seconds: float, exact: str, guess: str) -> None:
    assert (time_words(seconds), roughly(seconds)) == (exact, guess)


def test_quiet_prints_failures_alone_and_verbose_prints_scores(ttsr: Ttsr, tmp_path: Path) -> None:
    stem = save(tmp_path / "a.wav", below(voice(0.4), 5000))
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"")
    quiet = ttsr("render", stem, bad, "-o", tmp_path / "out" / "", *FEW, "-q")
    assert [line.split(":")[0] for line in quiet.output.splitlines()] == ["failed"]
    assert (tmp_path / "out" / "a.wav").exists()
    verbose = ttsr("render", stem, "-o", tmp_path / "b.wav", *FEW, "-v")
    assert re.search(r"^  critic \(search\): chosen -?\d", verbose.output, re.MULTILINE)
    both = ttsr("render", stem, "-q", "-v")
    assert (both.exit_code, "exclude each other" in both.output) == (2, True)
    nowhere = ttsr("render", stem, "--log", tmp_path / "none" / "log.txt")
    assert (nowhere.exit_code, "name another file" in nowhere.output) == (2, True)
