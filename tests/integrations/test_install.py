"""`ttsr integrations`: files of integrations get to where they belong, and over nobody else's."""

import hashlib
import json
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import Ttsr

from ttsr_studio.errors import OptionError
from ttsr_studio.integrations.installer import LIST
from ttsr_studio.integrations.plan import Wish
from ttsr_studio.integrations.services import escaped_path, systemd

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of REAPER and two Ardours, and a program with a space and a percent sign in its path."""
    for name in (".config/REAPER/Scripts", ".config/ardour7", ".config/ardour8", "my 100% bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "my 100% bin/ttsr").write_text("#!/bin/sh\n")
    (tmp_path / "my 100% bin/ttsr").chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


def program(home: Path) -> tuple[str, Path]:
    return "--ttsr", home / "my 100% bin/ttsr"


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="where programs look on Linux")
def test_scripts_for_daws_go_where_these_look(ttsr: Ttsr, home: Path) -> None:
    before = files_in(home)
    for name in ("reaper", "ardour"):
        dry = ttsr("integrations", "install", name, *program(home), "--dry-run")
        assert dry.exit_code == 0, dry.output
        assert "would write" in dry.stdout
        assert files_in(home) == before
    assert "installed" not in ttsr("integrations", "list").stdout
    done = ttsr("integrations", "install", "reaper", *program(home))
    assert done.exit_code == 0, done.output
    scripts = {path.name for path in (ROOT / "integrations/reaper/TTSR").glob("*.lua")}
    assert files_in(home / ".config/REAPER/Scripts/TTSR") == scripts
    assert str(home / ".config/REAPER/Scripts/TTSR/ttsr_setup.lua") in done.stdout
    assert ttsr("integrations", "install", "ardour", *program(home)).exit_code == 0
    for folder in (home / ".config/ardour7", home / ".config/ardour8"):
        settings = dict(line.split("=", 1) for line in (folder / "ttsr.conf").read_text().splitlines())
        assert Path(settings["tool"]).is_file()
        assert settings["ttsr"] == str(home / "my 100% bin/ttsr")
        assert (folder / "scripts/ttsr_render.lua").is_file()
    listed = ttsr("integrations", "list").stdout
    assert f"installed in {home / '.config/ardour7'}, {home / '.config/ardour8'}" in listed


def test_an_upgrade_replaces_its_own_files_and_no_others(ttsr: Ttsr, home: Path, tmp_path: Path) -> None:
    into = tmp_path / "Scripts"
    again = "integrations", "install", "reaper", "--into", into, *program(home)
    assert ttsr(*again).exit_code == 0
    assert "unchanged" in ttsr(*again).stdout
    known = json.loads((into / LIST).read_text())
    old, gone, mine = (into / "TTSR" / name for name in ("ttsr_json.lua", "ttsr_gone.lua", "mine.lua"))
    for path in (old, gone):  # as an earlier version wrote them
        path.write_text("-- old\n")
        known[f"TTSR/{path.name}"] = "d6bd4ee18ff9cf9ecf8bb2ed5b4e1f9a"
    mine.write_text("-- mine\n")
    changed = ttsr(*again)
    assert changed.exit_code == 2
    assert "ttsr_json.lua: was not written by `ttsr integrations`, or was changed" in " ".join(changed.stderr.split())
    assert old.read_text() == "-- old\n"
    known |= {f"TTSR/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in (old, gone)}
    (into / LIST).write_text(json.dumps(known))
    upgraded = ttsr(*again)
    assert upgraded.exit_code == 0, upgraded.output
    assert f"replaced {old}" in upgraded.stdout
    assert f"removed {gone}" in upgraded.stdout
    assert not gone.exists()
    assert mine.read_text() == "-- mine\n"
    assert old.read_bytes() == (ROOT / "integrations/reaper/TTSR/ttsr_json.lua").read_bytes()


def test_a_link_is_somebodys(ttsr: Ttsr, home: Path, tmp_path: Path) -> None:
    into = tmp_path / "ardour"
    (into / "scripts").mkdir(parents=True)
    (into / "scripts/ttsr_render.lua").symlink_to(ROOT / "integrations/ardour/ttsr_render.lua")
    refused = ttsr("integrations", "install", "ardour", "--into", into, *program(home))
    assert refused.exit_code == 2
    assert files_in(into) == {"scripts/ttsr_render.lua"}


@pytest.mark.parametrize("system", [False, True])
def test_a_unit_of_systemd_starts_this_program(ttsr: Ttsr, home: Path, tmp_path: Path, system: bool) -> None:
    into = tmp_path / "units"
    wanted = ("--system", "--run-as", "nobody-of-this-name") if system else ()
    options = ("--into", into, "--root", "/srv/my-stems", *program(home), *wanted)
    done = ttsr("integrations", "install", "systemd", *options)
    assert done.exit_code == 0, done.output
    assert r"'ttsr-watch@srv-my\x2dstems.service'" in done.stdout
    assert ("useradd --system" in done.stdout) is system
    assert ("is closed to others" in done.stdout) is system  # as folders of tests are
    assert ("systemctl --user enable --now" in done.stdout) is not system
    unit = into / "ttsr-watch@.service"
    text = unit.read_text()
    assert f'ExecStart="{home}/my 100%% bin/ttsr" watch /%I' in text
    assert ("User=nobody-of-this-name" in text) is system
    page = next(line for line in text.splitlines() if line.startswith("Documentation=file://"))
    assert Path(page.removeprefix("Documentation=file://")).is_file()
    verify = shutil.which("systemd-analyze")
    if verify:
        flags = ["--man=no", *(() if system else ("--user",))]
        instance = unit.with_name("ttsr-watch@tmp.service")
        instance.symlink_to(unit.name)
        checked = subprocess.run([verify, "verify", *flags, str(instance)], capture_output=True, text=True)
        assert "ttsr-watch@" not in checked.stderr, checked.stderr


def test_services_are_refused_where_they_cannot_be(ttsr: Ttsr, home: Path) -> None:
    for line, why in {
        ("reapr",): "nearest: reaper",
        ("reaper", "--root", "x"): "watches no folder",
        ("reaper", "--system"): "is for systemd",
        ("systemd", "--run-as", "x"): "your own service runs as you",
        ("launchd", "--into", "x"): "pass --root",
        ("reaper", "--ttsr", "no-such-program"): "no such program",
    }.items():
        refused = ttsr("integrations", "install", *line)
        assert refused.exit_code == 2
        assert why in refused.stderr
    for wish, why in {
        Wish(Path("ttsr"), platform="darwin"): "systemd is Linux's",
        Wish(Path("ttsr"), platform="linux", administrator=True): "this is root",
        Wish(Path("ttsr"), platform="linux", system=True): "only root may",
    }.items():
        with pytest.raises(OptionError, match=why):
            systemd(wish)


def test_an_agent_of_launchd_watches_the_folder(ttsr: Ttsr, home: Path, tmp_path: Path) -> None:
    into = tmp_path / "agents"
    done = ttsr("integrations", "install", "launchd", "--into", into, "--root", "~/stems & more", *program(home))
    assert done.exit_code == 0, done.output
    agent = plistlib.loads((into / "studio.ttsr.watch.plist").read_bytes())
    assert agent["ProgramArguments"][:3] == [str(home / "my 100% bin/ttsr"), "watch", str(home / "stems & more")]
    assert "launchctl bootstrap" in done.stdout


def test_instances_are_named_as_systemd_names_them() -> None:
    paths = ("/srv/my-stems", "/", "/.hidden/a b", "/ä/x_y.z:1")
    names = [escaped_path(Path(path)) for path in paths]
    assert names[0] == r"srv-my\x2dstems"
    program = shutil.which("systemd-escape")
    if program:
        told = subprocess.run([program, "--path", *paths], capture_output=True, text=True, check=True)
        assert names == told.stdout.split()
