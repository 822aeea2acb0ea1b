"""The REAPER scripts: their specs against a stub of REAPER's API, with the real `ttsr`, and the package index."""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import LONGEST, below, save, voice
from lxml import etree

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "integrations" / "reaper"
SPECS = ROOT / "tests" / "integrations" / "reaper"
QUOTED = "Łead “1” it's {x} 100% & `a`.wav"


def stems(folder: Path) -> None:
    """Half a second each: a name that trips up quoting, one name in two folders, FLAC, and what is not audio."""
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
    save(folder / QUOTED, below(voice(0.5), 5000))
    save(folder / "one" / "vox.wav", below(voice(0.5, seed=1), 5000))
    save(folder / "two" / "vox.wav", below(voice(0.5, 44100, channels=2, seed=2), 5000, 44100), 44100)
    save(folder / "loop.flac", below(voice(0.5, seed=3), 5000))
    (folder / "broken.wav").write_bytes(b"this is not audio" * 10)


@pytest.mark.parametrize("lua", ["lua5.3", "lua5.4"])
def test_specs(lua: str, tmp_path: Path, program: Path) -> None:
    busted = shutil.which("busted")
    if busted is None:
        pytest.skip("busted is not installed")
    if shutil.which(lua) is None:
        pytest.skip(f"{lua} is not installed")
    stems(tmp_path / "stems")
    environment = os.environ | {
        "TTSR": str(program),
        "TTSR_PYTHON": sys.executable,
        "TTSR_SCRIPTS": str(PACKAGE / "TTSR"),
        "TTSR_STEMS": str(tmp_path / "stems"),
        "TTSR_QUOTED": QUOTED,
        "TTSR_WORK": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "LUA_PATH": f"{SPECS}/?.lua;;",
    }
    command = [lua, busted, "--output=plainTerminal", "--pattern=_spec", str(SPECS)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", [PACKAGE, SPECS], ids=["scripts", "specs"])
def test_luacheck(folder: Path) -> None:
    luacheck = shutil.which("luacheck")
    if luacheck is None:
        pytest.skip("luacheck is not installed")
    done = subprocess.run([luacheck, "--no-color", "."], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


Index = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """`index("--check")` runs the index generator in a copy of the package, which a test may change."""
    shutil.copytree(PACKAGE, tmp_path / "reaper")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(tmp_path / "reaper" / "make_index.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    return run


def test_the_index_is_up_to_date(index: Index) -> None:
    done = index("--check")
    assert done.returncode == 0, "run integrations/reaper/make_index.py\n" + done.stdout + done.stderr


def test_the_index_offers_three_actions_and_every_file(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "index.xml"
    assert index("--url", "https://example.org/a%20b/", "-o", str(path)).returncode == 0
    root = ElementTree.fromstring(path.read_bytes())
    assert (root.tag, root.get("version")) == ("index", "1")
    (entry,) = root.iter("reapack")
    sources = list(entry.iter("source"))
    names = [each.get("file", entry.get("name")) for each in sources]
    assert sorted(names) == sorted(each.name for each in (PACKAGE / "TTSR").glob("*.lua"))
    actions = {name for name, each in zip(names, sources, strict=True) if each.get("main") == "main"}
    assert actions == {"ttsr_render_selected.lua", "ttsr_render_again.lua", "ttsr_setup.lua"}
    assert all(each.text == f"https://example.org/a%20b/TTSR/{name}" for name, each in zip(names, sources, strict=True))
    version = entry.find("version")
    assert version is not None
    assert f'VERSION = "{version.get("name")}"' in (PACKAGE / "TTSR" / "ttsr_check.lua").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("@version 0.1.0", "@version 0.2.0", "out of date"),
        ("-- @author TTSR Studio\n", "", "lacks @author"),
        ("[nomain] ttsr_job.lua", "[nomain] ttsr_jobs.lua", "there is no ttsr_jobs.lua"),
        ("--   [nomain] ttsr_job.lua\n", "", "no package provides ttsr_job.lua"),
        ("[nomain] ttsr_job.lua", "[nomain] ttsr_json.lua", "ttsr_json.lua comes twice"),
        ("@about", "@abuot", "unknown tag @abuot"),
    ],
)
def test_a_header_that_is_wrong_is_noticed(index: Index, tmp_path: Path, old: str, new: str, said: str) -> None:
    script = tmp_path / "reaper" / "TTSR" / "ttsr_render_selected.lua"
    text = script.read_text(encoding="utf-8")
    assert old in text
    script.write_text(text.replace(old, new), encoding="utf-8")
    done = index("--check")
    assert done.returncode == 1
    assert said in done.stdout + done.stderr


def test_the_index_is_as_reapack_reads_it(index: Index, tmp_path: Path) -> None:
    schema = etree.XMLSchema(etree.parse(ROOT / "tests/integrations/reapack.xsd"))
    schema.assertValid(etree.parse(PACKAGE / "index.xml"))
    assert index("--url", "https://example.org/a%20b/").returncode == 0
    made = etree.parse(tmp_path / "reaper/index.xml")
    schema.assertValid(made)
    for change in ({"type": "scripts"}, {"name": ""}):
        package = made.getroot().find(".//reapack")
        package.attrib.update(change)
        assert not schema.validate(made), change
