"""Bundles of jobs for render managers: split, run as a farm runs them, and collected."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from helpers import LONGEST, Ttsr, below, mere_user, save, started, until, voice

from ttsr_studio.batch.job_file import read_job
from ttsr_studio.batch.job_lock import held
from ttsr_studio.batch.job_run import given_by
from ttsr_studio.batch.path_map import PathMap, parse_map
from ttsr_studio.cli.commands.render import render_command
from ttsr_studio.config.option_fields import FIELDS
from ttsr_studio.config.resolve import resolve
from ttsr_studio.errors import OptionError
from ttsr_studio.farm.jobs_commands import command_lines, program_words, shell_word
from ttsr_studio.farm.jobs_split import options_of_job
from ttsr_studio.options import RenderOptions

TINY = ("--candidates", 2, "--steps", 1, "--verifier", "continuity")
EXAMPLE = Path(__file__).parents[2] / "examples" / "voice_7k_band.flac"


def stem(path: Path, seconds: float = 0.3, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path.parent / "made.wav", below(voice(seconds, seed=seed), 5000)).rename(path)
    return path


def collected(ttsr: Ttsr, bundle: Path, *more: object) -> tuple[int, dict[str, Any]]:
    result = ttsr("jobs", "collect", bundle, "--json", *more)
    return result.exit_code, json.loads(result.stdout)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_run_line_by_line_makes_what_a_plain_render_makes(ttsr: Ttsr, tmp_path: Path, program: Path) -> None:
    """Whatever the names hold, from another folder, by a shell."""
    sources = tmp_path / "in"
    for name in (b'it\'s "one".wav', b"two\nlines {x}.wav", b"sub/not utf \xff.wav"):
        stem(sources / os.fsdecode(name))
    (sources / 'it\'s "one".ttsr.toml').write_text("seed = 5\n")
    preset = tmp_path / "mine.toml"
    preset.write_text('steps = 1\ncandidates = 1\nverifier = ["continuity"]\n')
    before = files_in(sources)
    bundle = tmp_path / "the bundle's\nname"
    asked = (sources, "--preset", preset, "--seed", 3, "--no-report")
    result = ttsr("jobs", "split", *asked, "-o", tmp_path / "out", "--into", bundle, "--ttsr", program)
    assert result.exit_code == 0, result.output
    preset.unlink()  # it went into the bundle
    lines = (bundle / "commands.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    for line in lines:
        subprocess.run(["sh", "-c", line], cwd="/", check=True, timeout=LONGEST)
    assert collected(ttsr, bundle)[0] == 0
    assert files_in(sources) == before
    shutil.copy(bundle / "presets" / "mine.toml", preset)
    plain = subprocess.run([program, "render", *map(str, asked), "-o", tmp_path / "plain"], capture_output=True)
    assert plain.returncode == 0, plain.stderr
    for path in (path for path in (tmp_path / "plain").rglob("*") if path.suffix == ".wav"):
        assert (tmp_path / "out" / path.relative_to(tmp_path / "plain")).read_bytes() == path.read_bytes()
    assert "lies inside" not in result.stderr
    inside = ttsr("jobs", "split", sources, "-o", sources / "out", "--into", tmp_path / "b3").stderr
    assert f"note: -o {sources / 'out'} lies inside {sources}, which is split" in inside
    again = ttsr("jobs", "split", *asked, "-o", tmp_path / "out", "--into", tmp_path / "b2", "--skip-existing")
    assert (again.exit_code, "nothing is left" in again.output, (tmp_path / "b2").exists()) == (0, True, False)


def test_every_option_of_a_render_reaches_the_job(tmp_path: Path) -> None:
    """What a command line says comes out of a job file as the same options."""
    for name in ("truth.wav", "chain.toml", "words.txt"):
        (tmp_path / name).write_text('[[after]]\nplugin = "Compressor"\n')
    written = {
        "target": "continuity=0.5", "weight": "continuity=2", "cutoff": "4000,5000", "budget": "10min",
        "bitrate": "192k", "loudness": "-23", "amount": "0.5", "chain": tmp_path / "chain.toml",
        "reference": tmp_path / "truth.wav", "speaker": tmp_path / "truth.wav", "transcript": "some words",
        "guidance-interval": "0.1 5", "set": "neighbours=3", "search": "zero-order", "verifier": "continuity",
        "hold-out": "lowband", "look": "latent", "depth": "24-bit", "rate": "44.1k", "device": "cpu",
        "ceiling": "-1",
    }  # fmt: skip
    values: dict[str, str] = {}
    for name, field in FIELDS.items():
        if field.flag and name not in ("preset", "no-lift-skirt"):
            other = str(tmp_path / "truth.wav") if field.kind is Path else "1"
            plain = "" if field.kind is bool else field.choices[-1] if field.choices else other
            values[name] = str(written.get(name, plain))
    for name, value in values.items():
        words = [f"--{name}", *([*value.split(" ")] if FIELDS[name].kind is tuple else [value] if value else [])]
        context = click.Context(render_command, info_name="render")
        given = parsed(context, words)
        assert list(given) == [name], words
        data = {"job_version": "1", "inputs": ["a.wav"], "result": "r", "options": options_of_job(given, PathMap())}
        (tmp_path / "job.json").write_text(json.dumps(data))
        there = given_by(read_job(tmp_path / "job.json"))
        assert outcome(there) == outcome(given), name
        assert isinstance(outcome(given), RenderOptions) or name in ("look", "segment", "seam", "diverse"), outcome(
            given
        )


def outcome(given: dict[str, Any]) -> RenderOptions | str:
    """The options, or the line that refuses them."""
    try:
        return resolve("general", given)
    except OptionError as error:
        return str(error)


def parsed(context: click.Context, words: list[str]) -> dict[str, Any]:
    from ttsr_studio.cli.render_options import given_flags

    with context.scope(cleanup=False):
        render_command.parse_args(context, [*words, "a.wav"])
        return given_flags(context)


def test_long_files_are_spread_evenly_the_longest_first(ttsr: Ttsr, tmp_path: Path) -> None:
    lengths = [0.5, 4.0, 1.0, 3.5, 0.5, 1.5]
    for number, seconds in enumerate(lengths):
        stem(tmp_path / "in" / f"{number}.wav", seconds)
    asked = ("jobs", "split", tmp_path / "in", "-o", tmp_path / "out", "--into", tmp_path / "b", *TINY, "--per", 2)
    result = ttsr(*asked, "--json")
    told = {"bundle": str(tmp_path / "b"), "jobs": 3, "files": 6, "audio_s": 11.0, "left_out": 0}
    told["unreadable"] = []
    assert (result.exit_code, json.loads(result.stdout)) == (0, told)
    jobs = [json.loads((tmp_path / "b" / "jobs" / f"{number}.json").read_text()) for number in (1, 2, 3)]
    loads = [[lengths[int(Path(name).stem)] for name in job["inputs"]] for job in jobs]
    assert loads == [[4.0, 0.5], [3.5, 0.5], [1.5, 1.0]]
    first = files_in(tmp_path / "b")
    refused = ttsr(*asked)
    assert (refused.exit_code, "holds a bundle already; pass --replace" in refused.output) == (2, True)
    (tmp_path / "b" / "notes.txt").write_text("somebody's")
    with held(tmp_path / "b" / "jobs" / "2.json"):
        assert "2.json is being done now" in ttsr(*asked, "--replace").output
    assert ttsr(*asked, "--replace").exit_code == 0
    assert files_in(tmp_path / "b") == first | {"notes.txt": b"somebody's"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone.wav"], "gone.wav: no such file or folder"),
        (["a.wav", "a.wav"], "is given twice"),
        (["a.wav", "sub/a.wav", "-o", "x/{stem}{ext}"], "would be written here"),
        (["a.wav", "--keep-top", "9", "--candidates", "2"], "only 2 candidates"),
        (["a.wav", "--candidats", "9"], "No such option '--candidats'"),
        (["a.wav", "--device", "abacus"], "unknown device 'abacus'"),
        (["a.wav", "--per", "0"], "0 is not in the range"),
        (["a.wav", "--map", "here"], "write HERE=THERE"),
        (["a.wav", "--ttsr", "'"], "quote it as a shell wants it"),
        (["a.wav", "--ttsr", '"C:\\ttsr'], "quote it as a shell wants it"),
        (["a.wav", "--overwrite", "--skip-existing"], "exclude each other"),
        (["a.wav", "--into", "sub"], "sub: holds other things"),
        (["a.wav", "--into", "a.wav"], "a.wav' is a file"),
        (["a.wav", "-o", "a.wav/b/"], "is no folder"),
        (["x/a_top2.wav", "-o", "x/", "--overwrite"], "an input would be overwritten"),
        (["x/a_top2.wav", "-o", "x/{stem}_b{ext}", "--overwrite"], "named as what an earlier render left"),
    ],
)
def test_what_a_render_would_refuse_is_refused(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "sub/a.wav", "x/a_top2.wav"):
        stem(tmp_path / name)
    before = files_in(tmp_path)
    result = ttsr("jobs", "split", "--into", "b", *arguments)
    assert (result.exit_code, words in result.output) == (2, True), result.output
    assert len(result.output.splitlines()) <= 3
    assert files_in(tmp_path) == before


def test_a_bundle_that_cannot_be_written_is_said_in_a_line(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "a.wav")
    locked = tmp_path / "read-only"
    locked.mkdir(mode=0o555)
    command = [
        *mere_user(),
        sys.executable,
        "-m",
        "ttsr_studio",
        "jobs",
        "split",
        tmp_path / "a.wav",
        "-o",
        tmp_path / "out",
    ]
    done = subprocess.run([*map(str, command), "--into", locked / "b"], capture_output=True, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "cannot be written (Permission denied)" in done.stderr
    assert not list(locked.iterdir())


def test_what_became_of_every_file_and_what_is_run_again(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Done, failed for good, failed by its surroundings, never ran, running, damaged, called off; moved as a whole."""
    for name in "abcdefg":
        stem(tmp_path / "in" / f"{name}.wav")
    (tmp_path / "in" / "bad.wav").write_text("no audio")
    bundle, out = tmp_path / "b", tmp_path / "out"
    files = [tmp_path / "in" / f"{name}.wav" for name in ("a", "b", "bad", "c", "d", "e", "f", "g")]
    made = ttsr("jobs", "split", *files, "-o", out, "--into", bundle, *TINY)
    assert (made.exit_code, "1 file cannot be rendered as it is; its job is" in made.stderr) == (0, True)
    assert f"  {tmp_path / 'in' / 'bad.wav'}: is not audio" in made.stderr
    assert collected(ttsr, bundle)[0] == 3
    number = {Path(json.loads(path.read_text())["inputs"][0]).stem: path for path in (bundle / "jobs").glob("*.json")}
    for name in ("a", "b", "bad"):
        ttsr("render", "--job", number[name])
    (out / "b.wav").unlink()  # a node wrote to another folder of the name
    (tmp_path / "in").rename(tmp_path / "away")
    assert ttsr("render", "--job", number["c"], "--exit-codes", "fault").exit_code == 75
    (tmp_path / "away").rename(tmp_path / "in")
    number["d"].write_text("{")
    edited = json.loads(number["e"].read_text())
    number["e"].write_text(json.dumps(edited | {"options": {"candidats": 3}}))
    assert ttsr("render", "--job", number["e"]).exit_code == 2
    (bundle / "cancel").touch()
    assert ttsr("render", "--job", number["f"]).exit_code == 130
    moved = tmp_path / "moved"
    bundle.rename(moved)
    with held(moved / "jobs" / number["g"].name):
        code, told = collected(ttsr, moved, "--again", tmp_path / "again")
    found = {Path(file["input"]).stem: file for job in told["jobs"] for file in job["files"]}
    fates = {name: (file["status"], file["fault"]) for name, file in found.items()}
    assert code == 1
    assert fates == {
        "a": ("done", None),
        "b": ("failed", "surroundings"),
        "bad": ("failed", "input"),
        "c": ("failed", "surroundings"),
        number["d"].stem: ("failed", "settings"),
        "e": ("failed", "settings"),
        "f": ("cancelled", None),
        "g": ("running", None),
    }
    assert found["a"]["output"] == str(out / "a.wav")
    assert "is not there, seen from here" in found["b"]["reason"]
    assert "unknown option 'candidats'" in found["e"]["reason"]
    assert told["again"] == {"bundle": str(tmp_path / "again"), "jobs": 3, "files": 3}
    for path in (tmp_path / "again" / "jobs").glob("*.json"):
        assert ttsr("render", "--job", path).exit_code == 0
    assert collected(ttsr, tmp_path / "again")[0] == 0
    assert sorted(path.stem for path in out.glob("*.wav")) == ["a", "b", "c", "f"]
    assert f"a.wav -> {out / 'a.wav'}\n" in ttsr("jobs", "collect", moved, "--all").output
    text = ttsr("jobs", "collect", moved, "--again", moved).stderr
    assert f"--again {moved}: holds a bundle already; pass --replace, or name a new folder" in text
    text = ttsr("jobs", "collect", moved, "--again", tmp_path / "more", "--everything").output
    assert "1 left out" in text, "the job file that is none cannot be taken"
    assert {Path(line.split(": ")[1]).stem for line in text.splitlines() if "[input]" in line} == {"bad"}
    lines = ttsr("jobs", "commands", moved).output.splitlines()
    assert lines[0] == f"ttsr render --job {moved}/jobs/1.json --exit-codes fault"
    assert ttsr("jobs", "collect", tmp_path / "in").exit_code == 2


def test_a_job_that_was_killed_is_told_from_one_that_never_ran_and_goes_on(
    ttsr: Ttsr, tmp_path: Path, program: Path
) -> None:
    for name in "ab":
        stem(tmp_path / f"{name}.wav", seed=ord(name))
    stem(tmp_path / "long.wav", 30.0)
    bundle = tmp_path / "b"
    files = [tmp_path / f"{name}.wav" for name in ("a", "long", "b")]
    assert ttsr("jobs", "split", *files, "-o", tmp_path / "out", "--into", bundle, "--per", 2, "--candidates", 5000,
                "--steps", 20, "--verifier", "continuity").exit_code == 0  # fmt: skip
    progress = bundle / "jobs" / "1.progress.json"
    with started([program, "render", "--job", bundle / "jobs" / "1.json"]) as process:
        until(lambda: progress.exists() and json.loads(progress.read_text())["stage"] == "searching")
        code, told = collected(ttsr, bundle)
        assert (code, told["counts"]["running"], told["counts"]["never ran"]) == (3, 1, 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: collected(ttsr, bundle)[1]["counts"]["crashed"] == 1)
    data = json.loads(progress.read_text()) | {"host": "another"}
    progress.write_text(json.dumps(data))
    assert collected(ttsr, bundle)[1]["counts"]["running"] == 1, "another machine may still be at it"
    code, told = collected(ttsr, bundle, "--over", "--again", tmp_path / "again")
    assert (code, told["counts"]["crashed"], told["again"]["files"]) == (1, 1, 3)
    assert "without a word" in told["jobs"][0]["files"][0]["reason"]


def test_slurm_runs_the_array(ttsr: Ttsr, tmp_path: Path, program: Path) -> None:
    stem(tmp_path / "a.wav")
    (tmp_path / "bad.wav").write_text("no audio")
    bundle = tmp_path / "it's b"
    sources = tmp_path / "a.wav", tmp_path / "bad.wav"
    asked = ("jobs", "split", *sources, "-o", tmp_path / "out", "--into", bundle, *TINY, "--no-report")
    assert ttsr(*asked, "--ttsr", program, "--device", "cuda").exit_code == 0
    script = (bundle / "array.sbatch").read_text()
    assert "\n#SBATCH --array=1-2\n" in script
    assert "\n#SBATCH --gres=gpu:1\n" in script
    assert ttsr(*asked, "--ttsr", program, "--replace").exit_code == 0
    slurm = {"SLURM_SUBMIT_DIR": str(bundle)}
    codes = [
        subprocess.run(
            ["bash", bundle / "array.sbatch"], env=os.environ | slurm | {"SLURM_ARRAY_TASK_ID": task}
        ).returncode
        for task in ("1", "2")
    ]
    assert codes == [0, 1]
    assert collected(ttsr, bundle)[1]["counts"]["done"] == 1


def test_open_job_description_runs_the_template(ttsr: Ttsr, tmp_path: Path, program: Path) -> None:
    """The bundled example is rendered, a file that is none fails with its sentence, progress is told."""
    openjd = Path(sys.executable).with_name("openjd")
    (tmp_path / "bad.wav").write_text("no audio")
    bundle = tmp_path / "b"
    asked = (
        EXAMPLE,
        tmp_path / "bad.wav",
        "-o",
        tmp_path / "out",
        "--into",
        bundle,
        "--candidates",
        1,
        *TINY[2:],
        "--no-report",
    )
    assert ttsr("jobs", "split", *asked, "--ttsr", program).exit_code == 0
    template = str(bundle / "template.yaml")
    checked = subprocess.run([openjd, "check", template], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    ran = subprocess.run([openjd, "run", template], capture_output=True, text=True, timeout=LONGEST)
    said = [line.split("\t")[1] for line in ran.stdout.splitlines() if "openjd_" in line]
    shares = [float(line.split()[1]) for line in said if line.startswith("openjd_progress: ")]
    assert ran.returncode == 1, "the second task failed"
    assert shares[: shares.index(100.0) + 1] == sorted(shares[: shares.index(100.0) + 1])
    assert f"openjd_status: 1 of 1, {EXAMPLE.name}: searching" in said
    assert [line for line in said if line.startswith("openjd_fail: ")] == [
        f"openjd_fail: {tmp_path / 'bad.wav'}: is not audio that can be read (Format not recognised); "
        "convert it to WAV first"
    ]
    assert (tmp_path / "out" / EXAMPLE.name).stat().st_size > EXAMPLE.stat().st_size
    assert collected(ttsr, bundle)[1]["counts"] | {"done": 1, "failed": 1} == collected(ttsr, bundle)[1]["counts"]


def test_nodes_may_call_folders_otherwise(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "share" / "in" / "a.wav")
    bundle, share = tmp_path / "share" / "b", tmp_path / "share"
    maps = ("--map", f"{share}=/Volumes/a", "--map", f"{share / 'out'}=Z:\\out")
    asked = ("jobs", "split", share / "in", "-o", share / "out", "--into", bundle, *TINY)
    assert ttsr(*asked, *maps).exit_code == 0
    job = json.loads((bundle / "jobs" / "1.json").read_text())
    assert (job["inputs"], job["outputs"]) == (["/Volumes/a/in/a.wav"], ["Z:\\out\\a.wav"])
    assert (bundle / "commands.txt").read_text() == "ttsr render --job /Volumes/a/b/jobs/1.json --exit-codes fault\n"
    _, told = collected(ttsr, bundle)
    assert told["jobs"][0]["files"][0]["input"] == str(share / "in" / "a.wav")
    windows = ttsr("jobs", "commands", bundle, "--map", f"{share}=Z:\\the share").output
    assert windows == 'ttsr render --job "Z:\\the share\\b\\jobs\\1.json" --exit-codes fault\n'
    (tmp_path / "else").mkdir()
    elsewhere = ("--map", f"{tmp_path / 'else'}=/x")
    assert ttsr(*asked, "--replace", *maps, *elsewhere).exit_code == 0, "a studio may give all of its maps"
    assert "1 input lies outside" in ttsr(*asked, "--replace", "--map", f"{share / 'out'}=/x").output
    for wrong in (elsewhere, (*maps, "--map", f"{tmp_path / 'shared'}=/x")):
        refused = ttsr(*asked, "--replace", *wrong)
        assert (refused.exit_code, "no input, output or bundle lies in it; nearest: " in refused.output) == (2, True)
    assert "does not lie in it" in ttsr("jobs", "commands", bundle, *elsewhere).output


def test_nodes_under_windows_are_told_of_without_a_map_and_get_no_sbatch(ttsr: Ttsr, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.wav").write_text("no audio")
    asked = ("jobs", "split", tmp_path / "a.wav", tmp_path / "b.wav", "-o", tmp_path / "out", "--into", tmp_path / "b")
    for program in ("C:\\ttsr\\ttsr.exe", "ttsr.exe"):
        made = ttsr(*asked, *TINY, "--replace", "--ttsr", program)
        assert (made.exit_code, "sbatch" in made.stdout, "openjd run" in made.stdout) == (0, False, True)
        told = f"note: --ttsr is a program of Windows, and {tmp_path / 'b'} and 4 other paths are of this machine: they"
        assert (told in made.stderr, f"as in --map {tmp_path}=Z:\\{tmp_path.name}" in made.stderr) == (True, True)
    assert "2 files cannot be rendered as they are; their jobs are in the bundle" in made.stderr
    mapped = ttsr(*asked, *TINY, "--replace", "--ttsr", "ttsr.exe", "--map", f"{tmp_path}=Z:\\a")
    assert (mapped.exit_code, "of this machine" in mapped.stderr, "sbatch" in mapped.stdout) == (0, False, False)
    assert "sbatch" in ttsr(*asked, *TINY, "--replace").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there they are its own")
def test_paths_of_windows_are_refused_elsewhere_and_point_to_the_map(ttsr: Ttsr, tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    source.write_text("no audio")
    theirs, into = "Z:\\share\\out", tmp_path / "b"
    for asked in ((source, "-o", theirs, "--into", into), (theirs, "--into", into), (source, "--into", theirs)):
        told = ttsr("jobs", "split", *asked)
        assert (told.exit_code, into.exists()) == (2, False)
        assert f"{theirs}: a path of Windows, which is not one of this machine; give it as this" in told.stderr
        assert "--map HERE=Z:\\…" in told.stderr
    assert "a path of Windows" in ttsr("jobs", "collect", theirs).stderr
    mapped = ttsr("jobs", "split", source, "-o", tmp_path / "o", "--into", into, "--map", f"{tmp_path}=Z:\\s")
    assert mapped.exit_code == 0


def test_words_and_maps_are_read_as_people_write_them(tmp_path: Path) -> None:
    (tmp_path / "a=").mkdir()
    assert parse_map(f"{tmp_path}/a==/b") == (f"{tmp_path}/a=", "/b")
    assert PathMap((("/a", "/x"), ("/a/b", "/y"))).of("/a/b/c") == "/y/c"
    assert PathMap((("/a", "/x"),)).of("/ab/c") == "/ab/c"
    assert PathMap((("Z:\\A", "/x"),)).of("z:\\a\\b\\c") == "/x/b/c"
    assert program_words("apptainer exec --nv 'my image.sif' ttsr") == [
        "apptainer",
        "exec",
        "--nv",
        "my image.sif",
        "ttsr",
    ]
    spaced = "C:\\Program Files\\ttsr\\ttsr.exe"
    for given in (spaced, f'"{spaced}"', f"'{spaced}'"):
        assert program_words(f"{given} --x 'a b'") == [spaced, "--x", "a b"]
    assert program_words("venv\\Scripts\\ttsr.exe") == ["venv\\Scripts\\ttsr.exe"]
    assert program_words("/opt/my\\ tools/ttsr") == ["/opt/my tools/ttsr"]
    line = next(command_lines("Z:\\b", 1, [spaced]))
    assert line == f'"{spaced}" render --job Z:\\b\\jobs\\1.json --exit-codes fault'
    for word in ("plain", "it's", "a\nb%\\n'", os.fsdecode(b"\xff\x01"), "é “x”"):
        shell = subprocess.run(["sh", "-c", f"printf %s {shell_word(word)}"], capture_output=True)
        assert (os.fsdecode(shell.stdout), shell_word(word).count("\n")) == (word, 0)
