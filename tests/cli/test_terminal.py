"""Tables on terminals of any width: names and numbers are never broken, paths lose their beginning."""

from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.text import Text

from ttsr_studio.cli.terminal import print_table, shorten

LONG = "/home/ann/projects/2025/a long winter/stems/mix 3/vocals_lead_double.wav"


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (len(LONG), LONG),
        (len(LONG) - 1, "…" + LONG.removeprefix("/home")),
        (40, "…/stems/mix 3/vocals_lead_double.wav"),
        (30, "…/mix 3/vocals_lead_double.wav"),
        (29, "…/vocals_lead_double.wav"),
        (23, "vocals_lead_double.wav"),
        (22, "vocals_lead_double.wav"),
        (12, "…_double.wav"),
        (1, "…"),
        (0, ""),
    ],
)
def test_paths_lose_their_beginning(width: int, text: str) -> None:
    assert shorten(LONG, width) == text


def test_what_takes_two_columns_a_letter_is_counted_so() -> None:
    assert [cell_len(shorten("/音楽/歌声.wav", width)) for width in (14, 13, 8, 7, 6, 5)] == [14, 10, 8, 7, 5, 5]


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_names_and_numbers_stay_whole_at_any_width(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    names = ["low.wav", "[bold]take [3].wav", "x" * 9 + ".wav"]
    rows = [(Path("/very" * 30) / name, Text("-1.234"), "10.000") for name in names]
    print_table(("file", "a_long_judge/AB", "b"), rows, right=("a_long_judge/AB", "b"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(rows)
    least = len("a_long_judge/AB") + len("10.000") + 4 + min(columns // 2, max(map(len, names)))
    assert {len(line) for line in lines} == {max(columns, least) if columns < 200 else len(lines[0])}
    for line, name in zip(lines[1:], names, strict=True):
        path, *numbers = line.rsplit(maxsplit=2)
        assert numbers == ["-1.234", "10.000"]
        assert path.endswith(name) or (columns // 2 < len(name) and path == f"…{name[1 - columns // 2 :]}")
    assert columns < 200 or lines[1].startswith("/very/very")


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_texts_wrap_between_words_and_long_paths_in_them_lose_their_beginning(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    said = "/srv" * 50 + "/weights.bin is damaged; get it again with `ttsr models fetch audiosr-basic`"
    print_table(("name", "state", "detail"), [("audiosr-basic", "not here", said)], wrapped="detail")
    _, *lines = (line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert lines[0].startswith("audiosr-basic  not here  …/")
    assert lines[0].split("  ")[2].split()[0].endswith("/weights.bin")
    assert " ".join(" ".join(lines).split()).endswith("is damaged; get it again with `ttsr models fetch audiosr-basic`")
    assert all(len(line) <= max(columns, 25 + 16) for line in lines)
