"""The watch folder as a studio uses it: through the real command, with real files, processes and faults."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
from helpers import Ttsr, level_db, save, voice
from tiny_videos import Film, make, packets
from watch_folder import QUICK, TINY, row, said, service_context, stem, watch

from ttsr_studio.rendering.tasks import OnProgress, RenderDone, RenderTask
from ttsr_studio.report.validate import validate
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.watch.filesystem.instance_lock import living
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.job_runner import JobRunner
from ttsr_studio.watch.queue.jobs import Offer, Queue
from ttsr_studio.watch.queue.states import Hold, Reason


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], dict[Path, bytes]]:
    """A tree with a bit of everything, watched once: (root, events, sources with their content)."""
    from click.testing import CliRunner

    from ttsr_studio.cli.main import main

    root = tmp_path_factory.mktemp("studio")
    stem(root / "speech/a.wav")
    shutil.copy(root / "speech/a.wav", root / "speech/a copy.wav")
    stem(root / "speech/a.flac", seed=1, subtype="PCM_16")
    stem(root / "music/deep/é \"q'.wav", seed=2, rate=44100)
    stem(root / "music/options.wav", seed=3)
    (root / "music/options.ttsr.toml").write_text("seed = 77\ncandidates = 2\ncaption = 'a voice'\n")
    stem(root / "music/wrong.wav", seed=4)
    (root / "music/wrong.ttsr.toml").write_text("cadidates = 2\n")
    (root / "sfx").mkdir()
    (root / "sfx/page.wav").write_text("<html>")
    (root / "sfx/nothing.wav").touch()
    (root / "sfx/film.m4a").write_bytes(b"\0\0\0\x18ftypM4A ")
    save(root / "sfx/full.wav", voice(0.3, seed=5))
    stem(root / "sfx/take_draft.wav")
    stem(root / "moved/in.wav", seed=6)
    (root / "moved/in.ttsr.toml").write_text("seed = 5\n")
    (root / "moved/bad.wav").write_text("no audio")
    (root / "moved/ttsr-watch.toml").write_text("finished = 'move'\n")
    stem(root / "waits/in.wav", seed=7)
    (root / "waits/ttsr-watch.toml").write_text("wait-for-sidecar = true\n")
    (root / "broken/in.wav").parent.mkdir()
    stem(root / "broken/in.wav", seed=8)
    (root / "broken/ttsr-watch.toml").write_text("preset = 'nix'\n")
    (root / "ttsr-watch.toml").write_text(TINY + "ignore = ['*_draft.wav']\n")
    sources = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    result = CliRunner().invoke(main, ["watch", str(root), *QUICK])
    assert result.exit_code == 1, result.output
    return root, [json.loads(line) for line in result.stdout.splitlines()], sources


Studio = tuple[Path, list[dict[str, Any]], dict[Path, bytes]]


def test_every_file_ends_in_one_state(studio: Studio) -> None:
    root, _, _ = studio
    with contextlib.closing(Queue(Root(root).database)) as queue:
        states = {entry.path: entry.state for entry in queue.jobs()}
    assert states == {
        "speech/a.wav": "done",
        "speech/a copy.wav": "done",
        "speech/a.flac": "done",
        "music/deep/é \"q'.wav": "done",
        "music/options.wav": "done",
        "music/wrong.wav": "failed",
        "sfx/page.wav": "failed",
        "sfx/nothing.wav": "failed",
        "sfx/film.m4a": "failed",
        "sfx/full.wav": "done",
        "moved/in.wav": "done",
        "moved/bad.wav": "failed",
        "waits/in.wav": "pending",
        "broken/in.wav": "pending",
    }


def test_sources_are_as_they_were(studio: Studio) -> None:
    root, _, sources = studio
    for path, content in sources.items():
        if path.relative_to(root).parts[0] != "moved" or path.name == "ttsr-watch.toml":
            assert path.read_bytes() == content


def test_renders_lie_where_their_sources_do(studio: Studio) -> None:
    root, _, _ = studio
    for path in ("speech/a.wav", "speech/a copy.wav", "music/deep/é \"q'.wav", "music/options.wav", "moved/in.wav"):
        entry, report = row(root, path), root / "_renders" / f"{path.removesuffix('.wav')}.ttsr.json"
        assert entry.output == f"_renders/{path}"
        data = json.loads(report.read_text())
        validate(data)
        assert data["job"]["source"] == path
        assert data["input"]["name"] == Path(path).name
        assert data["output"]["sha256"] == sha256(root / "_renders" / path)
        assert report.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert str(root) not in report.read_text(), "no place of this machine in a report"
    at_44 = soundfile.info(root / "_renders/music/deep/é \"q'.wav")
    assert (at_44.samplerate, at_44.frames) == (48000, -(-14400 * 48000 // 44100))


def test_two_sources_of_one_stem_keep_their_own_reports(studio: Studio) -> None:
    root, _, _ = studio
    entry = row(root, "speech/a.flac")
    assert entry.output in ("_renders/speech/a.flac", "_renders/speech/a.flac.flac")
    assert entry.report != row(root, "speech/a.wav").report
    assert soundfile.info(root / str(entry.output)).format == "FLAC"


def test_the_same_content_is_rendered_once_and_linked(studio: Studio) -> None:
    root, events, _ = studio
    pair = [row(root, "speech/a.wav"), row(root, "speech/a copy.wav")]
    copy = next(entry for entry in pair if entry.duplicate_of)
    other = next(entry for entry in pair if not entry.duplicate_of)
    assert copy.duplicate_of == other.path
    assert json.loads((root / str(copy.report)).read_text())["job"]["duplicate_of"] == other.path
    assert (root / str(copy.output)).read_bytes() == (root / str(other.output)).read_bytes()
    assert next(event["said"] for event in events if event.get("file") == copy.path and event["event"] == "done") == (
        f"the same as {other.path}"
    )


def test_a_sidecar_sets_options_of_its_stem(studio: Studio) -> None:
    root, _, _ = studio
    report = json.loads((root / "_renders/music/options.ttsr.json").read_text())
    assert report["tool"]["options"]["seed"] == 77
    assert report["tool"]["preset"] == "music"
    assert len(report["windows"][0]["candidates"]) == 2
    assert report["annotations"]["caption"] == "a voice"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("music/wrong.wav", "unknown key 'cadidates'"),
        ("sfx/page.wav", "not audio"),
        ("sfx/nothing.wav", "0 bytes"),
        ("sfx/film.m4a", "not audio"),
        ("moved/bad.wav", "not audio"),
    ],
)
def test_every_failure_has_its_reason_where_people_look(studio: Studio, path: str, words: str) -> None:
    root, events, _ = studio
    reason = row(root, path).reason
    assert reason
    assert words in reason
    note = (root / "_failed" / f"{path}.txt").read_text()
    assert words in note
    assert str(root) not in note + reason
    assert reason in [event.get("reason") for event in events]


def test_sources_move_only_where_that_is_asked_for(studio: Studio) -> None:
    root, _, sources = studio
    assert (root / "_done/moved/in.wav").read_bytes() == sources[root / "moved/in.wav"]
    assert (root / "_done/moved/in.ttsr.toml").is_file()
    assert (root / "_failed/moved/bad.wav").read_bytes() == sources[root / "moved/bad.wav"]
    assert [path.name for path in (root / "moved").iterdir()] == ["ttsr-watch.toml"]


def test_what_waits_says_for_what(studio: Studio, ttsr: Ttsr) -> None:
    root, _, _ = studio
    assert row(root, "waits/in.wav").held == "waits for its sidecar"
    assert "unknown preset 'nix'" in (row(root, "broken/in.wav").reason or "")
    status = ttsr("watch", root, "--status")
    assert status.exit_code == 0
    assert "0 services" in status.output
    assert "waits for its sidecar" in status.output
    data = json.loads(ttsr("watch", root, "--status", "--json").stdout)
    assert data["counts"] == {"pending": 2, "running": 0, "done": 7, "failed": 5}
    assert data["skipped"] == 1
    assert "7 done, 5 failed (1 of the done skipped: nothing to add)" in status.output


def test_a_file_with_nothing_to_add_is_skipped_with_the_reason(studio: Studio, ttsr: Ttsr) -> None:
    root, lines, _ = studio
    assert (row(root, "sfx/full.wav").reason or "").startswith("skipped: full-band already")
    assert [line["event"] for line in lines if line.get("file") == "sfx/full.wav"][-1] == "skipped"
    assert not (root / "_renders/sfx/full.wav").exists()
    assert not (root / "_failed/sfx/full.wav.txt").exists()
    listed = ttsr("queue", "list", root, "--state", "skipped")
    assert [line.split()[1] for line in listed.output.splitlines()] == ["sfx/full.wav"]


def test_within_the_root_it_need_not_be_named(studio: Studio, ttsr: Ttsr, monkeypatch: pytest.MonkeyPatch) -> None:
    root = studio[0]
    monkeypatch.chdir(root / "sfx")
    assert "not audio" in ttsr("queue", "show", "page.wav").output
    assert ttsr("queue", "show", "sfx/page.wav").output == ttsr("queue", "show", root, "sfx/page.wav").output


def test_the_queue_can_be_asked(studio: Studio, ttsr: Ttsr) -> None:
    root, _, _ = studio
    listed = ttsr("queue", "list", root, "--state", "failed", "--json")
    assert len(listed.stdout.splitlines()) == 5
    assert {json.loads(line)["state"] for line in listed.stdout.splitlines()} == {"failed"}
    shown = ttsr("queue", "show", root, root / "sfx/page.wav")
    assert "not audio" in shown.output
    assert "seen" in shown.output
    for arguments, words in [
        (("show", root, "nix.wav"), "not a file that was seen"),
        (("show", root), "name one file"),
        (("cancel", root), "name the files"),
        (("list", root / "speech"), "not a watched root"),
        (("list", root, "--state", "lost"), "pending"),
    ]:
        refused = ttsr("queue", *arguments)
        assert refused.exit_code == 2
        assert words in refused.output


def test_nothing_is_left_behind(studio: Studio) -> None:
    root, _, _ = studio
    assert list((root / "_work/stage").iterdir()) == []
    assert not [path for path in root.rglob("*") if "partial" in path.name or path.name.endswith(".tmp")]
    assert living(root / "_work") == []


# One thing after another on one tree


def test_a_year_of_small_things(ttsr: Ttsr, tmp_path: Path) -> None:
    a, b = stem(tmp_path / "sfx/a.wav"), stem(tmp_path / "sfx/b.wav", seed=1)
    assert sorted(said(watch(ttsr, tmp_path), "done")) == ["sfx/a.wav", "sfx/b.wav"]
    first = sha256(tmp_path / "_renders/sfx/a.wav")

    assert said(watch(ttsr, tmp_path), "started") == [], "what is done is done"

    os.utime(a)
    events = watch(ttsr, tmp_path)
    assert [event["said"] for event in events if event["event"] == "done"] == ["was rendered already"]

    stem(a, seed=9)
    assert said(watch(ttsr, tmp_path), "done") == ["sfx/a.wav"]
    second = sha256(tmp_path / "_renders/sfx/a.wav")
    assert second != first

    (tmp_path / "_renders/sfx/b.wav").unlink()
    assert ttsr("queue", "retry", tmp_path, "sfx/b.wav").exit_code == 0
    assert said(watch(ttsr, tmp_path), "done") == ["sfx/b.wav"], "a deleted render is made again"

    (tmp_path / "_renders/sfx/b.wav").write_bytes(b"mixed further by somebody")
    stem(b, seed=10)
    watch(ttsr, tmp_path, code=1)
    assert (tmp_path / "_renders/sfx/b.wav").read_bytes() == b"mixed further by somebody"
    assert "is not what was rendered there" in (row(tmp_path, "sfx/b.wav").reason or "")
    (tmp_path / "_renders/sfx/b.wav").unlink()
    ttsr("queue", "retry", tmp_path, "sfx/b.wav")

    ttsr("queue", "pause", tmp_path, "--reason", "lunch")
    c = stem(tmp_path / "sfx/c.wav", seed=3)
    assert said(watch(ttsr, tmp_path), "started") == []
    assert "lunch" in ttsr("watch", tmp_path, "--status").output
    note = tmp_path / "_failed/sfx/c.wav.txt"
    assert ttsr("queue", "cancel", tmp_path, "sfx/c.wav", "sfx/a.wav").output == "1 cancelled\n", "a is done"
    assert "queue cancel" in note.read_text()
    assert row(tmp_path, "sfx/c.wav").state == "failed"
    ttsr("queue", "retry", tmp_path, "sfx/c.wav")
    content = c.read_bytes()
    c.unlink()
    ttsr("queue", "resume", tmp_path)
    watch(ttsr, tmp_path, code=1)
    assert row(tmp_path, "sfx/c.wav").reason == Reason.GONE
    c.write_bytes(content)
    watch(ttsr, tmp_path)
    assert row(tmp_path, "sfx/c.wav").state == "done", "it came back"
    assert not note.exists()

    a.unlink()
    assert ttsr("queue", "prune", tmp_path, "--days", "0").output == "1 forgotten\n"
    assert (tmp_path / "_renders/sfx/a.wav").is_file(), "renders stay"


def test_a_damaged_database_is_made_anew_from_the_folders(ttsr: Ttsr, tmp_path: Path) -> None:
    for number in range(3):
        stem(tmp_path / f"sfx/{number}.wav", seed=number)
    (tmp_path / "sfx/bad.wav").write_text("no")
    watch(ttsr, tmp_path, code=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "_renders").rglob("*.wav")}
    assert len(before) == 3
    (tmp_path / "_work/queue.sqlite").write_bytes(b"the disk had other plans" * 1000)
    events = watch(ttsr, tmp_path, code=1)
    damaged = next(event for event in events if event["event"] == "database damaged")
    assert (tmp_path / "_work" / damaged["kept"]).read_bytes().startswith(b"the disk")
    assert {event["said"] for event in events if event["event"] == "done"} == {"was rendered already"}
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing was rendered again"
    assert row(tmp_path, "sfx/bad.wav").state == "failed"


def test_faults_around_a_file_make_it_wait_and_are_said(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "sfx/a.wav")
    (tmp_path / "_renders").mkdir()
    (tmp_path / "_renders/sfx").write_text("a file where a folder should be")
    events = watch(ttsr, tmp_path, code=1)
    assert said(events, "waiting") == ["sfx/a.wav"]
    entry = row(tmp_path, "sfx/a.wav")
    assert (entry.state, entry.tries) == ("pending", 1)
    (tmp_path / "_renders/sfx").unlink()
    ttsr("queue", "retry", tmp_path, "sfx/a.wav")
    assert said(watch(ttsr, tmp_path), "done") == ["sfx/a.wav"]


@pytest.mark.golden
def test_a_worker_without_memory_is_ended_and_the_file_given_up(ttsr: Ttsr, tmp_path: Path) -> None:
    stem(tmp_path / "sfx/a.wav")
    events = watch(ttsr, tmp_path, "--memory", "0.05", code=1)
    assert len(said(events, "worker died")) == 3
    reason = row(tmp_path, "sfx/a.wav").reason or ""
    assert "took more memory than it may" in reason
    assert "with smaller batches" in reason


def test_a_file_replaced_while_it_is_rendered_is_rendered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, root, events = stem(tmp_path / "sfx/a.wav"), Root(tmp_path), list[str]()
    (tmp_path / "ttsr-watch.toml").write_text(TINY)

    def dropped() -> Offer:
        signature = root.signature_of("sfx/a.wav")
        assert signature
        return Offer("sfx/a.wav", signature)

    def replace_after(task: RenderTask, on_progress: OnProgress) -> RenderDone:
        made = render(task, on_progress)
        stem(source, seconds=1, seed=4)
        return made

    with (
        service_context(root, events) as context,
        contextlib.closing(context.open_queue()) as queue,
        contextlib.closing(JobRunner(context, queue, 1)) as runner,
    ):
        queue.offer([dropped()])
        render = runner.worker.render
        with monkeypatch.context() as patch:
            patch.setattr(runner.worker, "render", replace_after)
            assert runner.step()
        assert row(tmp_path, "sfx/a.wav").held == Hold.UNSTABLE, "until a scan finds that it is complete"
        assert not list(root.renders.iterdir()), "the render of what it was is gone"
        queue.offer([dropped()])
        assert runner.step()
    assert events == ["started", "changed", "started", "done"]
    report = json.loads((root.renders / "sfx/a.ttsr.json").read_text())
    assert report["input"]["sha256"] == sha256(source)
    assert soundfile.info(root.renders / "sfx/a.wav").frames == 48000


def test_a_slow_search_is_not_held_for_a_hanging_decoder(tmp_path: Path) -> None:
    """A decoder may be silent for seconds, a search of a long file on a slow machine for minutes."""
    from ttsr_studio.options import RenderOptions
    from ttsr_studio.rendering import pipeline
    from ttsr_studio.rendering.inference.session import Session
    from ttsr_studio.rendering.request import RenderRequest

    told: list[str] = []
    real = pipeline.search_windows

    def search(*arguments: Any) -> Any:
        assert told[-1] == "searching", "the last that was heard is that it reads"
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "search_windows", search)
        session = Session(RenderOptions(candidates=1, steps=1, verifiers=("continuity",)))
        source = stem(tmp_path / "a.wav")
        pipeline.render(
            session, RenderRequest(source, tmp_path / "o.wav"), progress=lambda event: told.append(event.stage)
        )
    assert "reading" in told


def test_refusals_at_the_start_are_one_line(ttsr: Ttsr, tmp_path: Path) -> None:
    (tmp_path / "ttsr-watch.toml").write_text("candidats = 3")
    (tmp_path / "in").mkdir()
    for arguments, words in [
        ((tmp_path / "missing",), "no such folder"),
        ((tmp_path,), "unknown key 'candidats'"),
        ((tmp_path / "in", "--preset", "nix"), "unknown preset 'nix'"),
        ((tmp_path / "in", "--preset", "a=nix"), "unknown preset 'nix'"),
        ((tmp_path / "in", "--preset", "speech", "--preset", "music"), "one preset for the root"),
        ((tmp_path / "in", "--settle", "0"), "above 0"),
        ((tmp_path / "in", "--device", "abacus"), "unknown device"),
        ((tmp_path / "in", "--status"), "not a watched root"),
    ]:
        result = ttsr("watch", *arguments)
        assert result.exit_code == 2, arguments
        assert words in result.output
        assert len([line for line in result.output.splitlines() if line.startswith("Error")]) == 1
    assert not (tmp_path / "in/_work").exists()


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A root with a file that waits, so that nothing is rendered, and whose database alone knows that it was seen."""
    root = tmp_path / "root"
    stem(root / "sfx/a.wav")
    (root / "ttsr-watch.toml").write_text("wait-for-sidecar = true\n")
    return root


def test_the_database_is_found_again_where_it_was_put(ttsr: Ttsr, waiting: Path, tmp_path: Path) -> None:
    assert "seen" in {event["event"] for event in watch(ttsr, waiting, "--state", tmp_path / "state")}
    assert "seen" not in {event["event"] for event in watch(ttsr, waiting)}
    assert not (waiting / "_work/queue.sqlite").exists()


def test_a_mark_that_a_power_cut_emptied_is_made_anew(ttsr: Ttsr, waiting: Path) -> None:
    watch(ttsr, waiting)
    (waiting / "_work/root.json").write_text("")
    assert "seen" not in {event["event"] for event in watch(ttsr, waiting)}
    assert json.loads((waiting / "_work/root.json").read_text()) == {"state": None}


def test_a_hook_is_told_and_never_through_a_shell(ttsr: Ttsr, tmp_path: Path) -> None:
    root = tmp_path / "root"
    stem(root / "sfx/a $(touch pwned).wav")
    (root / "sfx/bad.wav").write_text("no")
    hook = tmp_path / "hook.py"
    hook.write_text("import sys, pathlib\npathlib.Path(sys.argv[1]).open('a').write(sys.argv[2] + '\\n')\n")
    heard = tmp_path / "heard.txt"
    watch(ttsr, root, "--notify", f"{sys.executable} {hook} {heard}", code=1)
    assert sorted(heard.read_text().splitlines()) == [
        str(root / "_failed/sfx/bad.wav.txt"),
        str(root / "_renders/sfx/a $(touch pwned).ttsr.json"),
    ]
    os.utime(root / "sfx/a $(touch pwned).wav")
    watch(ttsr, root, "--notify", f"{sys.executable} {hook} {heard}", code=1)
    assert len(heard.read_text().splitlines()) == 2, "nothing new was rendered"
    stem(root / "sfx/b.wav", seed=5)
    hook.write_text("raise SystemExit('no mail today')")
    events = watch(ttsr, root, "--notify", f"{sys.executable} {hook}", code=1)
    assert [(e["reason"], e["said"]) for e in events if e["event"] == "notify failed"] == [
        ("exit code 1", ["no mail today"])
    ]


@pytest.mark.parametrize(
    ("command", "said"), [("/no/such/program", "no such program"), ("mail 'x", "no closing quotation"), ("", "no such")]
)
def test_a_hook_that_cannot_run_is_refused_at_the_start(ttsr: Ttsr, tmp_path: Path, command: str, said: str) -> None:
    result = ttsr("watch", tmp_path, *QUICK, "--notify", command)
    assert (result.exit_code, said in result.output) == (2, True), result.output
    assert not (tmp_path / "_work").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_makes_jobs_wait_and_loses_nothing(small_disk: Path, ttsr: Ttsr) -> None:
    source = stem(small_disk / "sfx/a.wav", seconds=4)
    before = source.read_bytes()
    filler = small_disk / "filler.bin"
    filler.write_bytes(bytes(9_000_000))
    events = watch(ttsr, small_disk, "--keep-free", "1", code=1)
    assert said(events, "waiting") == ["sfx/a.wav"]
    assert "disk space" in (row(small_disk, "sfx/a.wav").reason or "")
    filler.unlink()
    ttsr("queue", "retry", small_disk, "sfx/a.wav")
    watch(ttsr, small_disk, "--keep-free", "1")
    assert row(small_disk, "sfx/a.wav").state == "done"
    assert source.read_bytes() == before


def test_a_video_comes_back_as_a_video(ttsr: Ttsr, tmp_path: Path) -> None:
    make(tmp_path / "film.mp4", Film("libx264", "aac", languages=("eng", "ger"), tags={"title": "T"}))
    stem(tmp_path / "stem.wav")
    events = watch(ttsr, tmp_path)
    assert sorted(said(events, "done")) == ["film.mp4", "stem.wav"]
    render = tmp_path / "_renders/film.mp4"
    assert packets(render) == packets(tmp_path / "film.mp4")
    assert packets(render, "audio", 1) == packets(tmp_path / "film.mp4", "audio", 1)
    assert json.loads((tmp_path / "_renders/film.ttsr.json").read_text())["output"]["depth"] == "ALAC_24"
    assert row(tmp_path, "film.mp4").output == "_renders/film.mp4"


def test_a_chain_that_the_settings_name_is_applied_and_one_outside_is_refused(ttsr: Ttsr, tmp_path: Path) -> None:
    pytest.importorskip("pedalboard", reason="the extra ttsr-studio[chain] is not installed")
    root = tmp_path / "root"
    stem(root / "speech/a.wav")
    (root / "effects").mkdir()
    (root / "effects/quiet.toml").write_text('[[after]]\nplugin = "Gain"\ngain_db = -12\n')
    settings = TINY + "loudness = 'off'\nchain = '{}'\n"
    (root / "ttsr-watch.toml").write_text(settings.format("effects/quiet.toml"))
    events = watch(ttsr, root)
    assert said(events, "done") == ["speech/a.wav"], events
    report = json.loads((root / "_renders/speech/a.ttsr.json").read_text())
    assert report["chain"]["after"] == [{"name": "Gain", "file": None, "settings": {"gain_db": -12}}]
    levels = [level_db(soundfile.read(root / name)[0]) for name in ("speech/a.wav", "_renders/speech/a.wav")]
    assert levels[1] == pytest.approx(levels[0] - 12, abs=0.5)
    (tmp_path / "quiet.toml").write_text((root / "effects/quiet.toml").read_text())
    stem(root / "speech/b.wav", seed=1)
    (root / "ttsr-watch.toml").write_text(settings.format("../quiet.toml"))
    refused = ttsr("watch", root, *QUICK)
    assert (refused.exit_code, len(refused.output.splitlines())) == (2, 1), refused.output
    assert "lies outside the watched root" in refused.output
    (root / "ttsr-watch.toml").write_text(settings.format("effects/none.toml"))
    assert said(watch(ttsr, root, code=1), "waiting") == ["speech/b.wav"]
    assert "effects/none.toml: cannot be read" in (row(root, "speech/b.wav").reason or "")
    assert not (root / "_renders/speech/b.wav").exists()


def test_what_failed_before_and_still_lies_there_is_told_and_no_success(ttsr: Ttsr, tmp_path: Path) -> None:
    (tmp_path / "speech").mkdir()
    (tmp_path / "speech" / "a.wav").write_bytes(b"no audio at all")
    first = watch(ttsr, tmp_path, code=1)
    assert [event["preset"] for event in first if event["event"] == "started"] == ["speech"]
    again = watch(ttsr, tmp_path, code=1)
    assert not said(again, "started"), "it did not change"
    assert [event["files"] for event in again if event["event"] == "failed before"] == [1]
    told = ttsr("watch", tmp_path, *(word for word in QUICK if word != "--json")).output
    assert "failed before: not tried again, as they did not change; `ttsr queue retry ROOT` does that; files 1" in told
    assert "service ended: 0 pending, 0 running, 0 done, 1 failed" in told
    assert "{" not in told
    (tmp_path / "speech" / "a.wav").unlink()
    watch(ttsr, tmp_path, code=0)
