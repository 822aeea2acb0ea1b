"""What is looked at, when it counts as complete, and which settings hold for it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers import LONGEST, Ttsr
from watch_folder import counts, stem, watch

from ttsr_studio.config.resolve import resolve
from ttsr_studio.errors import InputError, OptionError
from ttsr_studio.options import RenderOptions
from ttsr_studio.watch.filesystem.instance_lock import ended, instance_lock, living
from ttsr_studio.watch.filesystem.root import Root, Signature, find_root
from ttsr_studio.watch.filesystem.stability import EMPTY, StabilityTracker
from ttsr_studio.watch.folder_config import FolderRule, FolderRules


def put(root: Path, *names: str, text: str = "x") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


# the root


def test_only_what_was_dropped_is_seen(tmp_path: Path) -> None:
    root = tmp_path / "root"
    wanted = ["a.wav", "speech/deep/b.FLAC", "speech/é \"q'.mp3", "c.m4a", "music/_renders/own.wav"]
    put(root, *wanted)
    put(root, "_renders/r.wav", "_work/w.wav", "_done/d.wav", "_failed/f.wav")
    put(root, ".hidden.wav", "._a.wav", "@eaDir/x.wav", "b.wav.partial", ".stfolder/y.wav", "~syncthing~z.wav", "n.txt")
    put(tmp_path, "outside/o.wav")
    (root / "link.wav").symlink_to(tmp_path / "outside/o.wav")
    (root / "folder").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "pipe.wav")
    found = Root(root).scan()
    assert sorted(found.files) == sorted(wanted)
    assert not found.unreadable


def test_a_sidecar_is_part_of_its_stem(tmp_path: Path) -> None:
    put(tmp_path, "a.wav")
    root = Root(tmp_path)
    before = root.scan().files["a.wav"]
    put(tmp_path, "a.ttsr.toml", text="seed = 1")
    after = root.scan().files["a.wav"]
    assert not before.sidecar
    assert after.sidecar
    assert root.signature_of("a.wav") == after


def test_roots_do_not_nest(tmp_path: Path) -> None:
    outer, inner = Root(tmp_path), Root(tmp_path / "a" / "b")
    inner.path.mkdir(parents=True)
    inner.make()
    with pytest.raises(OptionError, match="holds the watched root"):
        outer.make()
    inner.mark.unlink()
    outer.make()
    with pytest.raises(OptionError, match="lies within the watched root"):
        inner.make()
    outer.make()
    assert find_root(tmp_path).state == outer.work
    with pytest.raises(OptionError, match="not a watched root"):
        find_root(tmp_path / "a")


def test_a_root_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no such folder"):
        Root(tmp_path / "missing").make()
    (tmp_path / "_renders").write_text("in the way")
    with pytest.raises(OptionError, match="cannot be written to"):
        Root(tmp_path).make()


def test_the_state_can_lie_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "share"
    root.mkdir()
    Root(root, tmp_path / "local").make()
    assert find_root(root).database == tmp_path / "local" / "queue.sqlite"


# stability


def seen(size: int) -> Signature:
    return Signature(size, 0, 0)


def test_a_file_is_complete_when_nothing_changed_for_a_while() -> None:
    tracker = StabilityTracker(5)
    disk = {"a.wav": seen(1)}
    tracker.update(disk, 0)
    assert tracker.stable(disk.get, 4.9) == {}
    disk["a.wav"] = seen(2)
    tracker.update(disk, 4)
    assert tracker.stable(disk.get, 8.9) == {}
    tracker.touch("a.wav", 7)
    assert tracker.stable(disk.get, 10) == {}
    assert tracker.next_due() == 12
    ready = tracker.stable(disk.get, 12)
    assert ready == disk
    tracker.handed_on(ready)
    assert tracker.stable(disk.get, 99) == {}
    assert not tracker.is_new("a.wav", seen(2))
    tracker.update(disk, 100)
    assert len(tracker) == 0
    tracker.update({"a.wav": seen(3)}, 101)
    assert len(tracker) == 1


def test_a_last_look_finds_what_no_scan_has_seen() -> None:
    tracker = StabilityTracker(5)
    tracker.update({"a.wav": seen(1), "b.wav": seen(1)}, 0)
    assert tracker.stable({"a.wav": seen(2)}.get, 6) == {}, "one grew, one is gone"
    assert tracker.stable({"a.wav": seen(2)}.get, 11) == {"a.wav": seen(2)}


def test_what_is_gone_and_comes_back_settles_again() -> None:
    tracker = StabilityTracker(5)
    tracker.update({"a.wav": seen(1)}, 0)
    tracker.handed_on(tracker.stable({"a.wav": seen(1)}.get, 5))
    tracker.update({}, 6)
    tracker.update({"a.wav": seen(1)}, 7)
    assert tracker.stable({"a.wav": seen(1)}.get, 12) == {"a.wav": seen(1)}


def test_an_empty_file_gets_more_time() -> None:
    tracker = StabilityTracker(5)
    tracker.update({"a.wav": seen(0)}, 0)
    assert tracker.stable({"a.wav": seen(0)}.get, 5 * EMPTY - 1) == {}
    assert tracker.stable({"a.wav": seen(0)}.get, 5 * EMPTY)


# rules


def rules(root: Path, base: FolderRule | None = None, patience: float = 0) -> FolderRules:
    made = FolderRules(root, base or FolderRule())
    made.patience = patience
    return made


def options(root: Path, path: str) -> RenderOptions:
    made = rules(root)
    return made.options_for(path, made.of(path))


def test_folders_named_after_presets_and_files_of_settings(tmp_path: Path) -> None:
    put(tmp_path, "ttsr-watch.toml", text='seed = 4\n[folders]\n"lead vox" = "speech"')
    put(tmp_path, "music/loud/ttsr-watch.toml", text='candidates = 3\npriority = 7\nverifier = "consensus"')
    assert options(tmp_path, "a.wav").preset == "general"
    assert options(tmp_path, "lead vox/take 1/a.wav").preset == "speech"
    assert options(tmp_path, "music/a.wav").preset == "music"
    loud = options(tmp_path, "music/loud/a.wav")
    assert (loud.preset, loud.candidates, loud.seed, loud.verifiers) == ("music", 3, 4, ("consensus",))
    assert rules(tmp_path).of("music/loud/a.wav").priority == 7
    assert options(tmp_path, "music/loud/sfx/a.wav").preset == "sfx", "the nearest folder counts"


def test_a_folder_whose_name_only_has_a_preset_in_it_is_told_of(tmp_path: Path) -> None:
    put(tmp_path, "ttsr-watch.toml", text='[folders]\n"lead speech" = "speech"')
    put(tmp_path, "Own Music/ttsr-watch.toml", text='preset = "sfx"')
    rules = FolderRules(tmp_path, FolderRule())
    names = ("SPEECH ", "Speech Vox", "lead speech", "Own Music", "speechless", "Speach", "drum", "violins")
    presets = [rules.of(f"{name}/a.wav").preset for name in names]
    assert presets == ["speech", "general", "speech", "sfx", "general", "general", "general", "general"]
    assert list(rules.misleading) == ["Speech Vox", "Speach", "drum"]
    assert "name it drums, or put" in rules.misleading["drum"]
    assert '[folders] "Speech Vox" = "speech"' in rules.misleading["Speech Vox"]


def test_a_sidecar_goes_before_its_folder(tmp_path: Path) -> None:
    put(tmp_path, "speech/ttsr-watch.toml", text="candidates = 3\nseed = 9")
    put(tmp_path, "speech/a.ttsr.toml", text='preset = "music"\nbudget = "8nfe"\ncaption = "a guitar"')
    made = options(tmp_path, "speech/a.wav")
    assert (made.preset, made.seed, made.budget) == ("music", 9, "8nfe")


def test_settings_that_change_are_read_again(tmp_path: Path) -> None:
    made = rules(tmp_path)
    assert made.of("a.wav").priority == 0
    put(tmp_path, "ttsr-watch.toml", text="priority = 3")
    assert made.of("a.wav").priority == 3
    put(tmp_path, "ttsr-watch.toml", text="priority = 44")
    os.utime(tmp_path / "ttsr-watch.toml", ns=(1, 1))
    assert made.of("a.wav").priority == 44


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("candidate = 3", r"ttsr-watch.toml: unknown key 'candidate'; known: .*candidates"),
        ("preset = 'nix'", "unknown preset 'nix'; known: .*speech"),
        ("preset = '../x.toml'", "unknown preset"),
        ("finished = 'delete'", "unknown value of finished 'delete'; known: leave, move"),
        ("priority = 'high'", "priority takes a whole number"),
        ("wait-for-sidecar = 1", "takes true or false"),
        ("[folders]\nx = 3", "folders takes a table"),
        ("ignore = [3]", "a list of names"),
        ("device = 'cuda'", "unknown key 'device'"),
        ("notify = 'rm'", "unknown key 'notify'"),
        ("candidates =", "not valid TOML"),
        ("candidates = 'many'", "not a valid integer"),
        ("seed = -1", "0 or more"),
    ],
)
def test_wrong_settings_get_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    put(tmp_path, "ttsr-watch.toml", text=text)
    with pytest.raises(OptionError, match=message) as caught:
        options(tmp_path, "a.wav")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('speaker = ["../../secret.wav"]', "lies outside the watched root"),
        ('reference = "/etc/passwd"', "lies outside the watched root"),
        ('preset = "/tmp/x.toml"', "unknown preset"),
        ("nonsense = 1", "unknown key 'nonsense'"),
        ("reference = 3", "must be a text"),
    ],
)
def test_wrong_sidecars_get_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    root = tmp_path / "root"
    put(root, "a.ttsr.toml", text=text)
    with pytest.raises((OptionError, InputError), match=message):
        options(root, "a.wav")


def test_names_to_ignore(tmp_path: Path) -> None:
    put(tmp_path, "ttsr-watch.toml", text='ignore = ["*_draft.wav", "old"]')
    rule = rules(tmp_path).of("a.wav")
    assert rule.ignores("x/a_draft.wav")
    assert rule.ignores("old/a.wav")
    assert not rule.ignores("x/a.wav")


def test_options_resolve_as_on_the_command_line() -> None:
    values: Mapping[str, Any] = {"budget": "64nfe", "search": "halving"}
    made = resolve("speech", values)
    assert (made.budget, made.candidates, made.search) == ("64nfe", None, "halving")
    assert resolve("master", {"candidates": 2}).budget is None


# services


def test_places_of_services_tell_who_lives(tmp_path: Path) -> None:
    with instance_lock(tmp_path) as one:
        with instance_lock(tmp_path) as two:
            assert living(tmp_path) == [one, two]
            assert ended(tmp_path, [one, two, "service-1-0000", "service-9-0000"]) == [
                "service-1-0000",
                "service-9-0000",
            ]
        assert ended(tmp_path, [one, two]) == [two]
        with instance_lock(tmp_path) as three:
            assert three != two
            assert ended(tmp_path, [two]) == [two], "its place is taken by another"
    assert living(tmp_path) == []


def test_what_watchdog_says_of_its_own_end_is_printed_nowhere(tmp_path: Path) -> None:
    line = (
        "import logging, sys; from pathlib import Path; from ttsr_studio.watch.filesystem.root import Root; "
        "from ttsr_studio.watch.filesystem.events import Wake, watch_events\n"
        "with watch_events(Wake(Root(Path(sys.argv[1]))), lambda *_, **__: None):\n"
        "    logging.getLogger('watchdog.observers.inotify').error('InotifyEmitter.queue_events() called')"
    )
    command = [sys.executable, "-c", line, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
    assert (done.returncode, done.stderr) == (0, "")


def test_equal_content_under_a_name_that_is_no_text_is_rendered_and_linked(tmp_path: Path, ttsr: Ttsr) -> None:
    first = stem(tmp_path / "a.wav")
    (tmp_path / os.fsdecode(b"a\xe9.wav")).write_bytes(first.read_bytes())
    (tmp_path / "b.wav").write_bytes(first.read_bytes())
    watch(ttsr, tmp_path)
    assert counts(tmp_path)["done"] == 3
    assert len(list((tmp_path / "_renders").glob("*.wav"))) == 3
    assert not list((tmp_path / "_failed").rglob("*.txt"))
