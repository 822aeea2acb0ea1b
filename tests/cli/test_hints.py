"""What people type by mistake, or without knowing better: understood, or answered with what would be right."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Ttsr, below, save, voice

from ttsr_studio import errors
from ttsr_studio.rendering import notices
from ttsr_studio.rendering.inference import settings

QUICK = ("--candidates", 1, "--steps", 1)


@pytest.fixture
def stem(tmp_path: Path) -> Path:
    return save(tmp_path / "stem.wav", below(voice(0.3), 5000))


def test_help_is_asked_for_in_words_too(ttsr: Ttsr) -> None:
    assert ttsr("help").output == ttsr("--help").output
    assert ttsr("help", "presets").output == ttsr("presets", "--help").output
    assert ttsr("help", "presets", "show").output == ttsr("presets", "show", "--help").output
    assert "unknown command 'rendr'" in ttsr("help", "rendr").output


def test_a_file_in_place_of_a_command_is_answered_with_the_command(ttsr: Ttsr, stem: Path) -> None:
    result = ttsr(stem, "--preset", "speech")
    assert (result.exit_code, result.output) == (
        2,
        f"Error: {stem} is no command; to render it: ttsr render {stem} --preset speech\n",
    )


def test_a_pattern_in_quotes_is_answered_with_what_to_do(ttsr: Ttsr, stem: Path) -> None:
    quoted, none = ttsr("render", stem.parent / "st*.wav"), ttsr("render", stem.parent / "x?.wav")
    assert (quoted.exit_code, none.exit_code) == (1, 1)
    assert "leave the quotes out, so that the shell makes names of it; or give the folder" in quoted.output
    assert "no name fits it; or give the folder" in none.output


@pytest.mark.parametrize(
    ("output", "told"), [("x", True), ("x/", False), ("x.flac", False), ("{dir}/x", False), ("there", False)]
)
def test_a_folder_that_may_have_been_meant_as_a_file_is_told(
    ttsr: Ttsr, tmp_path: Path, stem: Path, output: str, told: bool
) -> None:
    (tmp_path / "there").mkdir()
    result = ttsr("render", stem, "-o", os.path.join(tmp_path, output), "--dry-run")
    assert (f"-o {tmp_path / 'x'} names a folder, as it has no ending" in result.output) is told, result.output


def test_where_a_page_is_stands_below_the_result(ttsr: Ttsr, tmp_path: Path, stem: Path) -> None:
    result = ttsr("render", stem, "-o", tmp_path / "b.wav", *QUICK, "--page")
    assert result.output.splitlines()[1] == f"  to listen: {tmp_path / 'b.ttsr.html'}"


def test_silence_is_said_once(ttsr: Ttsr, tmp_path: Path) -> None:
    quiet = save(tmp_path / "quiet.wav", 0 * voice(0.5))
    assert "\n  silence\n" in ttsr("inspect", quiet, "--no-estimate").output


def test_a_budget_of_time_says_when_it_could_have_made_more(
    ttsr: Ttsr, tmp_path: Path, stem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (settings, notices):
        monkeypatch.setattr(module, "MOST_CANDIDATES", 3)
    asked = ("render", stem, "--steps", 1, "--verifier", "continuity", "--budget", "10min")
    assert (
        "3 candidates of a window are the most that time alone makes" in ttsr(*asked, "-o", tmp_path / "a.wav").output
    )
    assert "that time alone" not in ttsr(*asked, "-o", tmp_path / "b.wav", "--candidates", 4).output


@pytest.mark.parametrize(
    ("pip", "words"), [(True, " -m pip install 'ttsr-studio[tune]'"), (False, "uv pip install -p ")]
)
def test_a_missing_part_is_installed_by_what_is_there(monkeypatch: pytest.MonkeyPatch, pip: bool, words: str) -> None:
    found: Callable[[str], object] = lambda name: object() if pip else None  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", found)
    assert words in errors.pip_install("ttsr-studio[tune]")


def test_a_number_is_not_likened_to_others_by_its_digits(ttsr: Ttsr, stem: Path) -> None:
    result = ttsr("render", stem, "--rate", 22050)
    assert (result.exit_code, "is not one of 'source', '44100'" in result.output) == (2, True), result.output
    assert "nearest" not in result.output
    assert "nearest: source" in ttsr("render", stem, "--rate", "sorce").output


@pytest.mark.parametrize(("option", "typed", "meant"), [("--loudness", "kept", "keep"), ("--amount", "aut", "auto")])
def test_a_word_that_is_nearly_right_is_answered_with_the_right_one(
    ttsr: Ttsr, tmp_path: Path, option: str, typed: str, meant: str
) -> None:
    refused = ttsr("render", save(tmp_path / "a.wav", voice(0.1)), option, typed)
    assert refused.exit_code == 2
    assert f"; nearest: {meant}" in refused.output


def test_no_engine_is_loaded_for_what_is_there_or_what_is_not(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: object) -> None:
        raise AssertionError("an engine is loaded")

    monkeypatch.setattr("ttsr_studio.cli.render_files.engine_loading", loaded)
    source = save(tmp_path / "a.wav", voice(0.1))
    assert isinstance(ttsr("render", source).exception, AssertionError), "nothing stands in the way yet"
    save(tmp_path / "a_ttsr.wav", voice(0.1))
    assert "exists already" in ttsr("render", source).output
    absent = ttsr("render", tmp_path / "x.wav", tmp_path / "y.wav", "-o", tmp_path / "out/")
    assert absent.exit_code == 1
    assert "x.wav: cannot be opened (No such file" in absent.output
    assert "0 rendered, 0 skipped, 2 failed" in absent.output
