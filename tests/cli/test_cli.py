"""The command line: usage, presets, failures that are named, and nothing lost."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import LONGEST, Ttsr, below, load, save, started, until, voice

import ttsr_studio.rendering.inference.session
from ttsr_studio import __version__, cli
from ttsr_studio.cli.interrupt import stop_on_interrupt
from ttsr_studio.config import presets
from ttsr_studio.engines.builtin import engine
from ttsr_studio.errors import OutputError

ROOT = Path(__file__).parents[2]
QUICK = ("--candidates", 1, "--steps", 1, "--no-report")


@pytest.fixture
def stem(tmp_path: Path) -> Path:
    return save(tmp_path / "stem.wav", below(voice(0.6), 5000))


def test_bad_files_are_named_one_line_each_and_the_others_render(ttsr: Ttsr, tmp_path: Path, stem: Path) -> None:
    good = np.asarray(load(stem))
    bad = {
        "nan.wav": "nan",
        "empty.wav": "empty",
        "truncated.wav": "cut short",
        "page.wav": "not",
        "full.wav": "full-band already",
        "missing.wav": "no such file",
    }
    broken = good.copy()
    broken[1234] = np.nan
    save(tmp_path / "nan.wav", broken, subtype="FLOAT")
    (tmp_path / "empty.wav").write_bytes(b"")
    whole = stem.read_bytes()
    (tmp_path / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.wav").write_text("<html><body>404</body></html>")
    save(tmp_path / "full.wav", voice(0.6))
    result = ttsr("render", *(tmp_path / name for name in bad), stem, "-o", tmp_path / "out" / "", *QUICK)
    assert result.exit_code == 1
    lines = result.output.splitlines()
    for name in bad:
        mine = [line for line in lines if name in line]
        assert len(mine) == 1, f"{name}: {mine}"
        assert mine[0].startswith("skipped " if name == "full.wav" else "failed: ")
    assert "1234" in next(line for line in lines if "nan.wav" in line)
    assert "full-band already" in next(line for line in lines if "full.wav" in line)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["stem.wav"]


def test_json_gives_one_object_per_file(ttsr: Ttsr, tmp_path: Path, stem: Path) -> None:
    result = ttsr("render", stem, tmp_path / "missing.wav", "-o", tmp_path / "out" / "", "--json", *QUICK)
    first, second = map(json.loads, result.stdout.splitlines())
    assert (first["status"], second["status"]) == ("failed", "rendered")
    assert "missing.wav" in first["reason"]
    assert second["nfe"] == 3, "one of the candidate, two of the mean render that consensus needs"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--verifier", "taste"],
            "unknown verifier 'taste'; known: aesthetics, clap, consensus, continuity, critic, distillmos",
        ),
        (["--solver", "magic"], "euler"),
        (["--budget", "9000"], "64nfe"),
        (["--budget", "1nfe"], "one candidate takes 6 evaluations"),
        (["--verifier", "lsd"], "--reference"),
        (["--candidates", "0"], "at least 1"),
        (["--rate", "12345"], "96000"),
        (["--loudness", "loud"], "match, off"),
        (["--set", "cosine=0.9"], "does not take cosine"),
        (["--preset", "podcast"], "known: audiosr, audiosr-speech, drums, general, master, music"),
        (["--device", "abacus"], "known: auto, cpu, cuda, gpu, mps"),
        (["-o", "{artist}.wav"], "known: {dir} {stem}"),
        (["--colour", "red"], "No such option"),
        (["--candidtes", "3"], "Did you mean '--candidates'? See:"),
        (["--remove", "tones,birdies"], "'tones,birdies': one of them at a time"),
    ],
)
def test_usage_errors_exit_2_name_the_known_and_render_nothing(
    ttsr: Ttsr, stem: Path, arguments: list[str], message: str
) -> None:
    result = ttsr("render", stem, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert [p.name for p in stem.parent.iterdir()] == ["stem.wav"]


def test_outputs_that_exist_are_not_replaced_unasked(ttsr: Ttsr, tmp_path: Path, stem: Path) -> None:
    out = tmp_path / "out.wav"
    out.write_text("mine")
    assert ttsr("render", stem, "-o", out, *QUICK).exit_code == 2
    skipped = ttsr("render", stem, "-o", out, "--skip-existing", *QUICK)
    assert skipped.exit_code == 0
    assert out.read_text() == "mine"
    assert ttsr("render", stem, "-o", out, "--overwrite", *QUICK).exit_code == 0
    assert len(load(out)) == len(load(stem))


def test_a_source_is_never_an_output(ttsr: Ttsr, stem: Path) -> None:
    for output in (stem, stem.parent / ""):
        result = ttsr("render", stem, "-o", f"{output}/" if output.is_dir() else output, "--overwrite")
        assert result.exit_code == 2
        assert "an input would be overwritten" in result.output


def test_folders_keep_names_and_tree_and_own_renders_are_not_inputs(ttsr: Ttsr, tmp_path: Path) -> None:
    folder = tmp_path / "stems"
    (folder / "take 2").mkdir(parents=True)
    save(folder / "a b'ä.wav", below(voice(0.3), 5000))
    save(folder / "take 2" / "-n x.wav", below(voice(0.3), 5000))
    save(folder / "a b'ä_ttsr.wav", below(voice(0.3), 5000))
    (folder / "notes.txt").write_text("not audio")
    result = ttsr("render", folder, "-o", tmp_path / "out", *QUICK)
    assert result.exit_code == 0, result.output
    found = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.wav"))
    assert found == ["a b'ä.wav", "take 2/-n x.wav"]
    beside = ttsr("render", folder / "take 2", *QUICK)
    assert beside.exit_code == 0
    assert (folder / "take 2" / "-n x_ttsr.wav").exists()


def test_a_dry_run_finds_what_an_output_cannot_hold_and_a_file_given_twice(
    ttsr: Ttsr, tmp_path: Path, stem: Path
) -> None:
    result = ttsr("render", stem, "--depth", "32f", "-o", tmp_path / "x.flac", "--dry-run")
    assert result.exit_code == 1
    assert "x.flac: FLAC holds 16 or 24 bits" in result.output
    twice = ttsr("render", stem, stem.parent / "." / stem.name, "--dry-run")
    assert twice.exit_code == 2
    assert "stem.wav: is given twice; name it once" in twice.output
    one = ttsr("render", stem, *QUICK, "--keep-top", 2, "--dry-run")
    assert "only 1 candidate is made" in one.output


def test_dry_run_writes_nothing_and_says_where_to(ttsr: Ttsr, stem: Path) -> None:
    result = ttsr("render", stem, "--dry-run")
    assert result.exit_code == 0
    assert "stem_ttsr.wav" in result.output
    assert [p.name for p in stem.parent.iterdir()] == ["stem.wav"]


def test_a_dry_run_over_outputs_that_exist_shows_its_plan(ttsr: Ttsr, stem: Path) -> None:
    there = stem.with_name("stem_ttsr.wav")
    there.write_text("mine")
    result = ttsr("render", stem, "--dry-run")
    assert (result.exit_code, "would be rendered" in result.output) == (1, True), result.output
    assert "stem_ttsr.wav: exists already, so nothing would be rendered; pass --overwrite or" in result.output
    replaced = ttsr("render", stem, "--dry-run", "--overwrite")
    assert (replaced.exit_code, "stem_ttsr.wav: would be replaced" in replaced.output) == (0, True)
    skipped = ttsr("render", stem, "--dry-run", "--skip-existing", "--json")
    assert json.loads(skipped.stdout)["status"] == "skipped"
    assert there.read_text() == "mine"


def test_a_dry_run_of_a_folder_ends_with_its_counts(ttsr: Ttsr, stem: Path) -> None:
    save(stem.with_name("full.wav"), voice(0.5))
    save(stem.with_name("one.wav"), np.full((1, 1), 0.1))
    stem.with_name("page.wav").write_text("<html>")
    result = ttsr("render", stem.parent, "--dry-run", "-o", f"{stem.parent / 'out'}/")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "1 would be rendered, 2 skipped, 1 failed"
    assert "1 ch, 1 sample)" in result.stdout
    skipped = ttsr("render", stem.with_name("full.wav"), "-o", stem.parent / "new" / "deep" / "out.wav")
    assert (skipped.exit_code, stem.with_name("new").exists()) == (0, False), skipped.output


def test_a_folder_that_was_made_for_nothing_goes(ttsr: Ttsr, stem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OutputError("no space left")

    monkeypatch.setattr("ttsr_studio.rendering.pipeline.write_outputs", full)
    result = ttsr("render", stem, "-o", stem.parent / "new" / "deep" / "out.wav", *QUICK)
    assert (result.exit_code, stem.with_name("new").exists()) == (1, False), result.output


def test_outputs_that_exist_are_counted_in_plain_words(ttsr: Ttsr, stem: Path) -> None:
    save(stem.with_name("other.wav"), below(voice(0.5), 5000))
    for name in ("stem", "other"):
        stem.with_name(f"{name}_ttsr.wav").write_text("mine")
    files = stem, stem.with_name("other.wav")
    for more in ((), ("--dry-run",)):
        assert "_ttsr.wav and 1 more: exist already" in ttsr("render", *files, *more).output


def test_explicit_flags_win_over_presets_even_when_equal_to_the_default(ttsr: Ttsr, tmp_path: Path, stem: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('candidates = 3\nsteps = 1\nseed = 5\nverifier = ["lowband"]\n')

    def options(*arguments: object) -> dict:
        out = tmp_path / "out.wav"
        result = ttsr("render", stem, "-o", out, "--overwrite", "--preset", mine, *arguments)
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / "out.ttsr.json").read_text())["tool"]["options"]

    from_preset = options()
    assert (from_preset["candidates"], from_preset["seed"], from_preset["verifiers"]) == (3, 5, ["lowband"])
    explicit = options("--seed", 0, "--verifier", "continuity")
    assert (explicit["candidates"], explicit["seed"], explicit["verifiers"]) == (3, 0, ["continuity"])


def test_presets_are_listed_shown_and_checked(ttsr: Ttsr, tmp_path: Path) -> None:
    listed = ttsr("presets", "list").output
    for name in ("speech", "music", "sfx", "drums", "preview", "general"):
        assert name in listed
        assert "candidates = " in ttsr("presets", "show", name).output
    assert ttsr("presets", "check").exit_code == 0
    for text, message in (
        ("candidate = 3", "unknown key 'candidate'; known: "),
        ("candidates = 0", "at least 1"),
        ('verifier = ["taste"]', "unknown verifier"),
        ("candidates = ", "not valid TOML"),
        ("candidates = [1, 2]", "candidates takes one value, not [1, 2]"),
        ("candidates = 'eight'", "not a valid integer"),
        ("verifier = [1]", "verifier takes names in quotes"),
    ):
        bad = tmp_path / "bad.toml"
        bad.write_text(text)
        result = ttsr("presets", "check", bad)
        assert result.exit_code == 1
        assert message in result.output


def test_doctor_names_engines_verifiers_and_weights(ttsr: Ttsr) -> None:
    result = ttsr("doctor", "--json")
    rows = {(row["kind"], row["name"]): row for row in json.loads(result.stdout)}
    assert rows["engine", "builtin"]["ok"]
    assert "sha256" in rows["engine", "builtin"]["detail"]
    assert rows["verifier", "continuity"]["ok"]
    assert result.exit_code == 0
    assert "builtin" in ttsr("doctor").output


def test_doctor_prints_versions_and_no_name_of_the_user(ttsr: Ttsr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(ROOT.parent))
    monkeypatch.setenv("USERPROFILE", str(ROOT.parent))
    monkeypatch.setenv("COLUMNS", "400")
    told = ttsr("doctor").output
    assert str(ROOT.parent) not in told
    assert re.search(rf"^ttsr +{re.escape(__version__)} +ok +~.*ttsr_studio *$", told, re.MULTILINE)
    assert re.search(r"torch \d.*soundfile \d.*libsndfile \d", told)


def test_every_preset_that_ships_is_described() -> None:
    for name, path in presets.available().items():
        assert presets.description(path), f"{name} has no description"


def test_what_nobody_foresaw_is_one_line_and_the_other_files_render(
    ttsr: Ttsr, tmp_path: Path, stem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ttsr_studio.rendering import pipeline

    real = pipeline.FileRender.read

    def sometimes(render: Any) -> None:
        if render.run.request.source.name == "odd.wav":
            raise ValueError("two\nlines")
        real(render)

    monkeypatch.setattr(pipeline.FileRender, "read", sometimes)
    odd = save(tmp_path / "odd.wav", below(voice(0.3), 5000))
    result = ttsr("render", odd, stem, "-o", tmp_path / "out", *QUICK)
    assert result.exit_code == 1
    assert "odd.wav: unexpected ValueError: two lines (at test_cli.py:" in result.output
    assert (tmp_path / "out" / "stem.wav").exists()


def test_a_report_makes_its_render_again_and_says_when_it_cannot(ttsr: Ttsr, tmp_path: Path, stem: Path) -> None:
    first = ttsr(
        *("render", stem, "-o", tmp_path / "a.wav", "--candidates", 3, "--steps", 2, "--seed", 9, "--rate", "44100"),
        "--page",
    )
    assert first.exit_code == 0
    report = tmp_path / "a.ttsr.json"
    again = ttsr("render", stem, "--again", report, "-o", tmp_path / "b.wav", "--no-report")
    assert again.exit_code == 0, again.output
    assert sorted(path.name for path in tmp_path.glob("b.*")) == ["b.wav"]
    assert "the same, bit for bit" in again.output, again.output
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    other = ttsr("render", stem, "--again", report, "-o", tmp_path / "c.wav", "--seed", 1)
    assert "NOT the same as a.ttsr.json says; different: --seed" in other.output
    assert other.exit_code == 1
    moved = save(tmp_path / "moved.wav", load(stem)[:-100])
    wrong = ttsr("render", moved, "--again", report, "-o", tmp_path / "d.wav")
    assert (wrong.exit_code, "not the file that" in wrong.output) == (2, True), wrong.output
    assert not (tmp_path / "d.wav").exists()
    nonsense = tmp_path / "x.json"
    nonsense.write_text('{"a": 1}')
    refused = ttsr("render", stem, "--again", nonsense)
    assert refused.exit_code == 2
    assert "not a report of ttsr" in refused.output


def test_a_take_has_the_preset_of_its_report_and_takes_the_place_of_the_others(
    ttsr: Ttsr, tmp_path: Path, stem: Path
) -> None:
    out, report = tmp_path / "a.wav", tmp_path / "a.ttsr.json"
    few = ("--candidates", 3, "--steps", 1, "--keep-top", 2)
    assert ttsr("render", stem, "-o", out, "--preset", "speech", *few, "--page", "--control").exit_code == 0
    assert (tmp_path / "a_control.wav").exists()
    second = (tmp_path / "a_top2.wav").read_bytes()
    assert ttsr("render", stem, "--again", report, "--take", 2, "-o", out, "--overwrite").exit_code == 0
    assert (tmp_path / "a_control.wav").exists(), "it is made again"
    assert json.loads(report.read_text())["tool"]["options"]["preset"] == "speech"
    assert out.read_bytes() == second
    assert sorted(path.name for path in tmp_path.glob("a*.wav")) == [
        "a.wav",
        "a_control.wav",
        "a_top1.wav",
    ], "the old second is gone"
    assert (tmp_path / "a.ttsr.html").exists()

    (tmp_path / "a_top1.wav").write_bytes(b"mixed further")
    assert ttsr("render", stem, "-o", out, *few[:4], "--overwrite").exit_code == 0
    assert (tmp_path / "a_top1.wav").read_bytes() == b"mixed further", "it is not what was written there"
    assert not (tmp_path / "a.ttsr.html").exists(), "the page was of another render"
    assert not (tmp_path / "a_control.wav").exists(), "the control, too"


def test_what_belonged_to_a_render_stays_where_it_is_an_input_or_nothing_is_overwritten(
    ttsr: Ttsr, tmp_path: Path, stem: Path
) -> None:
    out, few = tmp_path / "a.wav", ("--candidates", 2, "--steps", 1)
    assert ttsr("render", stem, "-o", out, *few, "--keep-top", 2).exit_code == 0
    second = tmp_path / "a_top2.wav"
    before = second.read_bytes()
    assert ttsr("render", second, "-o", out, *few, "--cutoff", 5000, "--overwrite").exit_code == 0
    assert second.read_bytes() == before, "a source is never touched"

    assert ttsr("render", stem, "-o", out, *few, "--keep-top", 2, "--overwrite").exit_code == 0
    out.unlink()
    assert ttsr("render", stem, "-o", out, *few).exit_code == 0
    assert second.exists(), "without --overwrite nothing goes"

    report = json.loads((tmp_path / "a.ttsr.json").read_text())
    report["best"].append(report["best"][0] | {"name": "../elsewhere.wav"})
    (tmp_path / "a.ttsr.json").write_text(json.dumps(report))
    assert ttsr("render", stem, "-o", out, *few, "--overwrite").exit_code == 0


def test_a_folder_leaves_out_renders_and_nothing_else(ttsr: Ttsr, tmp_path: Path) -> None:
    renders = ("a_ttsr.wav", "a_ttsr_top2.wav", "a_ttsr_control.wav", "b_ttsr.flac", "b_ttsr.ttsr.json")
    for name in ("a.wav", "vox_ttsr.wav", "c_top2.wav", *renders):
        (tmp_path / name).touch()
    listed = ttsr("render", tmp_path, "-o", f"{tmp_path / 'out'}/", "--dry-run", "--json")
    found = {Path(json.loads(line)["input"]).name for line in listed.stdout.splitlines()}
    assert found == {"a.wav", "vox_ttsr.wav", "c_top2.wav"}


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("x.xyz", "unknown output suffix"),
        ("stem.wav/x.wav", "is no folder"),
        ("n" * 300 + ".wav", "File name too long"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_outputs_that_cannot_be_are_refused_before_anything_is_rendered(
    ttsr: Ttsr, tmp_path: Path, stem: Path, output: str, reason: str, dry: list[str]
) -> None:
    result = ttsr("render", stem, "-o", tmp_path / output, *dry)
    assert (result.exit_code, reason in result.output) == (2, True), result.output


def test_an_output_that_appears_meanwhile_is_left_as_it_is(
    ttsr: Ttsr, tmp_path: Path, stem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ttsr_studio.audio import encode as write

    real = write.publish

    def late(temporary: Path, target: Path, replace: bool) -> None:
        target.write_bytes(b"somebody else's")
        real(temporary, target, replace)

    monkeypatch.setattr(write, "publish", late)
    for flags in ((), ("--skip-existing",)):
        out = tmp_path / f"{len(flags)}.wav"
        result = ttsr("render", stem, "-o", out, *QUICK, *flags)
        told = "another run made it meanwhile" if flags else "left as it is"
        assert (result.exit_code, told in result.output) == (0 if flags else 1, True)
        assert out.read_bytes() == b"somebody else's"

    def no_links(*_: object) -> None:
        raise OSError("this file system has none")

    monkeypatch.setattr(os, "link", no_links)
    assert ttsr("render", stem, "-o", tmp_path / "exfat.wav", *QUICK).exit_code == 1
    assert (tmp_path / "exfat.wav").read_bytes() == b"somebody else's"
    assert sorted(path.suffix for path in tmp_path.iterdir() if path != stem) == [".wav"] * 3


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--overwrite", "--skip-existing"], "exclude each other"),
        (["--set", "pivot=paper"], "does not take pivot"),
        (["--verifier", "lsd"], "needs --reference"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_contradictions_are_refused_with_and_without_a_dry_run(
    ttsr: Ttsr, stem: Path, flags: list[str], reason: str, dry: list[str]
) -> None:
    result = ttsr("render", stem, *flags, *dry)
    assert result.exit_code == 2
    assert reason in result.output


TALKING = """
import preloaded
from ttsr_studio import __main__
from ttsr_studio.cli import progress
progress.LINE_SECONDS = 0.0
__main__.run()
"""
"""The command line, with the tiny engine, which says all the time where it stands, and not every 15 s."""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_sigterm_leaves_as_a_second_ctrl_c_does() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt(lambda: None) as sign:
        signal.raise_signal(signal.SIGTERM)
    assert (sign.asked, signal.getsignal(signal.SIGTERM)) == (False, before)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_finishes_with_the_best_so_far_and_a_second_one_leaves(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, presses: int
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"), prepend=os.pathsep)
    monkeypatch.setenv("TTSR_TEST_ENGINE", str(engine.WEIGHTS))
    first = save(tmp_path / "a.wav", below(voice(0.3), 5000))
    second = save(tmp_path / "b.wav", below(voice(10 * presses), 5000))
    third = save(tmp_path / "c.wav", below(voice(0.3), 5000))
    log = tmp_path / "log.txt"
    command = [sys.executable, "-c", TALKING, "render", first, second, third, "-o", tmp_path / "out"]
    with log.open("w") as stderr, started([*command, "--candidates", 64], stderr=stderr) as process:
        for awaited in ("b.wav searching", "stopping: b.wav is finished with the best so far")[:presses]:
            until(lambda awaited=awaited: awaited in log.read_text())
            process.send_signal(signal.SIGINT)
        assert process.wait(LONGEST) == 130
    error = log.read_text()
    assert "stopping: b.wav is finished with the best so far" in error
    done = sorted(path.name for path in (tmp_path / "out").glob("*.wav"))
    if presses == 2:
        assert f"interrupted in {second}; 1 of 3 files done, 2 left; the same command with --skip-existing" in error
        assert done == ["a.wav"]
        return
    assert "interrupted; 2 of 3 files done, 1 left;" in error
    assert f"--skip-existing goes on there and makes {tmp_path / 'out/b.wav'} anew" in error
    assert re.search(r"the best so far \(\d+ windows? left(, .*)?\); Ctrl-C again leaves it", error)
    assert done == ["a.wav", "b.wav"], "the file at hand is finished, the next one not begun"
    report = json.loads((tmp_path / "out" / "b.ttsr.json").read_text())
    assert report["search"]["cut"]["interrupted"] > 0
    counts = [len(window["candidates"]) for window in report["windows"]]
    assert min(counts) >= 1
    assert max(counts[-2:]) < 64
    assert "interrupted" in report["windows"][-1]["reason"]
    goes_on(ttsr, [first, second, third], tmp_path / "out")


def goes_on(ttsr: Ttsr, sources: list[Path], out: Path) -> None:
    """What Ctrl-C ended early is made anew by --skip-existing, once, and only while nobody changed it."""
    again = ("render", *sources, "-o", f"{out}/", "--skip-existing", *QUICK)
    whole = [(out / name).read_bytes() for name in ("a.wav", "b.wav")]
    planned = ttsr(*again, "--dry-run")
    assert f"{out / 'b.wav'}: would be replaced, as Ctrl-C ended it early" in planned.output
    (out / "b.wav").write_bytes(whole[1] + b"edited")
    assert "c.wav" in ttsr(*again, "--no-report").output
    assert (out / "b.wav").read_bytes() == whole[1] + b"edited"
    (out / "b.wav").write_bytes(whole[1])
    resumed = ttsr(*again, "--no-report")
    assert "1 rendered, 2 skipped, 0 failed" in resumed.output
    assert (out / "a.wav").read_bytes() == whole[0]
    assert (out / "b.wav").read_bytes() != whole[1]
    assert not (out / "b.ttsr.json").exists(), "what it said is no longer so"
    assert "0 rendered, 3 skipped, 0 failed" in ttsr(*again).output


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_while_starting_leaves_no_traceback(tmp_path: Path) -> None:
    source = save(tmp_path / "a.wav", voice(0.1))
    with started([sys.executable, "-c", PRESSED, "render", source], stderr=subprocess.PIPE) as process:
        error = process.communicate(timeout=LONGEST)[1]
    assert (process.returncode, error) == (130, "interrupted before anything was begun\n")


PRESSED = """
import os, signal, sys
from ttsr_studio.__main__ import run

class Press:
    def find_spec(self, name, *_):
        if name == "torch":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Press())
run()
"""
"""The command line, with Ctrl-C pressed while its largest library is loaded."""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_signals_reach_what_tests_start_in_the_background() -> None:
    said = "import signal; print(*map(signal.getsignal, (signal.SIGINT, signal.SIGTERM)))"
    said += "; print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does it for what it starts with "&"
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    try:
        with started([sys.executable, "-c", said], stdout=subprocess.PIPE) as process:
            heeded, blocked = process.communicate(timeout=LONGEST)[0].splitlines()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
        signal.signal(signal.SIGINT, before)
    assert "default_int_handler" in heeded
    assert heeded.endswith("0"), "SIG_DFL"
    assert blocked == "set()"


def test_a_file_that_is_not_rendered_leaves_no_folder_behind(ttsr: Ttsr, tmp_path: Path) -> None:
    full = save(tmp_path / "full.wav", voice(0.6))
    result = ttsr("render", full, "-o", f"{tmp_path / 'new'}/", *QUICK)
    assert (result.exit_code, (tmp_path / "new").exists()) == (0, False), result.output


def test_a_folder_that_cannot_be_made_is_named(ttsr: Ttsr, tmp_path: Path, stem: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = ttsr("render", stem, "-o", f"{tmp_path / 'file' / 'below'}/", *QUICK)
    assert result.exit_code == 2
    assert "file: is no folder; choose another -o" in result.output


def test_a_sidecar_sets_options_of_its_file_only(ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    real = ttsr_studio.rendering.inference.session.load_engine
    monkeypatch.setattr(ttsr_studio.rendering.inference.session, "load_engine", lambda *a: loaded.append(a) or real(*a))
    for name in ("a", "b", "c"):
        save(tmp_path / f"{name}.wav", below(voice(0.4), 5000))
    (tmp_path / "b.ttsr.toml").write_text("candidates = 3\nseed = 9\npreset = 'music'\n")
    result = ttsr("render", tmp_path, "-o", tmp_path / "out", "--steps", 1, "--budget", "4nfe", "--seed", 2, "--json")
    assert result.exit_code == 0, result.output
    options = {
        name: json.loads((tmp_path / "out" / f"{name}.ttsr.json").read_text())["tool"]["options"] for name in "abc"
    }
    assert [options[name]["seed"] for name in "abc"] == [2, 9, 2]
    assert [options[name]["preset"] for name in "abc"] == ["general", "music", "general"]
    assert (options["b"]["candidates"], options["b"]["steps"]) == (3, 1), "flags that the sidecar leaves alone hold"
    assert len(loaded) == 1, "the engine is the same for all"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("candidats = 3", "unknown key 'candidats'; known: "),
        ("candidates = 'x'", "not a valid integer"),
        ("preset = 'nix'", "unknown preset 'nix'"),
        ("candidates = [1]", "candidates takes one value"),
    ],
)
def test_a_wrong_sidecar_stops_its_file_only_and_is_found_by_a_dry_run(
    ttsr: Ttsr, tmp_path: Path, text: str, words: str
) -> None:
    for name in ("a", "b"):
        save(tmp_path / f"{name}.wav", below(voice(0.3), 5000))
    (tmp_path / "a.ttsr.toml").write_text(text)
    dry = ttsr("render", tmp_path, "-o", tmp_path / "out", "--dry-run")
    assert dry.exit_code == 1
    assert words in dry.output
    assert "a.ttsr.toml: " in dry.output
    result = ttsr("render", tmp_path, "-o", tmp_path / "out", "--steps", 1, "--candidates", 1)
    assert result.exit_code == 1
    assert words in result.output
    assert [path.name for path in (tmp_path / "out").glob("*.wav")] == ["b.wav"]


def test_no_json_holds_what_is_no_number(ttsr: Ttsr, tmp_path: Path) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    source = save(tmp_path / "silence.wav", 0 * voice(0.3))
    done = ttsr("render", source, "-o", tmp_path / "out.wav", "--candidates", 1, "--steps", 1, "--json")
    (told,) = [json.loads(line, parse_constant=refuse) for line in done.stdout.splitlines()]
    assert told["top"][0]["score"] is None
    assert (told["cutoff_hz"], json.loads((tmp_path / "out.ttsr.json").read_text())["input"]["cutoff_hz"]) == (
        None,
    ) * 2
    printing = [path.name for path in Path(cli.__file__).parent.rglob("*.py") if "echo(json" in path.read_text()]
    assert printing == ["json_output.py"], "echo_json prints JSON"


def test_what_does_not_fit_is_told_before_an_engine_is_loaded(
    ttsr: Ttsr, stem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: Any) -> None:
        raise AssertionError("an engine is loaded")

    monkeypatch.setattr(ttsr_studio.rendering.inference.session.Session, "__init__", loaded)
    monkeypatch.setattr(sys, "platform", "linux")
    stem.with_name("stem_ttsr.wav").write_bytes(b"somebody's")
    for options, told in {
        "--weight critik=2": "--weight critik: not among",
        "--target critick=-1": "--target critick: no verifier",
        "--set runs=0.25": "does not take runs",
        "--keep-top 9 --candidates 3": "only 3 candidates are made",
        "--verifier lsd": "needs --reference FILE",
        "--search halving --verifier medoid": "goes by scores on the way",
        "--device mps": "not available on this machine",
    }.items():
        done = ttsr("render", stem, *options.split())
        assert done.exit_code == 2
        assert told in done.output
    assert "exists already" in ttsr("render", stem).output
